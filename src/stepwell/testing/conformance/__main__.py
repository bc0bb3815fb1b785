"""Run suites on executors, compare with their records, print what passed, failed and was refused and why; with --update write the records, which may not shrink."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from stepwell.driver.files import write_whole
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.executors import EXECUTORS, missing
from stepwell.testing.conformance.journal import journal
from stepwell.testing.conformance.record import record_path, written
from stepwell.testing.conformance.report import Result
from stepwell.testing.conformance.run import Make, Runner
from stepwell.testing.conformance.suites import SUITES, recorded, sample

ALL = "all"


def main(argv: Sequence[str] | None = None) -> int:
    """0: nothing was lost and nothing is bad; 1: something is; 2: this machine has nothing of what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.conformance", description=__doc__)
    parser.add_argument("suite", nargs="+", choices=(*SUITES, ALL))
    parser.add_argument("--on", choices=EXECUTORS, help="the executor (default: all that the suite is recorded for)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases whose name matches, as 'Add/column/*'")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="only about one case in N")
    parser.add_argument("--open", action="store_true", help="only the cases that the record does not hold as right")
    parser.add_argument("--records", type=Path, default=Path("tests/conformance"), metavar="FOLDER")
    parser.add_argument(
        "--journal", type=Path, metavar="FOLDER", help="keeps outcomes: a run that was interrupted goes on"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="children side by side (default 2)")
    parser.add_argument("--update", action="store_true", help="write the record; refused where it would shrink")
    args = parser.parse_args(argv)
    results = []
    for name, executor in _wanted(args):
        why = missing(executor) or SUITES[name].absent()
        if why:
            print(f"{name} on {executor}: not run: {why}", file=sys.stderr)
            continue
        results.append(_run(name, executor, args))
        print(*results[-1].lines(), results[-1].summary(), "", sep="\n", flush=True)
    if not results:
        return 2
    if len(results) > 1:
        print(*(result.summary() for result in results), sep="\n")
    return int(any(result.is_bad for result in results))


def _wanted(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Suites with executors."""
    names = list(SUITES) if ALL in args.suite else args.suite
    return ((name, on) for name in names for on in ([args.on] if args.on else SUITES[name].executors))


def _run(name: str, executor: str, args: argparse.Namespace) -> Result:
    suite = SUITES[name]
    cases = suite.cases(executor)
    path = record_path(args.records, name, executor)
    known = recorded(path, cases) if path.exists() else {}
    kept = journal(args.journal, name, executor) if args.journal else None
    runner = Runner(executor, args.jobs, kept, progress=_say)
    seen = runner.run(cases, suite.batches(_names(cases, known, args), known))
    print(file=sys.stderr)
    result = Result(name, executor, known, seen, suite.apart())
    if args.update:
        _update(path, cases, result)
    return result


def _names(cases: Mapping[str, Make], known: Mapping[str, Outcome], args: argparse.Namespace) -> list[str]:
    """The cases that were asked for."""
    names = [name for name in cases if fnmatch(name, args.only) and not (args.open and _is_right(known, name))]
    return sample(names, args.share)


def _is_right(known: Mapping[str, Outcome], name: str) -> bool:
    return name in known and known[name].status == "right"


def _say(done: int) -> None:
    if done % 50 == 0:
        print(f"\r{done} done", end="", file=sys.stderr, flush=True)


def _update(path: Path, cases: Mapping[str, Make], result: Result) -> None:
    if result.lost:
        print(f"error: {path} may only grow: {len(result.lost)} cases were better", file=sys.stderr)
        return
    merged = {**result.known, **result.seen}
    write_whole(path, written({name: merged[name] for name in cases if name in merged}, cases))


if __name__ == "__main__":
    sys.exit(main())
