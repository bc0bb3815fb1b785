"""One node of a GraphDef, with the attributes that converters ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.numpy_types import element_type_of
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.shapes import MOST, too_large
from stepwell.frontends.tensorflow.tensor import dtype_of

Port = tuple[str, int]
"""A node's name and the number of its output."""
Values = Sequence[SSAValue]


@dataclass(frozen=True)
class Node:
    """A node: `inputs` are its data inputs in order; control inputs only order effects, and there are none."""

    proto: Message
    inputs: tuple[Port, ...]

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.proto.name)

    @property
    def op(self) -> str:
        """The operator."""
        return str(self.proto.op)

    def has(self, name: str) -> bool:
        """Whether an attribute is there."""
        return name in self.proto.attr

    def message(self, name: str) -> Message:
        """The AttrValue; Unsupported when it is missing."""
        if name not in self.proto.attr:
            raise Unsupported(f"attribute {name!r} is missing")
        return self.proto.attr[name]

    def _field(self, name: str, field: str) -> Any:
        value = self.message(name)
        if not value.HasField(field):
            raise Unsupported(f"attribute {name!r} is of the wrong kind")
        return getattr(value, field)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer attribute."""
        return default if default is not None and not self.has(name) else int(self._field(name, "i"))

    def number(self, name: str, default: float) -> float:
        """A float attribute; the default rounded to f32, as attributes are."""
        return float(self._field(name, "f")) if self.has(name) else float(np.float32(default))

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean attribute."""
        return bool(self._field(name, "b")) if self.has(name) else default

    def word(self, name: str, default: str = "") -> str:
        """A string attribute."""
        if not self.has(name):
            return default
        return bytes(self._field(name, "s")).decode("utf-8", "replace")

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """A list of integers."""
        return list(default) if default is not None and not self.has(name) else list(self._field(name, "list").i)

    def element(self, name: str = "T") -> Attribute:
        """An attribute that is an element type."""
        return element_type_of(dtype_of(int(self._field(name, "type"))))


Converter = Callable[[GraphBuilder, Node, Values], list[SSAValue]]
"""From a node and its inputs to its outputs."""


def needs(inputs: Sequence[object], *counts: int) -> None:
    """Unsupported unless there are as many inputs as the operator takes."""
    if len(inputs) not in counts:
        raise Unsupported(f"it has {len(inputs)} inputs, {' or '.join(map(str, counts))} are needed")


def dim_of(dim: int, rank: int) -> int:
    """A dim counted from the front; Unsupported outside of the rank."""
    if not -rank <= dim < rank:
        raise Unsupported(f"axis {dim} is not a dim of rank {rank}")
    return dim % rank


def dims_of(build: GraphBuilder, axes: SSAValue, value: SSAValue) -> list[int]:
    """The dims that a constant input of axes names, in order and once each."""
    rank = len(shape_of(value))
    return sorted({dim_of(axis, rank) for axis in build.integers(axes, "the axes")})


def extents_of(build: GraphBuilder, value: SSAValue, what: str) -> tuple[int, ...]:
    """A constant shape; Unsupported for negative extents and for more elements than any memory holds."""
    extents = build.integers(value, what)
    if reason := too_large(extents, MOST):
        raise Unsupported(f"{what} is no shape: {reason}")
    return extents
