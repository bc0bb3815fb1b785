"""`tile-split-rows`: what a CPU does with a block, row by row: products hold the block's sums in registers, everything else is a loop over rows.

```mlir
tile.for_tiles (%i, %j) of %y block [6, 64] {
  %z = tile.fill 0.0 : f32 -> !tile.tile<6x64xf32, regs>
  %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 1] iter (%c = %z) -> !tile.tile<6x64xf32, regs> { .. tile.mma .. }
  %b = tile.load %bias[%j] : !tile.tile<64xf32, regs>
  %bb = tile.broadcast %b dims [1] : !tile.tile<6x64xf32, regs>
  %o = tile.map (%p = %acc, %q = %bb) { .. } : !tile.tile<6x64xf32, regs>
  tile.store %o, %y[%i, %j]
}
```
becomes
```mlir
tile.for_tiles (%i, %j) of %y block [6, 64] {
  %z = ..
  %acc = tile.for ..
  %b = tile.load %bias[%j] : !tile.tile<64xf32, regs>
  tile.for_rows (%row) of %i rows 6 unrolled take (%a = %acc) {
    %bb = tile.broadcast %b dims [1] : !tile.tile<1x64xf32, regs>
    %o = tile.map (%p = %a, %q = %bb) { .. } : !tile.tile<1x64xf32, regs>
    tile.store %o, %y[%row, %j]
  }
}
```
What is the same for all rows stays before them. After a product with little work the rows of a whole block are unrolled and never leave the registers; with much work each row
would be a copy of it, so that they are a loop. Blocks of one dim have one row, and stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from stepwell.dialects import tile
from stepwell.dialects.tile import TileType
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.passes.target import target_of

NAME = "tile-split-rows"


@dataclass(frozen=True)
class SplitRowsPass(StepwellPass):
    """Put what follows the products of a CPU kernel, or all of a kernel without them, into a loop over the rows of its block. `unrolled`: up to so
    many vector ops after a product, all rows counted, every row has its own copy. Kernels of one row, those that are split, and those whose blocks take dims whole (one row each), stay. Refused: a
    module for another target. Remarks: passed, what becomes of the rows and why."""

    unrolled: int = 100

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = target_of(op)
        if target is None or target.family != "cpu":
            reason = "rows are split for a CPU, and the module is not for one"
            raise PassFailure(reason, where=NAME, hint='stepwell.target = "cpu", stepwell.cpu = "x86-64-v4"')
        for kernel in [k for k in op.body.block.ops if isinstance(k, tile.KernelOp)]:
            grid = kernel.grid
            if (
                len(grid.get_block()) > 1
                and not kernel.config.data.takes_whole
                and not any(isinstance(inner, tile.ForRowsOp) for inner in grid.body.block.ops)
            ):
                remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), self._split(kernel)))

    def _split(self, kernel: tile.KernelOp) -> str:
        """Split one kernel; what was decided."""
        grid = kernel.grid
        rows, ops = grid.get_block()[-2], list(grid.body.block.ops)
        first = _before_rows(ops)
        row = grid.body.block.args[-2]
        rest = [op for op in ops if op not in first]
        inside = _of_a_row(rest, row)
        taken = _taken(inside, first)
        work = rows * sum(len(op.body.block.ops) * _chunks(op) for op in inside if isinstance(op, tile.MapOp))
        masked = kernel.config.data.edges == "masked"
        unrolled = bool(taken) and work <= self.unrolled and not masked
        split = tile.ForRowsOp(row, rows, taken, unrolled=unrolled)
        split.offset.name_hint = "row"
        Rewriter.insert_op(split, InsertPoint.at_end(grid.body.block))
        inherit_location(split, inside[-1])
        for op in inside:
            op.detach()
            split.body.block.add_op(op)
        for value, argument in zip((row, *taken), split.body.block.args, strict=True):
            argument.name_hint = argument.name_hint or value.name_hint
            value.replace_uses_with_if(argument, lambda use: _stands_in(use.operation, split))
        for op in inside:
            _narrow(op, rows, split.offset)
        name = f"@{kernel.sym_name.data}: "
        if unrolled:
            return f"{name}{rows} rows straight from registers: {work} vector ops after the product, {self.unrolled} at most"
        if taken and masked:
            return f"{name}a loop over {rows} rows: one code with masks serves whole blocks and those at an edge"
        if taken:
            return f"{name}a loop over {rows} rows: {work} vector ops after the product, more than {self.unrolled} if each row had its own"
        return f"{name}a loop over {rows} rows: there is no product"


def _before_rows(ops: Sequence[Operation]) -> list[Operation]:
    """The products and what they begin with."""
    first: set[Operation] = {
        op for op in ops if isinstance(op, tile.ForOp) and any(isinstance(inner, tile.MmaOp) for inner in op.walk())
    }
    for op in reversed(ops):
        if any(use.operation in first for result in op.results for use in result.uses):
            first.add(op)
    return [op for op in ops if op in first]


def _of_a_row(rest: Sequence[Operation], row: SSAValue) -> list[Operation]:
    """The ops that need to know the row, or make more than one row."""
    inside = set[Operation]()
    for op in rest:
        wide = any(isinstance(result.type, TileType) and result.type.rank > 1 for result in op.results)
        mine = any(value is row or value.owner in inside for inner in op.walk() for value in inner.operands)
        if wide or mine or not op.results:
            inside.add(op)
    return [op for op in rest if op in inside]


def _taken(inside: Sequence[Operation], first: Sequence[Operation]) -> list[SSAValue]:
    """Tiles made before the rows of which a row is needed."""
    used = [value for op in inside for inner in op.walk() for value in inner.operands]
    wide = [value for value in used if isinstance(value.type, TileType) and value.type.rank > 1]
    return list(dict.fromkeys(value for value in wide if value.owner in first))


def _chunks(op: tile.MapOp) -> int:
    """Vectors of a row: the largest power of two that divides it is the width of one."""
    assert isinstance(op.result.type, TileType)
    columns = op.result.type.get_shape()[-1]
    return columns // (columns & -columns)


def _stands_in(op: Operation, outer: Operation) -> bool:
    parent = op.parent_op()
    while parent is not None and parent is not outer:
        parent = parent.parent_op()
    return parent is outer


def _narrow(op: Operation, rows: int, row: SSAValue) -> None:
    """Give the tiles that an op makes one row."""
    for inner in op.walk():
        along = isinstance(inner, tile.LoadOp) and inner.indices[inner.get_dims()[0]] is row
        narrowed = any(isinstance(v.type, TileType) and v.type.get_shape() == (1,) for v in inner.operands)
        values = [*inner.results, *(arg for region in inner.regions for block in region.blocks for arg in block.args)]
        for value in values:
            if not isinstance(value.type, TileType) or value.type.get_shape()[0] != rows:
                continue
            if value.type.rank > 1 or along or (narrowed and isinstance(inner, tile.MapOp)):
                shape = (1, *value.type.get_shape()[1:])
                Rewriter.replace_value_with_new_type(value, TileType(shape, value.type.element_type, value.type.home))


PASS = SplitRowsPass
