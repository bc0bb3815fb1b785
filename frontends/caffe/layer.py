"""What converters of Caffe layers build with: the layer's parameters, its bottoms as values, its blobs as weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from google.protobuf.message import Message
from xdsl.dialects.builtin import TensorType, f32, i1
from xdsl.ir import Block, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.attributes import NO_HASH, WeightAttr
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, set_name_hint

Shape = Sequence[int]
Owner = tuple[str, int]
"""A blob: the layer that holds it, and its place there."""


class CaffeBuilder(GraphBuilder):
    """The common builder, with weights from blobs. Without a source of arrays weights are references by name and type only."""

    def __init__(self, block: Block, weights: WeightStore, blobs: Mapping[str, Sequence[Array]] | None) -> None:
        super().__init__(block, weights)
        self.blobs = blobs
        self.owners: dict[str, Owner] = {}
        self.layer_number = 0
        self._made: dict[tuple[Owner, tuple[int, ...]], SSAValue] = {}
        self._holders: dict[Owner, int] = {}

    def blob(self, layer: Message, index: int, shape: Shape) -> SSAValue:
        """Blob `index` of a layer as a weight `<layer>.<index>` of this shape. Caffe's old files keep matrices and vectors with four extents: the
        number of elements decides. Layers whose `param` have one name share the first one's."""
        owner = layer.name, index
        if index < len(layer.param) and layer.param[index].name:
            owner = self.owners.setdefault(layer.param[index].name, owner)
        elif self._holders.setdefault(owner, self.layer_number) != self.layer_number:
            raise Unsupported(
                f"another layer is called {layer.name!r} too: which one the weights are for cannot be told"
            )
        name, key = f"{owner[0]}.{owner[1]}", (owner, tuple(shape))
        if key not in self._made:
            self._made[key] = (
                self._reference(name, shape) if self.blobs is None else self._weight(layer, index, owner, shape)
            )
        return self._made[key]

    def _weight(self, layer: Message, index: int, owner: Owner, shape: Shape) -> SSAValue:
        assert self.blobs is not None
        array = self._stored(owner) if owner[0] in self.blobs else self._stored((layer.name, index))
        if array.size != prod(shape):
            raise Unsupported(f"blob {index} has shape {list(array.shape)}, the layer needs {list(shape)}")
        return self.weight(f"{owner[0]}.{owner[1]}", array.reshape(shape))

    def _stored(self, owner: Owner) -> Array:
        assert self.blobs is not None
        held = self.blobs.get(owner[0], ())
        if owner[1] >= len(held):
            raise Unsupported(f"the weights hold {len(held)} blobs for layer {owner[0]!r}, blob {owner[1]} is needed")
        return held[owner[1]]

    def _reference(self, name: str, shape: Shape) -> SSAValue:
        op = graph.WeightOp(WeightAttr(name, NO_HASH, TensorType(f32, list(shape))))
        value = self.emit(op)
        set_name_hint(value, name)
        return value

    def truth(self, value: bool, shape: Shape) -> SSAValue:
        """i1 of one value."""
        return self.broadcast(self.emit(graph.ConstantOp(value, i1)), shape)

    def known_blob(self, layer: Message, index: int) -> Array | None:
        """The array of a blob that is there, without making a weight of it."""
        held = (self.blobs or {}).get(layer.name, ())
        return held[index] if index < len(held) else None


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front; Unsupported when it is outside."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} is outside [{-rank}, {rank})")
    return axis % rank


def enum_name(message: Message, name: str) -> str:
    """The name of an enumeration field's value."""
    values: Any = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
    found: str = values[getattr(message, name)].name
    return found
