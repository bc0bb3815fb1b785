"""How many registers a thread of a kernel on the tensor cores has, and what its tiles take of them: shared by the passes that spend them."""

from __future__ import annotations

from collections.abc import Sequence

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import TileType

WARPGROUP = 128
WARPGROUP_ROWS = 64
"""Rows of one warpgroup's accumulator: M of wgmma."""
LOAD_REGISTERS = 40
"""What the loading role keeps of each thread's registers, where roles have budgets."""
WIDE = 96
"""From this many columns on accumulators need more registers than an even split gives."""
MAX_REGISTERS = 255
"""Of one thread."""
MIN_BUDGET, MAX_BUDGET = 24, 240
"""What setmaxnreg takes (PTX ISA): multiples of 8 from and to these."""


def budgets(rows: int, columns: int, load_registers: int = LOAD_REGISTERS, wide: int = WIDE) -> tuple[int, int] | None:
    """Registers per thread of the loading and the multiplying role; None where an even split does."""
    warpgroups = rows // WARPGROUP_ROWS
    if columns < wide or WARPGROUP * (warpgroups + 1) * MAX_REGISTERS <= warp.REGISTER_FILE:
        return None
    left = (warp.REGISTER_FILE - WARPGROUP * load_registers) // (WARPGROUP * warpgroups) // 8 * 8
    return load_registers, min(MAX_BUDGET, left)


def operand_registers(loads: Sequence[tile.LoadOp | tile.ReadOp], columns: int) -> int:
    """Registers of each thread that an epilogue's operands take once they are f32: a fragment for a matrix, half of one for a vector."""
    kinds = [load.result.type for load in loads if isinstance(load.result.type, TileType)]
    return sum(columns // 2 if kind.rank == 2 else columns // 4 for kind in kinds)
