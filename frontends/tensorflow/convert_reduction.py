"""TensorFlow operators that reduce, scan, sort and normalise."""

from __future__ import annotations

from functools import partial
from math import prod

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS, numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.convert_elementwise import scaled
from stepwell.frontends.tensorflow.node import Converter, Node, Values, dim_of, dims_of, extents_of, needs


def reduced(build: GraphBuilder, x: SSAValue, kind: str, dims: list[int], keep: bool) -> SSAValue:
    """A graph.reduce, with extents of 1 in place of the dims where they are kept."""
    result = build.emit(graph.ReduceOp(x, kind=kind, dims=dims)) if dims else x
    shape = [1 if d in dims else e for d, e in enumerate(shape_of(x)) if keep or d not in dims]
    return build.reshape(result, shape)


def _reduce(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 2)
    return [reduced(build, inputs[0], kind, dims_of(build, inputs[1], inputs[0]), node.flag("keep_dims"))]


def reduce(kind: str) -> Converter:
    """The converter of a reduction over constant axes."""
    return partial(_reduce, kind)


def mean(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Mean: the sum divided by the number of elements."""
    needs(inputs, 2)
    dims = dims_of(build, inputs[1], inputs[0])
    total = reduced(build, inputs[0], "sum", dims, node.flag("keep_dims"))
    count = prod(shape_of(inputs[0])[d] for d in dims)
    return [build.binary("div", total, build.number(count, total))]


def l2_loss(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """L2Loss: half the sum of squares."""
    needs(inputs, 1)
    squares = build.binary("mul", inputs[0], inputs[0])
    return [scaled(build, reduced(build, squares, "sum", list(range(len(shape_of(squares)))), False), 0.5)]


def arg(kind: str) -> Converter:
    """ArgMax, ArgMin: the first of equals."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 1, 2)
        axis = build.integers(inputs[1], "the axis")[0] if len(inputs) > 1 else 0
        dim = dim_of(axis, len(shape_of(inputs[0])))
        found = build.emit(graph.ArgReduceOp(inputs[0], kind=kind, dim=dim))
        return [build.cast(found, node.element("output_type") if node.has("output_type") else i64)]

    return convert


def softmax(log: bool) -> Converter:
    """Softmax, LogSoftmax over the last dim."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 1)
        last = len(shape_of(inputs[0])) - 1
        if last < 0:
            raise Unsupported("its input is a scalar")
        return [build.emit(graph.SoftmaxOp(inputs[0], dims=[last], log=log))]

    return convert


def cumulative(kind: str) -> Converter:
    """Cumsum, Cumprod."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 2)
        dim = dim_of(build.integers(inputs[1], "the axis")[0], len(shape_of(inputs[0])))
        exclusive, backwards = node.flag("exclusive"), node.flag("reverse")
        return [build.emit(graph.CumulativeOp(inputs[0], kind=kind, dim=dim, exclusive=exclusive, reverse=backwards))]

    return convert


def top_k(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """TopK and TopKV2: the k largest of the last dim, and int32 positions; all of them unsorted are what is there."""
    needs(inputs, 1, 2)
    k = build.integers(inputs[1], "k")[0] if len(inputs) > 1 else node.integer("k")
    last = dim_of(-1, len(shape_of(inputs[0])))
    element = node.element("index_type") if node.has("index_type") else i32
    in_order = node.flag("sorted", True) or k == 1
    if not in_order and k != shape_of(inputs[0])[last]:
        raise Unsupported("sorted is false, which leaves the order of the results open: set sorted to true")
    if not in_order:
        return [inputs[0], build.emit(graph.IotaOp(element, shape_of(inputs[0]), dim=last))]
    values, positions = build.emit_all(graph.TopKOp(inputs[0], dim=last, k=k, largest=True))
    return [values, build.cast(positions, element)]


def softmax_cross_entropy(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SoftmaxCrossEntropyWithLogits: loss of each row, and the gradient softmax - labels."""
    needs(inputs, 2)
    logits, labels = build.broadcast_all(inputs)
    return _cross_entropy(build, logits, labels)


def sparse_softmax_cross_entropy(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SparseSoftmaxCrossEntropyWithLogits: labels are class numbers."""
    needs(inputs, 2)
    logits, labels = inputs
    wide = build.emit(graph.BroadcastOp(labels, dims=[0], shape=shape_of(logits)))
    classes = build.emit(graph.IotaOp(build.element(labels), shape_of(logits), dim=1))
    chosen = build.emit(graph.CompareOp(wide, classes, kind="eq"))
    hot = build.emit(graph.SelectOp(chosen, build.number(1, logits), build.number(0, logits)))
    return _cross_entropy(build, logits, hot)


def _cross_entropy(build: GraphBuilder, logits: SSAValue, labels: SSAValue) -> list[SSAValue]:
    logs = build.emit(graph.SoftmaxOp(logits, dims=[1], log=True))
    none = build.emit(graph.CompareOp(labels, build.number(0, labels), kind="eq"))
    terms = build.emit(graph.SelectOp(none, build.number(0, logs), build.binary("mul", labels, logs)))
    loss = build.unary("neg", reduced(build, terms, "sum", [1], False))
    return [loss, build.binary("sub", build.unary("exp", logs), labels)]


def batch_norm(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """FusedBatchNorm with given statistics."""
    needs(inputs, 5)
    if node.flag("is_training", True):
        raise Unsupported("is_training is true: freeze the graph for inference")
    x, scale, offset, average, variance = inputs
    rank = len(shape_of(x))
    dim = 1 if node.word("data_format", "NHWC").startswith("NC") else rank - 1
    epsilon = node.number("epsilon", 1e-4)
    rows = [build.cast(value, build.element(x)) for value in (scale, offset, average, variance)]
    result = build.emit(graph.BatchNormOp(x, *rows, dim=dim, epsilon=epsilon))
    return [result, average, variance]


def lrn(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """LRN over the last dim: TensorFlow's alpha is of each element, graph.lrn's of the window."""
    needs(inputs, 1)
    size = 2 * node.integer("depth_radius", 5) + 1
    numbers = {"alpha": node.number("alpha", 1) * size, "beta": node.number("beta", 0.5), "k": node.number("bias", 1)}
    return [build.emit(graph.LrnOp(inputs[0], size=size, layout="channels_last", **numbers))]


def one_hot(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """OneHot: on where the class is, off elsewhere."""
    needs(inputs, 4)
    indices, (depth,) = inputs[0], extents_of(build, inputs[1], "the depth")
    before, axis = shape_of(indices), node.integer("axis", -1)
    at = len(before) if axis == -1 else dim_of(axis, len(before) + 1)
    shape = [*before[:at], depth, *before[at:]]
    wide = build.emit(graph.BroadcastOp(indices, dims=[d + (d >= at) for d in range(len(before))], shape=shape))
    classes = build.emit(graph.IotaOp(build.element(indices), shape, dim=at))
    chosen = build.emit(graph.CompareOp(wide, classes, kind="eq"))
    return [build.emit(graph.SelectOp(chosen, build.broadcast(inputs[2], shape), build.broadcast(inputs[3], shape)))]


def segment(combine: str, start: str) -> Converter:
    """UnsortedSegmentSum, Prod, Max, Min: rows combined by the number of their segment; negative numbers are dropped."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 3)
        data, ids, (count,) = inputs[0], inputs[1], extents_of(build, inputs[2], "the number of segments")
        tail = shape_of(data)[len(shape_of(ids)) :]
        identity = _identity(build, data, start)
        into = build.broadcast(identity, [count, *tail])
        rows = build.reshape(ids, [prod(shape_of(ids)), 1])
        updates = build.reshape(data, [prod(shape_of(ids)), *tail])
        return [build.emit(graph.ScatterOp(into, rows, updates, dims=[0], combine=combine))]

    return convert


def _identity(build: GraphBuilder, data: SSAValue, start: str) -> SSAValue:
    dtype = numpy_dtype(build.element(data))
    limits = ml_dtypes.finfo(dtype) if build.element(data) in FLOATS else ml_dtypes.iinfo(dtype)
    value = {"zero": 0, "one": 1, "lowest": limits.min, "highest": limits.max}[start]
    return build.emit(graph.ConstantOp(np.asarray(value, dtype)))


def bincount(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Bincount: how often (or with which weight) each number from 0 to size - 1 stands there."""
    needs(inputs, 3)
    values, (size,), weights = inputs[0], extents_of(build, inputs[1], "the size"), inputs[2]
    count = prod(shape_of(values))
    if not prod(shape_of(weights)):
        weights = build.number(1, build.zeros(weights, shape_of(values)))
    rows = build.reshape(values, [count, 1])
    into = build.zeros(weights, [size])
    return [build.emit(graph.ScatterOp(into, rows, build.reshape(weights, [count]), dims=[0], combine="add"))]


def histogram(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """HistogramFixedWidth: how many values lie in each of nbins equal parts of a range; those outside count at its ends."""
    needs(inputs, 3)
    values, bounds, (count,) = inputs[0], inputs[1], extents_of(build, inputs[2], "the number of bins")
    if count < 1 or shape_of(bounds) != (2,):
        raise Unsupported(f"{count} bins of a range of shape {list(shape_of(bounds))}")
    flat = build.reshape(values, [prod(shape_of(values))])
    low, high = build.cut(bounds, 0, 0, 1), build.cut(bounds, 0, 1, 2)
    part = build.binary("div", build.binary("sub", flat, low), build.binary("sub", high, low))
    scaled_part = scaled(build, part, count)
    inside = build.binary("min", build.binary("max", scaled_part, build.number(0, part)), build.number(count - 1, part))
    rows = build.reshape(build.cast(build.unary("floor", inside), i64), [*shape_of(flat), 1])
    element = node.element("dtype") if node.has("dtype") else i32
    zero, one = (build.emit(graph.ConstantOp(number, element)) for number in (0, 1))
    ones = build.broadcast(one, shape_of(flat))
    return [build.emit(graph.ScatterOp(build.broadcast(zero, [count]), rows, ones, dims=[0], combine="add"))]
