"""The shapes that a file declares for tensors, and those that follow from them for what computes them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

Shapes = dict[str, tuple[int, ...]]

SAME = frozenset(
    [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Cast",
        "CastLike",
        "Ceil",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "Identity",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softmax",
        "Softplus",
        "Sqrt",
        "Tan",
        "Tanh",
    ]
)
"""Operators whose result has the shape of their first input."""
PAIRS = frozenset(["Add", "Sub", "Mul", "Div", "Pow"])
"""Operators whose result has the shape of the one operand where the other is a scalar."""


def declared_shapes(graph: onnx.GraphProto) -> Shapes:
    """Tensor name -> the shape that the file gives it, where all its extents are numbers; and what that says about the inputs of elementwise nodes."""
    found = {}
    for entry in (*graph.value_info, *graph.output):
        tensor = entry.type.tensor_type
        extents = [dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value")]
        if tensor.HasField("shape") and len(extents) == len(tensor.shape.dim):
            found[entry.name] = tuple(extents)
    scalars = _scalars(graph)
    for node in reversed(graph.node):
        shape = found.get(node.output[0]) if node.output else None
        name = _like_its_result(node, scalars)
        if shape is not None and name:
            found.setdefault(name, shape)
    return found


def _like_its_result(node: onnx.NodeProto, scalars: set[str]) -> str:
    """The input that has the shape of the node's result, where one must."""
    if node.op_type in SAME and node.input:
        return node.input[0]
    if node.op_type not in PAIRS or len(node.input) != 2:
        return ""
    others = [name for name in node.input if name not in scalars]
    return others[0] if len(others) == 1 else ""


def _scalars(graph: onnx.GraphProto) -> set[str]:
    """Tensors of rank 0: inputs and constants, and what elementwise nodes make of them."""
    given = (entry for entry in graph.input if entry.type.tensor_type.HasField("shape"))
    found = {entry.name for entry in given if not entry.type.tensor_type.shape.dim}
    found |= {tensor.name for tensor in graph.initializer if not tensor.dims}
    for node in graph.node:
        if (node.op_type == "Constant" and _is_scalar(node.attribute)) or _computed_of(node, found):
            found.update(node.output)
    return found


def _computed_of(node: onnx.NodeProto, scalars: set[str]) -> bool:
    given = node.input[:1] if node.op_type in SAME else node.input
    return node.op_type in SAME | PAIRS and len(given) > 0 and scalars.issuperset(given)


def _is_scalar(attributes: Iterable[onnx.AttributeProto]) -> bool:
    names = {attribute.name for attribute in attributes}
    return bool(names & {"value_float", "value_int"}) or any(a.name == "value" and not a.t.dims for a in attributes)
