"""`tile-split-roles`: who does what: fetches and all that they need become a loading role, the rest a role that multiplies.

```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
tile.wait_predecessor
tile.for_tiles (%i, %j) of %y block [128, 64] {
  %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
  %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. {
    tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
    tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
    %a, %b = tile.await %ab
    %d = tile.mma %a, %b, %c async
    tile.release %ab behind 1
    tile.yield %d
  }
  ..
}
```
becomes
```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
tile.role "load" warpgroups 1 {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    tile.for (%t, %k) of %x dims [1, 2] step [1, 64] {
      tile.fetch %w[%j, %t, %k] dims = [0, 2] to %ab#1 via tma
      tile.fetch %x[%i, %t, %k] dims = [0, 2] to %ab#0 via tma
    }
  }
}
tile.role "multiply" warpgroups 2 {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] { the rest }
}
```
With `copies = 2` in the config the role that multiplies is played twice, and its copies take turns: one multiplies while the other writes its results (pingpong):
```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>) alternate
tile.role "multiply" warpgroups 2 copies 2 order @turn {
  tile.wait_predecessor
  tile.for_tiles (%i, %j) of %y block [128, 64] {
    %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs, #tile.wgmma>
    tile.turn begin @turn
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> .. { .. }
    tile.turn end @turn
    ..
```
The loading role is the backward slice of every fetch, a packing role that of every write that is published: the loops around it and what its offsets come from. Each multiplying warpgroup takes 64 rows, the M
of wgmma. Wide accumulators need more registers than an even split gives: then the loading role gives up what it does not need (setmaxnreg)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.tile import TileType
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._registers import MAX_BUDGET, MIN_BUDGET, WARPGROUP_ROWS, budgets, operand_registers

NAME = "tile-split-roles"
WARPGROUP, WARPS = 128, 4
"""Threads and warps of a warpgroup."""
MAX_WARPGROUPS = 7
"""Beside the one that loads: a block has at most 1024 threads."""
TURN = "turn"


@dataclass(frozen=True)
class SplitRolesPass(StepwellPass):
    """Split every kernel with fetches into a loading role (`load_registers` for each of its threads, where budgets are given at all: from
    `wide` columns of accumulators on) and a multiplying one, played `copies` times (0: as the config says). Kernels without rings and those that have roles stay. Refused: a budget that
    setmaxnreg does not take, accumulators that are larger than the budget that is left, more warpgroups than a block has."""

    copies: int = 0
    load_registers: int = 40
    wide: int = 96

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and not kernel.roles]
        kernels = [kernel for kernel in kernels if _filling(kernel.grid, tile.FetchOp) or _packing(kernel.grid)]
        if self.load_registers % 8 or not MIN_BUDGET <= self.load_registers <= MAX_BUDGET:
            nearest = max(MIN_BUDGET, min(MAX_BUDGET, (self.load_registers + 4) // 8 * 8))
            limits = f"load_registers={self.load_registers}: setmaxnreg takes multiples of 8 from {MIN_BUDGET} to {MAX_BUDGET}"
            raise PassFailure(limits, where=NAME, hint=f"load_registers={nearest}")
        for kernel in kernels:
            _check_copies(kernel, self._copies(kernel))
        found = [(kernel, self._budgets(kernel)) for kernel in kernels]
        for kernel, given in found:
            rows, columns = kernel.grid.get_block()[-2:]
            copies = self._copies(kernel)
            filling = _split(kernel, rows // WARPGROUP_ROWS, copies, given)
            played = f" ({copies} times, in turn)" if copies > 1 else ""
            shown = f"{filling}, multiply: {rows // WARPGROUP_ROWS}{played}, 64 of {rows} rows each"
            why = f"{columns // 2} registers of each thread hold {columns} columns of accumulators"
            said = f"budgets of {given[0]} and {given[1]} registers: {why}" if given else f"no budgets: {why}"
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), f"{shown}; {said}"))

    def _copies(self, kernel: tile.KernelOp) -> int:
        return self.copies or kernel.config.data.copies

    def _budgets(self, kernel: tile.KernelOp) -> tuple[int, int] | None:
        """Registers per thread of the loading and the multiplying role; None when an even split does."""
        rows, columns = kernel.grid.get_block()[-2:]
        copies = self._copies(kernel)
        given = budgets(rows * copies, columns, self.load_registers, self.wide)
        if given is None:
            return None
        left = given[1]
        if columns // 2 >= left:
            held = (
                f"accumulators of {rows} x {columns} take {columns // 2} registers of each thread, its budget is {left}"
            )
            fits = (2 * left - 1) // 8 * 8
            hint = f"{fits} columns, or {rows // 2} rows"
            raise PassFailure(held, where=f"@{kernel.sym_name.data} ({' + '.join(names_of(kernel))})", hint=hint)
        loads = [op for op in kernel.grid.body.block.ops if isinstance(op, tile.LoadOp | tile.ReadOp)]
        wanted = columns // 2 + operand_registers(loads, columns)
        if copies > 1 and wanted > left:
            given_to = f"copies={copies}: accumulators and what the epilogue reads take {wanted} registers of each thread, its budget is {left}"
            where = f"@{kernel.sym_name.data} ({' + '.join(names_of(kernel))})"
            raise PassFailure(given_to, where=where, hint="copies=1, or fewer rows or columns")
        return given


def _check_copies(kernel: tile.KernelOp, copies: int) -> None:
    """The copies fit into a block beside the loading role."""
    warpgroups = kernel.grid.get_block()[-2] // WARPGROUP_ROWS
    most = MAX_WARPGROUPS // warpgroups
    if not 1 <= copies <= most:
        given = f"copies={copies}: a block has {MAX_WARPGROUPS} warpgroups beside the one that loads"
        hint = f"copies={max(1, min(copies, most))} of {warpgroups} each"
        raise PassFailure(given, where=f"@{kernel.sym_name.data} ({' + '.join(names_of(kernel))})", hint=hint)


def _filling(grid: tile.ForTilesOp, *kinds: type[Operation]) -> list[Operation]:
    return [op for op in grid.walk() if isinstance(op, kinds)]


def _packing(grid: tile.ForTilesOp) -> list[Operation]:
    """The ops that fill slots which others await."""
    published = {op.ring for op in grid.walk() if isinstance(op, tile.PublishOp)}
    acquires = [op for op in grid.walk() if isinstance(op, tile.AcquireOp) and op.ring in published]
    tiles = {value for op in acquires for value in op.tiles}
    writes = [op for op in grid.walk() if isinstance(op, tile.WriteOp) and op.target in tiles]
    return [*acquires, *writes, *_filling(grid, tile.PublishOp)]


def _slice(seeds: list[Operation]) -> set[Operation]:
    """The ops that fill slots, the loops around them and what they come from."""
    found: set[Operation] = set()
    waiting: list[Operation] = list(seeds)
    while waiting:
        op = waiting.pop()
        if op in found or isinstance(op, tile.KernelOp):
            continue
        found.add(op)
        parent = op.parent_op()
        waiting += [parent] if parent is not None else []
        waiting += [operand.owner for operand in _addresses(op) if isinstance(operand.owner, Operation)]
    return found


def _addresses(op: Operation) -> list[SSAValue]:
    """The operands that say where an op reads; a loop without what it carries."""
    if isinstance(op, tile.ForOp):
        return [op.over, *([] if op.bound is None else [op.bound])]
    return list(op.operands)


def _split(kernel: tile.KernelOp, warpgroups: int, copies: int, budgets: tuple[int, int] | None) -> str:
    """Make the roles; how many warpgroups those have that fill rings."""
    block, grid = kernel.body.block, kernel.grid
    load_registers, multiply_registers = budgets or (None, None)
    wait = next(op for op in block.ops if isinstance(op, tile.WaitPredecessorOp))
    roles: list[tile.RoleOp] = []
    packed = _packing(grid)
    for label, seeds in (("load", _filling(grid, tile.FetchOp)), ("pack", packed)):
        if not seeds:
            continue
        groups = _rows_packed(seeds) // WARPGROUP_ROWS if label == "pack" else 1
        role = tile.RoleOp(label, groups, registers=load_registers)
        role.body.block.add_ops([wait.clone(), _loading(grid, seeds)])
        roles.append(role)
    turns = {"copies": copies, "order": TURN} if copies > 1 else {}
    multiply = tile.RoleOp("multiply", warpgroups, registers=multiply_registers, **turns)  # type: ignore[arg-type]
    for role in (*roles, multiply):
        inherit_location(role, grid)
        block.insert_op_before(role, wait)
    _erase([*_filling(grid, tile.FetchOp), *packed], grid)
    for op in (wait, grid):
        op.detach()
        multiply.body.block.add_op(op)
    if copies > 1:
        _take_turns(kernel, multiply, copies)
    elif len(roles) > 1 or packed:
        warps = WARPS * sum(role.groups for role in (*roles, multiply))
        kernel.config = tile.ConfigAttr(replace(kernel.config.data, warps=warps))
    return ", ".join(f"{role.label.data}: {role.groups} warpgroup{'s' * (role.groups > 1)}" for role in roles)


def _rows_packed(seeds: list[Operation]) -> int:
    """Rows of the tiles that a role packs: each of its warpgroups writes 64 of them."""
    kinds = [op.tile.type for op in seeds if isinstance(op, tile.WriteOp)]
    return max(kind.get_shape()[0] for kind in kinds if isinstance(kind, TileType))


def _erase(seeds: list[Operation], grid: tile.ForTilesOp) -> None:
    """Take the ops that fill rings out of the rest, and what only they needed."""
    for op in sorted(seeds, key=lambda op: isinstance(op, tile.AcquireOp)):
        op.detach()
        op.erase()
    unused = (tile.LoadOp, tile.MapOp, arith.ConstantOp, arith.DivUIOp)
    for op in reversed([inner for inner in grid.walk() if isinstance(inner, unused)]):
        if not any(result.uses for result in op.results):
            op.detach()
            op.erase()


def _take_turns(kernel: tile.KernelOp, role: tile.RoleOp, copies: int) -> None:
    """Copies multiply one after the other: the loop around the products is a turn, and its rings' slots alternate. They hide each other's epilogues, as
    two blocks on a multiprocessor would."""
    rings = {op.ring for op in role.walk() if isinstance(op, tile.AwaitOp | tile.AcquireOp)}
    for ring in rings:
        assert isinstance(ring.owner, tile.RingOp)
        ring.owner.alternate = UnitAttr()
    products = [op for op in role.walk() if isinstance(op, tile.MmaOp)]
    for loop in dict.fromkeys(op.parent_op() for op in products):
        assert isinstance(loop, tile.ForOp) and loop.parent is not None
        begin, end = tile.TurnOp("begin", TURN), tile.TurnOp("end", TURN)
        for turn in (begin, end):
            inherit_location(turn, loop)
        loop.parent.insert_op_before(begin, loop)
        loop.parent.insert_op_after(end, loop)
    warps = WARPS * (1 + role.groups)
    kernel.config = tile.ConfigAttr(replace(kernel.config.data, warps=warps, copies=copies))


def _loading(grid: tile.ForTilesOp, seeds: list[Operation]) -> Operation:
    """A copy of the grid with the slice of what fills rings only; loops carry nothing."""
    return _copy(grid, _slice(seeds), {})


def _copy(op: Operation, kept: set[Operation], values: dict[SSAValue, SSAValue]) -> Operation:
    """`op` anew; of the ops in its body those that are kept."""
    if isinstance(op, tile.ForTilesOp):
        made: tile.ForTilesOp | tile.ForOp = tile.ForTilesOp(op.output, op.get_block())
    elif isinstance(op, tile.ForOp):
        low = 0 if op.low is None else op.low.value.data
        bound = None if op.bound is None or op.beyond is None else (values[op.bound], op.beyond.value.data)
        made = tile.ForOp(op.over, op.get_dims(), op.get_steps(), low=low, bound=bound, reverse=op.reverse is not None)
    else:
        return op.clone(values)
    inherit_location(made, op)
    for old, new in zip(op.body.block.args, made.body.block.args):
        values[old] = new
        new.name_hint = old.name_hint
    for inner in [inner for inner in op.body.block.ops if inner in kept]:
        made.body.block.add_op(_copy(inner, kept, values))
    if isinstance(made, tile.ForOp):
        end = tile.YieldOp()
        inherit_location(end, op)
        made.body.block.add_op(end)
    return made


PASS = SplitRolesPass
