"""Converters: reductions, positions of extremes, softmax, normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from itertools import combinations
from math import prod

import numpy as np
from xdsl.dialects.builtin import bf16, f16, f32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_elementwise import Converter
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def _dims(node: Node, build: GraphBuilder, rank: int) -> list[int] | None:
    """The reduced dims: an input from opset 18 on (ReduceSum: 13), an attribute before; None when nothing is reduced."""
    if shapes := build.decided(node, 1):
        node.ignore("noop_with_empty_axes")
        return _declared_dims(shape_of(build.value(node, 0)), shapes[0], bool(node.integer("keepdims", 1)))
    since = 13 if node.op_type == "ReduceSum" else 18
    if node.opset >= since:
        given = build.constant(node, 1, "axes").reshape(-1).tolist() if node.has_input(1) else []
        nothing = bool(node.integer("noop_with_empty_axes", 0))
    else:
        given, nothing = list(node.integers("axes", ())), False
    if not given:
        return None if nothing else list(range(rank))
    return sorted({dim_of(int(axis), rank) for axis in given})


def _declared_dims(shape: Sequence[int], result: Sequence[int], keepdims: bool) -> list[int]:
    """The reduced dims, from the shape before and after; a dim of extent 1 counts as not reduced where it stays, for its reduction changes nothing."""
    if keepdims and len(result) == len(shape):
        return [d for d, extent in enumerate(shape) if extent != result[d]]
    every = range(len(shape))
    kept = [
        dims for dims in combinations(every, len(result)) if not keepdims and [shape[d] for d in dims] == list(result)
    ]
    if len({tuple(d for d in every if d not in dims and shape[d] != 1) for dims in kept}) != 1:
        raise Unsupported(
            f"axes are computed from the network's inputs, and {list(shape)} to {list(result)} does not say which"
        )
    return [d for d in every if d not in kept[0]]


def _kept(build: GraphBuilder, node: Node, value: SSAValue, shape: Sequence[int], dims: Sequence[int]) -> SSAValue:
    """With keepdims the reduced dims stay, with extent 1."""
    if not node.integer("keepdims", 1):
        return value
    return build.reshape(value, [1 if d in dims else extent for d, extent in enumerate(shape)])


def _square(build: GraphBuilder, x: SSAValue) -> SSAValue:
    return build.binary("mul", x, x)


def _reduce(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    dims = _dims(node, build, len(shape_of(x)))
    before, reduced, after = REDUCTIONS[kind]
    term = _square(build, x) if before == "square" else build.unary(before, x) if before else x
    if dims is None:
        node.integer("keepdims", 1)
        return [build.unary(after, term) if after in ("sqrt", "log") else term]
    total = build.emit(graph.ReduceOp(term, kind=reduced, dims=dims)) if dims else term
    if after == "mean":
        count = prod(shape_of(x)[d] for d in dims)
        total = build.binary("div", total, build.number(count, total))
    elif after:
        total = build.unary(after, total)
    return [_kept(build, node, total, shape_of(x), dims)]


REDUCTIONS = {
    "sum": ("", "sum", ""),
    "mean": ("", "sum", "mean"),
    "max": ("", "max", ""),
    "min": ("", "min", ""),
    "prod": ("", "product", ""),
    "l1": ("abs", "sum", ""),
    "l2": ("square", "sum", "sqrt"),
    "log_sum": ("", "sum", "log"),
    "sum_square": ("square", "sum", ""),
}
"""For each reduction what is done to the elements, which graph.reduce it is, what is done to the result."""


def reduction(kind: str) -> Converter:
    """The converter of ReduceSum and its kin."""
    return partial(_reduce, kind)


def _arg(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    dim = dim_of(node.integer("axis", 0), len(shape_of(x)))
    found = build.emit(graph.ArgReduceOp(x, kind=kind, dim=dim, last=bool(node.integer("select_last_index", 0))))
    return [_kept(build, node, found, shape_of(x), [dim])]


def arg_reduction(kind: str) -> Converter:
    """The converter of ArgMax and ArgMin."""
    return partial(_arg, kind)


def _softmax(log: bool, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    rank = len(shape_of(x))
    axis = dim_of(node.integer("axis", -1 if node.opset >= 13 else 1), max(1, rank))
    dims = [axis] if node.opset >= 13 else list(range(axis, rank))
    if not log and build.element(x) in (f16, bf16) and prod(shape_of(x)[d] for d in dims) <= STEPWISE:
        return [_stepwise(build, x, dims)]
    return [build.emit(graph.SoftmaxOp(x, dims=dims, log=log))]


STEPWISE = 8
"""Up to so many elements a softmax of 16 bits rounds after each step, as the body of the specification does; over more of them the steps would lose
digits that `graph.softmax` keeps, which rounds once."""


def _stepwise(build: GraphBuilder, x: SSAValue, dims: Sequence[int]) -> SSAValue:
    """exp(x - max) / sum, each step in the element type; a sum of bf16 is rounded after each addition, one of f16 once, as NumPy does."""
    shape = shape_of(x)
    kept = [d for d in range(len(shape)) if d not in dims]
    flat = build.reshape(
        build.transpose(x, [*kept, *dims]), [prod(shape[d] for d in kept), prod(shape[d] for d in dims)]
    )

    def along(row: SSAValue) -> SSAValue:
        return build.emit(graph.BroadcastOp(row, dims=[0], shape=shape_of(flat)))

    most = build.emit(graph.ReduceOp(flat, kind="max", dims=[1]))
    powers = build.unary("exp", build.binary("sub", flat, along(most)))
    total = build.emit(graph.ReduceOp(powers, kind="sum", dims=[1]))
    if build.element(x) == bf16:
        columns = [build.reshape(build.cut(powers, 1, k, k + 1), shape_of(most)) for k in range(shape_of(flat)[1])]
        total = reduce(partial(build.binary, "add"), columns) if columns else total
    made = build.reshape(build.binary("div", powers, along(total)), [shape[d] for d in (*kept, *dims)])
    return build.transpose(made, [[*kept, *dims].index(d) for d in range(len(shape))])


def softmax(log: bool) -> Converter:
    """Softmax and LogSoftmax; before opset 13 over all dims from axis on."""
    return partial(_softmax, log)


def batch_normalization(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """BatchNormalization with given statistics."""
    if node.integer("training_mode", 0) or any(node.has_output(k) for k in range(1, 5)):
        raise Unsupported("statistics of the batch at hand are for training: export the model for inference")
    if node.integer("spatial", 1) != 1:
        raise Unsupported("spatial = 0: statistics for each activation are not supported")
    node.ignore("momentum", "is_test", "consumed_inputs")
    x, *given = (build.value(node, k) for k in range(5))
    element = build.element(x)
    cast = [build.cast(value, element) for value in given]
    dim = 1 if len(shape_of(x)) > 1 else 0
    return [build.emit(graph.BatchNormOp(x, *cast, dim=dim, epsilon=node.number("epsilon", 1e-5)))]


def lrn(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LRN across channels."""
    op = graph.LrnOp(
        build.value(node, 0),
        size=node.integer("size", 0),
        alpha=node.number("alpha", 1e-4),
        beta=node.number("beta", 0.75),
        k=node.number("bias", 1.0),
    )
    return [build.emit(op)]


