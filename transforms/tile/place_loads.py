"""`tile-place-loads`: what an epilogue reads comes while products run: early, when registers are left for it, or while another block multiplies.

```mlir
tile.role "multiply" warpgroups 1 {
  tile.for_tiles (%i, %j) of %y block [64, 64] {
    %z = tile.fill 0.0 : f32 -> ..
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> .. { .. }
    %product = tile.finish %acc
    %r = tile.load %res[%i, %j] : ..
    %o = tile.map (%p = %product, %q = %r) { .. }
```
becomes
```mlir
tile.role "multiply" warpgroups 1 {
  tile.for_tiles (%i, %j) of %y block [64, 64] {
    %r = tile.load %res[%i, %j] : ..
    %z = tile.fill 0.0 : f32 -> ..
    %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 32] iter (%c = %z) -> .. { .. }
    %product = tile.finish %acc
    %o = tile.map (%p = %product, %q = %r) { .. }
```
The registers of a thread are those of its role's budget, or an even share of the register file. Where two blocks fit on a multiprocessor, the config gets
`blocks_per_multiprocessor = 2` instead: one block's epilogue overlaps with the other's products. Copies of a role that take turns hide each other's epilogues, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile.ring_machine_rules import RESERVED_SHARED, SHARED_PER_MULTIPROCESSOR
from stepwell.passes import Meaning, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Kind, Remark
from stepwell.transforms.tile._map_parts import is_long
from stepwell.transforms.tile._registers import MAX_REGISTERS, operand_registers

NAME = "tile-place-loads"
FEW_REGISTERS = 5
"""What a short epilogue takes beside accumulators and operands, where the loop's state is dead (128x64 with an f32 residual: 80 of 85 registers)."""
OTHER_REGISTERS = 56
"""For addresses, loop state and the temporaries of an epilogue."""
BARRIER_BYTES = 16
"""Of one slot: full and empty."""


@dataclass(frozen=True)
class Multiplying:
    """A role whose loop sums products of a ring, and what stands around the loop."""

    kernel: tile.KernelOp
    role: tile.RoleOp
    grid: tile.ForTilesOp
    loop: tile.ForOp

    @property
    def block(self) -> Block:
        """What is done for one tile."""
        return self.grid.body.block

    @property
    def columns(self) -> int:
        """Columns of the accumulators."""
        return self.grid.get_block()[-1]

    @property
    def behind(self) -> list[Operation]:
        """The ops behind the loop."""
        ops = list(self.block.ops)
        return ops[ops.index(self.loop) + 1 :]

    @property
    def loads(self) -> list[tile.LoadOp]:
        """What only ops behind the loop read."""
        behind = set(self.behind)
        loads = [op for op in self.block.ops if isinstance(op, tile.LoadOp)]
        return [op for op in loads if all(use.operation in behind for use in op.result.uses)]


@dataclass(frozen=True)
class PlaceLoadsPass(StepwellPass):
    """Place the loads of every epilogue of a multiplying role. Kernels without roles, those with several blocks on a multiprocessor and those whose roles take turns
    stay. Remarks: passed, when the operands come and why; missed, an epilogue whose loads nothing hides."""

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for kernel in [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp)]:
            if kernel.config.data.blocks_per_multiprocessor > 1:
                continue
            for found in filter(None, (_multiplying(kernel, role) for role in kernel.roles)):
                kind, said = _place(found)
                remarks_of(ctx).add(Remark(kind, NAME, names_of(kernel), said))


def _multiplying(kernel: tile.KernelOp, role: tile.RoleOp) -> Multiplying | None:
    """The role with its loop over products, if it has one and is played once."""
    grid = next((op for op in role.body.block.ops if isinstance(op, tile.ForTilesOp)), None)
    if grid is None or role.copy_count > 1:
        return None
    loops = [op for op in grid.body.block.ops if isinstance(op, tile.ForOp)]
    found = [loop for loop in loops if any(_sums(loop, op) for op in loop.body.block.ops)]
    return Multiplying(kernel, role, grid, found[0]) if len(found) == 1 else None


def _sums(loop: tile.ForOp, op: Operation) -> bool:
    """Whether `op` is a product of what comes through a ring, summed in a tile that the loop carries."""
    last = loop.body.block.last_op
    yielded: Sequence[SSAValue] = last.arguments if isinstance(last, tile.YieldOp) else ()
    return (
        isinstance(op, tile.MmaOp)
        and isinstance(op.a.owner, tile.AwaitOp)
        and op.c in loop.iter_args
        and op.result in yielded
    )


def _place(found: Multiplying) -> tuple[Kind, str]:
    """Decide how many blocks share a multiprocessor, and whether the epilogue's operands are loaded before the loop; what was decided."""
    kernel = found.kernel
    alone = _why_one_block(found)
    if not alone:
        kernel.config = tile.ConfigAttr(replace(kernel.config.data, blocks_per_multiprocessor=2))
        return "passed", "2 blocks on a multiprocessor: one's epilogue overlaps with the other's products"
    given = found.role.registers
    even = warp.REGISTER_FILE // (32 * kernel.config.data.warps)
    most = given.value.data if given is not None else min(MAX_REGISTERS, even)
    held, wanted = found.columns // 2, operand_registers(found.loads, found.columns)
    sum_ = f"accumulators {held}, operands {wanted} and {OTHER_REGISTERS} beside them, of {most} registers"
    if held + wanted + OTHER_REGISTERS > most:
        return "missed", f"the epilogue's operands are loaded after the products: {sum_}; one block, for {alone}"
    behind = set(found.behind)
    _move_to_front([op for op in found.loads if op in behind], found.block)
    return "passed", f"the epilogue's operands are loaded before the products: {sum_}; one block, for {alone}"


def _why_one_block(found: Multiplying) -> str:
    """Why a multiprocessor gets one block only; nothing where there is work for two and both fit."""
    kernel = found.kernel
    if tile.ONE_WAVE in kernel.attributes:
        return "no launch has tiles for more"
    if found.role.registers is not None:
        return "roles have register budgets"
    if any(isinstance(op, tile.MapOp) and is_long(op) for op in found.behind):
        return "the epilogue has many temporaries"
    half = warp.REGISTER_FILE // (2 * 32 * kernel.config.data.warps)
    if found.columns // 2 + operand_registers(found.loads, found.columns) > half - FEW_REGISTERS:
        return f"a thread of one of two has {half} registers"
    rings = [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]
    shared = sum(ring.slot_count * (ring.slot_bytes + BARRIER_BYTES) for ring in rings)
    if 2 * (shared + RESERVED_SHARED) > SHARED_PER_MULTIPROCESSOR:
        return f"two rings of {shared} bytes do not fit"
    return ""


def _move_to_front(loads: Sequence[tile.LoadOp], block: Block) -> None:
    """Loads, and the constants that they index with, before everything else."""
    constants = [index.owner for load in loads for index in load.indices if isinstance(index.owner, arith.ConstantOp)]
    moved = (*dict.fromkeys(constants), *loads)
    for op in moved:
        op.detach()
    first = block.first_op
    assert first is not None
    block.insert_ops_before(moved, first)


PASS = PlaceLoadsPass
