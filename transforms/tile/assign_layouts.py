"""`tile-assign-layouts`: who holds which element: layouts of register tiles over threads and of shared tiles over bytes, and how much is accessed at once.

```mlir
%ab = tile.ring slots 4 (128x64xf16, 64x64xf16)
..
%d = tile.mma %a, %b, %c                                                // !tile.tile<128x64xf32, regs>
%bias = tile.load %bv[%j] : !tile.tile<64xf32, regs>
%bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs>
tile.store %o, %y[%i, %j]
```
becomes
```mlir
%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)
..
%d = tile.mma %a, %b, %c                                                // !tile.tile<128x64xf32, regs, #tile.wgmma>
%bias = tile.load %bv[%j] access 2 : !tile.tile<64xf32, regs, #tile.slice<0, #tile.wgmma>>
%bb = tile.broadcast %bias dims [1] : !tile.tile<128x64xf32, regs, #tile.wgmma>
tile.store %o, %y[%i, %j] access 2
```
Layouts spread from the products: a map holds its operands as it holds its result, what is repeated along a dim is a slice of what repeats it. A row of a shared tile is one
swizzle, so that eight rows of a product's operand lie in different banks. An accumulator's thread holds two columns side by side, which may be
accessed at once where the refs promise rows of whole pairs (`align`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FixedBitwidthType, IntegerAttr, ModuleOp, i64
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.passes import Meaning, PassFailure, StepwellPass, names_of, remarks_of
from stepwell.passes.remarks import Remark

NAME = "tile-assign-layouts"
PAIR = 2
"""Columns that one thread holds side by side in an accumulator of wgmma (PTX ISA, wgmma, layout of D)."""

Layouts = dict[SSAValue, Attribute]


@dataclass(frozen=True)
class AssignLayoutsPass(StepwellPass):
    """Assign layouts in every kernel with rings, and access widths to its loads and stores: at most `access` elements at once. Kernels without rings
    and those whose tiles have layouts stay. Refused: rows of shared memory that are no swizzle, tiles whose elements nobody is
    known to hold. Remarks: passed, the layouts and where they come from; missed, accesses that some launch keeps narrow."""

    access: int = PAIR

    name = NAME
    level: ClassVar[str] = "plan"
    also: ClassVar[tuple[str, ...]] = ("tile",)
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.access not in (1, PAIR):
            raise PassFailure(
                f"access={self.access}: a thread holds {PAIR} columns side by side",
                where=NAME,
                hint=f"access={PAIR}, or 1",
            )
        kernels = [kernel for kernel in op.ops if isinstance(kernel, tile.KernelOp) and _is_open(kernel)]
        found = [(kernel, _register_layouts(kernel), _shared_layouts(kernel)) for kernel in kernels]
        for kernel, registers, shared in found:
            for value, layout in (*registers.items(), *_ring_values(shared)):
                _retype(value, layout)
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), _summary(registers, shared)))
            for remark in self._widen(kernel):
                remarks_of(ctx).add(remark)

    def _widen(self, kernel: tile.KernelOp) -> Iterator[Remark]:
        """Set the access widths of loads and stores in rows of fragments."""
        for op in [op for op in kernel.walk() if isinstance(op, tile.LoadOp | tile.StoreOp)]:
            ref = op.source if isinstance(op, tile.LoadOp) else op.target
            kind = op.result.type if isinstance(op, tile.LoadOp) else op.tile.type
            assert isinstance(ref, BlockArgument) and isinstance(kind, TileType)
            if not _in_rows(op, kind):
                continue
            assert isinstance(ref.type, tile.RefType)
            width = ref.type.access.elements_at_once(element_bytes(ref.type.element_type), self.access)
            if width > 1:
                op.access = IntegerAttr(width, i64)
            elif self.access > 1:
                reason = "no launch promises rows of whole pairs (align, by plan-annotate-refs)"
                yield Remark(
                    "missed",
                    NAME,
                    names_of(op),
                    f"{op.name} of parameter {ref.index} goes element by element: {reason}",
                )


def _is_open(kernel: tile.KernelOp) -> bool:
    """Whether a kernel has rings, and tiles without a layout."""
    rings = [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]
    return any(not kind.has_layout for ring in rings for kind in ring.element_types)


def _in_rows(op: tile.LoadOp | tile.StoreOp, kind: TileType) -> bool:
    """Whether a thread's neighbouring columns are neighbours in memory: a tile of rows, or a vector along them."""
    last = op.get_dims()[-1] == len(op.indices) - 1
    return last and kind.get_shape()[-1] > 1 and (kind.rank == 2 or kind.layout == tile.SliceAttr(0, tile.WgmmaAttr()))


