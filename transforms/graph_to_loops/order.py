"""Scans and orders along a dim."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import AnyFloat, BFloat16Type, Float16Type, TensorType, f32
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter_reduction import identity_of
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter

COMBINE = {"sum": "add", "product": "mul", "max": "max", "min": "min"}
"""The kinds of scans and reductions as binary kinds."""


def wide_type(element: Attribute) -> Attribute:
    """The type that sums and products of elements accumulate in."""
    return f32 if isinstance(element, Float16Type | BFloat16Type) else element


def across(shape: Sequence[int], dim: int) -> list[int]:
    """The extents of the other dims."""
    return [extent for position, extent in enumerate(shape) if position != dim]


def at_dim(indices: Sequence[Index], dim: int, index: Index) -> list[Index]:
    """The indices of the other dims with one of `dim`."""
    return [*indices[:dim], index, *indices[dim:]]


def write_cumulative(op: graph.CumulativeOp, phases: Phases) -> list[Operand]:
    """A run for each line along the dim, which carries the total."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element, wide = type_.get_shape(), type_.element_type, wide_type(type_.element_type)
    start = identity_of(op.kind, numpy_dtype(wide))
    start = -0.0 if op.kind == "sum" and not op.exclusive and start.dtype.kind == "f" else start  # 0 + -0 is 0

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        line = body.unravel(number, across(shape, op.dim))
        with body.loop(0, shape[op.dim], body.constant(start, wide)) as loop:
            at = at_dim(line, op.dim, body.sub(shape[op.dim] - 1, loop.index) if op.reverse else loop.index)
            (total,) = loop.carried
            made = body.binary(COMBINE[op.kind], total, body.cast(body.load(ins[0], at), wide))
            body.store(body.cast(total if op.exclusive else made, element), outs[0], at)
            loop.next = [made]

    return phases.kernel(phases.operands, [type_], prod(across(shape, op.dim)), write)


def comes_before(body: LoopWriter, a: SSAValue, b: SSAValue, *, largest: bool) -> SSAValue:
    """Whether `a` stands before `b` in falling order, else in rising order; NaN counts as larger than everything."""
    first = body.compare("gt" if largest else "lt", a, b)
    if not isinstance(a.type, AnyFloat):
        return first
    strange, sound = (a, b) if largest else (b, a)
    return body.either(first, body.both(body.compare("ne", strange, strange), body.compare("eq", sound, sound)))


def write_top_k(op: graph.TopKOp, phases: Phases) -> list[Operand]:
    """A run for each element, which counts those that stand before it: its place. Quadratic along the dim."""
    shape, dim = phases.operands[0].type.get_shape(), op.dim
    types = [result.type for result in op.results if isinstance(result.type, TensorType)]

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape)
        mine, own = body.load(ins[0], at), body.index(at[dim])
        with body.loop(0, shape[dim], body.index(0)) as loop:
            other = body.load(ins[0], [*at[:dim], loop.index, *at[dim + 1 :]])
            behind = comes_before(body, mine, other, largest=op.largest)
            ahead = comes_before(body, other, mine, largest=op.largest)
            earlier = body.compare_index("ult", loop.index, own)
            counts = body.select(behind, body.falsehood(), body.either(ahead, earlier))
            (place,) = loop.carried
            loop.next = [body.select(counts, body.add(place, 1), place)]
        (place,) = loop.results
        with body.when(body.compare_index("ult", place, op.k)):
            to = [*at[:dim], place, *at[dim + 1 :]]
            body.store(mine, outs[0], to)
            body.store(body.from_index(own), outs[1], to)

    return phases.kernel(phases.operands, types, prod(shape), write)
