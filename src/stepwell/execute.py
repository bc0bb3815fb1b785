"""Executes a module of any level on arrays, in NumPy: the reference of every later level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from stepwell.levels import level_of
from stepwell.runtime.errors import UsageError
from stepwell.signature import Array, signature_of
from stepwell.target import target_of

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore

Arrays = dict[str, Array]
Runner = Callable[[ModuleOp, Arrays, "WeightStore | None"], Mapping[str, Array]]


def interpret(module: ModuleOp, inputs: Mapping[str, Array], *, weights: WeightStore | None = None) -> Arrays:
    """The outputs by name, for inputs by name. UsageErrors: inputs that do not fit, a level that cannot be executed, weights that
    are needed and not given."""
    level = level_of(module)
    if level not in _RUNNERS:
        raise UsageError(f"modules of level '{level}' cannot be interpreted", hint=f"levels: {', '.join(_RUNNERS)}")
    signature = signature_of(module)
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    signature.check(arrays)
    results = _RUNNERS[level](module, arrays, weights)
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
    """Memory must be placed to be run; a program without offsets is run with those that the pass gives."""
    from stepwell.dialects.plan.interpreter import run_program
    from stepwell.transforms.plan._serialize import find_program
    from stepwell.transforms.plan.assign_offsets import AssignOffsetsPass
    from stepwell.universe import make_context

    if find_program(module).arena is None:
        module = module.clone()
        AssignOffsetsPass().apply(make_context(), module)
    return run_program(module, inputs, weights)


def _kernel(module: ModuleOp, inputs: Arrays, weights: WeightStore | None) -> Mapping[str, Array]:
    """CUDA kernels run on the simulator; CPU kernels have no interpreter of their own: they run natively."""
    from stepwell.dialects.hopper.simulator.program import simulate_program

    target = target_of(module)
    if target is None or target.family == "cpu":
        raise UsageError("CPU kernels are not interpreted", hint="interpret the plan level, or compile and run")
    if weights is None:
        raise UsageError("weights are needed to run this module", hint="--weights FILE | random:0")
    return simulate_program(module, inputs, weights).outputs


_RUNNERS: Mapping[str, Runner] = {
    "graph": _graph,
    "linalg": _linalg,
    "tile": _tile,
    "plan": _plan,
    "kernel": _kernel,
}
