"""Caffe layers over windows: convolution, deconvolution, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder, enum_name
from stepwell.frontends.emitter import Unsupported, shape_of

Ints = list[int]
LARGEST = 1 << 20
"""Largest kernel, stride, dilation or pad."""
MOST_PICKS = 1 << 22
"""Most elements of the filters of Im2col: they are made while importing."""


def _per_dim(parameters: Message, name: str, rank: int, default: int | None) -> Ints:
    """A parameter of each spatial dim: repeated (one value stands for all), or `_h` and `_w`."""
    short = {"kernel_size": "kernel"}.get(name, name)
    if parameters.DESCRIPTOR.fields_by_name.get(f"{short}_h") and (
        parameters.HasField(f"{short}_h") or parameters.HasField(f"{short}_w")
    ):
        if rank != 2:
            raise Unsupported(f"{short}_h and {short}_w are for two spatial dims, there are {rank}")
        return [getattr(parameters, f"{short}_h"), getattr(parameters, f"{short}_w")]
    values = list(getattr(parameters, name))
    if not values and default is None:
        raise Unsupported(f"{name} is missing")
    if len(values) not in (0, 1, rank):
        raise Unsupported(f"{name} has {len(values)} values, there are {rank} spatial dims")
    return (values or [default or 0]) * (1 if len(values) == rank else rank)


def _geometry(layer: Message, x: SSAValue) -> tuple[Ints, Ints, Ints, Ints]:
    """Kernel, strides, pads of one side, dilations."""
    parameters, rank = layer.convolution_param, len(shape_of(x)) - 2
    if rank < 1 or parameters.axis not in (1, 1 - len(shape_of(x))):
        raise Unsupported(
            f"the bottom has shape {list(shape_of(x))} and axis is {parameters.axis}: channels must be dim 1"
        )
    if not parameters.num_output or not parameters.group:
        raise Unsupported("num_output and group must be positive")
    kernel = _per_dim(parameters, "kernel_size", rank, None)
    strides, pads = _per_dim(parameters, "stride", rank, 1), _per_dim(parameters, "pad", rank, 0)
    dilations = [*parameters.dilation] or [1]
    dilations = dilations * (rank if len(dilations) == 1 else 1)
    sizes = (*kernel, *strides, *dilations)
    if not all(1 <= extent <= LARGEST for extent in sizes) or max(pads) > LARGEST or len(dilations) != rank:
        raise Unsupported(
            f"kernel {kernel}, strides {strides}, dilations {dilations} must be positive, one for each dim, and with pads {pads} at most {LARGEST}"
        )
    return kernel, strides, pads, dilations


def convolution(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Convolution of every bottom by the same filter: graph.conv, and the bias as a broadcast and an addition."""
    return [_convolved(build, layer, x) for x in bottoms]


