"""Executes a module of any level on arrays, in NumPy: the reference of every later level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from stepwell.levels import level_of
from stepwell.runtime.errors import UsageError
from stepwell.signature import Array, signature_of

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


def _tile(module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None) -> Sequence[Array]:
    from stepwell.dialects.tile.interpreter import run_function

    return run_function(module, arguments, weights)


_RUNNERS: Mapping[str, Runner] = {"graph": _graph, "tile": _tile}
