"""Run a model without writing a plan: interpreted at a level, or compiled in memory."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from stepwell.driver.modules import LoadedModule
    from stepwell.runtime.engine import Engine


def run_model(args: argparse.Namespace) -> Mapping[str, np.ndarray]:
    """The outputs of `args.model` at `args.level`, or of what it compiles to."""
    from stepwell.cli.arrays import input_files, read_inputs
    from stepwell.cli.model_arguments import read
    from stepwell.driver.files import refuse_overwriting
    from stepwell.driver.signature import signature_of

    loaded = read(args)
    signature = signature_of(loaded.module)
    ports = {port.name: (port.shape, port.dtype) for port in signature.inputs}
    files = [file for _, file in input_files(args.input, ports)]
    refuse_overwriting([("--output", args.output)], [*loaded.files, *files])
    given = read_inputs(args.input, ports) if args.random is None else signature.random_inputs(args.random)
    if args.level is None:
        return _compiled(args, loaded, given)
    return _interpreted(args, loaded, given)


def _interpreted(
    args: argparse.Namespace, loaded: LoadedModule, inputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    from stepwell.api.compile import interpret, lower
    from stepwell.dialects.weights import keep_weights
    from stepwell.passes.levels import level_of
    from stepwell.runtime.errors import UsageError

    if args.profile or args.threads is not None:
        raise UsageError("--profile and --threads are for compiled code", where=f"--level {args.level}")
    module = keep_weights(loaded.module, loaded.ctx.weights)
    if level_of(module) != args.level:
        module = lower(module, args.level, target=None if args.target == "auto" else args.target)
    print(f"level {args.level}, interpreted")
    return interpret(module, inputs)


def _compiled(
    args: argparse.Namespace, loaded: LoadedModule, inputs: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    from stepwell.api.compile import compile_plan
    from stepwell.runtime.engine import Engine

    plan = compile_plan(loaded.module, loaded.ctx.weights, target=args.target)
    with Engine(plan, args.target, args.threads) as engine:
        return run_engine(engine, inputs, profile=args.profile)


def run_engine(engine: Engine, inputs: Mapping[str, np.ndarray], *, profile: bool) -> Mapping[str, np.ndarray]:
    """The outputs of one run; a line says what ran, and with `profile` one for each launch how long it took."""
    outputs = engine.run(inputs)
    print(engine.choice)
    if profile:
        for name, seconds in engine.profile(inputs):
            print(f"{1e6 * seconds:10.1f} us  {name}")
    return outputs
