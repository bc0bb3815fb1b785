"""`tile-stage-loads`: what an epilogue reads of a whole block comes by the copy engine, through a ring of its own.

```mlir
tile.for_tiles (%i, %j) of %y block [128, 128] {
  %acc = tile.for .. { .. }
  %r = tile.load %res[%i, %j] access 2 : !tile.tile<128x128xf16, regs, #tile.wgmma>
  %o = tile.map (%p = %acc, %q = %r) { .. }
  ..
}
```
becomes
```mlir
%early = tile.ring slots 2 (128x128xf16 #tile.shared<128>)
tile.for_tiles (%i, %j) of %y block [128, 128] {
  tile.fetch %res[%i, %j] to %early#0 via tma
  %acc = tile.for .. { .. }
  %t = tile.await %early
  %r = tile.read %t : !tile.tile<128x128xf16, regs, #tile.wgmma>
  tile.release %early
  %o = tile.map (%p = %acc, %q = %r) { .. }
  ..
}
```
The tile is under way while the products run and takes no registers meanwhile; loaded directly it either holds registers during the products or is waited
for after them, in accesses of 4 bytes (a 1x1 convolution of 256 channels with a residual: 103 us directly, 32 us through a ring)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import tile
from stepwell.dialects.tile import Residence, TileType
from stepwell.passes import Meaning, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._staging import add_ring, staged_kernels, through, unstaged

NAME = "tile-stage-loads"


@dataclass(frozen=True)
class StageLoadsPass(StepwellPass):
    """Stage the loads of whole blocks in kernels whose config says `epilogue = staged`, or in all kernels with rings (`all`), in a ring of `slots` each: with
    two the next tile's comes while this one's is read. Missed: elements that are not 16 bits wide, columns that are no whole swizzle, refs whose rows
    are not aligned to 16 bytes, slots for which no room is left. Refused: no slots, or more than are of use."""

    slots: int = 2
    all: bool = False

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in staged_kernels(op, NAME, self.slots, every=self.all, unit="tiles"):
            for load in [inner for inner in kernel.grid.body.block.ops if _is_block(kernel, inner)]:
                assert isinstance(load, tile.LoadOp)
                remarks_of(ctx).add(self._stage(kernel, load))

    def _stage(self, kernel: tile.KernelOp, load: tile.LoadOp) -> Remark:
        kind, body = load.result.type, kernel.grid.body.block
        assert isinstance(kind, TileType) and body.first_op is not None
        reason = unstaged(kernel, load.source, kind, self.slots)
        if reason:
            return Remark("missed", NAME, names_of(load), f"{reason}: it is loaded directly")
        ring = add_ring(kernel, kind, self.slots, "early")
        fetch = tile.FetchOp(load.source, load.indices, ring.ring, 0, "tma", dims=load.get_dims())
        awaited = tile.AwaitOp(ring.ring)
        read, release = tile.ReadOp(awaited.tiles[0], kind), tile.ReleaseOp(ring.ring)
        for new in (ring, fetch, awaited, read, release):
            inherit_location(new, load)
        read.result.name_hint = load.result.name_hint
        user = min((use.operation for use in load.result.uses), key=lambda op: list(body.ops).index(op))
        body.insert_ops_before([awaited, read, release], user)
        body.insert_op_before(fetch, body.first_op)
        load.result.replace_all_uses_with(read.result)
        load.detach()
        load.erase()
        return Remark("passed", NAME, names_of(fetch), f"{kind} comes {through(kind, ring)}")


def _is_block(kernel: tile.KernelOp, op: object) -> bool:
    """Whether an op loads the block of the output, for ops that stand beside it."""
    if not isinstance(op, tile.LoadOp) or not isinstance(op.result.type, TileType):
        return False
    block = kernel.grid.body.block
    at_block = list(op.indices) == list(block.args) and op.get_dims() == (0, 1) and op.result.type.rank == 2
    beside = [use.operation.parent is block for use in op.result.uses]
    zero = float(op.fill.value.data) == 0.0
    return at_block and zero and op.result.type.home is Residence.REGS and bool(beside) and all(beside)


PASS = StageLoadsPass
