"""Compile a model (.onnx, .mlir) to a plan file. Building needs no device."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell compile`."""
    parser.add_argument("model", type=Path, help=".onnx, or .mlir with its .safetensors")
    parser.add_argument("-o", "--output", type=Path, help="the plan file (default: the model's name with .plan)")
    parser.add_argument(
        "--target",
        action="append",
        metavar="TARGET",
        help="auto, cpu, cuda, sm_90a, x86-64-v3, x86-64-v4; repeat it, or separate by commas, for several sections",
    )
    parser.add_argument("--precision", default="model", help="model, fp32, tf32, fp16 (default: as the model says)")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME:1x2x3", help="shape of a network input")
    parser.add_argument("--weights", metavar="FILE|random:SEED", help="weights, where the model does not hold them")
    parser.add_argument("--remarks", metavar="REGEX", help="print the remarks of the passes that match")


def run(args: argparse.Namespace) -> int:
    """Compile and write."""
    from stepwell.cli.arrays import existing, writable
    from stepwell.compiler import compile_plan
    from stepwell.modules import parse_shape_options
    from stepwell.runtime.plan_file import write_plan

    begun = time.perf_counter()
    output = writable(args.output or args.model.with_suffix(".plan"))
    targets = [name for word in args.target or ["auto"] for name in word.split(",")]
    plan = compile_plan(
        existing(args.model),
        args.weights,
        target=targets,
        precision=args.precision,
        shapes=parse_shape_options(args.shape) or None,
    )
    write_plan(plan, output)
    if args.remarks is not None:
        _print_remarks(plan.details["remarks"], args.remarks)
    names = ", ".join(section.name for section in plan.sections)
    print(f"{output}: {names}; {output.stat().st_size:,} bytes in {time.perf_counter() - begun:.1f} s")
    return 0


def _print_remarks(entries: list[dict[str, object]], pattern: str) -> None:
    import re

    from stepwell.runtime.errors import UsageError

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"not a regular expression: {error}", where="--remarks") from None
    for entry in entries:
        if wanted.search(str(entry["pass"])):
            names = entry["names"]
            place = " + ".join(names) if isinstance(names, list) and names else "module"
            line = f"{entry['section']}: [{entry['kind']}] {entry['pass']}: {place}: {entry['message']}"
            print(line, file=sys.stderr)
