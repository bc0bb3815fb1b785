"""`tile-hoist-constants`: constant tiles of the first slots are fetched before the kernel waits for its predecessor.

```mlir
tile.role "load" warpgroups 1 {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
      tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma      // %w is constant
      tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
    }
  }
}
```
becomes
```mlir
tile.role "load" warpgroups 1 {
  tile.for_tiles (%i, %j) of %y block [128, 64] first 1 {
    tile.for (%t, %k) of %x dims [1, 2] step [1, 64] first 4 {      // the ring has 4 slots
      tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
    }
  }
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
      tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma rest
      tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
    }
  }
}
```
With programmatic dependent launch a kernel begins while the one before it still runs: until that has ended only constants may be read, and weights are
constants. As many slots as the ring has are free then, so nothing waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.tile import RefType
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "tile-hoist-constants"


@dataclass(frozen=True)
class HoistConstantsPass(StepwellPass):
    """Fetch the constant element of a ring's first `slots` slots (all of them when 0) ahead of the role's `tile.wait_predecessor`. One element of
    a slot goes ahead, and it becomes the slot's first fetch; the others tell that the slot is full. Missed: a role whose fetches all read what a
    kernel writes. Refused: more slots than a ring has."""

    slots: int = 0

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        roles = [role for kernel in op.ops if isinstance(kernel, tile.KernelOp) for role in kernel.roles]
        loading = [role for role in roles if _fetches(role) and not any(fetch.rest for fetch in _fetches(role))]
        for role in loading:
            self._check(role)
        for role in loading:
            remarks_of(ctx).add(self._hoist(role))

    def _check(self, role: tile.RoleOp) -> None:
        for ring in {fetch.ring.owner for fetch in _fetches(role)}:
            assert isinstance(ring, tile.RingOp)
            if self.slots > ring.slot_count:
                given = f"{self.slots} slots are fetched ahead into a ring of {ring.slot_count}"
                hint = f"slots={ring.slot_count} is the most that is free before the first release"
                raise PassFailure(given, where=f"{role.name} {role.label.data}", hint=hint)

    def _hoist(self, role: tile.RoleOp) -> Remark:
        chosen = next((fetch for fetch in _fetches(role) if _goes_ahead(fetch)), None)
        if chosen is None:
            reason = "no fetch of a constant stands in a loop beside another one: all fetches wait for the predecessor"
            return Remark("missed", NAME, names_of(role), reason)
        assert isinstance(chosen.ring.owner, tile.RingOp)
        slots = self.slots or chosen.ring.owner.slot_count
        wait = next(op for op in role.body.block.ops if isinstance(op, tile.WaitPredecessorOp))
        role.body.block.insert_op_before(_ahead(chosen, slots), wait)
        _make_first(chosen)
        chosen.rest = UnitAttr()
        message = f"element #{chosen.number} of the first {slots} slots is fetched before the predecessor has ended: it is constant"
        return Remark("passed", NAME, names_of(role), message)


def _fetches(role: tile.RoleOp) -> list[tile.FetchOp]:
    return [op for op in role.walk() if isinstance(op, tile.FetchOp)]


def _goes_ahead(fetch: tile.FetchOp) -> bool:
    """Whether a fetch reads a constant, in the one loop inside the grid, and another one of its slot stays behind."""
    assert isinstance(fetch.source.type, RefType)
    block, loop = fetch.parent_block(), fetch.parent_op()
    if not isinstance(loop, tile.ForOp) or not isinstance(loop.parent_op(), tile.ForTilesOp) or block is None:
        return False
    others = [op for op in block.ops if isinstance(op, tile.FetchOp) and op.ring is fetch.ring and op is not fetch]
    return fetch.source.type.access.constant and bool(others)


def _ahead(fetch: tile.FetchOp, slots: int) -> tile.ForTilesOp:
    """The fetch in loops of its own, over the first iterations of the block's first tile."""
    loop = fetch.parent_op()
    assert isinstance(loop, tile.ForOp)
    grid = loop.parent_op()
    assert isinstance(grid, tile.ForTilesOp)
    tiles = tile.ForTilesOp(grid.output, grid.get_block(), first=1)
    steps = tile.ForOp(loop.over, loop.get_dims(), loop.get_steps(), first=slots)
    values: dict[SSAValue, SSAValue] = {}
    for made, old in ((tiles, grid), (steps, loop)):
        inherit_location(made, old)
        for before, after in zip(old.body.block.args, made.body.block.args):
            values[before] = after
            after.name_hint = before.name_hint
    tiles.body.block.add_op(steps)
    for op in (*_offsets(fetch), fetch):
        steps.body.block.add_op(op.clone(values))
    end = tile.YieldOp()
    inherit_location(end, loop)
    steps.body.block.add_op(end)
    return tiles


def _offsets(fetch: tile.FetchOp) -> list[Operation]:
    """Constants that the fetch's offsets are."""
    return list(dict.fromkeys(index.owner for index in fetch.indices if isinstance(index.owner, Operation)))


def _make_first(fetch: tile.FetchOp) -> None:
    """Put a fetch before the others of its slot."""
    block = fetch.parent_block()
    assert block is not None
    first = next(op for op in block.ops if isinstance(op, tile.FetchOp) and op.ring is fetch.ring)
    if first is not fetch:
        fetch.detach()
        block.insert_op_before(fetch, first)


PASS = HoistConstantsPass
