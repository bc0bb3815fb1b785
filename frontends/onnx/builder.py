"""What converters build with: ops get the node's name as location, constants become weights when a value of them is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, element_type_of, numpy_dtype
from stepwell.frontends.onnx.node import Node, Unsupported
from stepwell.frontends.weights import WeightStore
from stepwell.passes import location_of


class GraphBuilder:
    """Appends graph ops to the body of the network's function. Names of ONNX tensors map to values or to constant arrays."""

    def __init__(self, block: Block, weights: WeightStore, constants: dict[str, Array]) -> None:
        self.block, self.weights, self.constants = block, weights, constants
        self.values: dict[str, SSAValue] = {}
        self.node_name = ""

    # --- reading inputs

    def known(self, name: str) -> bool:
        """True when the tensor has been computed, or is an input or a constant."""
        return name in self.values or name in self.constants

    def value(self, node: Node, index: int) -> SSAValue:
        """Input `index` as an SSA value; a constant becomes a graph.weight at its first use."""
        if not node.has_input(index):
            raise Unsupported(f"input {index} is missing")
        return self.value_named(node.inputs[index])

    def value_named(self, name: str) -> SSAValue:
        """The tensor of that name as an SSA value."""
        if name not in self.values:
            self.values[name] = self.weight(name, self.constants[name])
        return self.values[name]

    def constant(self, node: Node, index: int, what: str) -> Array:
        """Input `index` as an array; Unsupported when it is computed from the network's inputs."""
        if not node.has_input(index):
            raise Unsupported(f"input {index} ({what}) is missing")
        name = node.inputs[index]
        if name not in self.constants:
            raise Unsupported(f"{what} (input {index}, {name!r}) must be a constant")
        return self.constants[name]

    # --- building

    def emit(self, op: Operation) -> SSAValue:
        """Append `op`, named after the node, and return its first result; VerifyException when its verifier refuses it."""
        op.location = location_of([self.node_name])
        op.verify()
        self.block.add_op(op)
        return op.results[0]

    def weight(self, name: str, array: Array) -> SSAValue:
        """A graph.weight for an array that goes into the store under `name`."""
        try:
            element_type_of(array.dtype)
        except TypeError as error:
            raise Unsupported(f"{name!r}: {error}") from None
        op = graph.WeightOp(self.weights.add(name, array))
        op.location = location_of([name])
        self.block.add_op(op)
        set_name_hint(op.result, name)
        return op.result

    def scalar_like(self, name: str, value: float, like: SSAValue) -> SSAValue:
        """A constant number, kept as the weight `<node>.<name>`, repeated to the type of `like`."""
        type = tensor_type(like)
        scalar = self.weight(f"{self.node_name}.{name}", np.asarray(value, numpy_dtype(type)))
        return self.emit(graph.BroadcastOp(scalar, dims=[], shape=type.get_shape()))

    def reshape(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` under another shape; itself when it has that already."""
        if tensor_type(value).get_shape() == tuple(shape):
            return value
        return self.emit(graph.ReshapeOp(value, shape))

    def broadcast(self, value: SSAValue, shape: Sequence[int]) -> SSAValue:
        """`value` repeated to `shape` by NumPy's rule: aligned at the last dims, extents of 1 stretch. Also where nothing is repeated
        (a bias in a batch of 1), so that the ops, and with them the kernels, are the same for every batch."""
        before = tensor_type(value).get_shape()
        if before == tuple(shape):
            return value
        offset = len(shape) - len(before)
        if offset < 0 or any(e not in (1, shape[offset + d]) for d, e in enumerate(before)):
            raise Unsupported(f"shapes {list(before)} and {list(shape)} do not broadcast")
        kept = [d for d, extent in enumerate(before) if extent != 1]
        flat = self.reshape(value, [before[d] for d in kept])
        return self.emit(graph.BroadcastOp(flat, dims=[offset + d for d in kept], shape=shape))

    def binary(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """A graph.binary of two values that NumPy's rule broadcasts to each other."""
        left, right = tensor_type(a), tensor_type(b)
        if left.element_type != right.element_type:
            raise Unsupported(f"operands have element types {left.element_type} and {right.element_type}")
        try:
            shape = np.broadcast_shapes(left.get_shape(), right.get_shape())
        except ValueError:
            raise Unsupported(
                f"shapes {list(left.get_shape())} and {list(right.get_shape())} do not broadcast"
            ) from None
        return self.emit(graph.BinaryOp(self.broadcast(a, shape), self.broadcast(b, shape), kind=kind))


def tensor_type(value: SSAValue) -> TensorType[Attribute]:
    """The tensor type of a value that the importer made."""
    assert isinstance(value.type, TensorType)
    return value.type


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The extents of a value that the importer made."""
    return tensor_type(value).get_shape()


def set_name_hint(value: SSAValue, name: str) -> None:
    """Let the IR text show `name`, with what identifiers lack replaced by underscores."""
    hint = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if hint and hint[0].isdigit():
        hint = f"_{hint}"
    if SSAValue.is_valid_name(hint):
        value.name_hint = hint
