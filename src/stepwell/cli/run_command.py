"""Run a plan on arrays from files, or on random ones."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


_ON = "ptx: execute the plan's PTX on the interpreter, without a GPU, and report what hardware would not (default: machine)"


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
    parser.add_argument("--on", choices=("machine", "ptx"), default="machine", help=_ON)
    parser.add_argument(
        "--seed", type=int, help="with --on ptx: choose the order of warps, copies and waits (default: 0)"
    )


def run(args: argparse.Namespace) -> int:
    """Load, run, print a line for each output."""
    from stepwell.api.bench import random_inputs
    from stepwell.cli.arrays import existing, input_files, read_inputs, writable
    from stepwell.driver.files import refuse_overwriting
    from stepwell.runtime.engine import load
    from stepwell.runtime.errors import UsageError

    if args.random is not None and args.input:
        raise UsageError("--random and --input exclude each other")
    if args.random is not None and args.random < 0:
        raise UsageError(f"seed {args.random} is negative", where="--random", hint="give 0 or more")
    if args.output:
        writable(args.output)
        refuse_overwriting([("--output", args.output)], [args.plan, *(file for _, file in input_files(args.input))])
    if args.on == "ptx":
        _show(args, _run_ptx(args))
        return 0
    if args.seed is not None:
        raise UsageError("the machine chooses the order by itself", where="--seed", hint="say --on ptx too")
    with load(existing(args.plan), args.target, args.threads) as engine:
        names = [binding.name for binding in engine.bindings if binding.is_input]
        refuse_overwriting([("--output", args.output)], [file for _, file in input_files(args.input, names)])
        inputs = random_inputs(engine, args.random) if args.random is not None else read_inputs(args.input, names)
        outputs = engine.run(inputs)
        print(engine.choice)
        if args.profile:
            for name, seconds in engine.profile(inputs):
                print(f"{1e6 * seconds:10.1f} us  {name}")
    _show(args, outputs)
    return 0


def _show(args: argparse.Namespace, outputs: dict[str, np.ndarray]) -> None:
    from stepwell.cli.arrays import write_outputs

    for name, array in outputs.items():
        shown = f"min {array.min():.6g}, max {array.max():.6g}" if array.size else "empty"
        print(f"{name}: {array.dtype}{list(array.shape)}, {shown}")
    if args.output:
        write_outputs(args.output, outputs)


def _run_ptx(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """The outputs of the plan's PTX on the interpreter; a line for each launch."""
    from stepwell.api.bench import random_arrays
    from stepwell.cli.arrays import existing, input_files, read_inputs
    from stepwell.driver.files import refuse_overwriting
    from stepwell.driver.run_ptx import find_section, run_plan
    from stepwell.runtime.errors import UsageError
    from stepwell.runtime.plan_file import read_plan
    from stepwell.runtime.program_reader import read_program

    if args.profile or args.threads is not None:
        raise UsageError("--profile and --threads mean nothing on the PTX interpreter", where="--on ptx")
    seed = 0 if args.seed is None else args.seed
    if seed < 0:
        raise UsageError(f"seed {seed} is negative", where="--seed", hint="give 0 or more")
    plan = read_plan(existing(args.plan))
    section = find_section(plan, None if args.target in ("auto", "cuda") else args.target)
    bindings = read_program(section.program).bindings
    names = [binding.name for binding in bindings if binding.is_input]
    refuse_overwriting([("--output", args.output)], [file for _, file in input_files(args.input, names)])
    given = args.random is not None
    inputs = random_arrays(bindings, args.random) if given else read_inputs(args.input, names)
    report = run_plan(plan, inputs, section=section.name, seed=seed)
    print(f"section {section.name} on the PTX interpreter")
    for launch in report.launches:
        print(f"  {launch}")
    return report.outputs
