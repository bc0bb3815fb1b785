"""`python -m stepwell.testing.conformance SUITE --on EXECUTOR`: run a suite, compare with its record, and with --update write the record, which may not shrink."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from stepwell.driver.files import write_whole
from stepwell.testing.conformance.case import BAD, Outcome
from stepwell.testing.conformance.executors import EXECUTORS, missing
from stepwell.testing.conformance.record import losses, record_path, written
from stepwell.testing.conformance.run import Make, Runner
from stepwell.testing.conformance.suites import SUITES, recorded, sample


def main(argv: Sequence[str] | None = None) -> int:
    """0: nothing was lost and nothing is bad; 1: something is; 2: this machine has not what the executor needs."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.conformance", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--on", required=True, choices=EXECUTORS, help="the executor")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cases whose name matches, as 'Add/column/*'")
    parser.add_argument("--share", type=int, default=1, metavar="N", help="only about one case in N")
    parser.add_argument("--open", action="store_true", help="only the cases that the record does not hold as right")
    parser.add_argument("--records", type=Path, default=Path("tests/conformance"), metavar="FOLDER")
    parser.add_argument(
        "--journal", type=Path, metavar="FILE", help="keeps outcomes: a run that was interrupted goes on"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="children side by side (default 2)")
    parser.add_argument("--update", action="store_true", help="write the record; refused where it would shrink")
    args = parser.parse_args(argv)
    if why := missing(args.on):
        print(f"error: {why}", file=sys.stderr)
        return 2
    suite = SUITES[args.suite]
    cases = suite.cases(args.on)
    path = record_path(args.records, args.suite, args.on)
    known = recorded(path, cases) if path.exists() else {}
    names = [name for name in cases if fnmatch(name, args.only) and not (args.open and _is_right(known, name))]
    names = sample(names, args.share)
    runner = Runner(args.on, args.jobs, args.journal, progress=_say)
    seen = runner.run(cases, suite.batches(names, known))
    print(file=sys.stderr)
    return _report(known, seen, path, cases if args.update else None)


def _is_right(known: Mapping[str, Outcome], name: str) -> bool:
    return name in known and known[name].status == "right"


def _say(done: int) -> None:
    if done % 50 == 0:
        print(f"\r{done} done", end="", file=sys.stderr, flush=True)


def _report(
    known: Mapping[str, Outcome], seen: Mapping[str, Outcome], path: Path, cases: Mapping[str, Make] | None
) -> int:
    """Print what was seen; with `cases` write the record too."""
    lost = losses(known, seen)
    bad = [name for name, outcome in seen.items() if outcome.status in (*BAD, "late")]
    for name in bad:
        print(f"{seen[name].status:8}{name}: {seen[name].reason}")
    for line in lost:
        print(f"lost: {line}")
    counts = Counter(outcome.status for outcome in seen.values())
    print(f"{len(seen)} tried: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    if cases is not None and lost:
        print(f"error: {path} may only grow: {len(lost)} cases were better", file=sys.stderr)
    elif cases is not None:
        merged = {**known, **seen}
        write_whole(path, written({name: merged[name] for name in cases if name in merged}, cases))
    return int(bool(lost or bad))


if __name__ == "__main__":
    sys.exit(main())