def _register_layouts(kernel: tile.KernelOp) -> Layouts:
    """The layout of every register tile, spread from the products until nothing changes."""
    found: Layouts = {}
    ops = list(kernel.body.walk())
    for op in ops:
        if isinstance(op, tile.MmaOp):
            found[op.result] = found[op.c] = tile.WgmmaAttr()
    spreading = True
    while spreading:
        before = len(found)
        for op in ops:
            _spread(op, found)
        spreading = len(found) > before
    for op in ops:
        for value in (*op.results, *(argument for region in op.regions for argument in region.block.args)):
            if _is_register_tile(value) and value not in found:
                reason = f"nothing says which thread holds which element of its {value.type}: it meets no product"
                raise PassFailure(
                    reason,
                    where=f"@{kernel.sym_name.data}, {op.name} ({' + '.join(names_of(op))})",
                    hint="store it from a kernel of its own",
                )
    return found


def _is_register_tile(value: SSAValue) -> bool:
    return isinstance(value.type, TileType) and value.type.home is tile.Residence.REGS


def _spread(op: Operation, found: Layouts) -> None:
    """What an op says about the layouts of its tiles."""
    if isinstance(op, tile.BroadcastOp):
        _spread_broadcast(op, found)
        return
    for group in _alike(op):
        layout = next((found[value] for value in group if value in found), None)
        if layout is not None:
            found.update({value: layout for value in group if value not in found})


def _alike(op: Operation) -> list[list[SSAValue]]:
    """Tiles that an op holds in one layout."""
    if isinstance(op, tile.MapOp):
        return [[*op.inputs, op.result]]
    if isinstance(op, tile.FinishOp):
        return [[op.accumulator, op.result]]
    if isinstance(op, tile.ForOp) and isinstance(op.body.block.last_op, tile.YieldOp):
        carried = zip(op.inits, op.iter_args, op.body.block.last_op.arguments, op.carried, strict=True)
        return [list(values) for values in carried]
    return []


def _spread_broadcast(op: tile.BroadcastOp, found: Layouts) -> None:
    """What is repeated is a slice of the result, by the dim that it lacks."""
    source, result = op.source.type, op.result.type
    assert isinstance(source, TileType) and isinstance(result, TileType)
    lost = [dim for dim in range(result.rank) if dim not in op.get_dims()]
    if op.result in found and op.source not in found and len(lost) == 1:
        found[op.source] = tile.SliceAttr(lost[0], found[op.result])
    parent = found.get(op.source)
    if isinstance(parent, tile.SliceAttr) and op.result not in found and lost == [parent.dim.data]:
        found[op.result] = parent.parent


def _shared_layouts(kernel: tile.KernelOp) -> dict[tile.RingOp, list[Attribute]]:
    """Each ring's elements: rows of one swizzle."""
    found: dict[tile.RingOp, list[Attribute]] = {}
    for ring in [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]:
        found[ring] = [_shared_layout(kernel, kind) for kind in ring.element_types]
    return found


def _shared_layout(kernel: tile.KernelOp, kind: TileType) -> Attribute:
    assert isinstance(kind.element_type, FixedBitwidthType)
    row = kind.get_shape()[-1] * kind.element_type.size
    if row not in (32, 64, 128):
        nearest = min((32, 64, 128), key=lambda width: abs(width - row)) // kind.element_type.size
        reason = f"rows of {row} bytes of {kind} in shared memory are no swizzle of the hardware: 32, 64 or 128 bytes"
        raise PassFailure(reason, where=f"@{kernel.sym_name.data}", hint=f"k = {nearest}")
    return kind.layout if kind.has_layout else tile.SharedAttr(row)


def _ring_values(shared: dict[tile.RingOp, list[Attribute]]) -> list[tuple[SSAValue, Attribute]]:
    """The tiles that ops on rings give; the rings themselves are changed here."""
    found: list[tuple[SSAValue, Attribute]] = []
    for ring, layouts in shared.items():
        kinds = [kind.with_layout(layout) for kind, layout in zip(ring.element_types, layouts, strict=True)]
        changed = Rewriter.replace_value_with_new_type(ring.ring, tile.RingType(ArrayAttr(kinds)))
        for user in [use.operation for use in changed.uses if isinstance(use.operation, tile.AwaitOp | tile.AcquireOp)]:
            found += zip(user.results, layouts, strict=True)
    return found


def _retype(value: SSAValue, layout: Attribute) -> None:
    assert isinstance(value.type, TileType)
    Rewriter.replace_value_with_new_type(value, value.type.with_layout(layout))


def _summary(registers: Layouts, shared: dict[tile.RingOp, list[Attribute]]) -> str:
    slices = sum(isinstance(layout, tile.SliceAttr) for layout in registers.values())
    inside = ", ".join(dict.fromkeys(str(layout) for layouts in shared.values() for layout in layouts))
    return f"{len(registers) - slices} register tiles as the product holds its result (#tile.wgmma), {slices} vectors as slices of it; rings in {inside}"


PASS = AssignLayoutsPass
