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
The loading role is the backward slice of every fetch: the loops around it and what its offsets come from. Each multiplying warpgroup takes 64 rows, the M
of wgmma. Wide accumulators need more registers than an even split gives: then the loading role gives up what it does not need (setmaxnreg)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "tile-split-roles"
WARPGROUP = 128
WARPGROUP_ROWS = 64
"""Rows of one warpgroup's accumulator: M of wgmma."""
MAX_REGISTERS = 255
"""Of one thread."""
MIN_BUDGET, MAX_BUDGET = 24, 240
"""What setmaxnreg takes (PTX ISA): multiples of 8 from and to these."""


@dataclass(frozen=True)
class SplitRolesPass(StepwellPass):
    """Split every kernel with fetches into a loading role (`load_registers` for each of its threads, where budgets are given at all: from
    `wide` columns of accumulators on) and a multiplying one. Kernels without rings and those that have roles stay. Refused: a budget that
    setmaxnreg does not take, accumulators that are larger than the budget that is left."""

    load_registers: int = 40
    wide: int = 96

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and not kernel.roles]
        kernels = [kernel for kernel in kernels if any(isinstance(inner, tile.FetchOp) for inner in kernel.walk())]
        if self.load_registers % 8 or not MIN_BUDGET <= self.load_registers <= MAX_BUDGET:
            nearest = max(MIN_BUDGET, min(MAX_BUDGET, (self.load_registers + 4) // 8 * 8))
            limits = f"load_registers={self.load_registers}: setmaxnreg takes multiples of 8 from {MIN_BUDGET} to {MAX_BUDGET}"
            raise PassFailure(limits, where=NAME, hint=f"load_registers={nearest}")
        found = [(kernel, self._budgets(kernel)) for kernel in kernels]
        for kernel, budgets in found:
            rows, columns = kernel.grid.get_block()
            _split(kernel, rows // WARPGROUP_ROWS, budgets)
            shown = f"load: 1 warpgroup, multiply: {rows // WARPGROUP_ROWS}, 64 of {rows} rows each"
            why = f"{columns // 2} registers of each thread hold {columns} columns of accumulators"
            given = f"budgets of {budgets[0]} and {budgets[1]} registers: {why}" if budgets else f"no budgets: {why}"
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), f"{shown}; {given}"))

    def _budgets(self, kernel: tile.KernelOp) -> tuple[int, int] | None:
        """Registers per thread of the loading and the multiplying role; None when an even split does."""
        rows, columns = kernel.grid.get_block()
        warpgroups = rows // WARPGROUP_ROWS
        if columns < self.wide or WARPGROUP * (warpgroups + 1) * MAX_REGISTERS <= warp.REGISTER_FILE:
            return None
        left = (warp.REGISTER_FILE - WARPGROUP * self.load_registers) // (WARPGROUP * warpgroups) // 8 * 8
        if columns // 2 >= left:
            held = (
                f"accumulators of {rows} x {columns} take {columns // 2} registers of each thread, its budget is {left}"
            )
            fits = (2 * left - 1) // 8 * 8
            hint = f"{fits} columns, or {rows // 2} rows"
            raise PassFailure(held, where=f"@{kernel.sym_name.data} ({' + '.join(names_of(kernel))})", hint=hint)
        return self.load_registers, min(MAX_BUDGET, left)


def _slice(fetches: list[tile.FetchOp]) -> set[Operation]:
    """The fetches, the loops around them and what their offsets come from."""
    found: set[Operation] = set()
    waiting: list[Operation] = list(fetches)
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
    return [op.over] if isinstance(op, tile.ForOp) else list(op.operands)


def _split(kernel: tile.KernelOp, warpgroups: int, budgets: tuple[int, int] | None) -> None:
    block, grid = kernel.body.block, kernel.grid
    load_registers, multiply_registers = budgets or (None, None)
    wait = next(op for op in block.ops if isinstance(op, tile.WaitPredecessorOp))
    load = tile.RoleOp("load", 1, registers=load_registers)
    multiply = tile.RoleOp("multiply", warpgroups, registers=multiply_registers)
    load.body.block.add_ops([wait.clone(), _loading(grid)])
    for role in (load, multiply):
        inherit_location(role, grid)
        block.insert_op_before(role, wait)
    for fetch in [op for op in grid.walk() if isinstance(op, tile.FetchOp)]:
        fetch.detach()
        fetch.erase()
    for op in (wait, grid):
        op.detach()
        multiply.body.block.add_op(op)


def _loading(grid: tile.ForTilesOp) -> Operation:
    """A copy of the grid with the slice of its fetches only; loops carry nothing."""
    kept = _slice([op for op in grid.walk() if isinstance(op, tile.FetchOp)])
    return _copy(grid, kept, {})


def _copy(op: Operation, kept: set[Operation], values: dict[SSAValue, SSAValue]) -> Operation:
    """`op` anew; of the ops in its body those that are kept."""
    if isinstance(op, tile.ForTilesOp):
        made: tile.ForTilesOp | tile.ForOp = tile.ForTilesOp(op.output, op.get_block())
    elif isinstance(op, tile.ForOp):
        made = tile.ForOp(op.over, op.get_dims(), op.get_steps())
    else:
        return op.clone(values)
    inherit_location(made, op)
    for old, new in zip(op.body.block.args, made.body.block.args):
        values[old] = new
        new.name_hint = old.name_hint
    for inner in [inner for inner in op.body.block.ops if inner in kept]:
        made.body.block.add_op(_copy(inner, kept, values))
    if isinstance(made, tile.ForOp):
        made.body.block.add_op(tile.YieldOp())
    return made


PASS = SplitRolesPass
