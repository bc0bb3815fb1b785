"""TensorFlow operators that move elements and do arithmetic with shapes."""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node, Values, dim_of, dims_of, extents_of, needs

MOST_PARTS = 1 << 16
"""Most outputs of a node."""
MOST_RANGE = 1 << 24
"""Most elements of a range."""


def integer_result(build: GraphBuilder, node: Node, values: object, attribute: str = "out_type") -> SSAValue:
    """Integers as a constant of the type that an attribute says, int32 without it."""
    element = node.element(attribute) if node.has(attribute) else i32
    array = np.asarray(values, numpy_dtype(element))
    return build.emit(graph.ConstantOp(array)) if array.size else build.weight(f"{node.name}.shape", array)


def shape(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Shape and ShapeN: a constant, or a vector with the extents that data decides."""
    return [_extents(build, node, value) for value in inputs]


def _extents(build: GraphBuilder, node: Node, value: SSAValue) -> SSAValue:
    if not any(isinstance(extent, Extent) for extent in shape_of(value)):
        return integer_result(build, node, shape_of(value))
    element = node.element("out_type") if node.has("out_type") else i32
    rows = [extent_of(build, value, dim, element) for dim in range(len(shape_of(value)))]
    return build.joined([build.reshape(row, [1]) for row in rows], 0)


def extent_of(build: GraphBuilder, value: SSAValue, dim: int, element: Attribute) -> SSAValue:
    """An extent as a scalar."""
    return build.cast(build.emit(graph.ExtentOp(value, dim=dim)), element)


def size(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Size: the number of elements."""
    needs(inputs, 1)
    extents = _extents(build, node, inputs[0])
    return [build.emit(graph.ReduceOp(extents, kind="product", dims=[0]))]


def rank(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Rank: the number of dims."""
    needs(inputs, 1)
    return [integer_result(build, node, len(shape_of(inputs[0])))]


def reshape(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Reshape: a constant shape, one extent may be -1."""
    needs(inputs, 2)
    wanted = list(build.integers(inputs[1], "the shape"))
    rest, elements = prod(e for e in wanted if e != -1), prod(shape_of(inputs[0]))
    if min(wanted, default=0) < -1 or wanted.count(-1) > 1 or (-1 in wanted and (not rest or elements % rest)):
        raise Unsupported(f"{elements} elements have no shape {wanted}")
    return [build.reshape(inputs[0], [elements // rest if e == -1 else e for e in wanted])]


def squeeze(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Squeeze: extents of 1 go away, all or those named."""
    needs(inputs, 1)
    before = shape_of(inputs[0])
    named = node.integers("squeeze_dims", []) or node.integers("axis", [])
    dims = [dim_of(d, len(before)) for d in named] or [d for d, extent in enumerate(before) if extent == 1]
    if any(before[d] != 1 for d in dims):
        raise Unsupported(f"dims {dims} of {list(before)} are not 1")
    return [build.reshape(inputs[0], [extent for d, extent in enumerate(before) if d not in dims])]


def expand_dims(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ExpandDims: an extent of 1 at a place."""
    needs(inputs, 2)
    before = shape_of(inputs[0])
    at = dim_of(build.integers(inputs[1], "the axis")[0], len(before) + 1)
    return [build.reshape(inputs[0], [*before[:at], 1, *before[at:]])]


def transpose(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Transpose by a constant permutation."""
    needs(inputs, 2)
    order = build.integers(inputs[1], "the permutation")
    return [build.transpose(inputs[0], [dim_of(d, len(order)) for d in order])]


def pack(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Pack: values side by side along a new dim."""
    if not inputs:
        raise Unsupported("it has no input")
    before = shape_of(inputs[0])
    at = dim_of(node.integer("axis", 0), len(before) + 1)
    rows = [build.reshape(value, [*shape_of(value)[:at], 1, *shape_of(value)[at:]]) for value in inputs]
    return [build.joined(rows, at)]


def parallel_concat(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ParallelConcat: along the first dim."""
    return [build.joined(inputs, 0)]


def unpack(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Unpack: the slices of a dim, without it."""
    needs(inputs, 1)
    before = shape_of(inputs[0])
    at = dim_of(node.integer("axis", 0), len(before))
    if before[at] > MOST_PARTS:
        raise Unsupported(f"it has {before[at]} outputs: at most {MOST_PARTS}")
    rest = [*before[:at], *before[at + 1 :]]
    return [build.reshape(build.cut(inputs[0], at, n, n + 1), rest) for n in range(before[at])]


def concat(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Concat (the axis first) and ConcatV2 (the axis last)."""
    values, axis = (inputs[1:], inputs[0]) if node.op == "Concat" else (inputs[:-1], inputs[-1])
    if not values:
        raise Unsupported("it has no input")
    return [build.joined(values, dim_of(build.integers(axis, "the axis")[0], len(shape_of(values[0]))))]


def split(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Split (equal parts) and SplitV (given sizes, one may be -1)."""
    value, axis = (inputs[0], inputs[2]) if node.op == "SplitV" else (inputs[1], inputs[0])
    at = dim_of(build.integers(axis, "the axis")[0], len(shape_of(value)))
    extent, parts = shape_of(value)[at], node.integer("num_split")
    if parts > MOST_PARTS:
        raise Unsupported(f"it has {parts} outputs: at most {MOST_PARTS}")
    if node.op == "SplitV":
        sizes = list(build.integers(inputs[1], "the sizes"))
        sizes = [extent - sum(s for s in sizes if s != -1) if s == -1 else s for s in sizes]
    else:
        sizes = [extent // parts] * parts if parts > 0 else []
    if sum(sizes) != extent or any(s < 0 for s in sizes):
        raise Unsupported(f"an extent of {extent} is not split into {sizes or parts}")
    ends = np.cumsum([0, *sizes])
    return [build.cut(value, at, int(b), int(e)) for b, e in pairwise(ends)]


def slice_(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Slice: begins and sizes, -1 to the end."""
    needs(inputs, 3)
    begins, sizes = build.integers(inputs[1], "begin"), build.integers(inputs[2], "size")
    extents = shape_of(inputs[0])
    if not len(begins) == len(sizes) == len(extents):
        raise Unsupported(f"begin {list(begins)} and size {list(sizes)} do not fit {list(extents)}")
    counts = [e - b if s == -1 else s for e, b, s in zip(extents, begins, sizes, strict=True)]
    return [build.emit(graph.SliceOp(inputs[0], begins=begins, extents=counts))]


def tile(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Tile: [a, b] to [r, a, s, b] to [r*a, s*b]."""
    needs(inputs, 2)
    before, times = shape_of(inputs[0]), extents_of(build, inputs[1], "the multiples")
    if len(times) != len(before):
        raise Unsupported(f"multiples {list(times)} do not fit {list(before)}")
    pairs = [extent for pair in zip(times, before, strict=True) for extent in pair]
    spread = build.emit(graph.BroadcastOp(inputs[0], dims=range(1, 2 * len(before), 2), shape=pairs))
    return [build.reshape(spread, [t * e for t, e in zip(times, before, strict=True)])]


def fill(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Fill: a shape and a scalar."""
    needs(inputs, 2)
    return [build.broadcast(inputs[1], extents_of(build, inputs[0], "the shape"))]


def broadcast_to(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """BroadcastTo: a constant shape."""
    needs(inputs, 2)
    return [build.broadcast(inputs[0], extents_of(build, inputs[1], "the shape"))]


def range_(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Range: start + i * delta, constants."""
    needs(inputs, 3)
    start, limit, delta = (build.constant_array(value, "the range").reshape(-1)[0] for value in inputs)
    if delta == 0:
        raise Unsupported("delta is 0")
    count = max(0, int(np.ceil((float(limit) - float(start)) / float(delta))))
    if count > MOST_RANGE:
        raise Unsupported(f"it has {count} elements: at most {MOST_RANGE}")
    element = build.element(inputs[0])
    index = build.cast(build.emit(graph.IotaOp(i64, [count], dim=0)), element)
    return [build.binary("add", build.binary("mul", index, inputs[2]), inputs[0])]


def ragged_range(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """RaggedRange: for each row from start to limit by delta, constants: where the rows begin and end, and all their elements."""
    needs(inputs, 3)
    given = [build.constant_array(value, "the range").reshape(-1) for value in inputs]
    count = max(array.size for array in given)
    if any(array.size not in (1, count) for array in given) or not all(given[2]):
        raise Unsupported(f"{[array.size for array in given]} starts, limits and deltas do not fit, or a delta is 0")
    starts, limits, deltas = (np.broadcast_to(array, count) for array in given)
    spans = np.ceil((limits.astype(np.float64) - starts) / deltas)
    if spans.max(initial=0) > MOST_RANGE or np.maximum(spans, 0).sum() > MOST_RANGE:
        raise Unsupported(f"it has more than {MOST_RANGE} elements")
    lengths = np.maximum(spans, 0).astype(np.int64)
    rows = [start + np.arange(n) * delta for start, n, delta in zip(starts, lengths, deltas, strict=True)]
    splits = np.concatenate([[0], np.cumsum(lengths)])
    element = node.element("Tsplits") if node.has("Tsplits") else i64
    values = np.concatenate([starts[:0], *rows]).astype(starts.dtype)
    return [build.literal(splits.astype(numpy_dtype(element))), build.literal(values)]


def linspace(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """LinSpace: start + i * (stop - start) / (count - 1)."""
    needs(inputs, 3)
    start, stop, (count,) = inputs[0], inputs[1], build.integers(inputs[2], "the count")
    if not 0 < count <= MOST_RANGE:
        raise Unsupported(f"it has {count} elements: 1 to {MOST_RANGE}")
    index = build.cast(build.emit(graph.IotaOp(i64, [count], dim=0)), build.element(start))
    span = build.binary("sub", stop, start)
    step = build.binary("div", span, build.number(max(1, count - 1), span))
    return [build.binary("add", build.binary("mul", index, step), start)]


def pad(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Pad and PadV2: zeros or a value around it."""
    needs(inputs, 2, 3)
    x = inputs[0]
    pairs = build.constant_array(inputs[1], "the paddings").reshape(-1, 2).tolist()
    value = inputs[2] if len(inputs) > 2 else build.zeros(x, [])
    return [build.emit(graph.PadOp(x, value, low=[low for low, _ in pairs], high=[high for _, high in pairs]))]


def mirror_pad(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """MirrorPad: REFLECT without the border's element, SYMMETRIC with it."""
    needs(inputs, 2)
    x, skip = inputs[0], 1 if node.word("mode") == "REFLECT" else 0
    for dim, (low, high) in enumerate(build.constant_array(inputs[1], "the paddings").reshape(-1, 2).tolist()):
        extent = shape_of(x)[dim]
        if not 0 <= low <= extent - skip or not 0 <= high <= extent - skip:
            raise Unsupported(f"paddings {low} and {high} of dim {dim} are more than {extent - skip}")
        left = build.emit(graph.ReverseOp(build.cut(x, dim, skip, skip + low), dims=[dim]))
        right = build.emit(graph.ReverseOp(build.cut(x, dim, extent - skip - high, extent - skip), dims=[dim]))
        x = build.joined([left, x, right], dim)
    return [x]


def reverse(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ReverseV2 along constant axes."""
    needs(inputs, 2)
    dims = dims_of(build, inputs[1], inputs[0])
    return [build.emit(graph.ReverseOp(inputs[0], dims=dims)) if dims else inputs[0]]


def roll(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Roll: what leaves at one end comes in at the other."""
    needs(inputs, 3)
    x = inputs[0]
    for by, axis in zip(build.integers(inputs[1], "the shift"), build.integers(inputs[2], "the axis"), strict=True):
        dim = dim_of(axis, len(shape_of(x)))
        extent = shape_of(x)[dim]
        at = extent - by % extent if extent else 0
        if at != extent:
            x = build.joined([build.cut(x, dim, at, extent), build.cut(x, dim, 0, at)], dim)
    return [x]


def random_uniform(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """RandomUniform: numbers in [0, 1) that hang on the node's seeds only."""
    needs(inputs, 1)
    seeds = np.array([node.integer("seed", 0), node.integer("seed2", 0)], np.int64)
    key = build.emit(graph.ConstantOp(seeds))
    return [build.emit(graph.RandomOp(key, node.element("dtype"), extents_of(build, inputs[0], "the shape")))]
