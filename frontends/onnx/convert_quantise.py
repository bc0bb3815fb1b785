"""Converters: scaled integers, and products of them as products of what they stand for."""

from __future__ import annotations

from onnx import TensorProto, helper
from xdsl.dialects.builtin import Float8E8M0FNUType, IntegerType, Signedness, f32, i32
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS8, STORAGE, element_type_of
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_matmul import product
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.convert_window import convolution
from stepwell.frontends.onnx.node import Node


def _place(node: Node, build: GraphBuilder, x: SSAValue, scale: SSAValue) -> tuple[list[int], list[int], list[int]]:
    """The dims that have scales of their own, how many neighbours share one, and the shape under which graph ops take the scale."""
    shape, given = shape_of(x), shape_of(scale)
    block, axis = node.integer("block_size", 0), node.integer("axis", 1)
    if given in ((), (1,)):
        return [], [], []
    dim = dim_of(axis, len(shape))
    if len(given) == 1 and not block:
        return [dim], [1], list(given)
    if len(given) != len(shape) or not block:
        raise Unsupported(
            f"a scale of shape {list(given)} for {list(shape)}: it has one element, one per channel, or blocks with block_size"
        )
    return list(range(len(shape))), [block if d == dim else 1 for d in range(len(shape))], list(given)


def _element(code: int) -> Attribute:
    try:
        return element_type_of(helper.tensor_dtype_to_np_dtype(code))
    except (TypeError, KeyError):
        raise Unsupported(f"{TensorProto.DataType.Name(code)} is no element type of the IR") from None


def _zero(node: Node, build: GraphBuilder, index: int, default: Attribute, shape: list[int]) -> SSAValue:
    if node.has_input(index):
        return build.reshape(build.value(node, index), shape)
    return build.broadcast(build.emit(graph.ConstantOp(0, default)), shape)


def quantize_linear(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """QuantizeLinear: one scale, one per channel, or one per block."""
    if node.integer("precision", 0) not in (0, TensorProto.FLOAT):
        raise Unsupported("precision: the division is done in float")
    x, scale = build.value(node, 0), build.value(node, 1)
    dims, block, shape = _place(node, build, x, scale)
    code = node.integer("output_dtype", 0)
    default = _element(code) if code else IntegerType(8, Signedness.UNSIGNED)
    zero = _zero(node, build, 2, default, shape)
    element = build.element(zero)
    narrow = element in (*FLOATS8, *STORAGE) and not isinstance(element, IntegerType | Float8E8M0FNUType)
    saturate = bool(node.integer("saturate", 1)) and narrow
    x = build.cast(x, f32) if isinstance(build.element(x), IntegerType) else x
    op = graph.QuantizeOp(x, build.reshape(scale, shape), zero, dims=dims, block=block, saturate=saturate)
    return [build.emit(op)]


def dequantize_linear(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """DequantizeLinear, the inverse of QuantizeLinear."""
    x, scale = build.value(node, 0), build.value(node, 1)
    dims, block, shape = _place(node, build, x, scale)
    code = node.integer("output_dtype", 0)
    zero = _zero(node, build, 2, build.element(x), shape)
    element = _element(code) if code else None
    return [
        build.emit(
            graph.DequantizeOp(x, build.reshape(scale, shape), zero, dims=dims, block=block, element_type=element)
        )
    ]


def _real(node: Node, build: GraphBuilder, index: int, dim: int) -> SSAValue:
    """Inputs `index`, its scale and its zero point as floats; with more than one scale they are one per position of `dim`."""
    x, scale, zero = (build.value(node, k) for k in (index, index + 1, index + 2))
    several = shape_of(scale) not in ((), (1,))
    shape, dims = (list(shape_of(scale)), [dim]) if several else ([], [])
    made = graph.DequantizeOp(x, build.reshape(scale, shape), build.reshape(zero, shape), dims=dims)
    return build.emit(made)


def _scaled(node: Node, build: GraphBuilder, value: SSAValue, index: int) -> list[SSAValue]:
    scale, zero = (build.reshape(build.value(node, k), []) for k in (index, index + 1))
    return [build.emit(graph.QuantizeOp(value, scale, zero))]


def qlinear_matmul(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """QLinearMatMul: dequantise, multiply, quantise."""
    a, b = build.value(node, 0), build.value(node, 3)
    left = _real(node, build, 0, max(0, len(shape_of(a)) - 2))
    right = _real(node, build, 3, len(shape_of(b)) - 1)
    return _scaled(node, build, product(build, left, right), 6)


def qlinear_conv(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """QLinearConv: dequantise, convolve, add the bias in units of both scales, quantise."""
    result = convolution(node, build, _real(node, build, 0, 1), _real(node, build, 3, 0))
    if node.has_input(8):
        bias = build.cast(build.value(node, 8), f32)
        unit = build.binary("mul", build.reshape(build.value(node, 1), []), build.value(node, 4))
        scaled = build.binary("mul", bias, unit if shape_of(unit) != (1,) else build.reshape(unit, []))
        result = build.binary("add", result, build.emit(graph.BroadcastOp(scaled, dims=[1], shape=shape_of(result))))
    return _scaled(node, build, result, 6)


def qlinear_add(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """QLinearAdd of ONNX Runtime's domain, which its quantiser writes for a sum: dequantise, add, quantise."""
    left, right = build.broadcast_all([_real(node, build, index, 0) for index in (0, 3)])
    return _scaled(node, build, build.binary("add", left, right), 6)


def _shifted(node: Node, build: GraphBuilder, index: int, zero: int, dim: int) -> SSAValue:
    x = build.cast(build.value(node, index), i32)
    if not node.has_input(zero):
        return x
    offset = build.cast(build.value(node, zero), i32)
    if len(shape_of(offset)) == 1 and shape_of(offset) != (1,):
        offset = build.emit(graph.BroadcastOp(offset, dims=[dim], shape=shape_of(x)))
    return build.binary("sub", x, offset)


def matmul_integer(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MatMulInteger: the product of both operands less their zero points, in i32."""
    a, b = shape_of(build.value(node, 0)), shape_of(build.value(node, 1))
    return [product(build, _shifted(node, build, 0, 2, max(0, len(a) - 2)), _shifted(node, build, 1, 3, len(b) - 1))]


def conv_integer(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ConvInteger: the convolution of both operands less their zero points, in i32."""
    return [convolution(node, build, _shifted(node, build, 0, 2, 1), _shifted(node, build, 1, 3, 0))]
