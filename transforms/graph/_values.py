"""Questions that the graph passes ask about values: what made them, whether they are constants, who uses them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, OpResult, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph import extents

OpT = TypeVar("OpT", bound=Operation)

MOVEMENT = (graph.ReshapeOp, graph.TransposeOp, graph.CastOp)
"""Ops that fold into the recipe of a weight."""


def producer(value: SSAValue, kind: type[OpT]) -> OpT | None:
    """The op that makes `value` if it is of that kind."""
    return value.owner if isinstance(value, OpResult) and isinstance(value.owner, kind) else None


def is_constant(value: SSAValue) -> bool:
    """True for a weight, and for one that is reshaped, transposed or cast: all of that folds into its recipe."""
    op = value.owner
    while isinstance(op, MOVEMENT):
        op = op.operand.owner
    return isinstance(op, graph.WeightOp)


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The extents of a tensor value; `graph.Extent` where one is a symbol."""
    assert isinstance(value.type, TensorType)
    return extents.shape_of(value.type)


def elements_of(shape: Sequence[int]) -> int | None:
    """The number of elements, with a factor of a symbol where one extent is; None where several are."""
    if sum(isinstance(extent, graph.Extent) for extent in shape) > 1:
        return None
    return prod(shape)


def users(op: Operation) -> list[Operation]:
    """The ops that use any result of `op`, each once, the first user first (xDSL lists the newest use first)."""
    return list(dict.fromkeys(use.operation for result in op.results for use in reversed(list(result.uses))))


def is_dead(op: Operation) -> bool:
    """True when no result is used."""
    return not any(result.uses for result in op.results)


def live_ops(body: Block) -> list[Operation]:
    """The ops of a block that its terminator depends on, in order; what only a region inside reads is read too."""
    live: set[Operation | Block] = {body.last_op} if body.last_op is not None else set()
    for op in reversed(list(body.ops)):
        if op in live:
            live.update(operand.owner for inner in op.walk() for operand in inner.operands)
    return [op for op in body.ops if op in live]


def in_fusion(op: Operation) -> bool:
    """True inside the body of a graph.fusion."""
    return isinstance(op.parent_op(), graph.FusionOp)
