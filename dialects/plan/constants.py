"""The values of a program's constants: one by one, or as the bytes of the constant arena."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, StringAttr
from xdsl.ir import Operation

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.plan.ops_memory import ConstantOp
from stepwell.dialects.plan.ops_program import ProgramOp
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore


def build_constants(program: ProgramOp, weights: WeightStore | None = None) -> bytearray:
    """The constant arena: every constant's bytes at its offset, zeros between them."""
    assert program.constants is not None
    arena = bytearray(program.constants.value.data)
    done: set[int] = set()
    for op in _constants(program):
        assert op.at is not None
        if op.at.value.data in done:
            continue
        done.add(op.at.value.data)
        array = constant_array(op, weights)
        arena[op.at.value.data : op.at.value.data + array.nbytes] = array.tobytes()
    return arena


def _constants(program: ProgramOp) -> Iterable[ConstantOp]:
    return (op for op in program.block.ops if isinstance(op, ConstantOp))


def constant_array(op: ConstantOp, weights: WeightStore | None = None) -> Array:
    """The value of one constant, contiguous, in its stored type."""
    dtype = numpy_dtype(op.type.element_type)
    if isinstance(op.value, DenseIntOrFPElementsAttr):
        values = np.array(op.value.get_values(), dtype)
        shape = op.type.get_shape()
        return np.array(
            np.broadcast_to(values.reshape(()), shape) if values.size == 1 else values.reshape(shape), order="C"
        )
    assert isinstance(op.value, graph.WeightAttr)
    if weights is None:
        raise UsageError(
            f'the values of weight "{op.value.source.data}" are needed',
            hint=f"give them: --weights FILE | random:0{_named_file(op)}",
        )
    array = weights.evaluate(op.value)
    if array.dtype != dtype or array.shape != op.type.get_shape():
        raise UsageError(f'weight "{op.value.source.data}" is {array.dtype}{array.shape}, the plan has {op.type}')
    return array


def _named_file(op: Operation) -> str:
    """What the module around `op` says about its weights, for a message."""
    top: Operation = op
    while (parent := top.parent_op()) is not None:
        top = parent
    named = top.attributes.get("stepwell.weights")
    return f' (the module names "{named.data}", which is not beside it)' if isinstance(named, StringAttr) else ""
