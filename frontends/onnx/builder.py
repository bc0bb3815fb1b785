"""What ONNX converters build with: the common builder, and the tensors of the ONNX graph by name."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import onnx
from xdsl.ir import Attribute, Block, SSAValue

from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.frontends import builder
from stepwell.frontends.emitter import Unsupported, set_name_hint, shape_of, tensor_type
from stepwell.frontends.onnx.node import Node

__all__ = ["GraphBuilder", "Item", "Names", "set_name_hint", "shape_of", "tensor_type"]

Item = SSAValue | Array | tuple[SSAValue, ...]
"""What a name stands for: a tensor that is computed, an array, or a sequence of tensors that is known while importing."""


@dataclass
class Names:
    """What the names of tensors mean in one graph or body: values, arrays that are not used yet, sequences that are known while importing, the shapes
    that the file declares, and what could not be converted."""

    values: ChainMap[str, SSAValue] = field(default_factory=ChainMap)
    constants: ChainMap[str, Array] = field(default_factory=ChainMap)
    sequences: ChainMap[str, tuple[SSAValue, ...]] = field(default_factory=ChainMap)
    declared: ChainMap[str, tuple[int, ...]] = field(default_factory=ChainMap)
    failed: set[str] = field(default_factory=set)

    def inner(self) -> Names:
        """The names of a body that sees these."""
        return Names(
            self.values.new_child(),
            self.constants.new_child(),
            self.sequences.new_child(),
            self.declared.new_child(),
            set(self.failed),
        )

    def known(self, name: str) -> bool:
        """True when the name has a meaning here or around."""
        return name in self.values or name in self.constants or name in self.sequences

    def item(self, name: str) -> Item:
        """What a known name stands for."""
        if name in self.sequences:
            return self.sequences[name]
        return self.values[name] if name in self.values else self.constants[name]

    def bind(self, name: str, item: Item) -> None:
        """Give a name its meaning."""
        if isinstance(item, SSAValue):
            self.values[name] = item
        elif isinstance(item, tuple):
            self.sequences[name] = item
        else:
            self.constants[name] = item

    def own(self, name: str) -> bool:
        """True when the name was given a meaning here."""
        return any(name in names.maps[0] for names in (self.values, self.constants, self.sequences))


class GraphBuilder(builder.GraphBuilder):
    """Names of ONNX tensors map to values or to constant arrays; a constant becomes a graph.weight at its first use.

    Bodies of branches, loops and functions are converted by `convert_nodes`, in a scope of names of their own."""

    def __init__(self, block: Block, weights: WeightStore, constants: Mapping[str, Array]) -> None:
        super().__init__(block, weights)
        self.names = Names()
        self.names.constants.update(constants)
        self.convert_nodes: Callable[[Iterable[onnx.NodeProto]], None] = lambda nodes: None
        self.reasons: list[str] = []

    @property
    def values(self) -> ChainMap[str, SSAValue]:
        """Tensors that are computed, by name."""
        return self.names.values

    @property
    def constants(self) -> ChainMap[str, Array]:
        """Tensors that are arrays, by name."""
        return self.names.constants

    @property
    def declared(self) -> ChainMap[str, tuple[int, ...]]:
        """The shapes that the file declares for tensors, by name."""
        return self.names.declared

    @contextmanager
    def scope(self) -> Iterator[Names]:
        """Names that are made inside end with it; those of around it are seen."""
        before, self.names = self.names, self.names.inner()
        try:
            yield self.names
        finally:
            self.names = before

    def known(self, name: str) -> bool:
        """True when the tensor has been computed, or is an input or a constant."""
        return self.names.known(name)

    def weight(self, name: str, array: Array) -> SSAValue:
        """As the common builder's; bodies may call different arrays alike, which are numbered then."""
        taken = name in self.weights and not _same(self.weights.array(name), array)
        return super().weight(self._unused_name(name) if taken else name, array)

    def part(self, name: str) -> str:
        """The name of a weight that a converter makes for the node at hand."""
        return f"{self.node_name}.{name}"

    def item(self, node: Node, index: int) -> Item:
        """Input `index` as what it is."""
        if not node.has_input(index):
            raise Unsupported(f"input {index} is missing")
        return self.names.item(node.inputs[index])

    def value(self, node: Node, index: int) -> SSAValue:
        """Input `index` as an SSA value."""
        if not node.has_input(index):
            raise Unsupported(f"input {index} is missing")
        return self.value_named(node.inputs[index])

    def value_named(self, name: str) -> SSAValue:
        """The tensor of that name as an SSA value."""
        if name in self.names.sequences:
            raise Unsupported(f"{name!r} is a sequence, and a tensor is needed")
        if name not in self.values:
            self.values[name] = self.weight(name, self.constants[name])
        return self.values[name]

    def sequence(self, node: Node, index: int) -> tuple[SSAValue, ...]:
        """Input `index` as a sequence whose tensors are known while importing."""
        name = node.inputs[index] if node.has_input(index) else ""
        if name not in self.names.sequences:
            raise Unsupported(f"input {index} ({name!r}) is no sequence that is known while importing")
        return self.names.sequences[name]

    def constant(self, node: Node, index: int, what: str) -> Array:
        """Input `index` as an array; Unsupported when it is computed from the network's inputs."""
        array = self.maybe_constant(node, index)
        if array is None and not node.has_input(index):
            raise Unsupported(f"input {index} ({what}) is missing")
        if array is None:
            name = node.inputs[index]
            raise Unsupported(
                f"{what} (input {index}, {name!r}) must be a constant: it is computed from the network's inputs"
            )
        if array.dtype.kind not in "biufV":
            raise Unsupported(f"{what} (input {index}, {node.inputs[index]!r}) has elements of type {array.dtype}")
        return array

    def maybe_constant(self, node: Node, index: int) -> Array | None:
        """Input `index` as an array; None where it is left out or computed from the network's inputs."""
        if not node.has_input(index):
            return None
        name = node.inputs[index]
        if name in self.constants:
            return self.constants[name]
        value = self.value_named(name)
        if 0 in shape_of(value):
            return np.zeros(shape_of(value), numpy_dtype(self.element(value)))
        return self.array(value)

    def maybe_truth(self, node: Node, index: int) -> bool:
        """True where input `index` is left out or known to be true."""
        known = self.maybe_constant(node, index)
        return not node.has_input(index) or (known is not None and bool(known.all()))

    def decided(self, node: Node, index: int) -> tuple[tuple[int, ...], ...] | None:
        """The shapes that the model declares for the node's outputs, where they have to say what input `index` is: it is computed from the network's
        inputs, and all outputs are declared. None where the input is constant or left out, or they are not."""
        if not node.has_input(index) or self.maybe_constant(node, index) is not None:
            return None
        shapes = tuple(self.declared[name] for name in node.outputs if name in self.declared)
        return shapes if len(shapes) == len(node.outputs) else None

    def scalar(self, node: Node, index: int, element: Attribute, shape: Sequence[int]) -> SSAValue:
        """Input `index`, one element, repeated to a shape under an element type."""
        return self.broadcast(self.reshape(self.cast(self.value(node, index), element), []), shape)


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
