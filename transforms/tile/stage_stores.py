"""`tile-stage-stores`: results of products leave through shared memory, in whole boxes, in place of single rows from registers.

```mlir
tile.kernel @fc(..) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 128], .., epilogue = staged> {
  %ab = tile.ring slots 4 (..)
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 128] {
    ..
    tile.store %o, %y[%i, %j] access 2
  }
}
```
becomes
```mlir
tile.kernel @fc(..) -> (%y: !tile.ref<2xf16, plain>) config #tile.config<block = [128, 128], .., epilogue = staged> {
  %ab = tile.ring slots 4 (..)
  %stage = tile.ring slots 1 (128x128xf16 #tile.shared<128>)
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 128] {
    ..
    %s = tile.acquire %stage
    tile.write %o, %s
    tile.drain %s to %y[%i, %j] via tma
  }
}
```
A warpgroup's registers hold two elements of a row side by side: stored directly they make accesses of 4 bytes. stmatrix and a copy of whole boxes write full lines
(a 4096^3 product of f16: 0.90 of the library's speed directly, 1.00 staged; 1x1 convolutions of few channels 0.44 and 1.2 to 1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import BlockArgument

from stepwell.dialects import plan, tile
from stepwell.dialects.tile import Residence, TileType
from stepwell.dialects.warp import element_bytes
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.types.targets import SM_90A

NAME = "tile-stage-stores"
SWIZZLES = (128, 64, 32)
STORED_BYTES = 2
"""Of the elements that stmatrix moves."""
UNIT = 16
"""Bytes that a tensor map's rows and pitches are multiples of (CUDA driver API, cuTensorMapEncodeTiled)."""
MAX_SLOTS = 8
RESERVED = 1024
"""For barriers, and where swizzles begin."""


@dataclass(frozen=True)
class StageStoresPass(StepwellPass):
    """Stage the stores of kernels whose config says `epilogue = staged`, or of all kernels with rings (`all`), in a ring of `slots`: with more than one
    a tile is written while the one before it still leaves. Missed: elements that are not 16 bits wide, columns that are no whole swizzle, launches whose
    rows the copy engine cannot address. Refused: no slots, or more than it counts."""

    slots: int = 1
    all: bool = False

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if not 1 <= self.slots <= MAX_SLOTS:
            nearest = max(1, min(self.slots, MAX_SLOTS))
            raise PassFailure(f"slots={self.slots}: 1 to {MAX_SLOTS} stores", where=NAME, hint=f"slots={nearest}")
        for kernel in [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and self._wants(kernel)]:
            for store in [inner for inner in kernel.walk() if isinstance(inner, tile.StoreOp)]:
                remarks_of(ctx).add(self._stage(op, kernel, store))

    def _wants(self, kernel: tile.KernelOp) -> bool:
        rings = any(isinstance(inner, tile.RingOp) for inner in kernel.body.block.ops)
        return rings and not kernel.roles and (self.all or kernel.config.data.epilogue == "staged")

    def _too_large(self, kernel: tile.KernelOp, store: tile.StoreOp) -> str:
        """Why the slots do not lie beside the rings that are there."""
        kind = store.tile.type
        assert isinstance(kind, TileType)
        rings = [inner for inner in kernel.body.block.ops if isinstance(inner, tile.RingOp)]
        taken = sum(ring.slot_count * ring.slot_bytes for ring in rings)
        needed, left = self.slots * _bytes(kind), SM_90A.shared_bytes - RESERVED - taken
        return (
            f"{self.slots} x {_bytes(kind)} bytes are needed, {left} are left beside the rings" if needed > left else ""
        )

    def _stage(self, module: ModuleOp, kernel: tile.KernelOp, store: tile.StoreOp) -> Remark:
        reason = _unfit(store) or _unaddressable(module, kernel, store) or self._too_large(kernel, store)
        if reason:
            return Remark("missed", NAME, names_of(store), f"{reason}: it is stored directly")
        kind = store.tile.type
        assert isinstance(kind, TileType)
        swizzle = _swizzle(kind)
        shared = TileType(kind.get_shape(), kind.element_type, Residence.RING).with_layout(tile.SharedAttr(swizzle))
        ring = tile.RingOp(self.slots, [shared])
        ring.ring.name_hint = "stage"
        wait = next(inner for inner in kernel.body.block.ops if isinstance(inner, tile.WaitPredecessorOp))
        kernel.body.block.insert_op_before(ring, wait)
        block = store.parent_block()
        assert block is not None
        acquired = tile.AcquireOp(ring.ring)
        made = [
            acquired,
            tile.WriteOp(store.tile, acquired.tiles[0]),
            tile.DrainOp(acquired.tiles[0], store.target, store.indices, "tma"),
        ]
        for new in (ring, *made):
            inherit_location(new, store)
        block.insert_ops_before(made, store)
        store.detach()
        store.erase()
        message = f"{kind} leaves through {self.slots} x {ring.slot_bytes} bytes of shared memory, in boxes of {swizzle} bytes"
        return Remark("passed", NAME, names_of(acquired), message)


def _bytes(kind: TileType) -> int:
    return prod(kind.get_shape()) * element_bytes(kind.element_type)


def _swizzle(kind: TileType) -> int:
    """The widest swizzle whose rows the tile's rows are made of; 0 when there is none."""
    row = kind.get_shape()[-1] * element_bytes(kind.element_type)
    return next((swizzle for swizzle in SWIZZLES if row % swizzle == 0), 0)


def _unfit(store: tile.StoreOp) -> str:
    """Why a tile cannot go through stmatrix and the copy engine."""
    kind = store.tile.type
    assert isinstance(kind, TileType)
    if element_bytes(kind.element_type) != STORED_BYTES:
        return f"elements of {kind.element_type} are not {8 * STORED_BYTES} bits wide"
    if not _swizzle(kind):
        return f"{kind.get_shape()[-1]} columns are no whole rows of a swizzle"
    return ""


def _unaddressable(module: ModuleOp, kernel: tile.KernelOp, store: tile.StoreOp) -> str:
    """Why a tensor map cannot name the output of some launch."""
    assert isinstance(store.target, BlockArgument)
    number = store.target.index - len(kernel.inputs)
    launches = [launch for launch in module.walk() if isinstance(launch, plan.LaunchOp)]
    for launch in [launch for launch in launches if launch.kernel_name == kernel.sym_name.data]:
        kind = launch.outs[number].type
        assert isinstance(kind, plan.BufferType)
        size = element_bytes(kind.element_type)
        row, pitch = kind.get_shape()[-1] * size, kind.get_strides()[-2] * size
        if row % UNIT or pitch % UNIT:
            return f"rows of {row} bytes, {pitch} bytes apart, are not multiples of {UNIT}"
    return ""


PASS = StageStoresPass
