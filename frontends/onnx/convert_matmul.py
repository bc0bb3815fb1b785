"""Converters: MatMul and Gemm."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import is_float
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of, tensor_type
from stepwell.frontends.onnx.node import Node


def matmul(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MatMul: operands of rank 1 become a row or a column and lose that extent again; batches broadcast to each other."""
    return [product(build, build.value(node, 0), build.value(node, 1))]


def product(build: GraphBuilder, a: SSAValue, b: SSAValue) -> SSAValue:
    """What MatMul makes of two values."""
    left, right = shape_of(a), shape_of(b)
    if not left or not right:
        raise Unsupported("an operand is a scalar: use Mul")
    if len(left) == 1:
        a = build.reshape(a, (1, *left))
    if len(right) == 1:
        b = build.reshape(b, (*right, 1))
    a, b, batch = _batched(build, a, b)
    result = build.emit(graph.MatmulOp(a, b))
    rows, columns = left[-2:-1] if len(left) > 1 else (), right[-1:] if len(right) > 1 else ()
    return build.reshape(result, (*batch, *rows, *columns))


def _batched(build: GraphBuilder, a: SSAValue, b: SSAValue) -> tuple[SSAValue, SSAValue, tuple[int, ...]]:
    """Both operands with the same batch dims; a right operand without any stays as it is."""
    left, right = shape_of(a), shape_of(b)
    if len(right) == 2:
        return a, b, left[:-2]
    try:
        batch = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise Unsupported(f"the batches of {list(left)} and {list(right)} do not broadcast") from None
    return build.broadcast(a, (*batch, *left[-2:])), build.broadcast(b, (*batch, *right[-2:])), batch


def gemm(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Gemm: alpha * A' * B' + beta * C."""
    if node.opset < 7:
        node.ignore("broadcast")
    a, b = build.value(node, 0), build.value(node, 1)
    if len(shape_of(a)) != 2 or len(shape_of(b)) != 2:
        raise Unsupported(f"operands have ranks {len(shape_of(a))} and {len(shape_of(b))}: both must be 2")
    if node.integer("transA", 0):
        a = build.emit(graph.TransposeOp(a, (1, 0)))
    result = build.emit(graph.MatmulOp(a, b, transpose_b=bool(node.integer("transB", 0))))
    result = _scaled(build, result, "alpha", node.number("alpha", 1.0))
    beta = node.number("beta", 1.0)
    if not node.has_input(2) or beta == 0.0:
        return [result]
    addend = _scaled(build, build.value(node, 2), "beta", beta)
    return [build.emit(graph.BinaryOp(result, build.broadcast(addend, shape_of(result)), kind="add"))]


def _scaled(build: GraphBuilder, value: SSAValue, name: str, factor: float) -> SSAValue:
    if factor == 1.0:
        return value
    element = tensor_type(value).element_type
    if not is_float(element) and factor != int(factor):
        raise Unsupported(
            f"{name} is {factor:g} and the operands are of {element}: a whole number is needed, or a Cast to floats"
        )
    return build.emit(graph.BinaryOp(value, build.scalar_like(name, factor, value), kind="mul"))
