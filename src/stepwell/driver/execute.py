"""Executes a module of any level on arrays, in NumPy: the reference of every later level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.plan import LaunchOp, ProgramOp
from stepwell.driver.signature import Array, signature_of
from stepwell.passes.levels import level_of
from stepwell.passes.target import target_of
from stepwell.runtime.arguments import as_array, named_inputs
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

Arrays = dict[str, Array]
Runner = Callable[[ModuleOp, Arrays, "WeightStore | None"], Mapping[str, Array]]


class NotExecutable(UsageError):
    """The module is in a form that only other machines run."""


def interpret(module: ModuleOp, inputs: Mapping[str, Array], *, weights: WeightStore | None = None) -> Arrays:
    """The outputs by name, for inputs by name. UsageErrors: inputs that do not fit, weights that are needed and not given; NotExecutable
    where this machine cannot run the module."""
    signature = signature_of(module)
    arrays = {name: as_array(value, name) for name, value in named_inputs(inputs).items()}
    signature.check(arrays)
    results = _RUNNERS[level_of(module)](module, arrays, weights)
    return {port.name: np.asarray(results[port.name]) for port in signature.outputs}


def _graph(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    from stepwell.dialects.graph.interpreter import interpret as run

    return run(module, inputs, weights)


def _linalg(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    from stepwell.dialects.linalg_interpreter import run_function

    signature = signature_of(module)
    results = run_function(module, [inputs[port.name] for port in signature.inputs], weights)
    return dict(zip((port.name for port in signature.outputs), results, strict=True))


def _tile(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    from stepwell.dialects.tile.interpreter import run_function

    signature = signature_of(module)
    results = run_function(module, [inputs[port.name] for port in signature.inputs], weights)
    return dict(zip((port.name for port in signature.outputs), results, strict=True))


def _plan(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    """Memory must be placed to be run: a program without offsets is run with those that the pass gives. A module some of whose kernels are
    lowered already is run as its completion."""
    from stepwell.dialects.plan.interpreter import run_program

    if any(isinstance(op, LaunchOp) and op.grid is not None for op in module.walk()):
        return _kernel(_completed(module, "kernel"), inputs, weights)
    program = next(op for op in module.ops if isinstance(op, ProgramOp))
    placed = module if program.arena is not None else _applied(module, "plan-assign-offsets")
    return run_program(placed, inputs, weights)


def _kernel(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    """CUDA kernels run on the simulator; CPU kernels, which have no interpreter of their own, natively."""
    from stepwell.dialects.hopper.simulator.program import simulate_program

    target = target_of(module)
    if target is None:
        raise UsageError("the module names no target", hint="set stepwell.target, or say --arch")
    if target.family == "cpu":
        return _native(module, inputs, weights)
    if any(len(region.blocks) > 1 for op in module.ops for region in op.regions):
        raise NotExecutable("the simulator runs structured control flow, not branches between blocks")
    if weights is None:
        raise UsageError("weights are needed to run this module", hint="--weights FILE | random:0")
    return simulate_program(module, inputs, weights).outputs


def _llvm(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    """Code for the CPU runs natively; for PTX a device is needed."""
    target = target_of(module)
    if target is None or target.family != "cpu":
        raise NotExecutable("PTX runs on a device only: compile, and run the plan there")
    return _native(module, inputs, weights)


def _native(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    from stepwell.driver.build import build_section
    from stepwell.driver.driver import Driver
    from stepwell.driver.pipeline import pipeline
    from stepwell.plugins.universe import make_context
    from stepwell.runtime.engine import Engine
    from stepwell.runtime.plan_file import Plan
    from stepwell.types.targets import supports

    target = target_of(module)
    assert target is not None
    if not supports(target):
        raise NotExecutable(f"this machine does not run {target.processor} code")
    section = build_section("cpu", module, target, weights, pipeline("cpu"), Driver(make_context(weights)))
    with Engine(Plan((section,)), "cpu") as engine:
        return engine.run(inputs)


def _applied(module: ModuleOp, specs: str) -> ModuleOp:
    from stepwell.driver.driver import Driver, passes_of
    from stepwell.plugins.universe import make_context

    copy = module.clone()
    Driver(make_context(), raw=True).run(copy, passes_of(specs))
    return copy


def _completed(module: ModuleOp, level: str) -> ModuleOp:
    """A copy with the passes of the default pipeline that lead to `level` applied."""
    from stepwell.driver.pipeline import pipeline

    target = target_of(module)
    assert target is not None
    return _applied(module, ",".join(pipeline(target.family).between("plan", level).specs))


_RUNNERS: Mapping[str, Runner] = {
    "graph": _graph,
    "linalg": _linalg,
    "tile": _tile,
    "plan": _plan,
    "kernel": _kernel,
    "llvm": _llvm,
}
