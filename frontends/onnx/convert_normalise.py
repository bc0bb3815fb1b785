"""Converters: softmax and its kin, normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from math import prod

from xdsl.dialects.builtin import bf16, f16, f32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_elementwise import Converter
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


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
    """BatchNormalization with given statistics, or in training_mode those of the batch; with spatial = 0 (before opset 9) for each activation of its own."""
    training = node.opset >= 14 and bool(node.integer("training_mode", 0))
    if not training and any(node.has_output(k) for k in range(1, 5)):
        raise Unsupported("statistics of the batch at hand are for training: export the model for inference")
    node.ignore("is_test")
    x, *given = (build.value(node, k) for k in range(5))
    element = build.element(x)
    cast = [build.cast(value, element) for value in given]
    if training:
        return _trained(node, build, x, cast)
    node.ignore("momentum")
    dim = 1 if len(shape_of(x)) > 1 else 0
    if node.integer("spatial", 1) != 1:
        return [_normalised(build, x, *cast, epsilon=node.number("epsilon", 1e-5))]
    return [build.emit(graph.BatchNormOp(x, *cast, dim=dim, epsilon=node.number("epsilon", 1e-5)))]


def _trained(node: Node, build: GraphBuilder, x: SSAValue, given: Sequence[SSAValue]) -> list[SSAValue]:
    """By the statistics of the batch at hand, and what becomes of the running ones."""
    scale, bias, running_mean, running_variance = given
    shape, momentum = shape_of(x), node.number("momentum", 0.9)
    dims = [d for d in range(len(shape)) if d != 1]
    count = prod(shape[d] for d in dims)

    def mean(value: SSAValue) -> SSAValue:
        total = build.emit(graph.ReduceOp(value, kind="sum", dims=dims))
        return build.binary("div", total, build.number(count, total))

    def mixed(old: SSAValue, new: SSAValue) -> SSAValue:
        before = build.binary("mul", old, build.number(momentum, old))
        return build.binary("add", before, build.binary("mul", new, build.number(1 - momentum, new)))

    average = mean(x)
    apart = build.binary("sub", x, build.along(average, 1, x))
    variance = mean(build.binary("mul", apart, apart))
    op = graph.BatchNormOp(x, scale, bias, average, variance, dim=1, epsilon=node.number("epsilon", 1e-5))
    return [build.emit(op), mixed(running_mean, average), mixed(running_variance, variance)]


def _normalised(
    build: GraphBuilder,
    x: SSAValue,
    scale: SSAValue,
    bias: SSAValue,
    mean: SSAValue,
    variance: SSAValue,
    *,
    epsilon: float,
) -> SSAValue:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, all of them of the shape that x has behind the batch."""
    deviation = build.unary("sqrt", build.binary("add", variance, build.number(epsilon, variance)))
    factor = build.binary("div", scale, deviation)
    return build.binary("add", build.binary("mul", build.binary("sub", x, mean), factor), bias)


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
    variance = build.binary("sub", mean(build.binary("mul", x, x)), build.binary("mul", average, average))
    deviation = build.unary("sqrt", variance)
    divisor = build.binary("add", deviation, build.number(1e-9, deviation))
    repeated = (build.emit(graph.BroadcastOp(value, dims=kept, shape=shape)) for value in (average, divisor))
    return [build.binary("div", build.binary("sub", x, next(repeated)), next(repeated))]
