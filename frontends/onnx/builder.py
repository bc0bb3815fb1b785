"""What ONNX converters build with: the common builder, and the tensors of the ONNX graph by name."""

from __future__ import annotations

from xdsl.ir import Block, SSAValue

from stepwell.dialects.numpy_types import Array
from stepwell.frontends import builder
from stepwell.frontends.emitter import Unsupported, set_name_hint, shape_of, tensor_type
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.weights import WeightStore

__all__ = ["GraphBuilder", "set_name_hint", "shape_of", "tensor_type"]


class GraphBuilder(builder.GraphBuilder):
    """Names of ONNX tensors map to values or to constant arrays; a constant becomes a graph.weight at its first use."""

    def __init__(self, block: Block, weights: WeightStore, constants: dict[str, Array]) -> None:
        super().__init__(block, weights)
        self.constants = constants
        self.values: dict[str, SSAValue] = {}

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
