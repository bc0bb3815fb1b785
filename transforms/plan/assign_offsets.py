"""plan-assign-offsets: give every slice and constant its byte offset, and the program its totals.

Before:
    plan.program @main {
      %w = plan.constant #graph.weight<...> : !plan.buffer<64x9x64xf32>
      %a = plan.slice live [0, 1] : !plan.buffer<8192x64xf32>
      %b = plan.slice live [2, 3] : !plan.buffer<8192x64xf32>
After:
    plan.program @main arena 2097152 constants 147456 {
      %w = plan.constant #graph.weight<...> at 0 : !plan.buffer<64x9x64xf32>
      %a = plan.slice at 0 live [0, 1] : !plan.buffer<8192x64xf32>
      %b = plan.slice at 0 live [2, 3] : !plan.buffer<8192x64xf32>

Slices whose lifetimes meet never overlap; best fit, see `_offsets.py`. Constants lie one behind the other, and those
with the same content (stored hash and recipe, or literal) share their bytes. An arena over `limit` bytes, or over the four tebibytes of a plan, is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.ir import Attribute

from stepwell.dialects import graph, plan
from stepwell.passes import Meaning, StepwellPass, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.runtime.errors import MemoryLimitError
from stepwell.runtime.program import MAX_BYTES
from stepwell.transforms.plan._memory_report import memory_report
from stepwell.transforms.plan._offsets import aligned, assign, total


@dataclass(frozen=True)
class AssignOffsetsPass(StepwellPass):
    """Place slices in the arena by best fit and constants one behind the other, 256-byte aligned; `limit` caps the
    arena."""

    name = "plan-assign-offsets"
    level: ClassVar[str] = "plan"
    meaning: ClassVar[Meaning] = "exact"

    limit: int | None = None

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for program in [p for p in op.ops if isinstance(p, plan.ProgramOp)]:
            self._assign(ctx, program)

    def _assign(self, ctx: Context, program: plan.ProgramOp) -> None:
        slices = [op for op in program.block.ops if isinstance(op, plan.SliceOp)]
        lifetimes, sizes = [op.lifetime for op in slices], [op.type.size_in_bytes() for op in slices]
        offsets = assign(lifetimes, sizes, plan.ALIGNMENT)
        arena = total(offsets, sizes, plan.ALIGNMENT)
        limit = MAX_BYTES if self.limit is None else min(self.limit, MAX_BYTES)
        if arena > limit:
            raise MemoryLimitError(
                f"the arena takes {arena} bytes, more than the limit of {limit}",
                where=self.name,
                hint="a smaller batch, or a larger limit (compile --workspace)",
            )
        for slice_op, offset in zip(slices, offsets):
            slice_op.at = IntegerAttr(offset, i64)
        program.arena = IntegerAttr(arena, i64)
        program.constants = IntegerAttr(_place_constants(program), i64)
        remarks_of(ctx).add(Remark("analysis", self.name, (), str(memory_report(program))))


def _place_constants(program: plan.ProgramOp) -> int:
    """Give constants their offsets, one for all with the same content; returns the total."""
    places: dict[tuple[Attribute, ...], int] = {}
    end = 0
    for op in program.block.ops:
        if not isinstance(op, plan.ConstantOp):
            continue
        content = content_of(op)
        if content not in places:
            places[content] = end
            end += aligned(op.type.size_in_bytes(), plan.ALIGNMENT)
        op.at = IntegerAttr(places[content], i64)
    return end


def content_of(op: plan.ConstantOp) -> tuple[Attribute, ...]:
    """What decides a constant's bytes: of a weight the stored hash, type and recipe (not its name), else the
    literal."""
    if isinstance(op.value, graph.WeightAttr):
        return (op.value.sha256, op.value.type, op.value.steps)
    return (op.value,)


PASS = AssignOffsetsPass
