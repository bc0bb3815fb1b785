"""Converters: results whose number of elements is decided by data."""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import i1, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def non_zero(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """NonZero: the indices of what is not 0, one row for each dim, in row-major order."""
    x = build.value(node, 0)
    shape = shape_of(x) or (1,)
    x = build.reshape(x, shape)
    mask = x if build.element(x) == i1 else build.emit(graph.CompareOp(x, build.number(0, x), kind="ne"))
    total = prod(shape)
    rows = [build.reshape(build.emit(graph.IotaOp(i64, shape, dim=dim)), [1, total]) for dim in range(len(shape))]
    places = build.joined(rows, 0)
    return build.counted(graph.CompactOp(places, build.reshape(mask, [total]), dim=1, symbol=build.symbol()))


def compress(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Compress: the slices of a dim, or the elements, whose condition is true; a condition that ends early is false after."""
    x, condition = build.value(node, 0), build.value(node, 1)
    if node.has("axis"):
        dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    else:
        x, dim = build.reshape(x, [prod(shape_of(x))]), 0
    given, extent = shape_of(condition)[0], shape_of(x)[dim]
    if given > extent:
        raise Unsupported(f"the condition has {given} elements, and there are {extent} slices")
    if given < extent:
        condition = build.joined([condition, build.zeros(condition, [extent - given])], 0)
    return build.counted(graph.CompactOp(x, condition, dim=dim, symbol=build.symbol()))


def unique(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Unique: distinct elements or slices, where each first appears, which each element is, and how often."""
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x))) if node.has("axis") else None
    op = graph.UniqueOp(x, dim=dim, sorted=bool(node.integer("sorted", 1)), symbol=build.symbol())
    return build.counted(op)
