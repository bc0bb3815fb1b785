"""Fuzz parsers: print cases, coverage and faults; exit 1 where a fault was found, 2 where the fuzzer is not installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from stepwell.testing.hostile.fuzz import fuzz
from stepwell.testing.hostile.parsers import PARSERS


def main(argv: Sequence[str] | None = None) -> int:
    """`fuzz` is the only command so far."""
    parser = argparse.ArgumentParser(prog="python -m stepwell.testing.hostile", description=__doc__)
    parser.add_argument("command", choices=["fuzz"])
    parser.add_argument("--parser", action="append", choices=PARSERS, help="may be repeated (default: all)")
    parser.add_argument("--seconds", type=float, default=600, help="for each parser (default 600)")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="keeps the corpora and what was found")
    args = parser.parse_args(argv)
    if find_spec("atheris") is None:
        print("error: atheris is not installed: pip install 'stepwell[fuzz]'", file=sys.stderr)
        return 2
    count = 0
    for name in args.parser or PARSERS:
        findings = fuzz(name, args.seconds, args.folder)
        print(findings, flush=True)
        for key, (text, path) in findings.faults.items():
            print(f"- {key} ({path})\n    {text.strip()[-400:]}".replace("\n", "\n    "), flush=True)
        count += len(findings.faults)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
