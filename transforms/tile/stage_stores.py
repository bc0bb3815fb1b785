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
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.dialects.tile import TileType
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._staging import add_ring, staged_kernels, through, unstaged

NAME = "tile-stage-stores"


@dataclass(frozen=True)
class StageStoresPass(StepwellPass):
    """Stage the stores of kernels whose config says `epilogue = staged`, or of all kernels with rings (`all`), in a ring of `slots`: with more than one
    a tile is written while the one before it still leaves. Missed: elements that are not 16 bits wide, columns that are no whole swizzle, refs whose
    rows are not aligned to 16 bytes. Refused: no slots, or more than it counts."""

    slots: int = 1
    all: bool = False

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in staged_kernels(op, NAME, self.slots, every=self.all, unit="stores"):
            for store in [inner for inner in kernel.walk() if isinstance(inner, tile.StoreOp)]:
                remarks_of(ctx).add(self._stage(kernel, store))

    def _stage(self, kernel: tile.KernelOp, store: tile.StoreOp) -> Remark:
        kind, block = store.tile.type, store.parent_block()
        assert isinstance(kind, TileType) and block is not None
        reason = unstaged(kernel, store.target, kind, self.slots)
        if reason:
            return Remark("missed", NAME, names_of(store), f"{reason}: it is stored directly")
        ring = add_ring(kernel, kind, self.slots, "stage")
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
        return Remark("passed", NAME, names_of(acquired), f"{kind} leaves {through(kind, ring)}")


PASS = StageStoresPass
