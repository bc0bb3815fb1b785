"""Compile a model to a plan file. Building needs no device."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from stepwell.cli.model_arguments import MODELS, add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell compile`."""
    parser.add_argument("model", type=Path, help=MODELS)
    parser.add_argument("-o", "--output", type=Path, help="the plan file (default: the model's name with .plan)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help="auto, cpu, cuda, sm_90a, x86-64-v3, x86-64-v4; repeat it, or separate by commas, for several sections",
    )
    parser.add_argument(
        "--precision", default="model", help="model, fp32, tf32, fp16, bf16 (default: as the model says)"
    )
    add_model_arguments(parser)
    parser.add_argument("--remarks", metavar="REGEX", help="print the remarks of the passes that match")


def run(args: argparse.Namespace) -> int:
    """Compile and write."""
    from stepwell.api.compile import compile_plan
    from stepwell.cli.arrays import writable
    from stepwell.cli.model_arguments import read
    from stepwell.driver.files import refuse_overwriting
    from stepwell.passes.remarks import check_pattern
    from stepwell.runtime.plan_file import write_plan

    begun = time.perf_counter()
    pattern = check_pattern(args.remarks or "", "--remarks")
    output = writable(args.output or args.model.with_suffix(".plan"))
    refuse_overwriting([("-o", output)], [args.model, args.weights])
    targets = [name for word in args.target or ["auto"] for name in word.split(",")]
    loaded = read(args)
    refuse_overwriting([("-o", output)], loaded.files)
    plan = compile_plan(loaded.module, loaded.ctx.weights, target=targets, precision=args.precision)
    write_plan(plan, output)
    if args.remarks is not None:
        _print_remarks(plan.details["remarks"], pattern)
    names = ", ".join(section.name for section in plan.sections)
    print(f"{output}: {names}; {output.stat().st_size:,} bytes in {time.perf_counter() - begun:.1f} s")
    for section, loops in plan.details["loops"].items():
        if loops:
            told = f"{len(loops)} of the kernels are loops, which are slow: {', '.join(loops[:8])}{', ..' if loops[8:] else ''}"
            print(f"{section}: {told} (--remarks choose says why)", file=sys.stderr)
    return 0


def _print_remarks(entries: list[dict[str, object]], wanted: re.Pattern[str]) -> None:
    for entry in entries:
        if wanted.search(str(entry["pass"])):
            names = entry["names"]
            place = " + ".join(names) if isinstance(names, list) and names else "module"
            line = f"{entry['section']}: [{entry['kind']}] {entry['pass']}: {place}: {entry['message']}"
            print(line, file=sys.stderr)
