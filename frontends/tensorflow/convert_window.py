"""TensorFlow operators over windows: convolutions and their adjoints, pools, resizes. Both layouts; filters are turned to where graph ops have them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Converter, Node, Values, extents_of, needs

Ints = list[int]


def _is_first(node: Node) -> bool:
    return node.word("data_format", "NHWC").startswith("NC")


def _layout(node: Node) -> str:
    return "channels_first" if _is_first(node) else "channels_last"


def _spatial(node: Node, values: Sequence[int]) -> Ints:
    """The spatial part of one number for each dim."""
    return list(values[2:] if _is_first(node) else values[1:-1])


def window_of(node: Node, name: str, rank: int) -> Ints:
    """An attribute with a number for each dim, whose batch and channels must be 1."""
    values = node.integers(name, [1] * rank)
    if len(values) != rank or min(values) < 1:
        raise Unsupported(f"{name} {values} must be {rank} positive numbers")
    if values[0] != 1 or values[1 if _is_first(node) else -1] != 1:
        raise Unsupported(f"{name} {values} of batch and channels must be 1")
    return _spatial(node, values)


def pads_of(node: Node, extents: Ints, kernel: Ints, strides: Ints, dilations: Ints) -> Ints:
    """All begins, then all ends: VALID none, SAME so that an extent becomes extent / stride rounded up, the odd one at the end."""
    padding = node.word("padding")
    if padding == "VALID":
        return [0] * 2 * len(kernel)
    if padding == "EXPLICIT":
        given = node.integers("explicit_paddings", [])
        return _spatial(node, given[::2]) + _spatial(node, given[1::2])
    if padding != "SAME":
        raise Unsupported(f"padding {padding!r} is not SAME, VALID or EXPLICIT")
    totals = [
        max(0, (-(-e // s) - 1) * s + (k - 1) * d + 1 - e)
        for e, k, s, d in zip(extents, kernel, strides, dilations, strict=True)
    ]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _check_ranks(x: SSAValue, filter: SSAValue) -> int:
    rank = len(shape_of(x))
    if rank < 3 or len(shape_of(filter)) != rank:
        raise Unsupported(f"input {list(shape_of(x))} and filter {list(shape_of(filter))} must have one rank")
    return rank


def _turned(build: GraphBuilder, node: Node, filter: SSAValue) -> SSAValue:
    """[*, C, K] to [K, C, *] or [K, *, C]."""
    rank = len(shape_of(filter))
    taps = list(range(rank - 2))
    return build.transpose(filter, [rank - 1, rank - 2, *taps] if _is_first(node) else [rank - 1, *taps, rank - 2])


def convolution(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Conv2D, Conv3D: filters [*, C / groups, K]."""
    needs(inputs, 2)
    x, filter = inputs
    rank = _check_ranks(x, filter)
    kernel, strides = list(shape_of(filter)[:-2]), window_of(node, "strides", rank)
    dilations = window_of(node, "dilations", rank)
    pads = pads_of(node, _spatial(node, shape_of(x)), kernel, strides, dilations)
    channels, held = shape_of(x)[1 if _is_first(node) else -1], shape_of(filter)[-2]
    if not held or channels % held:
        raise Unsupported(f"{channels} channels are not divided by the filter's {held}")
    return [
        build.emit(
            graph.ConvOp(
                x, _turned(build, node, filter), strides=strides, pads=pads, dilations=dilations,
                groups=channels // held, layout=_layout(node),
            )
        )
    ]  # fmt: skip


def depthwise(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """DepthwiseConv2dNative: filters [H, W, C, M], result channel c * M + m; one group for each channel."""
    needs(inputs, 2)
    x, filter = inputs
    rank = _check_ranks(x, filter)
    *kernel, channels, multiple = shape_of(filter)
    strides, dilations = window_of(node, "strides", rank), window_of(node, "dilations", rank)
    pads = pads_of(node, _spatial(node, shape_of(x)), kernel, strides, dilations)
    turned = _turned(build, node, build.reshape(filter, [*kernel, 1, channels * multiple]))
    layout = _layout(node)
    op = graph.ConvOp(x, turned, strides=strides, pads=pads, dilations=dilations, groups=channels, layout=layout)
    return [build.emit(op)]


def transposed(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Conv2DBackpropInput, Conv3DBackpropInputV2: the adjoint of the convolution whose input had the given shape; filters [*, K, C]."""
    needs(inputs, 3)
    made, filter, x = extents_of(build, inputs[0], "the shape"), inputs[1], inputs[2]
    rank = _check_ranks(x, filter)
    if len(made) != rank:
        raise Unsupported(f"the shape {list(made)} must have {rank} extents")
    strides, dilations = window_of(node, "strides", rank), window_of(node, "dilations", rank)
    extents, kernel = _spatial(node, made), list(shape_of(filter)[:-2])
    pads = pads_of(node, extents, kernel, strides, dilations)
    op = graph.ConvTransposeOp(
        x, _turned(build, node, filter), strides=strides, pads=pads, dilations=dilations, extents=extents, layout=_layout(node)
    )  # fmt: skip
    return [build.emit(op)]


def _pool(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 1)
    x, rank = inputs[0], len(shape_of(inputs[0]))
    kernel, strides = window_of(node, "ksize", rank), window_of(node, "strides", rank)
    pads = pads_of(node, _spatial(node, shape_of(x)), kernel, strides, [1] * len(kernel))
    return [build.emit(graph.PoolOp(x, kind=kind, kernel=kernel, strides=strides, pads=pads, layout=_layout(node)))]


def pool(kind: str) -> Converter:
    """MaxPool, AvgPool, MaxPool3D, AvgPool3D: averages divide by what lies inside."""
    return partial(_pool, kind)


def resize(mode: str) -> Converter:
    """ResizeBilinear, ResizeNearestNeighbor, ResizeBicubic of [N, H, W, C] to constant extents."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 2)
        x, extents = inputs[0], list(extents_of(build, inputs[1], "the size"))
        before = list(shape_of(x)[1:-1])
        if len(before) != 2 or len(extents) != 2 or min(*before, *extents) < 1:
            raise Unsupported(f"an image of {list(shape_of(x))} is not resized to {extents}")
        corners, centres = node.flag("align_corners"), node.flag("half_pixel_centers")
        rule = "align_corners" if corners else "half_pixel" if centres else "asymmetric"
        rounding = "round_prefer_ceil" if corners else "floor"
        if mode == "nearest" and centres:
            rule = "tf_half_pixel_for_nn"
        value = x if mode == "nearest" else build.cast(x, f32)
        scales = [out / e for out, e in zip(extents, before, strict=True)]
        return [
            build.emit(
                graph.ResizeOp(
                    value, mode=mode, extents=extents, scales=scales, coordinates=rule, rounding=rounding,
                    cubic=-0.5, exclude_outside=mode == "cubic", layout="channels_last",
                )
            )
        ]  # fmt: skip

    return convert
