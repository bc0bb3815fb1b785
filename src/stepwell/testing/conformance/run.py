"""The parent: hands batches to children, takes their answers, replaces a child that died, and runs the cases of the batch that it died of alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from signal import Signals

from stepwell.testing.conformance.case import Case, Check, Outcome

SECONDS = 150.0
"""How long a child may take for a case alone; four cases together take about twice as long."""
PATIENCE = 30.0
"""How long a child whose pipe closed may take to be gone: a core dump is written first."""
WORKER = (sys.executable, "-m", "stepwell.testing.conformance.worker")

Make = Callable[[], Case | Check]
MakeModel = Callable[[], Case]
Batch = Sequence[str]


class _Child:
    """A worker process; `ask` gives its answer, or None when it died or took too long."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, cwd=log.parent
            )
        self.answers: SimpleQueue[bytes] = SimpleQueue()
        self.silent = False
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(b"")

    def ask(self, request: object, seconds: float) -> list[list[str]] | None:
        assert self.process.stdin is not None
        self.silent = False
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            line = self.answers.get(timeout=seconds)
        except Empty:
            self.silent, line = True, b""
        except BrokenPipeError:
            line = b""
        return list(json.loads(line)) if line else None

    def end(self) -> None:
        """Stop it."""
        self.process.kill()
        self.process.wait()

    def ended(self) -> str:
        """How it ended, after `ask` gave no answer."""
        if self.silent:
            self.end()
            return "no answer in time"
        code = self.process.wait(PATIENCE)
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        return Signals(-code).name if code < 0 else f"exit {code}{''.join(f': {line}' for line in last)}"


@dataclass
class Runner:
    """Runs named cases on an executor in `jobs` children. `journal` keeps every outcome as it comes, so that an interrupted run goes on where it stopped."""

    executor: str
    jobs: int = 1
    journal: Path | None = None
    seconds: float = SECONDS
    command: Sequence[str] = WORKER
    progress: Callable[[int], None] = lambda done: None
    outcomes: dict[str, Outcome] = field(default_factory=dict, init=False)

    def run(self, cases: Mapping[str, Make], batches: Sequence[Batch]) -> dict[str, Outcome]:
        """The outcome of every case of `batches`, by name."""
        self._resume()
        left = [[name for name in batch if name not in self.outcomes] for batch in batches]
        queue = deque(batch for batch in left if batch)
        failures: list[BaseException] = []
        with tempfile.TemporaryDirectory(prefix="stepwell-conformance-") as folder:
            threads = [
                threading.Thread(target=self._serve, args=(cases, queue, Path(folder) / str(job), failures))
                for job in range(min(self.jobs, len(queue)))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if failures:
            raise failures[0]
        return {name: self.outcomes[name] for batch in batches for name in batch}

    def _resume(self) -> None:
        if self.journal is None or not self.journal.exists():
            return
        text = self.journal.read_text()
        whole = text[: text.rfind("\n") + 1]
        if whole != text:  # the last line of a run that was killed
            self.journal.write_text(whole)
        for line in whole.splitlines():
            name, status, reason = json.loads(line)
            self.outcomes[name] = Outcome(status, reason)

    def _serve(
        self, cases: Mapping[str, Make], queue: deque[list[str]], folder: Path, failures: list[BaseException]
    ) -> None:
        folder.mkdir()
        child: _Child | None = None
        try:
            while True:
                try:
                    names = queue.popleft()
                except IndexError:
                    return
                child = child or _Child(self.command, folder / "log")
                child = self._batch(child, cases, names, queue, folder)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failures.append(error)
        finally:
            if child is not None:
                child.end()

    def _batch(
        self, child: _Child, cases: Mapping[str, Make], names: list[str], queue: deque[list[str]], folder: Path
    ) -> _Child | None:
        """Run one batch; the child, or None when it is gone."""
        paths = [folder / f"{number}.case" for number in range(len(names))]
        for path, name in zip(paths, names, strict=True):
            cases[name]().save(path)
        seconds = self.seconds * (1 + len(names) / 4)
        answer = child.ask({"executor": self.executor, "batch": [str(path) for path in paths]}, seconds)
        if answer is not None:
            for name, (status, reason) in zip(names, answer, strict=True):
                self._keep(name, Outcome(status, reason))  # type: ignore[arg-type]
            return child
        how = child.ended()
        if len(names) == 1:
            self._keep(names[0], Outcome("died", how))
        else:
            queue.extendleft([name] for name in names)
        return None

    def _keep(self, name: str, outcome: Outcome) -> None:
        self.outcomes[name] = outcome
        self.progress(len(self.outcomes))
        if self.journal is not None:
            with self.journal.open("a") as stream:
                stream.write(json.dumps([name, outcome.status, outcome.reason]) + "\n")
