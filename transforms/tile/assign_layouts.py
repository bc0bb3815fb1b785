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
accessed at once where the refs promise rows of whole pairs (`align`). Maps with long bodies go in parts (`tile.map (..) parts 4 {`).

A kernel without products is held by rows of threads: `!tile.tile<64x32xf32, regs, #tile.threads<16x8, width 4>>`, with as many columns side by side as
every operand that runs along them may be accessed at. Layouts that are there already are kept, and spread to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FixedBitwidthType, IntegerAttr, ModuleOp, i64
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue
from xdsl.rewriter import Rewriter

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.passes import Meaning, PassFailure, StepwellPass, inherit_location, names_of, remarks_of
from stepwell.passes.remarks import Remark
from stepwell.transforms.tile._map_parts import PART, parts_of
from stepwell.transforms.tile._thread_layouts import in_rows, ref_of, threads_over, tile_of, widest_access

NAME = "tile-assign-layouts"
PAIR = 2
"""Columns that one thread holds side by side in an accumulator of wgmma (PTX ISA, wgmma, layout of D)."""

Layouts = dict[SSAValue, Attribute]


@dataclass(frozen=True)
class AssignLayoutsPass(StepwellPass):
    """Assign layouts in every kernel for CUDA, and access widths to its loads and stores: in fragments of a product at most `access` elements at once.
    Kernels whose tiles have layouts stay. Refused: rows of shared memory that are no swizzle, tiles whose elements nobody is
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
            _turn_left_factors(kernel)
            remarks_of(ctx).add(Remark("passed", NAME, names_of(kernel), _summary(registers, shared)))
            for remark in (*self._widen(kernel), *_part_maps(kernel)):
                remarks_of(ctx).add(remark)

    def _widen(self, kernel: tile.KernelOp) -> Iterator[Remark]:
        """Set the access widths of loads and stores in rows of fragments."""
        for op in [op for op in kernel.walk() if isinstance(op, tile.LoadOp | tile.StoreOp)]:
            kind, ref = tile_of(op), op.source if isinstance(op, tile.LoadOp) else op.target
            if not in_rows(op, kind) or op.access is not None:
                continue
            assert isinstance(ref, BlockArgument)
            most = self.access if _has_rings(kernel) else _side_by_side(kind.layout)
            width = ref_of(op).access.elements_at_once(element_bytes(kind.element_type), most)
            if width > 1:
                op.access = IntegerAttr(width, i64)
            elif self.access > 1:
                yield Remark("missed", NAME, names_of(op), f"{op.name} of parameter {ref.index} {_narrow(kernel)}")


def _part_maps(kernel: tile.KernelOp) -> Iterator[Remark]:
    """Say in how many parts long maps go."""
    for op in [op for op in kernel.walk() if isinstance(op, tile.MapOp) and op.parts is None]:
        count, ops = parts_of(op), len(op.body.block.ops)
        if count > 1:
            op.parts = IntegerAttr(count, i64)
            message = f"a body of {ops} ops goes in {count} parts: {PART} elements of a thread at once"
            yield Remark("passed", NAME, names_of(op), message)


def _narrow(kernel: tile.KernelOp) -> str:
    whole = "pairs" if _has_rings(kernel) else "vectors"
    return f"goes element by element: no launch promises rows of whole {whole} (align, by plan-annotate-refs), or the tile has none"


def _side_by_side(layout: Attribute) -> int:
    """Columns that a thread holds side by side."""
    whole = layout.parent if isinstance(layout, tile.SliceAttr) else layout
    return whole.width.data if isinstance(whole, tile.ThreadsAttr) else PAIR


def _has_rings(kernel: tile.KernelOp) -> bool:
    """Whether a kernel's operands come through shared memory."""
    return any(isinstance(op, tile.RingOp) for op in kernel.body.block.ops)


def _is_open(kernel: tile.KernelOp) -> bool:
    """Whether a kernel for CUDA, one with rings or without a product, has tiles without a layout."""
    rings = [op for op in kernel.body.block.ops if isinstance(op, tile.RingOp)]
    if not rings and (kernel.config.data.mma != "none" or not kernel.config.data.warps):
        return False
    if rings:
        return any(not kind.has_layout for ring in rings for kind in ring.element_types)
    return any(isinstance(value.type, TileType) and not value.type.has_layout for value in _register_tiles(kernel))


def _register_layouts(kernel: tile.KernelOp) -> Layouts:
    """The layout of every register tile, spread from the products, or from rows of threads."""
    if _has_rings(kernel):
        ops = [op for op in kernel.body.walk() if isinstance(op, tile.MmaOp)]
        held = [op.a for op in ops if _is_register_tile(op.a) and not isinstance(op.a.owner, tile.RelayoutOp)]
        written = [op.tile for op in kernel.body.walk() if isinstance(op, tile.WriteOp)]
        accumulators = [value for op in ops for value in (op.result, op.c)]
        products = dict.fromkeys([*accumulators, *held, *written], tile.WgmmaAttr())
        return _spread_all(kernel, {**_given(kernel), **products}, "it meets no product")
    blocks = [value for value in _register_tiles(kernel) if _rank(value) == 2]
    whole: Layouts = dict.fromkeys(blocks, tile.ThreadsAttr(1, 1, 1))
    shapes = _spread_all(kernel, whole, "it is no vector along a tile of two dims")
    chosen = _choose_threads(kernel, blocks, shapes)
    return {**{value: _within(layout, chosen) for value, layout in shapes.items()}, **_given(kernel)}


