"""How the rows of a launch operand lie in memory."""

from __future__ import annotations

from math import gcd

from xdsl.ir import SSAValue

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.plan.attributes import BufferType
from stepwell.dialects.plan.ops_memory import ViewOp, WindowOp

WIDTHS = (16, 8, 4)
"""Bytes of the accesses that are worth knowing about: 16 is the widest of one thread (PTX ISA, ld and st)."""


def row_alignment(operand: SSAValue) -> int:
    """The widest of 16, 8 and 4 bytes that every row of a buffer begins at a multiple of and is a multiple of long; 0 for none, and for rows that
    are not contiguous. Of a window: the rows of its image."""
    image = operand.owner.source if isinstance(operand.owner, WindowOp) else operand
    kind = image.type
    if not isinstance(kind, BufferType) or not kind.get_num_dims():
        return 0
    *shape, columns = kind.get_shape()
    *strides, last = kind.get_strides()
    if last != 1 and columns != 1:
        return 0
    pitches = [stride for extent, stride in zip(shape, strides, strict=True) if extent > 1]
    held = gcd(columns, _offset(image), *pitches) * element_bytes(kind.element_type)
    return next((width for width in WIDTHS if held % width == 0), 0)


def _offset(operand: SSAValue) -> int:
    """Elements between the start of memory, which is aligned to `plan.ALIGNMENT`, and an operand."""
    total, owner = 0, operand.owner
    while isinstance(owner, ViewOp):
        total, owner = total + owner.element_offset, owner.source.owner
    return total