def instance_normalization(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """InstanceNormalization: each channel of each image by its own mean and variance, then scale and bias."""
    x = build.value(node, 0)
    dims = list(range(2, len(shape_of(x))))
    normal = build.emit(graph.NormalizeOp(x, dims=dims, epsilon=node.number("epsilon", 1e-5)))
    scale, bias = (build.emit(graph.BroadcastOp(build.value(node, k), dims=[1], shape=shape_of(x))) for k in (1, 2))
    return [build.binary("add", build.binary("mul", normal, scale), bias)]


def layer_normalization(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LayerNormalization over the dims from axis on; Mean and InvStdDev are results of graph.normalize."""
    if node.integer("stash_type", 1) != 1:
        raise Unsupported("stash_type must be 1 (float)")
    x = build.value(node, 0)
    rank, element = len(shape_of(x)), build.element(x)
    axis = dim_of(node.integer("axis", -1), rank)
    dims = list(range(axis, rank))
    op = graph.NormalizeOp(x, dims=dims, epsilon=node.number("epsilon", 1e-5))
    normal, means, deviations = build.emit_all(op)
    result = build.binary("mul", normal, build.value(node, 1))
    if node.has_input(2):
        result = build.binary("add", result, build.value(node, 2))
    kept = [*shape_of(x)[:axis], *[1] * len(dims)]
    if (node.has_output(1) or node.has_output(2)) and element != f32:
        raise Unsupported("Mean and InvStdDev of other types than float")
    return [result, build.reshape(means, kept), build.reshape(deviations, kept)]


def _cumulative(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    x = build.value(node, 0)
    rank = len(shape_of(x))
    exclusive, reverse = bool(node.integer("exclusive", 0)), bool(node.integer("reverse", 0))

    def along(dim: int) -> SSAValue:
        return build.emit(graph.CumulativeOp(x, kind=kind, dim=dim, exclusive=exclusive, reverse=reverse))

    axis = build.array(build.value(node, 1))
    if axis is not None or rank == 1:
        return [along(0 if axis is None else dim_of(int(axis.item()), rank))]
    chosen = build.scalar(node, 1, i64, shape_of(x))
    result = along(0)
    for dim in range(1, rank):
        ends = (build.emit(graph.CompareOp(chosen, build.number(d, chosen), kind="eq")) for d in (dim, dim - rank))
        result = build.emit(graph.SelectOp(build.binary("or", next(ends), next(ends)), along(dim), result))
    return [result]


def cumulative(kind: str) -> Converter:
    """The converter of CumSum and CumProd, along one dim."""
    return partial(_cumulative, kind)


def top_k(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """TopK: k is an attribute before opset 10; the order is always sorted."""
    x = build.value(node, 0)
    node.ignore("sorted")
    dim = dim_of(node.integer("axis", -1), len(shape_of(x)))
    if shapes := build.decided(node, 1):
        k = shapes[0][dim] if len(shapes[0]) > dim else 0
    else:
        k = node.integer("k", 0) if node.opset < 10 else int(build.constant(node, 1, "k").item())
    return list(build.emit_all(graph.TopKOp(x, dim=dim, k=k, largest=bool(node.integer("largest", 1)))))


def log_sum_exp(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ReduceLogSumExp, less the maximum (0 where it is infinite) so that nothing overflows."""
    x = build.value(node, 0)
    shape = shape_of(x)
    dims = _dims(node, build, len(shape))
    if not dims:
        node.integer("keepdims", 1)
        return [x]
    kept = [d for d in range(len(shape)) if d not in dims]
    most = build.emit(graph.ReduceOp(x, kind="max", dims=dims))
    finite = build.emit(graph.CompareOp(build.unary("abs", most), build.number(np.inf, most), kind="lt"))
    safe = build.emit(graph.SelectOp(finite, most, build.number(0, most)))
    shifted = build.binary("sub", x, build.emit(graph.BroadcastOp(safe, dims=kept, shape=shape)))
    total = build.emit(graph.ReduceOp(build.unary("exp", shifted), kind="sum", dims=dims))
    return [_kept(build, node, build.binary("add", build.unary("log", total), safe), shape, dims)]


def hardmax(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Hardmax: 1 at the first maximum along one dim (before opset 13 of all dims from axis on), else 0."""
    x = build.value(node, 0)
    shape = shape_of(x)
    axis = dim_of(node.integer("axis", -1 if node.opset >= 13 else 1), len(shape))
    flat = x if node.opset >= 13 else build.reshape(x, [prod(shape[:axis]), prod(shape[axis:])])
    dim = axis if node.opset >= 13 else 1
    positions = build.emit(graph.ArgReduceOp(flat, kind="max", dim=dim))
    kept = [d for d in range(len(shape_of(flat))) if d != dim]
    winners = build.emit(graph.BroadcastOp(positions, dims=kept, shape=shape_of(flat)))
    own = build.emit(graph.IotaOp(i64, shape_of(flat), dim=dim))
    hit = build.emit(graph.CompareOp(own, winners, kind="eq"))
    return [build.reshape(build.cast(hit, build.element(x)), shape)]


def mean_variance_normalization(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MeanVarianceNormalization: (x - mean) / (deviation + 1e-9), with the variance as mean of squares less square of the mean."""
    x = build.value(node, 0)
    shape = shape_of(x)
    dims = sorted({dim_of(axis, len(shape)) for axis in node.integers("axes", (0, 2, 3))})
    kept = [d for d in range(len(shape)) if d not in dims]
    count = prod(shape[d] for d in dims)

    def mean(value: SSAValue) -> SSAValue:
        total = build.emit(graph.ReduceOp(value, kind="sum", dims=dims)) if dims else value
        return build.binary("div", total, build.number(count, total))

    average = mean(x)
    variance = build.binary("sub", mean(_square(build, x)), _square(build, average))
    deviation = build.unary("sqrt", variance)
    divisor = build.binary("add", deviation, build.number(1e-9, deviation))
    repeated = (build.emit(graph.BroadcastOp(value, dims=kept, shape=shape)) for value in (average, divisor))
    return [build.binary("div", build.binary("sub", x, next(repeated)), next(repeated))]
