"""Run a plan on arrays from files, or on random ones."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell run`."""
    parser.add_argument("plan", type=Path)
    parser.add_argument(
        "--input", action="append", default=[], metavar="NAME=FILE.npy|FILE.npz", help="input arrays; may be repeated"
    )
    parser.add_argument("--random", type=int, metavar="SEED", help="random inputs instead")
    parser.add_argument("--output", type=Path, metavar="FILE.npz|FILE.npy", help="where the outputs go")
    parser.add_argument("--target", default="auto", help="auto, cpu, cuda, or the name of a section")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--profile", action="store_true", help="print the time of each launch")


def run(args: argparse.Namespace) -> int:
    """Load, run, print a line for each output."""
    from stepwell.bench_report import random_inputs
    from stepwell.cli.arrays import existing, read_inputs, writable, write_outputs
    from stepwell.runtime.engine import load
    from stepwell.runtime.errors import UsageError

    if args.random is not None and args.input:
        raise UsageError("--random and --input exclude each other")
    if args.output:
        writable(args.output)
    with load(existing(args.plan), args.target, args.threads) as engine:
        inputs = random_inputs(engine, args.random) if args.random is not None else read_inputs(args.input)
        outputs = engine.run(inputs)
        print(engine.choice)
        if args.profile:
            for name, seconds in engine.profile(inputs):
                print(f"{1e6 * seconds:10.1f} us  {name}")
    for name, array in outputs.items():
        shown = f"min {array.min():.6g}, max {array.max():.6g}" if array.size else "empty"
        print(f"{name}: {array.dtype}{list(array.shape)}, {shown}")
    if args.output:
        write_outputs(args.output, outputs)
    return 0
