"""A node as converters see it: inputs by position, attributes by name with defaults, and a record of what was read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper

from stepwell.frontends.builder import EVALUATED_LIMIT
from stepwell.frontends.emitter import Unsupported


def held(elements: int, what: str) -> int:
    """`elements`, which an array made while importing is to have; Unsupported, saying `what` it is, where they are too many."""
    if elements > EVALUATED_LIMIT:
        raise Unsupported(f"{what} of {elements} elements: {EVALUATED_LIMIT} are supported")
    return elements


class Node:
    """An ONNX node. Attributes that no converter asks for are found by `unread`, so none is ever ignored in silence."""

    def __init__(self, proto: onnx.NodeProto, opset: int) -> None:
        self.proto, self.opset = proto, opset
        self.op_type = proto.op_type
        self.inputs = tuple(proto.input)
        self.outputs = tuple(proto.output)
        self.name = proto.name or next((name for name in proto.output if name), proto.op_type)
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}
        self._read: set[str] = {"consumed_inputs"} if opset < 6 else set()

    def __str__(self) -> str:
        return f"{self.name!r} ({self.op_type}, inputs {', '.join(map(repr, self.inputs)) or 'none'})"

    def has_input(self, index: int) -> bool:
        """True when the input is given (ONNX leaves optional ones out by an empty name)."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def has_output(self, index: int) -> bool:
        """True when the output is wanted."""
        return index < len(self.outputs) and self.outputs[index] != ""

    def has(self, attribute: str) -> bool:
        """True when the attribute is given."""
        self._read.add(attribute)
        return attribute in self._attributes

    def value(self, attribute: str) -> Any:
        """The attribute's value as a Python object; Unsupported when it is missing."""
        if not self.has(attribute):
            raise Unsupported(f"attribute {attribute!r} is missing")
        return helper.get_attribute_value(self._attributes[attribute])

    def integer(self, attribute: str, default: int) -> int:
        """An integer attribute."""
        return int(self._typed(attribute, int, default))

    def number(self, attribute: str, default: float) -> float:
        """A float attribute."""
        return float(self._typed(attribute, float, default))

    def text(self, attribute: str, default: str) -> str:
        """A string attribute."""
        value = self._typed(attribute, bytes, default.encode())
        return bytes(value).decode(errors="replace")

    def integers(self, attribute: str, default: Sequence[int]) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        if not self.has(attribute):
            return tuple(default)
        values = self.value(attribute)
        if not isinstance(values, list) or not all(isinstance(v, int) for v in values):
            raise Unsupported(f"attribute {attribute!r} must be a list of integers")
        return tuple(values)

    def graph(self, attribute: str) -> onnx.GraphProto:
        """An attribute that is a graph: a branch, or the body of a loop."""
        value = self.value(attribute)
        if not isinstance(value, onnx.GraphProto):
            raise Unsupported(f"attribute {attribute!r} must be a graph")
        return value

    def ignore(self, *attributes: str) -> None:
        """Say that these attributes change nothing here."""
        self._read.update(attributes)

    def unread(self) -> list[str]:
        """The attributes that nobody asked for."""
        return sorted(set(self._attributes) - self._read)

    def _typed(self, attribute: str, kind: type[Any], default: Any) -> Any:
        if not self.has(attribute):
            return default
        value = self.value(attribute)
        if not isinstance(value, kind):
            raise Unsupported(f"attribute {attribute!r} is {value!r}: it must be of type {kind.__name__}")
        return value
