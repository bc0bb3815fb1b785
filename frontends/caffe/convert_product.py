"""Caffe layers with products, statistics and sums: InnerProduct, Scale, BatchNorm, Eltwise, normalisations, reductions."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from google.protobuf.message import Message
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder, axis_of, enum_name
from stepwell.frontends.emitter import Unsupported, shape_of


def inner_product(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """InnerProduct: the dims from `axis` on are one row; blob [outputs, row], or [row, outputs] with `transpose`."""
    x, parameters = bottoms[0], layer.inner_product_param
    axis = axis_of(parameters.axis, len(shape_of(x)))
    lead, row, outputs = shape_of(x)[:axis], prod(shape_of(x)[axis:]), parameters.num_output
    weights = build.blob(layer, 0, [row, outputs] if parameters.transpose else [outputs, row])
    rows = build.reshape(x, [prod(lead), row])
    result = build.emit(graph.MatmulOp(rows, weights, transpose_b=not parameters.transpose))
    if parameters.bias_term:
        bias = build.along(build.blob(layer, 1, [outputs]), 1, result)
        result = build.binary("add", result, bias)
    return [build.reshape(result, [*lead, outputs])]


def _span(
    build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue], parameters: Message
) -> tuple[int, SSAValue]:
    """Where the factor of Scale or Bias stands, and the factor: the second bottom, or a blob."""
    x = bottoms[0]
    axis = axis_of(parameters.axis, len(shape_of(x)))
    if len(bottoms) > 1:
        factor = bottoms[1]
        if shape_of(x)[axis : axis + len(shape_of(factor))] != shape_of(factor):
            raise Unsupported(f"shape {list(shape_of(factor))} does not stand at axis {axis} of {list(shape_of(x))}")
        return axis, factor
    end = len(shape_of(x)) if parameters.num_axes == -1 else axis + parameters.num_axes
    return axis, build.blob(layer, 0, shape_of(x)[axis:end])


def scale(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Scale: x times a factor along some dims, and a bias of the same shape."""
    x, parameters = bottoms[0], layer.scale_param
    axis, factor = _span(build, layer, bottoms, parameters)
    result = build.binary("mul", x, build.along(factor, axis, x))
    if parameters.bias_term:
        bias = build.blob(layer, 0 if len(bottoms) > 1 else 1, shape_of(factor))
        result = build.binary("add", result, build.along(bias, axis, x))
    return [result]


