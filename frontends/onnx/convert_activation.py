"""Converters: functions of one element that are compositions of graph ops, comparisons, logic and selections."""

from __future__ import annotations

from functools import partial

import numpy as np
from xdsl.dialects.builtin import i1
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_elementwise import Converter
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.old_forms import operands


def _compared(build: GraphBuilder, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
    left, right = build.broadcast_all([a, b])
    return build.emit(graph.CompareOp(left, right, kind=kind))


def _compare(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    return [_compared(build, kind, *operands(node, build))]


def compare(kind: str) -> Converter:
    """The converter of a node that is one graph.compare."""
    return partial(_compare, kind)


def where(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Where: graph.select of broadcast operands."""
    condition, a, b = build.broadcast_all([build.value(node, k) for k in range(3)])
    return [build.emit(graph.SelectOp(condition, a, b))]


def _positive(build: GraphBuilder, x: SSAValue) -> SSAValue:
    return build.emit(graph.CompareOp(x, build.number(0, x), kind="ge"))


def leaky_relu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """LeakyRelu: x where x >= 0, else alpha * x."""
    x = build.value(node, 0)
    scaled = build.binary("mul", x, build.number(node.number("alpha", 0.01), x))
    return [build.emit(graph.SelectOp(_positive(build, x), x, scaled))]


def prelu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """PRelu: x where x >= 0, else slope * x; before opset 7 a slope for each channel is a vector."""
    x, slope = build.value(node, 0), build.value(node, 1)
    if node.opset < 7 and shape_of(slope) != (1,):
        slope = build.along(slope, 1, x)
    return [build.emit(graph.SelectOp(_positive(build, x), x, build.binary("mul", x, slope)))]


def _exponential(build: GraphBuilder, x: SSAValue, alpha: float, gamma: float = 1.0, beta: float = 1.0) -> SSAValue:
    """gamma * x where x >= 0, else gamma * alpha * (exp(x / beta) - 1)."""
    inner = x if beta == 1 else build.binary("div", x, build.number(beta, x))
    below = build.binary("mul", build.unary("expm1", inner), build.number(gamma * alpha, x))
    above = x if gamma == 1 else build.binary("mul", x, build.number(gamma, x))
    return build.emit(graph.SelectOp(_positive(build, x), above, below))


def elu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Elu."""
    return [_exponential(build, build.value(node, 0), node.number("alpha", 1.0))]


def selu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Selu: a scaled Elu (Klambauer et al., 2017)."""
    alpha, gamma = node.number("alpha", 1.67326319217681884765625), node.number("gamma", 1.05070102214813232421875)
    return [_exponential(build, build.value(node, 0), alpha, gamma)]


def celu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Celu: max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    alpha = node.number("alpha", 1.0)
    return [_exponential(build, build.value(node, 0), alpha, beta=alpha)]


def clip(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Clip: bounds are attributes before opset 11, then inputs; an absent one does nothing."""
    x = build.value(node, 0)
    for index, (name, kind) in enumerate((("min", "max"), ("max", "min"))):
        if node.opset < 11 and node.has(name):
            x = build.binary(kind, x, build.number(node.number(name, 0.0), x))
        elif node.opset >= 11 and node.has_input(index + 1):
            x = build.binary(kind, x, build.value(node, index + 1))
    return [x]


def hard_sigmoid(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """HardSigmoid: max(0, min(1, alpha * x + beta))."""
    return [_hard(build, build.value(node, 0), node.number("alpha", 0.2), node.number("beta", 0.5))]


def hard_swish(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """HardSwish: x * max(0, min(1, x / 6 + 0.5))."""
    x = build.value(node, 0)
    return [build.binary("mul", x, _hard(build, x, 1 / 6, 0.5))]


def _hard(build: GraphBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    line = build.binary("add", build.binary("mul", x, build.number(alpha, x)), build.number(beta, x))
    return build.binary("max", build.binary("min", line, build.number(1, x)), build.number(0, x))


def softsign(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Softsign: x / (1 + |x|)."""
    x = build.value(node, 0)
    return [build.binary("div", x, build.binary("add", build.unary("abs", x), build.number(1, x)))]


def thresholded_relu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ThresholdedRelu: x where x > alpha, else 0."""
    x = build.value(node, 0)
    above = build.emit(graph.CompareOp(x, build.number(node.number("alpha", 1.0), x), kind="gt"))
    return [build.emit(graph.SelectOp(above, x, build.number(0, x)))]


def shrink(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Shrink: x + bias below -lambd, x - bias above lambd, else 0."""
    x, bias, lambd = build.value(node, 0), node.number("bias", 0.0), node.number("lambd", 0.5)
    below = build.emit(graph.CompareOp(x, build.number(-lambd, x), kind="lt"))
    above = build.emit(graph.CompareOp(x, build.number(lambd, x), kind="gt"))
    upper = build.emit(graph.SelectOp(above, build.binary("sub", x, build.number(bias, x)), build.number(0, x)))
    return [build.emit(graph.SelectOp(below, build.binary("add", x, build.number(bias, x)), upper))]


def mish(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Mish: x * tanh(softplus(x))."""
    x = build.value(node, 0)
    return [build.binary("mul", x, build.unary("tanh", build.unary("softplus", x)))]


def swish(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Swish: x * sigmoid(alpha * x)."""
    x, alpha = build.value(node, 0), node.number("alpha", 1.0)
    inner = x if alpha == 1 else build.binary("mul", x, build.number(alpha, x))
    return [build.binary("mul", x, build.unary("sigmoid", inner))]


def reciprocal(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Reciprocal: 1 / x."""
    x = build.value(node, 0)
    return [build.binary("div", build.number(1, x), x)]


def power(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Pow: from opset 12 on the exponent may have another type."""
    x, exponent = operands(node, build)
    return [build.binary("pow", x, build.cast(exponent, build.element(x)))]


def modulo(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Mod: the sign of the divisor, or with fmod that of the dividend, which floats need."""
    x = build.value(node, 0)
    fmod = node.integer("fmod", 0)
    return [build.binary("rem" if fmod else "mod", x, build.value(node, 1))]


def mean(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Mean of all inputs, which broadcast to each other."""
    total = build.value(node, 0)
    for index in range(1, len(node.inputs)):
        total = build.binary("add", total, build.value(node, index))
    return [build.binary("div", total, build.number(len(node.inputs), total))]


def is_nan(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """IsNaN: x differs from itself."""
    x = build.value(node, 0)
    return [build.emit(graph.CompareOp(x, x, kind="ne"))]


def is_infinite(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """IsInf, of either sign or of one."""
    x = build.value(node, 0)
    signs = [s for s, name in ((1, "detect_positive"), (-1, "detect_negative")) if node.integer(name, 1)]
    found = [build.emit(graph.CompareOp(x, build.number(s * np.inf, x), kind="eq")) for s in signs]
    if not found:
        return [build.number_of(False, i1, x)]
    return [found[0] if len(found) == 1 else build.emit(graph.BinaryOp(*found, kind="or"))]


def sign_of_bits(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """BitwiseNot: all bits but those of x."""
    x = build.value(node, 0)
    dtype = numpy_dtype(build.element(x))
    ones = 2 ** (8 * dtype.itemsize) - 1 if dtype.kind == "u" else -1
    return [build.binary("xor", x, build.number(ones, x))]


def shift(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """BitShift to the left or to the right; what is shifted by its width or more to the right is all sign, and a negative amount is such an amount."""
    direction = node.text("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise Unsupported(f"direction {direction!r} is neither LEFT nor RIGHT")
    kind = "shift_left" if direction == "LEFT" else "shift_right"
    x, amount = build.broadcast_all([build.value(node, 0), build.value(node, 1)])
    dtype = numpy_dtype(build.element(x))
    if kind == "shift_right" and dtype.kind == "i":
        last = build.number(8 * dtype.itemsize - 1, amount)
        negative = build.emit(graph.CompareOp(amount, build.number(0, amount), kind="lt"))
        amount = build.emit(graph.SelectOp(negative, last, build.binary("min", amount, last)))
    return [build.binary(kind, x, amount)]
