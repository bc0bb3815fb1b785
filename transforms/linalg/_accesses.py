"""What a family of schedules asks about a tensor that a fusion reads: where it comes from, of which type and form it is."""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.linalg._kinds import Access
from stepwell.transforms.linalg._rows import Rows
from stepwell.transforms.linalg._structure import Structure


def host_operand(structure: Structure | Rows, access: Access) -> SSAValue:
    """The host value behind a fusion argument."""
    return structure.fusion.inputs[access.value.index]


def is_weight(structure: Structure, access: Access) -> bool:
    """Whether the operand is a weight, which the lowering can repack by a recipe."""
    value = host_operand(structure, access)
    while isinstance(value.owner, graph.ReshapeOp):
        value = value.owner.operand
    return isinstance(value.owner, graph.WeightOp)


def element(access: Access) -> Attribute:
    """The element type that is computed with."""
    return element_in_memory(access) if access.converted is None else access.converted


def element_in_memory(access: Access) -> Attribute:
    """The element type of the tensor that is read."""
    assert isinstance(access.value.type, TensorType)
    return access.value.type.element_type


def element_size(access: Access) -> int:
    """Bytes of an element."""
    return element_bytes(element(access))


def is_plain(structure: Structure) -> bool:
    """Whether the left operand is a dense matrix: no window, or one of a single tap at every pixel."""
    window = structure.operands[0].window
    return window is None or (window.trivial and structure.extent([s.tap for s in window.slides]) == 1)
