"""What may pass through shared memory on its way between registers and memory: shared by the passes that stage loads and stores."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, Residence, TileType
from stepwell.passes import PassFailure
from stepwell.types.targets import SM_90A

MAX_SLOTS = 8
"""Of a ring for whole tiles."""
SWIZZLES = (128, 64, 32)
MOVED_BYTES = 2
"""Of the elements that stmatrix and ldmatrix move."""
MOVED_COLUMNS = 16
"""That they move at once."""
UNIT = 16
"""Bytes that a tensor map's rows and pitches are multiples of (CUDA driver API, cuTensorMapEncodeTiled)."""
RESERVED = 1024
"""For barriers, and where swizzles begin."""


def shared_tile(kind: TileType) -> TileType:
    """A register tile's form in shared memory: rows of the widest swizzle that its rows are made of."""
    return TileType(kind.get_shape(), kind.element_type, Residence.RING).with_layout(
        tile.SharedAttr(widest_swizzle(kind))
    )


def widest_swizzle(kind: TileType) -> int:
    """The widest swizzle whose rows the tile's rows are made of; 0 when there is none."""
    row = kind.get_shape()[-1] * element_bytes(kind.element_type)
    return next((swizzle for swizzle in SWIZZLES if row % swizzle == 0), 0)


def staged_kernels(module: ModuleOp, name: str, slots: int, *, every: bool, unit: str) -> list[tile.KernelOp]:
    """The kernels with rings whose config says `epilogue = staged`, or with `every` all that have rings; PassFailure of the pass `name` for a number
    of slots that is of no use."""
    if not 1 <= slots <= MAX_SLOTS:
        nearest = max(1, min(slots, MAX_SLOTS))
        raise PassFailure(f"slots={slots}: 1 to {MAX_SLOTS} {unit}", where=name, hint=f"slots={nearest}")
    kernels = [kernel for kernel in module.ops if isinstance(kernel, tile.KernelOp) and not kernel.roles]
    ringed = [kernel for kernel in kernels if any(isinstance(op, tile.RingOp) for op in kernel.body.block.ops)]
    return [kernel for kernel in ringed if every or kernel.config.data.epilogue == "staged"]


def through(kind: TileType, ring: tile.RingOp) -> str:
    """The end of a remark: through what a tile passes."""
    return f"through {ring.slot_count} x {ring.slot_bytes} bytes of shared memory, in boxes of {widest_swizzle(kind)} bytes"


def unstaged(kernel: tile.KernelOp, ref: SSAValue, kind: TileType, slots: int) -> str:
    """Why a tile of a ref does not go through `slots` in shared memory; empty when it may."""
    if element_bytes(kind.element_type) != MOVED_BYTES:
        return f"elements of {kind.element_type} are not {8 * MOVED_BYTES} bits wide"
    if not widest_swizzle(kind) or kind.get_shape()[-1] % MOVED_COLUMNS:
        return f"{kind.get_shape()[-1]} columns are no whole rows of a swizzle"
    assert isinstance(ref.type, RefType)
    if ref.type.rank != 2:
        return f"{ref.type} has more dims than rows and columns"
    if ref.type.access.align < UNIT:
        return f"rows of {ref.type} are not known to begin and end at {UNIT} bytes (plan-annotate-refs says what launches know)"
    return _too_large(kernel, kind, slots)


def _too_large(kernel: tile.KernelOp, kind: TileType, slots: int) -> str:
    """Why the slots do not lie beside the rings that are there."""
    rings = [inner for inner in kernel.body.block.ops if isinstance(inner, tile.RingOp)]
    taken = sum(ring.slot_count * ring.slot_bytes for ring in rings)
    needed, left = slots * kind.size_in_bytes, SM_90A.shared_bytes - RESERVED - taken
    return f"{slots} x {kind.size_in_bytes} bytes are needed, {left} are left beside the rings" if needed > left else ""


def add_ring(kernel: tile.KernelOp, kind: TileType, slots: int, name: str) -> tile.RingOp:
    """A ring of its own for a tile, behind the others."""
    ring = tile.RingOp(slots, [shared_tile(kind)])
    ring.ring.name_hint = name
    wait = next(inner for inner in kernel.body.block.ops if isinstance(inner, tile.WaitPredecessorOp))
    kernel.body.block.insert_op_before(ring, wait)
    return ring
