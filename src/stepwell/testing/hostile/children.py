"""Commands in children of their own: a server that has everything imported forks one for each command, with caps on memory and time.

    with Children() as children:
        ended = children.run(["stepwell", "inspect", "x.plan"], folder)

A fork takes milliseconds where a new interpreter takes seconds; what kills it, kills no more than that one command.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MEMORY = 3 << 30
"""Bytes of address space of a command."""
SECONDS = 60.0
"""Seconds of processor time of a command: time on the clock depends on what else the machine does."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or minus the number of the signal that killed it."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float


class Children:
    """A server process; `run` gives it one command after the other."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, words: Sequence[str], folder: Path, *, memory: int = MEMORY, seconds: float = SECONDS) -> Ended:
        """Run a command (`stepwell`, `stepwell-opt`) in `folder`, where its reproducers go too, with that much memory and processor time."""
        request = {"words": list(words), "folder": str(folder), "memory": memory, "seconds": seconds}
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server of children ended with {self._server.wait()}")
        return Ended(tuple(words), **json.loads(answer))

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- the server


def _serve() -> None:
    """A line of JSON in, one out, until standard input ends. Standard output belongs to the answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_all()
    for line in sys.stdin:
        print(json.dumps(_run_in_child(json.loads(line))), file=answers, flush=True)


def _import_all() -> None:
    """Load what commands load late, so that children find it loaded."""
    import llvmlite.binding as llvm
    import onnx.reference  # noqa: F401 - the importer evaluates constants with it

    from stepwell.api.compile import compile_plan  # noqa: F401
    from stepwell.cli import commands, guard  # noqa: F401
    from stepwell.opt.main import StepwellOpt  # noqa: F401
    from stepwell.plugins.universe import DIALECT_NAMES, make_context, pass_modules
    from stepwell.runtime.engine import load  # noqa: F401

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    context = make_context()
    for name in (*DIALECT_NAMES, "func", "arith", "math", "scf", "cf", "tensor", "linalg", "vector", "llvm"):
        context.load_registered_dialect(name)
    for module in pass_modules().values():
        __import__(module)
    gc.collect()
    gc.freeze()  # what a collector writes into, a fork copies


def _run_in_child(request: dict[str, Any]) -> dict[str, Any]:
    """Fork, run, wait: exit code or minus the signal, what was printed, seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_the_command(request, out.fileno(), err.fileno())
        _, status = os.waitpid(child, 0)
        ended: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - begun}
        for name, file in (("out", out), ("err", err)):
            file.seek(0)
            ended[name] = file.read(1 << 20).decode(errors="replace")
        return ended


def _be_the_command(request: dict[str, Any], out: int, err: int) -> None:
    """In the child: caps, streams, folder, and the command; never returns."""
    code = 99
    try:
        seconds = int(request["seconds"])
        resource.setrlimit(resource.RLIMIT_AS, (request["memory"], request["memory"]))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(request["folder"])
        os.environ["STEPWELL_REPRODUCERS"] = request["folder"]
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the child ends
        code = _call(request["words"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _call(words: Sequence[str]) -> int:
    from stepwell.cli import main, opt_main
    from stepwell.testing.hostile import oracle

    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "stepwell": main,
        "stepwell-opt": opt_main,
        "oracle": oracle.main,
    }
    try:
        return commands[words[0]](words[1:])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


if __name__ == "__main__":
    _serve()
