"""Executes a module of any level on arrays, in NumPy: the reference of every later level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from stepwell.levels import level_of
from stepwell.runtime.errors import UsageError
from stepwell.signature import Array, signature_of
from stepwell.target import target_of

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore

Runner = Callable[[ModuleOp, Sequence[Array], "WeightStore | None"], Sequence[Array]]


def interpret(module: ModuleOp, inputs: Mapping[str, Array], *, weights: WeightStore | None = None) -> dict[str, Array]:
    """The outputs by name, for inputs by name. UsageErrors: inputs that do not fit, a level that cannot be executed, weights that
    are needed and not given."""
    level = level_of(module)
    if level not in _RUNNERS:
        raise UsageError(f"modules of level '{level}' cannot be interpreted", hint=f"levels: {', '.join(_RUNNERS)}")
    signature = signature_of(module)
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    signature.check(arrays)
    results = _RUNNERS[level](module, [arrays[port.name] for port in signature.inputs], weights)
    return {port.name: np.asarray(value) for port, value in zip(signature.outputs, results, strict=True)}


def _graph(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    from stepwell.dialects.graph.interpreter import run_function

    return run_function(module, arguments, weights)


def _linalg(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    from stepwell.dialects.linalg_interpreter import run_function

    return run_function(module, arguments, weights)


def _tile(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    from stepwell.dialects.tile.interpreter import run_function

    return run_function(module, arguments, weights)


def _plan(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    from stepwell.dialects.plan.interpreter import run_function

    return run_function(module, arguments, weights)


def _kernel(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    """CUDA kernels run on the simulator; CPU kernels have no interpreter of their own: they run natively."""
    from stepwell.dialects.hopper.simulator.program import simulate_program

    target = target_of(module)
    if target is None or target.family == "cpu":
        raise UsageError("CPU kernels are not interpreted", hint="interpret the plan level, or compile and run")
    if weights is None:
        raise UsageError("weights are needed to run this module", hint="--weights FILE | random:0")
    signature = signature_of(module)
    inputs = {port.name: array for port, array in zip(signature.inputs, arguments, strict=True)}
    outputs = simulate_program(module, inputs, weights).outputs
    return [outputs[port.name] for port in signature.outputs]


_RUNNERS: Mapping[str, Runner] = {
    "graph": _graph,
    "linalg": _linalg,
    "tile": _tile,
    "plan": _plan,
    "kernel": _kernel,
}
