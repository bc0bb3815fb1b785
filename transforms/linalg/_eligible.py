"""Whether a fusion's root can run on matrix instructions of a target, and if not, why not."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, TensorType
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.linalg_interpreter import is_multiply_add
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.linalg._structure import Access, Structure

TMA_ROW_ALIGNMENT = 16
"""Bytes: strides of a tensor map are multiples of this (CUDA driver API, cuTensorMapEncode)."""
IM2COL_OFFSETS = 255
"""Filter offsets of an im2col load of two spatial dims are below this; its corners lie in [-128, 127] (the same
source)."""


def host_operand(structure: Structure, access: Access) -> SSAValue:
    """The host value behind a fusion argument."""
    return structure.fusion.inputs[access.value.index]


def is_weight(structure: Structure, access: Access) -> bool:
    """Whether the operand is a weight, which the lowering can repack by a recipe."""
    value = host_operand(structure, access)
    while isinstance(value.owner, graph.ReshapeOp):
        value = value.owner.operand
    return isinstance(value.owner, graph.WeightOp)


def element(access: Access) -> Attribute:
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


def mma_refusals(structure: Structure, target: str, *, tf32: bool = True) -> Iterator[str]:
    """Why the root is no matrix product for `target`; nothing when it is one."""
    root, roles = structure.root, structure.roles
    if root is None or roles is None or not is_multiply_add(root):
        yield "it is no contraction"
        return
    if not all(structure.extents):
        yield "an extent is 0: there is nothing to multiply"
        return
    if roles.batch:
        yield "the contraction is batched or depthwise: matrix products have one m, one n and one k"
        return
    if structure.groups() != (roles.m, roles.n) or structure.reduction_groups() not in _reduction_forms(structure):
        yield "an operand breaks up the rows, columns or reduction of the product"
        return
    a, b = structure.operands
    if [loop for loop in a.loops if loop not in roles.window] != [*roles.m, *roles.k]:
        yield "the left factor is not [rows, k] in memory"
        return
    if set(b.loops) != {*roles.n, *roles.window, *roles.k}:
        yield "the right factor is repeated along its columns or k"
        return
    if b.window is not None or element(a) != element(b):
        yield f"the operands are {element(a)} and {element(b)}: matrix instructions take one type"
        return
    yield from _sm_90a(structure, a, b, tf32) if target == "sm_90a" else _x86(structure, b)


def _reduction_forms(structure: Structure) -> tuple[tuple[tuple[int, ...], ...], ...]:
    roles = structure.roles
    assert roles is not None
    return ((roles.window, roles.k),) if roles.window else ((roles.k,),)


def _x86(structure: Structure, b: Access) -> Iterator[str]:
    if not is_weight(structure, b):
        yield "the right factor is not a weight: only weights are packed into panels"
    if not isinstance(element(b), Float16Type | BFloat16Type | Float32Type):
        yield f"{element(b)} operands: the vector multiply-add takes f32, and f16 and bf16 after widening"


def _sm_90a(structure: Structure, a: Access, b: Access, tf32: bool) -> Iterator[str]:
    roles = structure.roles
    assert roles is not None
    if not isinstance(element(a), Float16Type | BFloat16Type | Float32Type):
        yield f"wgmma refused: {element(a)} operands"
    if isinstance(element(a), Float32Type) and not tf32:
        yield "wgmma refused: f32 operands would be rounded to tf32 and tf32 = false"
    row = structure.extent(roles.k) * element_size(a)
    if row % TMA_ROW_ALIGNMENT:
        yield f"wgmma refused: channel rows of {row} bytes are not a multiple of {TMA_ROW_ALIGNMENT}"
    if not is_weight(structure, b) and b.loops != (*roles.n, *roles.window, *roles.k):
        yield "wgmma refused: the right factor is not a weight and not K-major"
    if not is_plain(structure):
        yield from _im2col(structure, a)


def _im2col(structure: Structure, a: Access) -> Iterator[str]:
    assert a.window is not None
    slides, pads = a.window.slides, a.window.pads
    if len(slides) != 2:
        yield f"wgmma refused: a window over {len(slides)} spatial dims, im2col loads have 2"
        return
    if a.window.fill is not None and a.window.fill.value.data != 0:
        yield "wgmma refused: im2col loads fill with zeros"
    for d, slide in enumerate(slides):
        reach = (structure.extents[slide.tap] - 1) * slide.dilation
        if reach >= IM2COL_OFFSETS or not -128 <= pads[2 + d] - reach <= 127 or pads[d] > 128:
            yield f"wgmma refused: filter offsets of {reach} with pads {list(pads)} are beyond those of an im2col load"
