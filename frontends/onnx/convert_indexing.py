"""Converters: joins, cuts, repetitions, and elements chosen by index."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import Extent
from stepwell.frontends.emitter import Unsupported, components
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def concat(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Concat along one dim."""
    parts = [build.value(node, k) for k in range(len(node.inputs))]
    dim = dim_of(node.integer("axis", 1), len(shape_of(parts[0])))
    return [build.joined(parts, dim)]


def split(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Split: sizes as attribute before opset 13, as input after; num_outputs from 18, the last part may be smaller."""
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    extent, parts = shape_of(x)[dim], len(node.outputs)
    if node.opset >= 13 and (shapes := build.decided(node, 1)):
        sizes = [shape[dim] for shape in shapes]
    elif node.opset >= 13 and node.has_input(1):
        sizes = [int(size) for size in build.constant(node, 1, "split").reshape(-1)]
    elif node.opset < 13 and node.has("split"):
        sizes = list(node.integers("split", ()))
    elif node.opset < 2 and node.has_input(1):
        sizes = [int(size) for size in build.constant(node, 1, "split").reshape(-1)]
    else:
        parts = node.integer("num_outputs", parts)
        part = -(-extent // parts)
        sizes = [min(part, extent - k * part) for k in range(parts)]
    if sum(sizes) != extent or min(sizes, default=0) < 0:
        raise Unsupported(f"sizes {sizes} do not divide extent {extent}")
    return [build.cut(x, dim, begin, end) for begin, end in pairwise(accumulate([0, *sizes]))]


def expand(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Expand to a shape that both broadcast to."""
    x = build.value(node, 0)
    if shapes := build.decided(node, 1):
        return [build.broadcast(x, shapes[0])]
    wanted = tuple(int(extent) for extent in build.constant(node, 1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(shape_of(x), wanted)
    except ValueError:
        raise Unsupported(f"{list(shape_of(x))} does not broadcast to {list(wanted)}") from None
    return [build.broadcast(x, shape)]


def tile(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Tile: [a, b] to [r, a, s, b] to [r * a, s * b]; before opset 6 along one dim."""
    x = build.value(node, 0)
    shape = shape_of(x)
    if (shapes := build.decided(node, 1)) and len(shapes[0]) == len(shape):
        repeats = [whole // max(1, extent) for whole, extent in zip(shapes[0], shape, strict=True)]
    elif node.opset < 6:
        dim = dim_of(int(build.constant(node, 2, "axis").item()), len(shape))
        repeats = [int(build.constant(node, 1, "tiles").item()) if d == dim else 1 for d in range(len(shape))]
    else:
        repeats = [int(count) for count in build.constant(node, 1, "repeats").reshape(-1)]
    if len(repeats) != len(shape):
        raise Unsupported(f"{len(repeats)} repeats for {len(shape)} dims")
    spread = [extent for pair in zip(repeats, shape, strict=True) for extent in pair]
    repeated = build.emit(graph.BroadcastOp(x, dims=list(range(1, 2 * len(shape), 2)), shape=spread))
    return [build.reshape(repeated, [r * e for r, e in zip(repeats, shape, strict=True)])]


def shape(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Shape, or a part of it: constant where extents are known, counts where data decides them."""
    x = build.value(node, 0)
    extents = shape_of(x)
    first, last = node.integer("start", 0), node.integer("end", len(extents))
    dims = range(len(extents))[first:last]
    return (
        [build.joined([build.reshape(_extent(build, x, dim), [1]) for dim in dims], 0)]
        if dims
        else [build.emit(graph.ConstantOp(np.zeros(0, np.int64)))]
    )


def _extent(build: GraphBuilder, x: SSAValue, dim: int) -> SSAValue:
    extent = shape_of(x)[dim]
    if isinstance(extent, Extent):
        return build.emit(graph.ExtentOp(x, dim=dim))
    return build.emit(graph.ConstantOp(np.asarray(extent, np.int64)))


def size(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Size: the number of elements."""
    x = build.value(node, 0)
    result = build.emit(graph.ConstantOp(np.asarray(1, np.int64)))
    for dim in range(len(shape_of(x))):
        result = build.binary("mul", result, _extent(build, x, dim))
    return [result]


def gather(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Gather along one dim; negative indices count from the end."""
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    indices = wrapped(build, build.cast(build.value(node, 1), i64), shape_of(x)[dim])
    return [_taken(build, x, indices, dim)]


def _taken(build: GraphBuilder, x: SSAValue, indices: SSAValue, dim: int) -> SSAValue:
    """The elements at indices of one dim, the dims of the indices in its place."""
    rows = build.emit(graph.GatherOp(x, build.reshape(indices, [*shape_of(indices), 1]), dims=[dim]))
    if dim == 0:
        return rows
    count = len(shape_of(indices))
    order = [*range(count, count + dim), *range(count), *range(count + dim, len(shape_of(rows)))]
    return build.transpose(rows, order)


def wrapped(build: GraphBuilder, indices: SSAValue, extent: int) -> SSAValue:
    """Indices with those below 0 counted from the end."""
    known = build.array(indices)
    if known is not None and (known.size == 0 or known.min() >= 0):
        return indices
    negative = build.emit(graph.CompareOp(indices, build.number(0, indices), kind="lt"))
    shifted = build.binary("add", indices, build.number(extent, indices))
    return build.emit(graph.SelectOp(negative, shifted, indices))


def gather_elements(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GatherElements: every dim but axis is indexed by its own position."""
    x, indices = build.value(node, 0), build.cast(build.value(node, 1), i64)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    found = _element_indices(build, indices, dim, shape_of(x)[dim])
    return [build.emit(graph.GatherOp(x, found, dims=list(range(len(shape_of(x))))))]


def _element_indices(build: GraphBuilder, indices: SSAValue, dim: int, extent: int) -> SSAValue:
    """[.., rank]: for each element of the indices its place in the operand."""
    shape = shape_of(indices)
    own = [build.emit(graph.IotaOp(i64, shape, dim=d)) for d in range(len(shape))]
    own[dim] = wrapped(build, indices, extent)
    return build.emit(graph.ConcatOp([build.reshape(part, [*shape, 1]) for part in own], dim=len(shape)))


_COMBINES = {"none": "none", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def scatter_elements(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ScatterElements: updates at their own position, but for one dim, combined by `reduction`."""
    x, indices, updates = build.value(node, 0), build.cast(build.value(node, 1), i64), build.value(node, 2)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    found = _element_indices(build, indices, dim, shape_of(x)[dim])
    combine = _COMBINES[node.text("reduction", "none")]
    return [build.emit(graph.ScatterOp(x, found, updates, dims=list(range(len(shape_of(x)))), combine=combine))]


def _component_extents(build: GraphBuilder, x: SSAValue, indices: SSAValue, batch: int) -> SSAValue:
    """Indices of GatherND and ScatterND with components below 0 counted from the end of their dims."""
    count = shape_of(indices)[-1]
    extents = np.asarray(shape_of(x)[batch : batch + count], np.int64)
    negative = build.emit(graph.CompareOp(indices, build.number(0, indices), kind="lt"))
    shifted = build.binary("add", indices, build.emit(graph.ConstantOp(extents)))
    return build.emit(graph.SelectOp(negative, shifted, indices))


def gather_nd(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GatherND: the last dim of the indices holds the components."""
    x, indices, batch = build.value(node, 0), build.cast(build.value(node, 1), i64), node.integer("batch_dims", 0)
    dims = [batch + component for component in components(indices, len(shape_of(x)) - batch)]
    return [build.emit(graph.GatherOp(x, _component_extents(build, x, indices, batch), dims=dims, batch=batch))]


def scatter_nd(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ScatterND: slices put in, or combined by `reduction`."""
    x, indices, updates = build.value(node, 0), build.cast(build.value(node, 1), i64), build.value(node, 2)
    dims = components(indices, len(shape_of(x)))
    combine = _COMBINES[node.text("reduction", "none")]
    op = graph.ScatterOp(x, _component_extents(build, x, indices, 0), updates, dims=dims, combine=combine)
    return [build.emit(op)]
