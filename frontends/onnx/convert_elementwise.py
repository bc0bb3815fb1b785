"""Converters: elementwise functions, with NumPy's broadcasting made explicit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from onnx import TensorProto, helper
from xdsl.dialects.builtin import Float8E8M0FNUType, IntegerType
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS8, STORAGE, element_type_of
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, Item
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.onnx.old_forms import operands, type_code

Converter = Callable[[Node, GraphBuilder], Sequence[Item]]


def _unary(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    return [build.emit(graph.UnaryOp(build.value(node, 0), kind=kind))]


def unary(kind: str) -> Converter:
    """The converter of a node that is one graph.unary."""
    return partial(_unary, kind)


def _binary(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    return [build.binary(kind, *operands(node, build))]


def binary(kind: str) -> Converter:
    """The converter of a node that is one graph.binary."""
    return partial(_binary, kind)


def _variadic(kind: str, node: Node, build: GraphBuilder) -> list[SSAValue]:
    result = build.value(node, 0)
    for index in range(1, len(node.inputs)):
        result = build.binary(kind, result, build.value(node, index))
    return [result]


def variadic(kind: str) -> Converter:
    """The converter of a node that applies one graph.binary from left to right (Max, Min, Sum)."""
    return partial(_variadic, kind)


def gelu(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Gelu of opset 20, exact or by tanh."""
    kinds = {"none": "gelu", "tanh": "gelu_tanh"}
    approximate = node.text("approximate", "none")
    if approximate not in kinds:
        raise Unsupported(f"approximate {approximate!r} is unknown: none and tanh are supported")
    return [build.emit(graph.UnaryOp(build.value(node, 0), kind=kinds[approximate]))]


def cast(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Cast between the element types that the IR has."""
    saturate, rounding = bool(node.integer("saturate", 1)), node.text("round_mode", "up")
    code = type_code(node.value("to"))
    try:
        element = element_type_of(helper.tensor_dtype_to_np_dtype(code))
    except (TypeError, KeyError):
        names = {value: name for name, value in TensorProto.DataType.items()}
        raise Unsupported(f"conversion to {names.get(code, code)} is not supported") from None
    return [_cast(build, build.value(node, 0), element, saturate, rounding)]


def _cast(build: GraphBuilder, x: SSAValue, element: Attribute, saturate: bool, rounding: str) -> SSAValue:
    """A graph.cast: only narrow floats saturate, only powers of two are rounded as told."""
    narrow = element in (*FLOATS8, *STORAGE) and not isinstance(element, IntegerType)
    power = rounding if isinstance(element, Float8E8M0FNUType) else None
    return build.emit(graph.CastOp(x, element, saturate=narrow and saturate, rounding=power))


def cast_like(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """CastLike: a cast to the second input's element type; 8-bit floats saturate unless told otherwise."""
    saturate, rounding = bool(node.integer("saturate", 1)), node.text("round_mode", "up")
    x, element = build.value(node, 0), build.element(build.value(node, 1))
    return [x if build.element(x) == element else _cast(build, x, element, saturate, rounding)]
