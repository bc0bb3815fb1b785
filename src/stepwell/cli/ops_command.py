"""Which operators each door takes, with which element types they were seen to run, and where: interpreter, cpu, sm_90a."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell ops`."""
    parser.add_argument(
        "--door", action="append", choices=("onnx", "caffe", "tensorflow", "network"), help="only this door's"
    )
    parser.add_argument("--operator", default="*", metavar="PATTERN", help="only those whose name matches, as 'Conv*'")
    parser.add_argument(
        "--on", choices=("graph", "cpu", "sm_90a"), help="only those that run there (graph: interpreter)"
    )
    parser.add_argument("--type", metavar="TYPE", help="only those that run with this element type, as f16")
    parser.add_argument("--json", action="store_true", help="print a JSON object a line")


def run(args: argparse.Namespace) -> int:
    """Print the rows."""
    from stepwell.api.support import DOORS, RUNNERS, chosen, shipped
    from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES
    from stepwell.runtime.errors import UsageError

    if args.type is not None and args.type not in ELEMENT_TYPE_NAMES:
        raise UsageError(
            f"{args.type!r} is no element type", where="--type", hint=f"one of {', '.join(ELEMENT_TYPE_NAMES)}"
        )
    places = [args.on] if args.on else list(RUNNERS)
    table = chosen(shipped(), args.door or DOORS, args.operator)
    if not table:
        raise UsageError(
            f"no operator is called {args.operator!r}", where="--operator", hint="'Conv*' matches from the beginning"
        )
    shown = 0
    for (door, operator), row in table.items():
        if (args.on or args.type) and not any(_runs(row.get(place, ()), args.type) for place in places):
            continue
        shown += 1
        if args.json:
            print(
                json.dumps(
                    {"door": door, "operator": operator, **{place: list(row.get(place, ())) for place in places}}
                )
            )
        else:
            print(
                f"{door:11}{operator:32}"
                + "  ".join(f"{place}: {' '.join(row.get(place, ())) or '-'}" for place in places)
            )
    if not args.json:
        print(f"{shown} operators")
    return 0


def _runs(elements: tuple[str, ...], wanted: str | None) -> bool:
    return bool(elements) if wanted is None else wanted in elements
