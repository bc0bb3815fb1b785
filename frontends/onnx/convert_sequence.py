"""Converters: sequences whose tensors are known while importing, and optionals; neither leaves a trace."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.bodies import call, stacked
from stepwell.frontends.onnx.builder import GraphBuilder, Item, shape_of
from stepwell.frontends.onnx.computed import element, taken
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node, held


def empty(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceEmpty: no tensors yet."""
    node.ignore("dtype")
    return [()]


def construct(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceConstruct: the inputs in order."""
    return [tuple(build.value(node, index) for index in range(len(node.inputs)))]


def _position(node: Node, build: GraphBuilder, index: int, count: int, default: int) -> int:
    """A constant position in a sequence, counted from the front."""
    if not node.has_input(index):
        return default
    place = int(build.constant(node, index, "position").item())
    if not -count <= place < max(count, default + 1):
        raise Unsupported(f"position {place} is outside of {count} tensors")
    return place + count if place < 0 else place


def at(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceAt: one tensor, its position a constant."""
    tensors = build.sequence(node, 0)
    return [tensors[_position(node, build, 1, len(tensors), -1)]]


def insert(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceInsert: one tensor more, at the end or before a constant position."""
    tensors = list(build.sequence(node, 0))
    tensors.insert(_position(node, build, 2, len(tensors), len(tensors)), build.value(node, 1))
    return [tuple(tensors)]


def erase(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceErase: one tensor less, the last or that at a constant position."""
    tensors = list(build.sequence(node, 0))
    if not tensors:
        raise Unsupported("the sequence is empty")
    del tensors[_position(node, build, 1, len(tensors), len(tensors) - 1)]
    return [tuple(tensors)]


def length(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceLength: a constant."""
    return [np.asarray(len(build.sequence(node, 0)), np.int64)]


def concat(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ConcatFromSequence: the tensors along a dim, or with new_axis along a new one."""
    tensors = build.sequence(node, 0)
    if not tensors:
        raise Unsupported("the sequence is empty")
    rank, new = len(shape_of(tensors[0])), node.integer("new_axis", 0)
    if not node.has("axis"):
        raise Unsupported("attribute 'axis' is missing")
    dim = dim_of(node.integer("axis", 0), rank + new)
    if not new:
        return [build.joined(tensors, dim)]
    if len({tensor.type for tensor in tensors}) > 1:
        raise Unsupported("the tensors of the sequence have different types, and one new dim is to hold them")
    order = list(range(1, rank + 1))
    order.insert(dim, 0)
    return [build.transpose(stacked(build, tensors), order)]


def split(node: Node, build: GraphBuilder) -> list[Item]:
    """SplitToSequence: parts of one extent, of given extents, or single slices."""
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    extent, keepdims = shape_of(x)[dim], node.integer("keepdims", 1)
    sizes = [1] * extent
    if node.has_input(1):
        computed = build.maybe_constant(node, 1) is None and len(shape_of(build.value(node, 1))) == 1
        if computed:
            return [_computed_parts(build, x, dim, build.value(node, 1))]
        given = build.constant(node, 1, "split")
        part = int(given.reshape(-1)[0]) if given.size else 0
        if given.ndim == 0 and part < 1:
            raise Unsupported(f"split {part} must be positive")
        sizes = [min(part, extent - k) for k in range(0, extent, part)] if given.ndim == 0 else [*map(int, given)]
    if sum(sizes) != extent or min(sizes, default=0) < 0:
        raise Unsupported(f"sizes {sizes} do not divide extent {extent}")
    parts = [build.cut(x, dim, begin, end) for begin, end in pairwise(accumulate([0, *sizes]))]
    if keepdims or node.has_input(1):
        return [tuple(parts)]
    kept = [each for d, each in enumerate(shape_of(x)) if d != dim]
    return [tuple(build.reshape(part, kept) for part in parts)]


def _computed_parts(build: GraphBuilder, x: SSAValue, dim: int, sizes: SSAValue) -> tuple[SSAValue, ...]:
    """Parts whose extents are computed while the network runs; how many there are is known. What reaches beyond the end is cut off."""
    begin = build.emit(graph.ConstantOp(0, i64))
    places = build.emit(graph.IotaOp(i64, [shape_of(x)[dim]], dim=0))
    parts = []
    for part in range(held(shape_of(sizes)[0], "a list of sizes")):
        size = build.cast(element(build, sizes, part), i64)
        end = build.binary("add", begin, size)
        left = build.binary("sub", build.emit(graph.ConstantOp(shape_of(x)[dim], i64)), begin)
        count = build.binary("min", size, left)
        moved = taken(build, x, build.binary("add", places, begin), dim)
        parts.append(build.emit(graph.PrefixOp(moved, count, dim=dim, symbol=build.symbol())))
        begin = end
    return tuple(parts)


def sequence_map(node: Node, build: GraphBuilder) -> list[Item]:
    """SequenceMap: the body once for each tensor; inputs that are tensors are the same each time."""
    body = node.graph("body")
    items = [build.item(node, index) for index in range(len(node.inputs))]
    first = build.sequence(node, 0)
    counts = {len(item) for item in items if isinstance(item, tuple)}
    if counts != {len(first)}:
        raise Unsupported(f"its sequences have {', '.join(map(str, sorted(counts)))} tensors: they must have as many")
    made = [
        call(build, body, [item[k] if isinstance(item, tuple) else item for item in items]) for k in range(len(first))
    ]
    columns = [[each[place] for each in made] for place in range(len(body.output))]
    return [tuple(_tensor(build, item) for item in column) for column in columns]


def _tensor(build: GraphBuilder, item: Item) -> SSAValue:
    if isinstance(item, tuple):
        raise Unsupported("a sequence of sequences")
    return item if isinstance(item, SSAValue) else build.weight(build.part("constant"), item)


def optional(node: Node, build: GraphBuilder) -> list[Item]:
    """Optional: the value itself; one without a value is refused where something reads it."""
    if not node.has_input(0):
        node.ignore("type")
        return []
    return [build.item(node, 0)]


def optional_get(node: Node, build: GraphBuilder) -> list[Item]:
    """OptionalGetElement: the value itself."""
    return [build.item(node, 0)]


def optional_has(node: Node, build: GraphBuilder) -> list[Item]:
    """OptionalHasElement: whether there is a value, which is known while importing."""
    return [np.asarray(node.has_input(0) and build.known(node.inputs[0]))]
