"""plan-annotate-refs: what the launches of a kernel know about its operands goes into the kernel's text; launches that know different things get
kernels of their own.

Before:
    tile.kernel @k(%x: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf16, plain>) config .. { .. }
    plan.program @main {
      plan.launch @k(%a) outs (%b) : !plan.buffer<64x64xf16> -> !plan.buffer<64x64xf16>
      plan.launch @k(%c) outs (%d) : !plan.buffer<64x10xf16> -> !plan.buffer<64x10xf16>
After:
    tile.kernel @k(%x: !tile.ref<2xf16, plain, align 16>) -> (%y: !tile.ref<2xf16, plain, align 16>) config .. { .. }
    tile.kernel @k_0(%x: !tile.ref<2xf16, plain, align 4>) -> (%y: !tile.ref<2xf16, plain, align 4>) config .. { .. }
    plan.program @main {
      plan.launch @k(%a) outs (%b) : ..
      plan.launch @k_0(%c) outs (%d) : ..

From here on a kernel's text is its key: equal text becomes equal code, whatever launches it. Facts are the alignment of an operand's rows (`align`), and for
kernels with matrix instructions whether all tiles run at once (`tile.one_wave`): then nothing is gained by two blocks on a multiprocessor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, SymbolRefAttr, UnitAttr
from xdsl.ir import BlockArgument

from stepwell.dialects import plan, tile
from stepwell.dialects.tile._syntax import WHOLE
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.passes.target import target_of
from stepwell.transforms.symbols import new_symbol, taken_symbols

NAME = "plan-annotate-refs"


@dataclass(frozen=True)
class LaunchFacts:
    """What one launch knows: bytes of alignment of each operand's rows (0 for none, and where no access asks), and whether its tiles run at once."""

    aligned: tuple[int, ...]
    one_wave: bool

    def __str__(self) -> str:
        listed = ", ".join(map(str, self.aligned))
        return f"rows aligned to [{listed}] bytes" + (", all tiles at once" if self.one_wave else "")


@dataclass(frozen=True)
class AnnotateRefsPass(StepwellPass):
    """Write `align` into the refs of every tile kernel that is launched, where threads access neighbours in a row, and `tile.one_wave` on those with matrix instructions whose tiles run at once; a kernel is
    cloned for each further set of facts. Refuses a module that names no target. Remarks: passed, a kernel's facts; missed, operands whose rows
    allow no access wider than an element."""

    name = NAME
    level: ClassVar[str] = "plan"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        target = target_of(op)
        if target is None:
            raise PassFailure("the module names no target", where=NAME, hint='stepwell.target = "sm_90a"')
        launches = [inner for inner in op.walk() if isinstance(inner, plan.LaunchOp)]
        taken = taken_symbols(op)
        for kernel in [inner for inner in op.ops if isinstance(inner, tile.KernelOp)]:
            mine = [launch for launch in launches if launch.kernel_name == kernel.sym_name.data]
            groups: dict[LaunchFacts, list[plan.LaunchOp]] = {}
            for launch in mine:
                groups.setdefault(launch_facts_of(kernel, launch, target.multiprocessors), []).append(launch)
            made = kernel
            for number, (facts, group) in enumerate(groups.items()):
                made = _clone(made, kernel.sym_name.data, taken) if number else kernel
                _annotate(made, facts)
                for launch in group:
                    launch.kernel = SymbolRefAttr(made.sym_name.data)
                self._remark(ctx, made, facts)

    def _remark(self, ctx: Context, kernel: tile.KernelOp, facts: LaunchFacts) -> None:
        remarks, title = remarks_of(ctx), f"@{kernel.sym_name.data}"
        remarks.add(Remark("passed", NAME, names_of(kernel), f"{title}: {facts}"))
        refs = (*kernel.inputs, *kernel.outputs)
        narrow = [
            str(ref.index)
            for ref, width in zip(refs, facts.aligned, strict=True)
            if not width and _in_rows(kernel, ref)
        ]
        if narrow:
            message = f"{title}: rows of operand {' and '.join(narrow)} are read and written element by element"
            remarks.add(Remark("missed", NAME, names_of(kernel), message, "pad the channels to a multiple of 16 bytes"))


def launch_facts_of(kernel: tile.KernelOp, launch: plan.LaunchOp, multiprocessors: int) -> LaunchFacts:
    """What a launch knows of the kernel's operands."""
    operands = [*launch.args, *launch.outs]
    grid = kernel.grid.output
    assert isinstance(grid, BlockArgument)
    kind = operands[grid.index].type
    assert isinstance(kind, plan.BufferType)
    blocks = zip(kind.get_shape(), kernel.grid.get_block(), strict=True)
    tiles = prod(ceil(extent / block) for extent, block in blocks if block != WHOLE)
    refs = (*kernel.inputs, *kernel.outputs)
    widths = [
        plan.row_alignment(value) if _in_rows(kernel, ref) else 0 for ref, value in zip(refs, operands, strict=True)
    ]
    return LaunchFacts(tuple(widths), kernel.config.data.uses_wgmma and tiles <= multiprocessors)


def _in_rows(kernel: tile.KernelOp, ref: BlockArgument) -> bool:
    """Whether threads read or write neighbours in a row of the ref: how its rows lie says nothing of other accesses."""
    uses = [use.operation for use in ref.uses]
    return any(isinstance(op, tile.LoadOp | tile.StoreOp) and _along_columns(kernel, op) for op in uses)


def _along_columns(kernel: tile.KernelOp, op: tile.LoadOp | tile.StoreOp) -> bool:
    """Whether the last dim of a register tile is contiguous and runs along columns: it is no vector along the rows of the output."""
    kind, last = op.result.type if isinstance(op, tile.LoadOp) else op.tile.type, op.get_dims()[-1]
    assert isinstance(kind, tile.TileType)
    if kind.home is not tile.Residence.REGS or kind.get_shape()[-1] == 1 or last != len(op.indices) - 1:
        return False
    rows = kernel.grid.body.block.args[-2:-1]
    return kind.rank > 1 or op.indices[last] not in rows


def _clone(kernel: tile.KernelOp, stem: str, taken: set[str]) -> tile.KernelOp:
    """A copy behind the kernel, under a name of its own that begins like `stem`."""
    made = kernel.clone()
    made.sym_name = StringAttr(new_symbol(stem, taken))
    block = kernel.parent_block()
    assert block is not None
    block.insert_op_after(made, kernel)
    return made


def _annotate(kernel: tile.KernelOp, facts: LaunchFacts) -> None:
    for ref, width in zip((*kernel.inputs, *kernel.outputs), facts.aligned, strict=True):
        assert isinstance(ref.type, tile.RefType)
        kind = tile.RefType(ref.type.rank, ref.type.element_type, replace(ref.type.access, align=width))
        ref._type = kind
    kernel.function_type = _signature(kernel.inputs, kernel.outputs)
    kernel.attributes.pop(tile.ONE_WAVE, None)
    if facts.one_wave:
        kernel.attributes[tile.ONE_WAVE] = UnitAttr()


def _signature(inputs: Sequence[BlockArgument], outputs: Sequence[BlockArgument]) -> FunctionType:
    return FunctionType.from_lists([ref.type for ref in inputs], [ref.type for ref in outputs])


PASS = AnnotateRefsPass
