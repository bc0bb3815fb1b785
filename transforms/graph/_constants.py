"""Values that are known while compiling: weights, constants and what only moves or repeats them."""

from __future__ import annotations

from xdsl.context import Context
from xdsl.dialects.builtin import FixedBitwidthType, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.passes import StepwellContext
from stepwell.transforms.graph._values import MOVEMENT, is_dead

KNOWN = (graph.WeightOp, graph.ConstantOp, graph.BroadcastOp, *MOVEMENT)
"""Ops whose results are known where their operands are."""


def is_known(value: SSAValue) -> bool:
    """Whether a value depends on weights and constants alone, through movement."""
    op = value.owner
    return isinstance(op, KNOWN) and all(is_known(operand) for operand in op.operands)


def store_of(ctx: Context) -> WeightStore | None:
    """The weights of the module; None where there are none to read."""
    return ctx.weights if isinstance(ctx, StepwellContext) else None


def value_of(value: SSAValue, store: WeightStore | None) -> Array | None:
    """The array that a known value is; None for others, and for weights whose values are not given."""
    if not is_known(value):
        return None
    if store is None and any(isinstance(op, graph.WeightOp) for op in _behind(value)):
        return None
    (array,) = _run(value, store)
    return array


def _behind(value: SSAValue) -> list[Operation]:
    op = value.owner
    assert isinstance(op, Operation)
    return [op, *(inner for operand in op.operands for inner in _behind(operand))]


def _run(value: SSAValue, store: WeightStore | None) -> tuple[Array, ...]:
    op = value.owner
    assert isinstance(op, Operation)
    operands = [array for operand in op.operands for array in _run(operand, store)]
    return tuple(run_graph_op(op, operands, store))


def erase_unused(op: Operation | Block) -> None:
    """Erase an op that makes a known value and that nothing uses, and what it alone used."""
    if not isinstance(op, KNOWN) or not is_dead(op):
        return
    feeders = [operand.owner for operand in op.operands]
    Rewriter.erase_op(op)
    for feeder in feeders:
        erase_unused(feeder)


def width(value: SSAValue) -> int:
    """Bits of an element."""
    assert isinstance(value.type, TensorType) and isinstance(value.type.element_type, FixedBitwidthType)
    return value.type.element_type.bitwidth
