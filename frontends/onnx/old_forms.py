"""How operator sets 1 to 6 said what later ones say otherwise: broadcasting by attributes, in-place hints, parameters in other places."""

from __future__ import annotations

from onnx import TensorProto
from xdsl.ir import SSAValue

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node


def operands(node: Node, build: GraphBuilder) -> tuple[SSAValue, SSAValue]:
    """Both operands of an elementwise node. Before opset 7 the second one broadcasts only where `broadcast` says so, its dims standing at `axis` or at the end."""
    a, b = build.value(node, 0), build.value(node, 1)
    if node.opset >= 7:
        return a, b
    allowed, shape, own = node.integer("broadcast", 0), shape_of(a), shape_of(b)
    if not allowed:
        node.ignore("axis")
        if shape != own:
            raise Unsupported(f"shapes {list(shape)} and {list(own)} differ, and broadcast is not set")
        return a, b
    axis = node.integer("axis", len(shape) - len(own))
    axis = axis + len(shape) if axis < 0 else axis
    behind = len(shape) - axis - len(own)
    if axis < 0 or behind < 0:
        raise Unsupported(f"axis {axis} does not place {list(own)} in {list(shape)}")
    return a, build.broadcast(build.reshape(b, [*own, *[1] * behind]), shape)


def type_code(value: object) -> int:
    """The number of an element type, which Cast gave by name before opset 6."""
    if isinstance(value, bytes):
        name = value.decode(errors="replace")
        codes = dict(TensorProto.DataType.items())
        if name.upper() not in codes:
            raise Unsupported(f"{name!r} is no element type")
        return codes[name.upper()]
    if not isinstance(value, int):
        raise Unsupported(f"attribute 'to' is {value!r}: it must be an element type")
    return value
