"""The numbers that a launch passes to a CPU kernel, as arithmetic on the extents of its operands."""

from __future__ import annotations

from functools import reduce

from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects import tile
from stepwell.transforms.emit.arguments import Expression, Extent, Literal, blocks_along, product

GROUP_BYTES = 768 * 1024
"""Rows of A that stay in the second-level cache (1 MiB and more on x86-64-v3 machines) while the weight panels pass by."""
FLOAT_BYTES = 4
"""Of an element of A as it is held while computing."""


def extents_of(ref: SSAValue) -> list[Expression]:
    """Extents of the ref's dims: of panels [N/P, T, K, P] they are [N, T, K] with N rounded up."""
    assert isinstance(ref, BlockArgument) and isinstance(ref.type, tile.RefType)
    extents: list[Expression] = [Extent(ref.index, dim) for dim in range(ref.type.rank)]
    if ref.type.access.panel:
        extents[0] = extents[0].times(Extent(ref.index, 3))
    return extents


def tile_counts(kernel: tile.KernelOp) -> tuple[Expression, Expression]:
    """Row tiles (of all leading indices) and column tiles of the output."""
    block, extents = kernel.config.data.block, extents_of(kernel.grid.output)
    if kernel.config.data.takes_whole:
        counts = [blocks_along(extent, step) for extent, step in zip(extents, block, strict=True)]
        return product(counts[:-1]), counts[-1]
    rows = product(extents[:-2]).times(blocks_along(extents[-2], block[-2])) if len(block) > 1 else Literal(1)
    return rows, blocks_along(extents[-1], block[-1])


def group_rows(kernel: tile.KernelOp) -> Expression:
    """How many row tiles share a weight panel: as many as keep their rows of A in the cache; 1 without a product (columns run first)."""
    loads = [op.a.owner for op in kernel.body.walk() if isinstance(op, tile.MmaOp)]
    operands = [load.source for load in loads if isinstance(load, tile.LoadOp)]
    if not operands:
        return Literal(1)
    depth = reduce(Expression.at_least, dict.fromkeys(product(extents_of(a)[1:]) for a in operands))
    return Literal(GROUP_BYTES // (kernel.config.data.block[0] * FLOAT_BYTES)).floor_div(depth.at_least(1)).at_least(1)
