"""Parameters of operators that are computed while the network runs: places and axes as values, where the shape of the result is known all the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of


def from_end(build: GraphBuilder, indices: SSAValue, extent: int) -> SSAValue:
    """Indices with those below 0 counted from the end."""
    negative = build.emit(graph.CompareOp(indices, build.number(0, indices), kind="lt"))
    shifted = build.binary("add", indices, build.number(extent, indices))
    return build.emit(graph.SelectOp(negative, shifted, indices))


def spread(build: GraphBuilder, given: SSAValue, axes: SSAValue | None, rank: int, default: int) -> SSAValue:
    """Values for some axes (the first ones without `axes`) as one for each dim, `default` where none is given: tensor<[rank]xi64>."""
    count = shape_of(given)[0]
    if axes is None and count > rank:
        raise Unsupported(f"{count} values for {rank} dims")
    places = build.emit(graph.ConstantOp(np.arange(count))) if axes is None else from_end(build, axes, rank)
    whole = build.broadcast(build.emit(graph.ConstantOp(default, i64)), [rank])
    return build.emit(graph.ScatterOp(whole, build.reshape(places, [count, 1]), build.cast(given, i64), dims=[0]))


def element(build: GraphBuilder, vector: SSAValue, place: int) -> SSAValue:
    """One element of a vector as a scalar."""
    return build.reshape(build.cut(vector, 0, place, place + 1), [])


def taken(build: GraphBuilder, x: SSAValue, places: SSAValue, dim: int) -> SSAValue:
    """The slices of a dim at the places of a vector, which are clamped into it."""
    rank = len(shape_of(x))
    front = [dim, *(d for d in range(rank) if d != dim)]
    rows = build.emit(
        graph.GatherOp(build.transpose(x, front), build.reshape(places, [*shape_of(places), 1]), dims=[0])
    )
    return build.transpose(rows, [front.index(d) for d in range(rank)])


def chosen(
    build: GraphBuilder, axes: SSAValue, rank: int, choices: Sequence[tuple[Sequence[int], SSAValue]]
) -> SSAValue:
    """The value whose dims are the axes; the last one where none has them."""
    count = shape_of(axes)[0]
    places = build.reshape(from_end(build, axes, rank), [count, 1])
    nothing = build.broadcast(build.emit(graph.ConstantOp(False, i1)), [rank])
    hit = build.broadcast(build.emit(graph.ConstantOp(True, i1)), [count])
    mask = build.emit(graph.ScatterOp(nothing, places, hit, dims=[0]))
    *others, (_, result) = choices
    for dims, value in reversed(others):
        wanted = build.emit(graph.ConstantOp(np.isin(np.arange(rank), list(dims))))
        equal = build.emit(graph.UnaryOp(build.binary("xor", mask, wanted), kind="not"))
        same = build.emit(graph.ReduceOp(equal, kind="and", dims=[0]))
        result = build.emit(graph.SelectOp(build.broadcast(same, shape_of(value)), value, result))
    return result
