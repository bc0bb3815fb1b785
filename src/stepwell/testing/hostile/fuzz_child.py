"""The fuzzer's child: atheris (libFuzzer on the coverage of our sources) changes inputs of one parser for some seconds; a line of JSON for each new fault.

    python -m stepwell.testing.hostile.fuzz_child PARSER FOLDER SECONDS

FOLDER keeps the corpus, so that a second run goes on; what libFuzzer itself stops for (no end, no memory) lies in FOLDER as `timeout-*`, `oom-*`, `crash-*`.
Modules are measured that are imported after atheris is told which: nothing of the package is imported above."""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

MEMORY = 2 << 30
"""Bytes of address space that reading one input may take."""
HANG = 120
"""Seconds after which libFuzzer ends the child: of what our own clock, in Python, cannot stop."""
LONGEST = 200_000
"""Bytes of an input."""


def main(words: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    import atheris

    name, folder, seconds = words[0], Path(words[1]), int(words[2])
    with atheris.instrument_imports(include=["stepwell", "xdsl.parser", "xdsl.irdl"]):
        from stepwell.testing.hostile import parsers

        parser = parsers.PARSERS[name]
        _warm(parsers, parser, folder)
    _limit_memory()
    seen: dict[str, int] = {}
    scratch = tempfile.mkdtemp(prefix="stepwell-fuzz-")

    def try_one(data: bytes) -> None:
        fault = parsers.judge(parser, parsers.unpacked(data, len(parser.files)), Path(scratch))
        if fault is None:
            return
        seen[fault.key] = seen.get(fault.key, 0) + 1
        if seen[fault.key] == 1:
            _keep(folder, fault, data)

    def change(data: bytes, largest: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.3:
            return bytes(atheris.Mutate(data, largest))
        parts = list(parsers.unpacked(data, len(parser.files)))
        at = random.randrange(len(parts))
        parts[at] = parser.mutate(at, parts[at], random)
        return parsers.packed(tuple(parts))[:largest]

    options = [
        f"-max_total_time={seconds}",
        f"-timeout={HANG}",
        f"-max_len={LONGEST}",
        "-rss_limit_mb=0",
        f"-report_slow_units={HANG}",
        "-print_final_stats=1",
    ]
    words = [sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder / "corpus")]
    atheris.Setup(words, try_one, custom_mutator=change, internal_libfuzzer=True)
    atheris.Fuzz()


def _warm(parsers: Any, parser: Any, folder: Path) -> None:
    """Write the seeds, and read one so that what is imported late is measured too."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for number, parts in enumerate(parser.seeds()):
            data = parsers.packed(parts)
            (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
            if number < 3:
                parsers.judge(parser, parts, Path(scratch))


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _keep(folder: Path, fault: Any, data: bytes) -> None:
    """Print a new fault and keep its input."""
    path = folder / "faults" / hashlib.sha1(fault.key.encode()).hexdigest()[:12]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    print(json.dumps({"key": fault.key, "text": fault.text, "input": str(path)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
