"""Blocks of IR prepared for being run many times: each op becomes one function call, arith and math ops without looking anything up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects import arith, vector
from xdsl.dialects.builtin import VectorType, i1
from xdsl.ir import Block as IRBlock
from xdsl.ir import Operation
from xdsl.traits import IsTerminator

from stepwell.dialects.evaluate import BINARY, COMPARE_INTEGERS, CONVERSIONS, evaluate
from stepwell.dialects.hopper.simulator.block import Role
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.ir.locations import names_of

if TYPE_CHECKING:
    from stepwell.dialects.hopper.simulator.threads import Threads

Simple = Callable[["Threads", Any], None]
Blocking = Callable[["Threads", Any], Role]

_WRAPPING: Mapping[type[Operation], Callable[..., Any]] = {
    arith.AddiOp: np.add, arith.SubiOp: np.subtract, arith.MuliOp: np.multiply,
}  # fmt: skip
"""Integer ops that wrap by themselves on arrays of integers (the table's functions also serve i1)."""


@dataclass(frozen=True)
class Step:
    """One op, its name with its source names, and what runs it: `function(threads, op)`, a generator when it may have to wait."""

    op: Operation
    what: str
    waits: bool
    function: Any


@dataclass(frozen=True)
class Code:
    """The blocks of one kernel, prepared on first use. `simple` ops run at once, `blocking` ones are roles; others are arith, math or vector."""

    simple: Mapping[type[Operation], Simple]
    blocking: Mapping[type[Operation], Blocking]
    _blocks: dict[int, list[Step]] = field(default_factory=dict)

    def steps(self, block: IRBlock) -> list[Step]:
        """The steps of `block` up to its terminator."""
        prepared = self._blocks.get(id(block))
        if prepared is None:
            prepared = self._blocks[id(block)] = [
                self._prepare(op) for op in block.ops if not op.has_trait(IsTerminator)
            ]
        return prepared

    def _prepare(self, op: Operation) -> Step:
        kind, names = type(op), " + ".join(names_of(op))
        what = op.name + (f" ({names})" if names else "")
        if kind in self.blocking:
            return Step(op, what, True, self.blocking[kind])
        return Step(op, what, False, self.simple.get(kind) or _computation(op))


def _computation(op: Operation) -> Simple:
    """What computes the results of an op without side effects; lanes are the first axis."""
    match op:
        case arith.ConstantOp():
            (constant,) = evaluate(op, [])
            return _set(op, constant.reshape(1, *constant.shape))
        case vector.BroadcastOp() if not isinstance(op.source.type, VectorType):
            length = op.vector.type.get_shape()[0]
            return _apply(op, lambda held: np.broadcast_to(held[:, None], (len(held), length)))
        case vector.ExtractOp() if not op.dynamic_position:
            (position,) = op.static_position.get_values()
            return _apply(op, lambda held: held[:, position])
        case vector.ShuffleOp():
            lanes = [int(lane) for lane in op.mask.get_values()]
            return _apply(
                op, lambda first, second: np.concatenate(np.broadcast_arrays(first, second), axis=1)[:, lanes]
            )
        case arith.CmpiOp() if op.predicate.value.data < len(COMPARE_INTEGERS) and op.lhs.type != i1:
            return _apply(op, COMPARE_INTEGERS[op.predicate.value.data])
        case arith.SelectOp() if not isinstance(op.result.type, VectorType):
            return _apply(op, np.where)
    kind = type(op)
    if kind in _WRAPPING and op.results[0].type != i1:
        return _apply(op, _WRAPPING[kind])
    if kind in BINARY:
        return _apply(op, BINARY[kind])
    if kind in CONVERSIONS:
        function, dtype = CONVERSIONS[kind], numpy_dtype(op.results[0].type)
        return _apply(op, lambda held: function(held, dtype))
    return lambda threads, op: threads.bind(op.results, evaluate(op, [threads.get(operand) for operand in op.operands]))


def _set(op: Operation, value: Any) -> Simple:
    key = id(op.results[0])

    def step(threads: Threads, op: Operation) -> None:
        threads.values[key] = value

    return step


def _apply(op: Operation, function: Callable[..., Any]) -> Simple:
    """`function` of one to three operands."""
    key, keys = id(op.results[0]), [id(operand) for operand in op.operands]
    if len(keys) == 2:
        first, second = keys

        def binary(threads: Threads, op: Operation) -> None:
            values = threads.values
            values[key] = function(values[first], values[second])

        return binary

    def step(threads: Threads, op: Operation) -> None:
        values = threads.values
        values[key] = function(*[values[k] for k in keys])

    return step
