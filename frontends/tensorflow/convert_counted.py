"""TensorFlow operators whose number of results depends on data."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from xdsl.dialects.builtin import i1, i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Converter, Node, Values, dim_of, needs

MOST_PARTITIONS = 1 << 12
"""Most outputs of a DynamicPartition."""
_SOURCES = (graph.CompactOp, graph.PrefixOp, graph.ReshapeOp, graph.SliceOp, graph.GatherOp, graph.CastOp)
"""Ops whose elements all are elements of their first operand."""


def compact(build: GraphBuilder, value: SSAValue, mask: SSAValue, *decided: Hashable) -> SSAValue:
    """The rows whose mask is true; what is `decided` by the same values has one count."""
    return build.counted(graph.CompactOp(value, mask, dim=0, symbol=build.symbol(*decided)))[0]


def where(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Where: the index of every element that is not 0, a row each in row-major order."""
    needs(inputs, 1)
    x = inputs[0]
    mask = x if build.element(x) == i1 else build.emit(graph.CompareOp(x, build.number(0, x), kind="ne"))
    shape = shape_of(x)
    flat = build.reshape(mask, [_elements(x)])
    columns = [
        build.reshape(build.emit(graph.IotaOp(i64, shape, dim=dim)), [_elements(x), 1]) for dim in range(len(shape))
    ]
    rows = build.joined(columns, 1) if columns else build.weight(f"{node.name}.rows", np.zeros((1, 0), np.int64))
    return [compact(build, rows, flat, x)]


def _elements(value: SSAValue) -> int:
    count = 1
    for extent in shape_of(value):
        count = extent * count
    return count


def unique(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Unique, UniqueV2 and those with counts: distinct elements (or slices of an axis) in the order of their first appearance."""
    needs(inputs, 1, 2)
    x, rank = inputs[0], len(shape_of(inputs[0]))
    axes = build.integers(inputs[1], "the axis") if len(inputs) > 1 else ()
    if len(axes) > 1 or (not axes and rank != 1):
        raise Unsupported(f"axes {list(axes)} and rank {rank}: one axis is needed, or rank 1")
    dim = dim_of(axes[0], rank) if axes else 0
    op = graph.UniqueOp(x, symbol=build.symbol(), dim=dim, sorted=False)
    values, _, inverse, counts = build.counted(op)
    element = node.element("out_idx") if node.has("out_idx") else i32
    return [values, build.cast(inverse, element), build.cast(counts, element)]


def list_diff(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ListDiff: the elements of the first vector that the second lacks, and where they stand."""
    needs(inputs, 2)
    (n,), (m,) = (shape_of(value) for value in inputs)
    left = build.emit(graph.BroadcastOp(inputs[0], dims=[0], shape=[n, m]))
    right = build.emit(graph.BroadcastOp(inputs[1], dims=[1], shape=[n, m]))
    differ = build.emit(graph.CompareOp(left, right, kind="ne"))
    mask = build.emit(graph.ReduceOp(differ, kind="and", dims=[1]))
    element = node.element("out_idx") if node.has("out_idx") else i32
    positions = build.emit(graph.IotaOp(element, [n], dim=0))
    return [compact(build, value, mask, mask) for value in (inputs[0], positions)]


def dynamic_partition(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """DynamicPartition: output i has the rows whose number is i."""
    needs(inputs, 2)
    data, numbers = inputs
    count, depth = node.integer("num_partitions"), len(shape_of(numbers))
    if not 0 < count <= MOST_PARTITIONS or shape_of(data)[:depth] != shape_of(numbers):
        raise Unsupported(
            f"{count} partitions of {list(shape_of(data))} by {list(shape_of(numbers))}: 1 to {MOST_PARTITIONS}, and shapes that begin alike"
        )
    flat = build.reshape(numbers, [_elements(numbers)])
    rows = build.reshape(data, [_elements(numbers), *shape_of(data)[depth:]])
    chosen = (build.emit(graph.CompareOp(flat, build.number(n, flat), kind="eq")) for n in range(count))
    return [compact(build, rows, mask, numbers, n) for n, mask in enumerate(chosen)]


def dynamic_stitch(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """DynamicStitch: row indices[i] of the result is row i of the data; as many rows as the largest index says, the last of several stays."""
    if not inputs or len(inputs) % 2:
        raise Unsupported(f"it has {len(inputs)} inputs: as many of indices as of data are needed")
    pairs = list(zip(inputs[: len(inputs) // 2], inputs[len(inputs) // 2 :], strict=True))
    tail = shape_of(pairs[0][1])[len(shape_of(pairs[0][0])) :]
    indices = build.joined([build.reshape(index, [_elements(index), 1]) for index, _ in pairs], 0)
    rows = build.joined([build.reshape(data, [_elements(index), *tail]) for index, data in pairs], 0)
    most = 1 + max(largest(build, index) for index, _ in pairs)
    made = build.emit(graph.ScatterOp(build.zeros(rows, [most, *tail]), indices, rows, dims=[0]))
    if all(build.array(index) is not None for index, _ in pairs):
        return [made]
    top = build.cast(build.emit(graph.ReduceOp(indices, kind="max", dims=[0, 1])), i64)
    count = build.binary("max", build.binary("add", top, build.number(1, top)), build.number(0, top))
    return [build.emit(graph.PrefixOp(made, count, dim=0, symbol=build.symbol()))]


def largest(build: GraphBuilder, value: SSAValue) -> int:
    """The largest element that a value can have, -1 for none: of a constant, or of what was picked from one; Unsupported where the network's inputs decide it."""
    while True:
        array = build.array(value)
        if array is not None:
            return int(array.max(initial=-1))
        if not isinstance(value.owner, _SOURCES):
            raise Unsupported(
                "the largest index is computed from the network's inputs: it must come from a constant, as positions of a known number of rows do"
            )
        value = value.owner.operands[0]


CONVERTERS: dict[str, Converter] = {
    "DynamicPartition": dynamic_partition,
    "DynamicStitch": dynamic_stitch,
    "ListDiff": list_diff,
    "ParallelDynamicStitch": dynamic_stitch,
    **dict.fromkeys(("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"), unique),
    "Where": where,
}
"""Operators by name."""