def depthwise(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """DepthwiseConvolution: one group for each channel, whatever `group` says."""
    own = type(layer)()
    own.CopyFrom(layer)
    own.convolution_param.group = shape_of(bottoms[0])[1]
    return convolution(build, own, bottoms)


def _convolved(build: CaffeBuilder, layer: Message, x: SSAValue) -> SSAValue:
    kernel, strides, pads, dilations = _geometry(layer, x)
    parameters, channels = layer.convolution_param, shape_of(x)[1]
    if channels % parameters.group or parameters.num_output % parameters.group:
        raise Unsupported(
            f"{channels} channels and {parameters.num_output} outputs are not divided by group {parameters.group}"
        )
    filter = build.blob(layer, 0, [parameters.num_output, channels // parameters.group, *kernel])
    result = build.emit(
        graph.ConvOp(x, filter, strides=strides, pads=[*pads, *pads], dilations=dilations, groups=parameters.group)
    )
    return _biased(build, layer, result)


def deconvolution(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Deconvolution: the adjoint of a convolution with these parameters."""
    results = []
    for x in bottoms:
        kernel, strides, pads, dilations = _geometry(layer, x)
        parameters, channels = layer.convolution_param, shape_of(x)[1]
        if channels % parameters.group or parameters.num_output % parameters.group:
            raise Unsupported(
                f"{channels} channels and {parameters.num_output} outputs are not divided by group {parameters.group}"
            )
        filter = build.blob(layer, 0, [channels, parameters.num_output // parameters.group, *kernel])
        spans = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
        extents = [
            (e - 1) * s + span - 2 * p for e, s, span, p in zip(shape_of(x)[2:], strides, spans, pads, strict=True)
        ]
        sides = [*pads, *pads]
        op = graph.ConvTransposeOp(
            x, filter, strides=strides, pads=sides, dilations=dilations, extents=extents, groups=parameters.group
        )
        result = build.emit(op)
        results.append(_biased(build, layer, result))
    return results


def _biased(build: CaffeBuilder, layer: Message, result: SSAValue) -> SSAValue:
    parameters = layer.convolution_param
    if not parameters.bias_term:
        return result
    bias = build.blob(layer, 1, [parameters.num_output])
    return build.emit(graph.BinaryOp(result, build.along(bias, 1, result), kind="add"))


def pooling(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Pooling: extents round up unless round_mode says FLOOR; a second top of a maximum is the position of the winner in its plane."""
    x, parameters = bottoms[0], layer.pooling_param
    spatial = shape_of(x)[2:]
    if len(spatial) != 2:
        raise Unsupported(f"the bottom has shape {list(shape_of(x))}: pools take two spatial dims")
    kind = enum_name(parameters, "pool")
    if kind == "STOCHASTIC":
        raise Unsupported("stochastic pooling is not supported: train with MAX or AVE")
    kernel, strides, pads = list(spatial), [1, 1], [0, 0]
    if not parameters.global_pooling:
        kernel, strides, pads = (_pool_dims(parameters, name) for name in ("kernel", "stride", "pad"))
    ceil = enum_name(parameters, "round_mode") == "CEIL" and parameters.ceil_mode
    if min(kernel) < 1 or min(strides) < 1 or max(*kernel, *strides, *pads) > LARGEST:
        raise Unsupported(
            f"kernel {kernel} and strides {strides} must be positive, and with pads {pads} at most {LARGEST}"
        )
    if ceil and not any(pads) and any(s > k and (e - k) % s for e, k, s in zip(spatial, kernel, strides)):
        raise Unsupported(f"strides {strides} are larger than the kernel {kernel}: the last window would lie outside")
    sides = [*pads, *pads]
    if kind == "AVE":
        average = graph.PoolOp(
            x, kind="average", kernel=kernel, strides=strides, pads=sides, ceil=ceil, count_include_pad=True
        )
        return [build.emit(average)]
    if len(layer.top) < 2:
        return [build.emit(graph.PoolOp(x, kind="max", kernel=kernel, strides=strides, pads=sides, ceil=ceil))]
    values, positions = build.emit_all(graph.ArgPoolOp(x, kernel=kernel, strides=strides, pads=sides, ceil=ceil))
    return [values, build.cast(positions, build.element(x))]


def _pool_dims(parameters: Message, name: str) -> Ints:
    both = {"kernel": "kernel_size"}.get(name, name)
    if parameters.HasField(f"{name}_h") or parameters.HasField(f"{name}_w"):
        return [getattr(parameters, f"{name}_h"), getattr(parameters, f"{name}_w")]
    return [getattr(parameters, both)] * 2


def im2col(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Im2col: each window as channels: a convolution by filters that pick one element each."""
    x = bottoms[0]
    parameters = type(layer)()
    parameters.CopyFrom(layer)
    parameters.convolution_param.num_output = 1
    kernel, strides, pads, dilations = _geometry(parameters, x)
    taps, channels = prod(kernel), shape_of(x)[1]
    if taps * taps * channels > MOST_PICKS:
        raise Unsupported(f"a kernel of {kernel} over {channels} channels is too large")
    picks = np.tile(np.eye(taps, dtype=np.float32).reshape(taps, 1, *kernel), (channels, *[1] * (1 + len(kernel))))
    filter = build.weight(f"{build.node_name}.picks", picks)
    op = graph.ConvOp(x, filter, strides=strides, pads=[*pads, *pads], dilations=dilations, groups=channels)
    return [build.emit(op)]


def pyramid(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """SPP: pools into 1, 2 x 2, 4 x 4, ... bins, flattened and concatenated."""
    x, parameters = bottoms[0], layer.spp_param
    if len(shape_of(x)) != 4 or not 0 < parameters.pyramid_height < 16:
        raise Unsupported(f"the bottom has shape {list(shape_of(x))}, pyramid_height is {parameters.pyramid_height}")
    rows = []
    for level in range(parameters.pyramid_height):
        pool = type(layer)(name=layer.name, type="Pooling", top=layer.top)
        pool.pooling_param.pool = parameters.pool
        kernel = [-(-extent // 2**level) for extent in shape_of(x)[2:]]
        pads = [(k * 2**level - extent + 1) // 2 for k, extent in zip(kernel, shape_of(x)[2:])]
        pool.pooling_param.kernel_h, pool.pooling_param.kernel_w = kernel
        pool.pooling_param.stride_h, pool.pooling_param.stride_w = kernel
        pool.pooling_param.pad_h, pool.pooling_param.pad_w = pads
        pooled = pooling(build, pool, bottoms)[0]
        rows.append(build.reshape(pooled, [shape_of(x)[0], prod(shape_of(pooled)[1:])]))
    return [rows[0] if len(rows) == 1 else build.emit(graph.ConcatOp(rows, dim=1))]
