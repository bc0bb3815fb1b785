"""Run a plan, or a model, on arrays from files or on random ones; compare with what is expected, name classes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stepwell.cli.model_arguments import MODELS, add_model_arguments

if TYPE_CHECKING:
    import numpy as np


_ON = "ptx: execute the plan's PTX on the interpreter, without a GPU, and report what hardware would not (default: machine)"
_LEVEL = "execute the model there, in NumPy (default: compile it in memory and run that)"
_FILE = "NAME=FILE.npy|FILE.npz|FILE.pb|FILE.bin"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stepwell run`."""
    parser.add_argument("plan", type=Path, metavar="plan|model", help=f".plan, {MODELS}")
    parser.add_argument("--input", action="append", default=[], metavar=_FILE, help="input arrays; may be repeated")
    parser.add_argument("--random", type=int, metavar="SEED", help="random inputs instead")
    parser.add_argument("--output", type=Path, metavar="FILE.npz|FILE.npy", help="where the outputs go")
    parser.add_argument("--target", default="auto", help="auto, cpu, cuda, or the name of a section")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--profile", action="store_true", help="print the time of each launch")
    parser.add_argument("--on", choices=("machine", "ptx"), default="machine", help=_ON)
    parser.add_argument("--seed", type=int, help="with --on ptx: choose the order of warps, copies, waits (default: 0)")
    _add_results(parser.add_argument_group("results"))
    models = parser.add_argument_group("models (a plan has its own)")
    models.add_argument("--level", choices=("graph", "linalg", "tile", "plan", "kernel", "llvm"), help=_LEVEL)
    add_model_arguments(models)


def _add_results(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--expect", action="append", default=[], metavar=_FILE, help="compare; exit 1 where they differ")
    group.add_argument("--rtol", type=float, default=1e-3, help="allowed, relative to the largest value expected")
    group.add_argument("--labels", type=Path, metavar="FILE", help="names of the classes, one a line: print the best")
    group.add_argument("--top", type=int, default=5, metavar="K", help="how many of them (default: 5)")


def run(args: argparse.Namespace) -> int:
    """Load, run, print a line for each output."""
    from stepwell.cli.arrays import input_files, writable
    from stepwell.driver.files import refuse_overwriting
    from stepwell.runtime.errors import UsageError

    if args.random is not None and args.input:
        raise UsageError("--random and --input exclude each other")
    if args.random is not None and args.random < 0:
        raise UsageError(f"seed {args.random} is negative", where="--random", hint="give 0 or more")
    is_plan = args.plan.suffix == ".plan" and args.level is None
    refuse_idle_options(args, is_plan)
    if args.output:
        writable(args.output)
        files = [file for _, file in input_files([*args.input, *args.expect])]
        refuse_overwriting([("--output", args.output)], [args.plan, args.labels, *files])
    _show(args, _outputs(args, is_plan))
    return 0


def refuse_idle_options(args: argparse.Namespace, is_plan: bool) -> None:
    """A UsageError for an option that would change nothing."""
    from stepwell.runtime.errors import UsageError

    given = [f"--{name}" for name in ("shape", "outputs", "weights", "plugin") if getattr(args, name)]
    if is_plan and given:
        raise UsageError("a plan is compiled already", where=given[0], hint="say it to stepwell compile")
    if args.on == "ptx" and not is_plan:
        raise UsageError("the PTX interpreter runs plans", where="--on ptx", hint="compile the model first")
    if args.on != "ptx" and args.seed is not None:
        raise UsageError("the machine chooses the order by itself", where="--seed", hint="say --on ptx too")
    if args.top < 1:
        raise UsageError(f"{args.top} classes cannot be shown", where="--top", hint="give 1 or more")
    if not args.rtol >= 0:
        raise UsageError(f"{args.rtol} is no tolerance", where="--rtol", hint="give 0 or more")


def _outputs(args: argparse.Namespace, is_plan: bool) -> Mapping[str, np.ndarray]:
    if not is_plan:
        from stepwell.cli.run_model import run_model

        return run_model(args)
    return _run_ptx(args) if args.on == "ptx" else _run_plan(args)


def _run_plan(args: argparse.Namespace) -> Mapping[str, np.ndarray]:
    """The outputs of the plan on this machine."""
    from stepwell.api.bench import random_inputs
    from stepwell.cli.arrays import existing, input_files, read_inputs
    from stepwell.cli.run_model import run_engine
    from stepwell.driver.files import refuse_overwriting
    from stepwell.runtime.engine import load
    from stepwell.runtime.program import dtype_of

    with load(existing(args.plan), args.target, args.threads) as engine:
        ports = {b.name: (b.shape, dtype_of(b.dtype)) for b in engine.bindings if b.is_input}
        refuse_overwriting([("--output", args.output)], [file for _, file in input_files(args.input, ports)])
        inputs = random_inputs(engine, args.random) if args.random is not None else read_inputs(args.input, ports)
        return run_engine(engine, inputs, profile=args.profile)


def _show(args: argparse.Namespace, outputs: Mapping[str, np.ndarray]) -> None:
    from stepwell.cli.arrays import read_inputs, write_outputs

    for name, array in outputs.items():
        shown = f"min {array.min():.6g}, max {array.max():.6g}" if array.size else "empty"
        print(f"{name}: {array.dtype}{list(array.shape)}, {shown}")
    if args.output:
        write_outputs(args.output, outputs)
    if args.labels:
        from stepwell.cli.labels import print_classes

        print_classes(outputs, args.labels, args.top)
    if args.expect:
        from stepwell.cli.expected import check_expected

        ports = {name: (array.shape, array.dtype) for name, array in outputs.items()}
        check_expected(outputs, read_inputs(args.expect, ports, what="output"), args.rtol)


def _run_ptx(args: argparse.Namespace) -> dict[str, np.ndarray]:
    """The outputs of the plan's PTX on the interpreter; a line for each launch."""
    from stepwell.api.bench import random_arrays
    from stepwell.cli.arrays import existing, input_files, read_inputs
    from stepwell.driver.files import refuse_overwriting
    from stepwell.driver.run_ptx import find_section, run_plan
    from stepwell.runtime.errors import UsageError
    from stepwell.runtime.plan_file import read_plan
    from stepwell.runtime.program import dtype_of
    from stepwell.runtime.program_reader import read_program

    if args.profile or args.threads is not None:
        raise UsageError("--profile and --threads mean nothing on the PTX interpreter", where="--on ptx")
    seed = 0 if args.seed is None else args.seed
    if seed < 0:
        raise UsageError(f"seed {seed} is negative", where="--seed", hint="give 0 or more")
    plan = read_plan(existing(args.plan))
    section = find_section(plan, None if args.target in ("auto", "cuda") else args.target)
    bindings = read_program(section.program).bindings
    ports = {binding.name: (binding.shape, dtype_of(binding.dtype)) for binding in bindings if binding.is_input}
    refuse_overwriting([("--output", args.output)], [file for _, file in input_files(args.input, ports)])
    given = args.random is not None
    inputs = random_arrays(bindings, args.random) if given else read_inputs(args.input, ports)
    report = run_plan(plan, inputs, section=section.name, seed=seed)
    print(f"section {section.name} on the PTX interpreter")
    for launch in report.launches:
        print(f"  {launch}")
    return report.outputs
