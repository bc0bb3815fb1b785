"""What ONNX converters build with: the common builder, and the tensors of the ONNX graph by name."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.frontends import builder
from stepwell.frontends.emitter import Unsupported, set_name_hint, shape_of, tensor_type
from stepwell.frontends.onnx.node import Node

__all__ = ["GraphBuilder", "set_name_hint", "shape_of", "tensor_type"]


class GraphBuilder(builder.GraphBuilder):
    """Names of ONNX tensors map to values or to constant arrays; a constant becomes a graph.weight at its first use."""

    def __init__(self, block: Block, weights: WeightStore, constants: dict[str, Array]) -> None:
        super().__init__(block, weights)
        self.constants = constants
        self.values: dict[str, SSAValue] = {}
        self.declared: dict[str, tuple[int, ...]] = {}

    def known(self, name: str) -> bool:
        """True when the tensor has been computed, or is an input or a constant."""
        return name in self.values or name in self.constants

    def value(self, node: Node, index: int) -> SSAValue:
        """Input `index` as an SSA value."""
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
        if name in self.constants:
            return self.constants[name]
        return self.constant_array(self.values[name], f"{what} (input {index}, {name!r})")

    def decided(self, node: Node, index: int) -> tuple[tuple[int, ...], ...] | None:
        """The shapes that the model declares for the node's outputs, where they have to say what input `index` is: it is computed from the network's
        inputs, and all outputs are declared. None where the input is constant or left out, or they are not."""
        if not node.has_input(index) or node.inputs[index] in self.constants:
            return None
        shapes = tuple(self.declared[name] for name in node.outputs if name in self.declared)
        if len(shapes) < len(node.outputs) or self.array(self.values[node.inputs[index]]) is not None:
            return None
        return shapes

    def scalar(self, node: Node, index: int, element: Attribute, shape: Sequence[int]) -> SSAValue:
        """Input `index`, one element, repeated to a shape under an element type."""
        return self.broadcast(self.reshape(self.cast(self.value(node, index), element), []), shape)