def _choose_threads(kernel: tile.KernelOp, blocks: list[SSAValue], shapes: Layouts) -> Attribute:
    """The one layout of a kernel's tiles of two dims; `shapes` says which vectors run along columns."""
    given = [layout for value, layout in _given(kernel).items() if value in blocks]
    if given:
        return given[0]
    extents = [value.type.get_shape() for value in blocks if isinstance(value.type, TileType)]
    rows, columns = (gcd(*(shape[dim] for shape in extents)) for dim in (0, 1))
    moved = [op for op in kernel.body.walk() if isinstance(op, tile.LoadOp | tile.StoreOp)]
    along = [op for op in moved if in_rows(op, tile_of(op).with_layout(shapes[_moved(op)]))]
    return threads_over(kernel, (rows, columns), widest_access(kernel, columns, along))


def _moved(op: tile.LoadOp | tile.StoreOp) -> SSAValue:
    return op.result if isinstance(op, tile.LoadOp) else op.tile


def _within(layout: Attribute, chosen: Attribute) -> Attribute:
    """A slice, or a whole tile, of the chosen layout."""
    return tile.SliceAttr(layout.dim.data, chosen) if isinstance(layout, tile.SliceAttr) else chosen


def _given(kernel: tile.KernelOp) -> Layouts:
    """The layouts that are there already."""
    tiles = ((value, value.type) for value in _register_tiles(kernel))
    return {value: kind.layout for value, kind in tiles if isinstance(kind, TileType) and kind.has_layout}


def _register_tiles(kernel: tile.KernelOp) -> Iterator[SSAValue]:
    for op in kernel.body.walk():
        for value in (*op.results, *(argument for region in op.regions for argument in region.block.args)):
            if _is_register_tile(value):
                yield value


def _rank(value: SSAValue) -> int:
    return value.type.rank if isinstance(value.type, TileType) else 0


def _spread_all(kernel: tile.KernelOp, found: Layouts, otherwise: str) -> Layouts:
    """Layouts spread until nothing changes; refused: a tile that gets none."""
    ops = list(kernel.body.walk())
    spreading = True
    while spreading:
        before = len(found)
        for op in ops:
            _spread(op, found)
        spreading = len(found) > before
    for value in _register_tiles(kernel):
        if value not in found:
            maker = value.owner if isinstance(value.owner, Operation) else value.owner.parent_op()
            assert maker is not None
            reason = f"nothing says which thread holds which element of its {value.type}: {otherwise}"
            raise PassFailure(
                reason,
                where=f"@{kernel.sym_name.data}, {maker.name} ({' + '.join(names_of(maker))})",
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
    if isinstance(op, tile.ReduceOp) and len(op.get_dims()) == 1 and op.source in found:
        found.setdefault(op.result, tile.SliceAttr(op.get_dims()[0], found[op.source]))
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
    if isinstance(op, tile.ReduceOp):
        init = [] if op.init is None else [op.init]
        source = [] if op.get_dims() else [op.source]
        return [[op.result, *init, *source]]
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
    if row not in (32, 64) and row % 128:
        nearest = min((32, 64, 128), key=lambda width: abs(width - row)) // kind.element_type.size
        reason = f"rows of {row} bytes of {kind} in shared memory are no swizzle of the hardware: 32, 64 or 128 bytes"
        raise PassFailure(reason, where=f"@{kernel.sym_name.data}", hint=f"k = {nearest}")
    return kind.layout if kind.has_layout else tile.SharedAttr(min(row, 128))


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


def _turn_left_factors(kernel: tile.KernelOp) -> None:
    """A left factor in registers is held as the product reads it: for 16 bits a thread has what it needs already."""
    for op in [op for op in kernel.body.walk() if isinstance(op, tile.MmaOp)]:
        assert isinstance(op.a.type, TileType)
        if op.a.type.layout != tile.WgmmaAttr():
            continue
        turned = tile.RelayoutOp(op.a, tile.WgmmaAAttr())
        turned.result.name_hint = op.a.name_hint
        inherit_location(turned, op)
        block = op.parent_block()
        assert block is not None
        block.insert_op_before(turned, op)
        op.operands[0] = turned.result


def _summary(registers: Layouts, shared: dict[tile.RingOp, list[Attribute]]) -> str:
    slices = sum(isinstance(layout, tile.SliceAttr) for layout in registers.values())
    held = next((layout for layout in registers.values() if isinstance(layout, tile.ThreadsAttr)), None)
    if held is not None:
        return f"{len(registers) - slices} register tiles over {held.threads} threads ({held}), {slices} vectors as slices of it"
    inside = ", ".join(dict.fromkeys(str(layout) for layouts in shared.values() for layout in layouts))
    return f"{len(registers) - slices} register tiles as the product holds its result (#tile.wgmma), {slices} vectors as slices of it; rings in {inside}"


PASS = AssignLayoutsPass
