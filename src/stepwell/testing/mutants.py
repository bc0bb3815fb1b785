"""Faults put into the project on purpose, and whether the tests see them: `python -m stepwell.testing.mutants`, or `make mutants`.

Two kinds, each a table in `tests/mutants`. A fault of PTX (`ptx.toml`) damages the text of a kernel, which the PTX interpreter then executes and judges: it stands for a mistake anywhere
between the kernel level and the assembler. A fault of the source (`source.toml`) is one changed line of a copy of the project, on which the named tests run. A fault that nothing
catches survives, and the command fails; so it does when an area has fewer faults than `floor.toml` says. One that cannot be seen stands in
`equivalent.toml` with the test that proves it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from xdsl.parser import Parser

import stepwell
from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.runtime.plan_file import Plan
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, gemm
from stepwell.testing.ptx import judge_ptx, ptx_plan, substituted

SECONDS = 600
"""Longest time for the tests of one fault of the source; beyond it the fault counts as caught: something hangs."""


@dataclass(frozen=True)
class PtxMutant:
    """The PTX of `kernel` with `pattern` (a regular expression) replaced by `new`, everywhere or at match number `site`."""

    area: str
    name: str
    kernel: str
    pattern: str
    new: str
    site: int | None = None

    def judge(self) -> str:
        """What catches it; empty when nothing does. ValueError when the text has nothing to damage."""
        case, plan = case_of(self.kernel), plan_of(self.kernel)
        return judge_ptx(
            plan,
            case.inputs,
            substituted(f"(?m){self.pattern}", self.new, self.site),
            {"y": case.expected},
            rtol=case.rtol,
        )


@dataclass(frozen=True)
class SourceMutant:
    """One changed place of a source file, and the tests (pytest's words) that must fail then."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def count(self, root: Path) -> int:
        """How often the text stands in the file: it must be once."""
        return (root / self.file).read_text().count(self.old)

    def judge(self, copy: Path) -> str:
        """What catches it in a copy of the project: failed tests, or tests that hang; empty when they pass."""
        path = copy / self.file
        before = path.read_text()
        path.write_text(before.replace(self.old, self.new))
        try:
            return _run_tests(copy, self.tests)
        finally:
            path.write_text(before)


STALE = "bring the entry up to date"
"""How the answer for a fault starts that cannot be put in."""
Mutant = PtxMutant | SourceMutant


@cache
def case_of(name: str) -> Case:
    """The kernels that are damaged: the small ones of `gpu_kernels`, a ring beyond byte 131072, and rows that only halves reach."""
    deep = gemm("gemm_deep", 64, 256, 160, "f32", Schedule((64, 256), 5), Ending("none"))
    odd = gpu_kernels.elementwise("elementwise_odd", 37, 9, "f16")
    return {case.name: case for case in (*gpu_kernels.small_cases(), deep, odd)}[name]


@cache
def plan_of(name: str) -> Plan:
    """The plan of a kernel; the interpreter must find it right as it is."""
    case = case_of(name)
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    plan = ptx_plan(stepwell.lower(module, "kernel"))
    output = run_plan(plan, case.inputs).outputs["y"].reshape(case.expected.shape)
    if not np.allclose(output, case.expected, rtol=0, atol=case.rtol * np.abs(case.expected).max()):
        raise ValueError(f"the PTX of {name} is wrong before any damage")
    return plan


def load_mutants(folder: Path) -> list[Mutant]:
    """The faults of both tables. ValueError for names that stand twice."""
    found: list[Mutant] = []
    for area, entries in tomllib.loads((folder / "ptx.toml").read_text()).items():
        found += [PtxMutant(area, name, **entry) for name, entry in entries.items()]
    for area, entries in tomllib.loads((folder / "source.toml").read_text()).items():
        found += [
            SourceMutant(area, name, **{**entry, "tests": tuple(entry["tests"])}) for name, entry in entries.items()
        ]
    twice = [name for name, count in Counter(m.name for m in found).items() if count > 1]
    if twice:
        raise ValueError(f"two faults are called {twice[0]!r}")
    return found


def load_equivalent(folder: Path) -> dict[str, dict[str, str]]:
    """Faults that cannot be seen: for each the reason and the test that proves it."""
    return tomllib.loads((folder / "equivalent.toml").read_text())


def load_floor(folder: Path) -> dict[str, int]:
    """The least number of faults of each area."""
    return {area: int(count) for area, count in tomllib.loads((folder / "floor.toml").read_text()).items()}


def copy_of(root: Path, folder: Path) -> Path:
    """A copy of the project's files (those that git knows, links as links) to put faults into."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        source, target = root / name, folder / name
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return folder


def _run_tests(copy: Path, tests: Sequence[str]) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(copy / "src"), os.environ.get("PYTHONPATH", "")])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "STEPWELL_MUTANT": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, check=False, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return "the tests hang"
    if done.returncode == 0:
        return ""
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode in (1, 2) and failed:
        return failed[0]
    if done.returncode < 0:
        return f"signal {-done.returncode}"
    raise ValueError(
        f"pytest says neither passed nor failed (exit {done.returncode}): {done.stdout[-300:]}{done.stderr[-300:]}"
    )


def judged(mutants: Sequence[Mutant], root: Path, jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Each fault with what caught it, in order."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        copies = [copy_of(root, Path(scratch) / str(job)) for job in range(jobs)]

        def judge(mutant: Mutant) -> str:
            if isinstance(mutant, PtxMutant):
                return mutant.judge()
            if mutant.count(root) != 1:
                raise ValueError(f"{mutant.old!r} stands {mutant.count(root)} times in {mutant.file}")
            copy = copies.pop()
            try:
                return mutant.judge(copy)
            finally:
                copies.append(copy)

        def answered(mutant: Mutant) -> str:
            try:
                return judge(mutant)
            except ValueError as error:
                return f"{STALE}: {error}"

        yield from zip(mutants, pool.map(answered, mutants), strict=True)


def main(words: Sequence[str] | None = None) -> int:
    """Judge all faults, or those of some areas or names; 1 when one survives or an area has too few."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's folder (default: here)")
    parser.add_argument("--only", default="", metavar="REGEX", help="faults whose `area/name` matches")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(words)
    folder = args.root / "tests" / "mutants"
    mutants = [m for m in load_mutants(folder) if re.search(args.only, f"{m.area}/{m.name}")]
    survivors, killed, total = [], Counter[str](), Counter[str]()
    for mutant, caught in judged(mutants, args.root, args.jobs):
        seen = bool(caught) and not caught.startswith(STALE)
        total[mutant.area] += 1
        killed[mutant.area] += seen
        print(f"{'killed  ' if seen else 'SURVIVED'} {mutant.area}/{mutant.name}: {caught}", flush=True)
        if not seen:
            survivors.append(f"{mutant.area}/{mutant.name}")
    print(f"\n{'area':<14} {'killed':>6} {'survived':>8}")
    for area in total:
        print(f"{area:<14} {killed[area]:>6} {total[area] - killed[area]:>8}")
    for name, entry in load_equivalent(folder).items():
        print(f"cannot be seen: {name}: {entry['reason']} ({entry['proof']})")
    few = [] if args.only else [a for a, least in load_floor(folder).items() if total[a] < least]
    print(
        f"{sum(killed.values())} of {len(mutants)} faults are caught"
        + "".join(f"; area {a} has fewer than its floor" for a in few)
    )
    return 1 if survivors or few else 0


if __name__ == "__main__":
    sys.exit(main())