def bias(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Bias: x plus a tensor along some dims."""
    axis, addend = _span(build, layer, bottoms, layer.bias_param)
    return [build.binary("add", bottoms[0], build.along(addend, axis, bottoms[0]))]


def batch_norm(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """BatchNorm with stored statistics: (x - mean / f) / sqrt(variance / f + eps); the third blob is f, 0 stands for infinity. NVIDIA's branch may
    keep the scale and the bias that a Scale layer has elsewhere as blobs 3 and 4."""
    x, parameters = bottoms[0], layer.batch_norm_param
    if parameters.HasField("use_global_stats") and not parameters.use_global_stats:
        raise Unsupported("use_global_stats is false: statistics of the batch at hand are for training")
    channels = [shape_of(x)[1]] if len(shape_of(x)) > 1 else [1]
    mean, variance = (_statistic(build, layer, index, channels) for index in (0, 1))
    plain = build.number(1, mean), build.number(0, mean)
    if parameters.scale_bias:
        plain = build.blob(layer, 3, channels), build.blob(layer, 4, channels)
    dim = 1 if len(shape_of(x)) > 1 else 0
    return [build.emit(graph.BatchNormOp(x, *plain, mean, variance, dim=dim, epsilon=parameters.eps))]


def _statistic(build: CaffeBuilder, layer: Message, index: int, shape: Sequence[int]) -> SSAValue:
    """A sum over batches divided by the number of batches. The factor of weights that are not known is taken as 1."""
    stored = build.blob(layer, index, shape)
    factor = build.known_blob(layer, 2)
    if factor is None or factor.size != 1 or factor.item() == 1:
        return stored
    value = 0.0 if factor.item() == 0 else 1 / float(factor.item())
    return build.binary("mul", stored, build.number(value, stored))


def eltwise(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Eltwise: product, sum with coefficients, or maximum of all bottoms, which have one shape."""
    parameters = layer.eltwise_param
    if len({shape_of(x) for x in bottoms}) > 1:
        raise Unsupported(f"bottoms have shapes {[list(shape_of(x)) for x in bottoms]}: they must be one")
    kind = {"PROD": "mul", "SUM": "add", "MAX": "max"}[enum_name(parameters, "operation")]
    coefficients = list(parameters.coeff) or [1.0] * len(bottoms)
    if len(coefficients) != len(bottoms):
        raise Unsupported(f"{len(coefficients)} coefficients for {len(bottoms)} bottoms")
    terms = list(bottoms)
    if kind == "add":
        terms = [x if c == 1 else build.binary("mul", x, build.number(c, x)) for x, c in zip(bottoms, coefficients)]
    result = terms[0]
    for term in terms[1:]:
        result = build.binary(kind, result, term)
    return [result]


def softmax(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Softmax over one dim."""
    x = bottoms[0]
    return [build.emit(graph.SoftmaxOp(x, dims=[axis_of(layer.softmax_param.axis, len(shape_of(x)))]))]


def lrn(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """LRN across channels, or within each: there x * (1 + alpha * mean of squares over a window) ** -beta, and k plays no part."""
    x, parameters = bottoms[0], layer.lrn_param
    size = parameters.local_size
    if size % 2 == 0:
        raise Unsupported(f"local_size {size} is even: windows have a centre")
    if enum_name(parameters, "norm_region") == "ACROSS_CHANNELS":
        op = graph.LrnOp(x, size=size, alpha=parameters.alpha, beta=parameters.beta, k=parameters.k)
        return [build.emit(op)]
    squares = build.binary("mul", x, x)
    half = (size - 1) // 2
    window, pads = [size, size], [half] * 4
    mean = build.emit(
        graph.PoolOp(
            squares, kind="average", kernel=window, strides=[1, 1], pads=pads, ceil=True, count_include_pad=True
        )
    )
    base = build.binary("add", build.binary("mul", mean, build.number(parameters.alpha, x)), build.number(1, x))
    return [build.binary("mul", x, build.binary("pow", base, build.number(-parameters.beta, x)))]


def mvn(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """MVN: less the mean of each channel (or image), divided by deviation + eps."""
    x, parameters = bottoms[0], layer.mvn_param
    dims = list(range(1 if parameters.across_channels else 2, len(shape_of(x))))
    centred = build.binary("sub", x, _mean(build, x, dims))
    if not parameters.normalize_variance:
        return [centred]
    deviation = build.unary("sqrt", _mean(build, build.binary("mul", centred, centred), dims))
    return [build.binary("div", centred, build.binary("add", deviation, build.number(parameters.eps, x)))]


def _mean(build: CaffeBuilder, x: SSAValue, dims: Sequence[int]) -> SSAValue:
    """The mean over dims, repeated to the shape of x."""
    count = prod(shape_of(x)[d] for d in dims)
    total = build.emit(graph.ReduceOp(x, kind="sum", dims=dims))
    kept = [d for d in range(len(shape_of(x))) if d not in dims]
    mean = build.binary("div", total, build.number(count, total))
    return build.emit(graph.BroadcastOp(mean, dims=kept, shape=shape_of(x)))


def normalize(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Normalize (SSD): x over its L2 norm, of the whole image or across channels, times a scale for each channel."""
    x, parameters = bottoms[0], layer.norm_param
    shape = shape_of(x)
    dims = list(range(1, len(shape))) if parameters.across_spatial else [1]
    total = build.emit(graph.ReduceOp(build.binary("mul", x, x), kind="sum", dims=dims))
    norm = build.unary("sqrt", build.binary("add", total, build.number(parameters.eps, total)))
    kept = [d for d in range(len(shape)) if d not in dims]
    scaled = build.binary("div", x, build.emit(graph.BroadcastOp(norm, dims=kept, shape=shape)))
    factor = build.blob(layer, 0, [] if parameters.channel_shared else [shape[1]])
    return [build.binary("mul", scaled, build.along(factor, 1, x))]


def reduction(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Reduction of the dims from `axis` on: sum, sum of magnitudes or squares, mean, times coeff."""
    x, parameters = bottoms[0], layer.reduction_param
    dims = list(range(axis_of(parameters.axis, max(1, len(shape_of(x)))), len(shape_of(x))))
    kind = enum_name(parameters, "operation")
    term = {"ASUM": lambda: build.unary("abs", x), "SUMSQ": lambda: build.binary("mul", x, x)}.get(kind, lambda: x)()
    total = build.emit(graph.ReduceOp(term, kind="sum", dims=dims))
    factor = parameters.coeff / (max(1, prod(shape_of(x)[d] for d in dims)) if kind == "MEAN" else 1)
    return [total if factor == 1 else build.binary("mul", total, build.number(factor, total))]


def arg_max(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ArgMax: positions of the top_k largest, with an axis along it (values, if out_max_val), else [N, 1 or 2, top_k] over all but the batch."""
    x, parameters = bottoms[0], layer.argmax_param
    shape, k = shape_of(x), parameters.top_k
    whole = not parameters.HasField("axis")
    if whole:
        x = build.reshape(x, [shape[0], prod(shape[1:])])
    dim = 1 if whole else axis_of(parameters.axis, len(shape))
    if not 0 < k <= shape_of(x)[dim]:
        raise Unsupported(f"top_k {k} is outside 1 to {shape_of(x)[dim]}")
    values, positions = build.emit_all(graph.TopKOp(x, dim=dim, k=k))
    found = build.cast(positions, build.element(x))
    if not whole:
        return [values if parameters.out_max_val else found]
    rows = [build.reshape(part, [shape[0], 1, k]) for part in (found, values)]
    return [build.emit(graph.ConcatOp(rows, dim=1)) if parameters.out_max_val else rows[0]]


def embed(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Embed: rows of a table by whole numbers."""
    x, parameters = bottoms[0], layer.embed_param
    table = build.blob(layer, 0, [parameters.input_dim, parameters.num_output])
    indices = build.reshape(build.cast(x, i64), [*shape_of(x), 1])
    result = build.emit(graph.GatherOp(table, indices, dims=[0]))
    if not parameters.bias_term:
        return [result]
    bias_row = build.blob(layer, 1, [parameters.num_output])
    return [build.binary("add", result, build.along(bias_row, len(shape_of(x)), result))]


def parameter(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Parameter: a blob as a tensor."""
    return [build.blob(layer, 0, list(layer.parameter_param.shape.dim))]


def axpy(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Axpy: a * x + y with a number a for each channel of each image."""
    a, x, y = bottoms
    if int(np.prod(shape_of(a))) != prod(shape_of(x)[:2]):
        raise Unsupported(
            f"a has shape {list(shape_of(a))}, x {list(shape_of(x))}: one number for each channel is needed"
        )
    factor = build.along(build.reshape(a, shape_of(x)[:2]), 0, x)
    return [build.binary("add", build.binary("mul", factor, x), y)]
