"""TensorFlow operators on images: colours, patches, resizing by area."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import ceil, floor

import numpy as np
from xdsl.dialects.builtin import f32
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.convert_window import pads_of, resize, window_of
from stepwell.frontends.tensorflow.node import Node, Values, extents_of, needs

MOST_TAPS = 4096
"""Most elements of a patch in one channel."""
MOST_WEIGHTS = 1 << 24
"""Most elements of a matrix that resizes."""


def _channels(build: GraphBuilder, x: SSAValue) -> list[SSAValue]:
    last = len(shape_of(x)) - 1
    if last < 0 or shape_of(x)[last] != 3:
        raise Unsupported(f"its input has shape {list(shape_of(x))}: the last dim must hold 3 channels")
    return [build.cut(x, last, n, n + 1) for n in range(3)]


def _select(build: GraphBuilder, a: SSAValue, kind: str, b: SSAValue, yes: SSAValue, no: SSAValue) -> SSAValue:
    return build.emit(graph.SelectOp(build.emit(graph.CompareOp(a, b, kind=kind)), yes, no))


def hsv_to_rgb(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """HSVToRGB: (1 - s + s * ramp(6 h)) * v, a clamped ramp for each colour."""
    needs(inputs, 1)
    h, s, v = _channels(build, inputs[0])
    sixth, zero, one = build.binary("mul", h, build.number(6, h)), build.number(0, h), build.number(1, h)
    colours = []
    for centre, sign, offset in ((3, 1, -1), (2, -1, 2), (4, -1, 2)):
        away = build.unary("abs", build.binary("sub", sixth, build.number(centre, h)))
        ramp = build.binary("add", build.binary("mul", away, build.number(sign, h)), build.number(offset, h))
        clamped = build.binary("min", build.binary("max", ramp, zero), one)
        mixed = build.binary("add", build.binary("sub", one, s), build.binary("mul", s, clamped))
        colours.append(build.binary("mul", mixed, v))
    return [build.joined(colours, len(shape_of(h)) - 1)]


def rgb_to_hsv(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """RGBToHSV: the hue is 0 where all colours are equal, the saturation 0 where the value is."""
    needs(inputs, 1)
    r, g, b = _channels(build, inputs[0])
    v = build.binary("max", r, build.binary("max", g, b))
    span = build.binary("sub", v, build.binary("min", r, build.binary("min", g, b)))
    zero, one = build.number(0, v), build.number(1, v)
    s = _select(build, v, "gt", zero, build.binary("div", span, v), zero)
    unit = build.binary("div", one, build.binary("mul", span, build.number(6, span)))
    hues = [
        build.binary("add", build.binary("mul", unit, build.binary("sub", left, right)), build.number(third / 3, v))
        for left, right, third in ((g, b, 0), (b, r, 1), (r, g, 2))
    ]
    h = _select(build, r, "eq", v, hues[0], _select(build, g, "eq", v, hues[1], hues[2]))
    h = _select(build, span, "gt", zero, h, zero)
    h = _select(build, h, "lt", zero, build.binary("add", h, one), h)
    return [build.joined([h, s, v], len(shape_of(v)) - 1)]


def patches(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ExtractImagePatches: for each position the window's rows, columns and channels one after the other."""
    needs(inputs, 1)
    x, rank = inputs[0], 4
    if len(shape_of(x)) != rank:
        raise Unsupported(f"its input has shape {list(shape_of(x))}: rank 4 is needed")
    kernel, strides, rates = (window_of(node, name, rank) for name in ("ksizes", "strides", "rates"))
    if kernel[0] * kernel[1] > MOST_TAPS:
        raise Unsupported(f"ksizes {kernel} are more than {MOST_TAPS} elements")
    pads = pads_of(node, list(shape_of(x)[1:3]), kernel, strides, rates)
    if any(pads):
        x = build.emit(graph.PadOp(x, build.zeros(x, []), low=[0, *pads[:2], 0], high=[0, *pads[2:], 0]))
    n, *extents, c = shape_of(x)
    spans = [(k - 1) * r + 1 for k, r in zip(kernel, rates, strict=True)]
    counts = [max(0, (e - span) // s + 1) for e, span, s in zip(extents, spans, strides, strict=True)]
    taps = [
        build.emit(graph.SliceOp(x, begins=[0, i * rates[0], j * rates[1], 0], extents=[n, *counts, c], strides=[1, *strides, 1]))
        for i, j in product(range(kernel[0]), range(kernel[1]))
    ]  # fmt: skip
    return [build.joined(taps, 3)]


def resize_area(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ResizeArea: the mean of what an output pixel covers."""
    return _resampled(build, node, inputs, _covered)


def resize_bicubic(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ResizeBicubic: with half_pixel_centers a graph.resize; without, TensorFlow's table of 1024 steps of the cubic with -0.75."""
    if node.flag("half_pixel_centers"):
        return resize("cubic")(build, node, inputs)
    return _resampled(build, node, inputs, _cubic)


def _resampled(
    build: GraphBuilder, node: Node, inputs: Values, weigh: Callable[[int, int, bool], Array]
) -> list[SSAValue]:
    """[N, H, W, C] times a constant matrix [before, after] for the height and one for the width."""
    needs(inputs, 2)
    x, extents = build.cast(inputs[0], f32), extents_of(build, inputs[1], "the size")
    before = shape_of(x)
    if len(before) != 4 or len(extents) != 2 or min(*before[1:3], *extents) < 1:
        raise Unsupported(f"an image of {list(before)} is not resized to {list(extents)}")
    rows, columns = (
        build.weight(f"{node.name}.{name}", weigh(a, b, node.flag("align_corners")))
        for name, a, b in zip(("rows", "columns"), before[1:3], extents, strict=True)
    )
    high = build.emit(graph.MatmulOp(build.transpose(x, [0, 2, 3, 1]), rows))
    wide = build.emit(graph.MatmulOp(build.transpose(high, [0, 3, 2, 1]), columns))
    return [build.transpose(wide, [0, 1, 3, 2])]


def _cubic(before: int, after: int, corners: bool) -> Array:
    """[before, after]: the weights of the four pixels around each output pixel; beyond the border the last one repeats."""
    if before * after > MOST_WEIGHTS:
        raise Unsupported(f"an extent of {before} is not resized to {after}")
    scale = np.float32((before - 1) / (after - 1) if corners and after > 1 else before / after)
    at = np.arange(after, dtype=np.float32) * scale
    low = np.floor(at)
    step = np.rint((at - low) * np.float32(1024)) / 1024
    weights = np.zeros((before, after))
    for tap, distance in enumerate((1 + step, step, 1 - step, 2 - step)):
        np.add.at(weights, (np.clip(low.astype(int) + tap - 1, 0, before - 1), np.arange(after)), _keys(distance))
    return weights.astype(np.float32)


def _keys(x: Array, a: float = -0.75) -> Array:
    """The cubic of Keys (1981) at a distance of 0 to 2."""
    near, far = ((a + 2) * x - (a + 3)) * x * x + 1, ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)


def _covered(before: int, after: int, corners: bool) -> Array:
    """[before, after]: how much of each pixel lies in each output pixel; beyond the border the last one repeats."""
    scale = (before - 1) / (after - 1) if corners and after > 1 else before / after
    if scale <= 0 or before * after > MOST_WEIGHTS:
        raise Unsupported(f"an extent of {before} is not resized to {after}")
    weights = np.zeros((before, after))
    for position in range(after):
        low, high = position * scale, (position + 1) * scale
        for pixel in range(floor(low), ceil(high)):
            weights[min(pixel, before - 1), position] += min(pixel + 1, high) - max(pixel, low)
    return (weights / scale).astype(np.float32)
