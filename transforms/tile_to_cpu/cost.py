"""How long one tile of a CPU kernel takes, roughly; how many tiles a thread should take at once, and in which order they follow.

The rates are those of one core at 2.5 GHz with 16 lanes as the kernels reach them (docs/design/cpu-kernels.md), within a factor of about two on other
machines: enough to tell work that is worth a second core from work that is not.
"""

from __future__ import annotations

from math import ceil, prod

from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import tile

PRODUCTS_PER_NS = 48
"""Fused multiply-adds of `tile.mma`."""
ELEMENTS_PER_NS = 8
"""Elements loaded, stored or computed by one op outside of it."""
PIECE_NS = 4000
"""What a thread takes at once: to hand work and its results from core to core costs some hundred nanoseconds to one microsecond."""

Extents = dict[SSAValue, tuple[int, ...]]


def tile_cost(kernel: tile.KernelOp, extents: Extents) -> float:
    """Nanoseconds for one tile, where the refs have these extents."""
    return _block_cost(kernel.grid.body.block, extents)


def grain_of(kernel: tile.KernelOp, extents: Extents) -> int:
    """The least number of tiles that are worth a thread's while."""
    return max(1, ceil(PIECE_NS / max(1.0, tile_cost(kernel, extents))))


def _block_cost(block: Block, extents: Extents) -> float:
    return sum(_cost(op, extents) for op in block.ops)


def _cost(op: Operation, extents: Extents) -> float:
    match op:
        case tile.ForOp():
            trips = (ceil(extents[op.over][dim] / step) for dim, step in zip(op.get_dims(), op.get_steps()))
            return prod(trips) * _block_cost(op.body.block, extents)
        case tile.ForRowsOp():
            return op.count * _block_cost(op.body.block, extents)
        case tile.MmaOp():
            assert isinstance(op.a.type, tile.TileType)
            return _elements(op.result) * op.a.type.get_shape()[1] / PRODUCTS_PER_NS
        case tile.MapOp():
            return _elements(op.result) * len(op.body.block.ops) / ELEMENTS_PER_NS
        case tile.StoreOp():
            return _elements(op.tile) / ELEMENTS_PER_NS
        case tile.LoadOp() if isinstance(op.result.type, tile.TileType) and op.result.type.home is tile.Residence.REGS:
            return _elements(op.result) / ELEMENTS_PER_NS
    return 0.0


def _elements(value: SSAValue) -> int:
    assert isinstance(value.type, tile.TileType)
    return prod(value.type.get_shape())
