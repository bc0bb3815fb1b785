"""Caffe layers that are functions of one element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import log

from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import Unsupported, shape_of

Converter = Callable[[CaffeBuilder, Message, Sequence[SSAValue]], list[SSAValue]]


def _unary(kind: str, build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    return [build.unary(kind, bottoms[0])]


def unary(kind: str) -> Converter:
    """The converter of a layer that is one graph.unary."""
    return partial(_unary, kind)


def identity(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Dropout and Split when a network is run: every top is the bottom."""
    return [bottoms[0]] * max(1, len(layer.top))


def _leaky(build: CaffeBuilder, x: SSAValue, slope: SSAValue) -> SSAValue:
    """x where it is positive, slope * x elsewhere."""
    positive = build.emit(graph.CompareOp(x, build.number(0, x), kind="gt"))
    return build.emit(graph.SelectOp(positive, x, build.binary("mul", x, slope)))


def relu(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ReLU: max(x, 0) + negative_slope * min(x, 0)."""
    x, slope = bottoms[0], layer.relu_param.negative_slope
    return [build.unary("relu", x) if slope == 0 else _leaky(build, x, build.number(slope, x))]


def relu6(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ReLU6: min(max(x, 0), 6)."""
    x = bottoms[0]
    return [build.binary("min", build.unary("relu", x), build.number(6, x))]


def prelu(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """PReLU: a slope for each channel, or one for all."""
    x = bottoms[0]
    if len(shape_of(x)) < 2:
        raise Unsupported(f"the bottom has shape {list(shape_of(x))}: a channel dim is needed")
    shared = layer.prelu_param.channel_shared
    slope = build.blob(layer, 0, [] if shared else [shape_of(x)[1]])
    return [_leaky(build, x, build.along(slope, 1, x))]


def elu(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ELU: x where positive, alpha * (exp(x) - 1) elsewhere."""
    x = bottoms[0]
    positive = build.emit(graph.CompareOp(x, build.number(0, x), kind="gt"))
    negative = build.binary("mul", build.unary("expm1", x), build.number(layer.elu_param.alpha, x))
    return [build.emit(graph.SelectOp(positive, x, negative))]


def power(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Power: (shift + scale * x) ** power."""
    parameters = layer.power_param
    inner = affine(build, bottoms[0], parameters.scale, parameters.shift)
    return [_raised(build, inner, parameters.power)]


def _raised(build: CaffeBuilder, x: SSAValue, exponent: float) -> SSAValue:
    if exponent == 1:
        return x
    if exponent == 2:
        return build.binary("mul", x, x)
    return build.binary("pow", x, build.number(exponent, x))


def affine(build: CaffeBuilder, x: SSAValue, scale: float, shift: float) -> SSAValue:
    """scale * x + shift."""
    scaled = x if scale == 1 else build.binary("mul", x, build.number(scale, x))
    return scaled if shift == 0 else build.binary("add", scaled, build.number(shift, x))


def exp(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Exp: base ** (shift + scale * x); a base of -1 is e."""
    parameters = layer.exp_param
    factor = 1.0 if parameters.base == -1 else log(_positive(parameters.base))
    inner = affine(build, bottoms[0], parameters.scale * factor, parameters.shift * factor)
    return [build.unary("exp", inner)]


def logarithm(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Log: log(shift + scale * x) to the base; a base of -1 is e."""
    parameters = layer.log_param
    value = build.unary("log", affine(build, bottoms[0], parameters.scale, parameters.shift))
    if parameters.base == -1:
        return [value]
    return [build.binary("mul", value, build.number(1 / log(_positive(parameters.base)), value))]


def _positive(base: float) -> float:
    if base <= 0 or base == 1:
        raise Unsupported(f"base {base} is no base: it must be positive and not 1, or -1 for e")
    return base


def threshold(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Threshold: 1 where x > threshold, else 0."""
    x = bottoms[0]
    above = build.emit(graph.CompareOp(x, build.number(layer.threshold_param.threshold, x), kind="gt"))
    return [build.emit(graph.SelectOp(above, build.number(1, x), build.number(0, x)))]


def clip(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Clip: min(max(x, min), max)."""
    x, bounds = bottoms[0], layer.clip_param
    if not (bounds.HasField("min") and bounds.HasField("max")):
        raise Unsupported("clip_param needs min and max")
    return [build.binary("min", build.binary("max", x, build.number(bounds.min, x)), build.number(bounds.max, x))]


def swish(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Swish: x * sigmoid(beta * x)."""
    x = bottoms[0]
    return [build.binary("mul", x, build.unary("sigmoid", affine(build, x, layer.swish_param.beta, 0)))]
