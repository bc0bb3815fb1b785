"""TensorFlow operators that are functions of single elements."""

from __future__ import annotations

from functools import partial, reduce

from xdsl.dialects.builtin import i1
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS, INTEGERS, numpy_dtype
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Converter, Node, Values, needs
from stepwell.frontends.tensorflow.tensor import array_of

SELU = (1.6732632423543772, 1.0507009873554805)
"""Alpha and scale of Selu."""


def constant(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Const: a weight."""
    return [build.weight(node.name, array_of(node.message("value").tensor))]


def identity(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Identity and what only matters for training: the value itself."""
    if not inputs:
        raise Unsupported("it has no input")
    return list(inputs) if node.op == "IdentityN" else [inputs[0]]


def _is_float(build: GraphBuilder, value: SSAValue) -> bool:
    return build.element(value) in FLOATS


def _unary(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 1)
    return [build.unary(kind, inputs[0])]


def unary(kind: str) -> Converter:
    """The converter of an operator that is one graph.unary."""
    return partial(_unary, kind)


def _rounded(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 1)
    return [build.unary(kind, inputs[0]) if _is_float(build, inputs[0]) else inputs[0]]


def rounded(kind: str) -> Converter:
    """A rounding; integers stay as they are."""
    return partial(_rounded, kind)


def _binary(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 2)
    return [build.binary(kind, inputs[0], inputs[1])]


def binary(kind: str) -> Converter:
    """The converter of an operator that is one graph.binary, broadcast."""
    return partial(_binary, kind)


def _compare(kind: str, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 2)
    left, right = build.broadcast_all(inputs)
    return [build.emit(graph.CompareOp(left, right, kind=kind))]


def compare(kind: str) -> Converter:
    """The converter of a comparison."""
    return partial(_compare, kind)


def scaled(build: GraphBuilder, x: SSAValue, factor: float) -> SSAValue:
    """factor * x."""
    return build.binary("mul", x, build.number(factor, x))


def positive_or(build: GraphBuilder, x: SSAValue, other: SSAValue) -> SSAValue:
    """x where it is positive, else `other`."""
    return build.emit(graph.SelectOp(build.emit(graph.CompareOp(x, build.number(0, x), kind="gt")), x, other))


def square(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Square: x * x."""
    needs(inputs, 1)
    return [build.binary("mul", inputs[0], inputs[0])]


def reciprocal(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Reciprocal: 1 / x."""
    needs(inputs, 1)
    return [build.binary("div", build.number(1, inputs[0]), inputs[0])]


def rsqrt(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Rsqrt: 1 / sqrt(x)."""
    return reciprocal(build, node, _unary("sqrt", build, node, inputs))


def relu6(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Relu6: min(max(x, 0), 6)."""
    needs(inputs, 1)
    return [build.binary("min", build.unary("relu", inputs[0]), build.number(6, inputs[0]))]


def elu(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Elu: x where positive, else exp(x) - 1."""
    needs(inputs, 1)
    return [positive_or(build, inputs[0], build.unary("expm1", inputs[0]))]


def selu(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Selu: scale * (x where positive, else alpha * (exp(x) - 1))."""
    needs(inputs, 1)
    alpha, scale = SELU
    below = scaled(build, build.unary("expm1", inputs[0]), alpha)
    return [scaled(build, positive_or(build, inputs[0], below), scale)]


def leaky_relu(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """LeakyRelu: x where positive, else alpha * x."""
    needs(inputs, 1)
    return [positive_or(build, inputs[0], scaled(build, inputs[0], node.number("alpha", 0.2)))]


def softsign(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Softsign: x / (1 + abs(x))."""
    needs(inputs, 1)
    below = build.binary("add", build.unary("abs", inputs[0]), build.number(1, inputs[0]))
    return [build.binary("div", inputs[0], below)]


def floor_div(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """FloorDiv: rounded down; integers as (x - mod(x, y)) / y, which divides evenly."""
    needs(inputs, 2)
    x, y = inputs
    if _is_float(build, x):
        return [build.unary("floor", build.binary("div", x, y))]
    return [build.binary("div", build.binary("sub", x, build.binary("mod", x, y)), y)]


def squared_difference(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SquaredDifference: (x - y) squared."""
    return square(build, node, _binary("sub", build, node, inputs))


def _zero_aware(kind: str, position: int, build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    needs(inputs, 2)
    x, y = build.broadcast_all(inputs)
    zero = build.number(0, x)
    empty = build.emit(graph.CompareOp((x, y)[position], zero, kind="eq"))
    value = build.binary("div", x, y) if kind == "div" else build.binary("mul", x, _logarithm(kind, build, y))
    return [build.emit(graph.SelectOp(empty, zero, value))]


def _logarithm(kind: str, build: GraphBuilder, y: SSAValue) -> SSAValue:
    return y if kind == "mul" else build.unary(kind, y)


def zero_aware(kind: str, position: int) -> Converter:
    """x / y, x * y, x * log(y) or x * log1p(y), 0 where the operand at `position` is 0."""
    return partial(_zero_aware, kind, position)


def add_n(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """AddN: the sum of all inputs."""
    if not inputs:
        raise Unsupported("it has no input")
    return [reduce(partial(build.binary, "add"), inputs)]


def bias_add(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """BiasAdd: a bias along the channels, the last dim or with NCHW the second."""
    needs(inputs, 2)
    x, bias = inputs
    rank = len(shape_of(x))
    dim = 1 if node.word("data_format", "NHWC").startswith("NC") and rank > 2 else rank - 1
    if rank < 2 or shape_of(bias) != shape_of(x)[dim : dim + 1]:
        raise Unsupported(f"a bias of {list(shape_of(bias))} does not fit {list(shape_of(x))}")
    return [build.binary("add", x, build.emit(graph.BroadcastOp(bias, dims=[dim], shape=shape_of(x))))]


def select(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Select: a condition of the operands' shape, a scalar, or a vector for the first dim."""
    needs(inputs, 3)
    condition, x, y = inputs
    shape, rank = shape_of(x), len(shape_of(condition))
    if shape_of(y) != shape or rank not in (0, 1, len(shape)):
        raise Unsupported(f"shapes {[list(shape_of(value)) for value in inputs]} do not fit")
    if rank == 1 and len(shape) > 1:
        condition = build.emit(graph.BroadcastOp(condition, dims=[0], shape=shape))
    return [build.emit(graph.SelectOp(build.broadcast(condition, shape), x, y))]


def select_v2(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SelectV2: all three broadcast."""
    needs(inputs, 3)
    return [build.emit(graph.SelectOp(*build.broadcast_all(inputs)))]


def clip(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """ClipByValue: min(max(x, low), high)."""
    needs(inputs, 3)
    return [build.binary("max", build.binary("min", inputs[0], inputs[2]), inputs[1])]


def convert_type(build: GraphBuilder, value: SSAValue, element: Attribute) -> SSAValue:
    """The value in another type: towards zero to integers, bool by comparison with zero."""
    if element == i1 and build.element(value) != i1:
        return build.emit(graph.CompareOp(value, build.number(0, value), kind="ne"))
    return build.cast(value, element)


def cast(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Cast: SrcT to DstT."""
    needs(inputs, 1)
    return [convert_type(build, inputs[0], node.element("DstT"))]


def like(value: float) -> Converter:
    """ZerosLike and OnesLike."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 1)
        return [build.number(value, inputs[0])]

    return convert


def fake_quant(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """FakeQuantWithMinMax*: the range nudged so that 0 is a step, x rounded to steps (half up)."""
    needs(inputs, 1, 3)
    x, bits = inputs[0], node.integer("num_bits", 8)
    if not 2 <= bits <= 16:
        raise Unsupported(f"num_bits is {bits}: 2 to 16")
    if len(inputs) == 3:
        low, high = inputs[1], inputs[2]
    else:
        low, high = (
            build.emit(graph.ConstantOp(node.number(n, v), build.element(x))) for n, v in (("min", -6), ("max", 6))
        )
    first, last = float(node.flag("narrow_range")), float(2**bits - 1)

    def clamped(value: SSAValue, lower: SSAValue, upper: SSAValue) -> SSAValue:
        return build.binary("min", build.binary("max", value, lower), upper)

    def nearest(value: SSAValue) -> SSAValue:
        return build.unary("floor", build.binary("add", value, build.number(0.5, value)))

    least, most = build.number(first, low), build.number(last, low)
    step = build.binary("div", build.binary("sub", high, low), build.number(last - first, low))
    zero = nearest(clamped(build.binary("sub", least, build.binary("div", low, step)), least, most))
    bottom = build.binary("mul", build.binary("sub", least, zero), step)
    top = build.binary("mul", build.binary("sub", most, zero), step)
    inverse = build.binary("div", build.number(1, step), step)
    steps = nearest(build.binary("mul", build.binary("sub", clamped(x, bottom, top), bottom), inverse))
    return [build.binary("add", build.binary("mul", steps, step), bottom)]


def invert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """Invert: all bits of an integer."""
    needs(inputs, 1)
    if build.element(inputs[0]) not in INTEGERS:
        raise Unsupported("its input must be of integers")
    return [build.unary("not", inputs[0])]


def shift(kind: str) -> Converter:
    """LeftShift, RightShift: amounts clamped into the type's width, as TensorFlow does."""

    def convert(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
        needs(inputs, 2)
        x, y = build.broadcast_all(inputs)
        bits = numpy_dtype(build.element(x)).itemsize * 8
        amount = build.binary("min", build.binary("max", y, build.number(0, y)), build.number(bits - 1, y))
        return [build.binary(kind, x, amount)]

    return convert
