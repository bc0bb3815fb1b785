"""Coverage-guided fuzzing of the parsers: the parent runs children until the time is over, adds up what they tell, and takes from every found case
what its fault does not need."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from stepwell.testing.hostile.parsers import PARSERS, Parser, judge, packed, unpacked

_STATE = re.compile(r"cov: (\d+) ft: (\d+)")
_CASES = re.compile(r"^#(\d+)\s", re.MULTILINE)
_ARTIFACT = re.compile(r"Test unit written to (\S+)")
LEAST = 5
"""Seconds for which another child is worth its start."""
TRIES = 400
"""Attempts to make a found case smaller."""


@dataclass
class Findings:
    """What came of fuzzing one parser: cases tried, edges covered, faults by key with what is told and the input."""

    parser: str
    cases: int = 0
    coverage: int = 0
    seconds: float = 0.0
    faults: dict[str, tuple[str, Path]] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.parser}: {self.cases:,} cases in {self.seconds:.0f} s, {self.coverage:,} edges covered, "
            f"{len(self.faults)} faults"
        )


def fuzz(name: str, seconds: float, folder: Path) -> Findings:
    """Fuzz the parser; the corpus and the found cases are kept in `folder`."""
    findings, begun = Findings(name), time.monotonic()
    kept = folder / name
    kept.mkdir(parents=True, exist_ok=True)
    while (left := int(seconds - (time.monotonic() - begun))) >= LEAST:
        ended = subprocess.run(
            [sys.executable, "-m", "stepwell.testing.hostile.fuzz_child", name, str(kept.resolve()), str(left)],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
        )
        _add(findings, ended)
        if ended.returncode == 1 and "Traceback" in ended.stderr and not _CASES.search(ended.stderr):
            raise RuntimeError(f"the fuzzer did not start: {ended.stderr[-2000:]}")
    findings.seconds = time.monotonic() - begun
    for key, (text, path) in findings.faults.items():
        smaller(PARSERS[name], key, path)
        findings.faults[key] = (text, path)
    return findings


def _add(findings: Findings, ended: subprocess.CompletedProcess[str]) -> None:
    for line in ended.stdout.splitlines():
        if line.startswith('{"key"'):
            told = json.loads(line)
            findings.faults.setdefault(told["key"], (told["text"], Path(told["input"])))
    findings.cases += max((int(number) for number in _CASES.findall(ended.stderr)), default=0)
    findings.coverage = max([findings.coverage, *(int(cov) for cov, _ in _STATE.findall(ended.stderr))])
    for path in _ARTIFACT.findall(ended.stderr):
        kind = Path(path).name.partition("-")[0]
        findings.faults.setdefault(f"{kind} {path}", (f"libFuzzer stopped: {kind}", Path(path)))


def smaller(parser: Parser, key: str, path: Path) -> None:
    """Cut from the parts of the input at `path` what its fault does not need, by halves and quarters down to bytes."""
    parts, tries = list(unpacked(path.read_bytes(), len(parser.files))), 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(len(parts)):
            size = max(1, len(parts[number]) // 2)
            while size and tries < TRIES:
                at, shrunk = 0, False
                while at < len(parts[number]) and tries < TRIES:
                    part, tries = parts[number], tries + 1
                    parts[number] = part[:at] + part[at + size :]
                    fault = judge(parser, tuple(parts), Path(folder))
                    if fault is not None and fault.key == key:
                        shrunk = True
                    else:
                        parts[number], at = part, at + size
                size = size if shrunk and size > 1 else size // 2
    path.write_bytes(packed(tuple(parts)))
