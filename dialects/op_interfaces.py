"""What an op of a plugin says of itself, as traits on its class: at which levels it may stand, how it is executed, what it means.

    class MishOp(IRDLOperation):
        name = "acme.mish"
        ...
        traits = traits_def(Pure(), AtLevels(("graph",)), Interpreted(mish), Reference(mish_exactly))

The interpreters of the graph, linalg and tile levels run such an op by its own function, `check_level` allows it at its levels, and the float64 oracle
takes its reference. Nothing is registered: the class is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation
from xdsl.traits import OpTrait

from stepwell.dialects.numpy_types import Array, is_float, numpy_dtype
from stepwell.runtime.errors import ModelError

RunFunction = Callable[..., Any]
"""`(op, *arrays)` -> an array for the op's result, or a tuple of one for each."""


@dataclass(frozen=True)
class AtLevels(OpTrait):
    """The op may stand in modules of these levels, as if its dialect were listed there."""

    levels: tuple[str, ...]


@dataclass(frozen=True)
class Interpreted(OpTrait):
    """The op is executed by `run(op, *arrays)`: arrays of the operands' element types, which gives those of the results'."""

    run: RunFunction


@dataclass(frozen=True)
class Reference(OpTrait):
    """What the op means, by `run(op, *arrays)` in float64 where its tensors are floats: what the oracle computes, and `check_op` compares with."""

    run: RunFunction


def run_by_trait(op: Operation, operands: Sequence[Array], *, float64: bool = False) -> tuple[Array, ...] | None:
    """The results of an op that brings its own interpreter, in float64 those of its reference if it has one; None for other ops. ModelError for
    results that are not of the op's types."""
    reference = op.get_trait(Reference) if float64 else None
    found = reference or op.get_trait(Interpreted)
    if found is None:
        return None
    with np.errstate(all="ignore"):
        given = found.run(op, *operands)
    results = tuple(np.asarray(array) for array in (given if isinstance(given, tuple) else (given,)))
    wanted = [_wanted(result.type, float64) for result in op.results]
    if float64:
        results = tuple(array.astype(dtype) for array, (_, dtype) in zip(results, wanted, strict=False))
    got = [(array.shape, array.dtype) for array in results]
    if got != wanted:
        raise ModelError(f"its interpreter gave {_told(got)}, the results are {_told(wanted)}", where=op.name)
    return results


def _wanted(type: Any, float64: bool) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    assert isinstance(type, TensorType)
    dtype = np.dtype(np.float64) if float64 and is_float(type.element_type) else numpy_dtype(type)
    return type.get_shape(), dtype


def _told(results: Sequence[tuple[tuple[int, ...], np.dtype[np.generic]]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in results) or "nothing"
