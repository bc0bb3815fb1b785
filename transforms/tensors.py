"""What every lowering asks of a tensor value."""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue


def shape_of(value: SSAValue) -> tuple[int, ...]:
    """The static extents of a tensor value."""
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()


def element_of(value: SSAValue) -> Attribute:
    """The element type of a tensor value."""
    assert isinstance(value.type, TensorType)
    element: Attribute = value.type.element_type
    return element
