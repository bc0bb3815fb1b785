"""What the families of matrix products share: which contraction is one m x n x k product, and its extents.

A batched product is one for each index of its leading dims; both factors may be computed. A convolution is a product whose left factor is a window: rows are its pixels, the reduction is taps, then channels. That is said here once;
the families differ in how they fetch the window (im2col loads of TMA, a pointer table)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stepwell.dialects.linalg_interpreter import is_multiply_add
from stepwell.transforms.linalg._accesses import element, element_size
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg._structure import Structure


@dataclass(frozen=True)
class Extents:
    """What a matrix product is to a schedule: its extents, the bytes of an operand's element, tiles that the epilogue reads, and
    how many products there are side by side."""

    m: int
    n: int
    taps: int
    k: int
    element_size: int
    residuals: int = 0
    batches: int = 1

    def __str__(self) -> str:
        batches = f"{self.batches} products, " if self.batches > 1 else ""
        return f"{batches}m = {self.m}, n = {self.n}, k = {self.taps} x {self.k}"


def product_refusals(stages: Stages) -> Iterator[str]:
    """Why the root is no matrix product on any target; nothing when it is one."""
    if stages.structure is None:
        yield stages.refusal
        return
    structure = stages.structure
    root, roles = structure.root, structure.roles
    if root is None or roles is None or not is_multiply_add(root):
        yield "it is no contraction"
        return
    if not all(structure.extents):
        yield "an extent is 0: there is nothing to multiply"
        return
    if roles.batch and (roles.window or not (roles.m and roles.n)):
        yield "the contraction is grouped or depthwise, or has a vector for each index: matrix products have an m, an n and a k"
        return
    batch = (roles.batch,) if roles.batch else ()
    if structure.groups() != (*batch, roles.m, roles.n) or structure.reduction_groups() not in _reduction_forms(
        structure
    ):
        yield "an operand breaks up the rows, columns or reduction of the product"
        return
    a, b = structure.operands
    if [loop for loop in a.loops if loop not in roles.window] != [*roles.batch, *roles.m, *roles.k]:
        yield "the left factor is not [rows, k] in memory"
        return
    if set(b.loops) != {*roles.batch, *roles.n, *roles.window, *roles.k}:
        yield "the right factor is repeated along its columns or k"
        return
    if b.window is not None or element(a) != element(b):
        yield f"the operands are {element(a)} and {element(b)}: matrix instructions take one type"


def _reduction_forms(structure: Structure) -> tuple[tuple[tuple[int, ...], ...], ...]:
    roles = structure.roles
    assert roles is not None
    return ((roles.window, roles.k),) if roles.window else ((roles.k,),)


def product_extents(structure: Structure) -> Extents:
    """The extents of a matrix product and what its epilogue reads in whole tiles."""
    roles = structure.roles
    assert roles is not None
    residuals = sum(access.loops == structure.out for access in structure.leaves)
    m, n, taps, k, batches = (structure.extent(r) for r in (roles.m, roles.n, roles.window, roles.k, roles.batch))
    return Extents(m, n, taps, k, element_size(structure.operands[0]), residuals, batches)
