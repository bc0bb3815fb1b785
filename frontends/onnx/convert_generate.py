"""Converters: tensors that are made from positions."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_indexing import wrapped
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.shapes import MOST_MADE


def constant_of_shape(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ConstantOfShape: one value, 0 in f32 without an attribute."""
    shapes = build.decided(node, 0)
    shape = shapes[0] if shapes else [int(extent) for extent in build.constant(node, 0, "shape").reshape(-1)]
    if min(shape, default=0) < 0:
        raise Unsupported(f"{shape} is no shape: an extent is negative")
    value = numpy_helper.to_array(node.value("value")) if node.has("value") else np.zeros(1, np.float32)
    scalar = build.emit(graph.ConstantOp(value.reshape(())))
    return [build.broadcast(scalar, shape)]


def value_range(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Range: start + i * delta; a constant, or as long as its result is declared."""
    for index in range(3):
        if shapes := build.decided(node, index):
            element = build.element(build.value(node, 0))
            start, delta = (build.scalar(node, k, element, shapes[0]) for k in (0, 2))
            steps = build.cast(build.emit(graph.IotaOp(i64, shapes[0], dim=0)), element)
            return [build.binary("add", start, build.binary("mul", steps, delta))]
    start, limit, delta = (build.constant(node, k, what).item() for k, what in enumerate(("start", "limit", "delta")))
    if delta == 0:
        raise Unsupported("delta is 0")
    count = (limit - start) / delta
    if not count <= MOST_MADE:
        raise Unsupported(f"it has {count:.0f} elements, at most {MOST_MADE} are supported")
    first = build.constant(node, 0, "start")
    values = np.arange(max(0, int(np.ceil(count)))).astype(first.dtype) * first.dtype.type(delta)
    return [build.weight(f"{build.node_name}.range", (values + first.dtype.type(start)).astype(first.dtype))]


def triangle(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Trilu: the upper or lower triangle of each matrix, zeros elsewhere."""
    x = build.value(node, 0)
    shape = shape_of(x)
    rows, columns = (build.emit(graph.IotaOp(i64, shape, dim=len(shape) - offset)) for offset in (2, 1))
    diagonal = build.binary("add", rows, build.scalar(node, 1, i64, shape)) if node.has_input(1) else rows
    kind = "ge" if node.integer("upper", 1) else "le"
    kept = build.emit(graph.CompareOp(columns, diagonal, kind=kind))
    return [build.emit(graph.SelectOp(kept, x, build.number(0, x)))]


def one_hot(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """OneHot: the second value where the position equals the index, else the first."""
    indices, values = build.value(node, 0), build.value(node, 2)
    shape = list(shape_of(indices))
    dim = dim_of(node.integer("axis", -1), len(shape) + 1)
    shapes = build.decided(node, 1)
    depth = shapes[0][dim] if shapes and len(shapes[0]) > dim else int(build.constant(node, 1, "depth").item())
    result = [*shape[:dim], depth, *shape[dim:]]
    whole = wrapped(build, build.cast(indices, i64), depth)
    spread = build.emit(graph.BroadcastOp(whole, dims=[d for d in range(len(result)) if d != dim], shape=result))
    hit = build.emit(graph.CompareOp(build.emit(graph.IotaOp(i64, result, dim=dim)), spread, kind="eq"))
    off, on = (build.broadcast(build.reshape(build.cut(values, 0, k, k + 1), []), result) for k in (0, 1))
    return [build.emit(graph.SelectOp(hit, on, off))]
