"""What a register tile is in one thread: a vector whose length and order follow from the layout in the tile's type, and from nothing else."""

from __future__ import annotations

from math import gcd
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerType, VectorType, i32
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import SliceAttr, ThreadsAttr, TileType, WgmmaAttr
from stepwell.dialects.tile.layouts import covered_at_once
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter


def fragment_of(kind: TileType) -> warp.FragmentAttr | None:
    """How threads hold a tile; a slice as the smallest tile of its parent that it is a slice of. A warpgroup holds its 64 rows of
    `#tile.wgmma`. None: the layout has no form here, or there is none."""
    layout, shape = kind.layout, kind.get_shape()
    if isinstance(layout, SliceAttr):
        covers, lost = covered_at_once(layout.parent), layout.dim.data
        if covers is None or len(shape) != 1:
            return None
        extent = covers[1 - lost] if shape[0] == 1 else shape[0]
        layout, shape = layout.parent, (covers[0], extent) if lost == 0 else (extent, covers[1])
    if isinstance(layout, WgmmaAttr):
        return warp.FragmentAttr.wgmma(shape[1])
    if isinstance(layout, ThreadsAttr):
        return warp.FragmentAttr.blocked(shape[0], shape[1], layout.threads, layout.width.data, layout.across.data)
    return None


def along_of(kind: TileType) -> str:
    """What a thread's vector runs along: "rows" or "cols" for a slice, "block" for a tile of two dims, "one" for one element."""
    if kind.get_shape() == (1,):
        return "one"
    if isinstance(kind.layout, SliceAttr):
        return "cols" if kind.layout.dim.data == 0 else "rows"
    return "block"


def length_of(kind: TileType) -> int:
    """Elements of one thread's vector."""
    fragment = fragment_of(kind)
    assert fragment is not None
    lengths = {"rows": fragment.rows_per_thread, "cols": fragment.columns_per_thread, "one": 1}
    return lengths.get(along_of(kind), fragment.registers)


def vector_of(kind: TileType) -> VectorType:
    """The type of one thread's vector."""
    return VectorType(kind.element_type, [length_of(kind)])


def uneven_parts(op: tile.MapOp) -> tuple[str, str] | None:
    """Why a thread's elements of a map do not go in the parts that it says, and what does; None where they do."""
    assert isinstance(op.result.type, TileType)
    held, count = length_of(op.result.type), op.part_count
    if held % count == 0:
        return None
    return f"goes in {count} parts, a thread has {held} elements", f"parts {gcd(held, count)}"


def spread(emit: GpuEmitter, value: SSAValue, op: tile.BroadcastOp) -> SSAValue | None:
    """The vector of what a slice is repeated into; None where the operand is no slice of the result's layout."""
    source, result = op.source.type, op.result.type
    assert isinstance(source, TileType) and isinstance(result, TileType)
    fragment = fragment_of(result)
    if fragment is None or source.rank != 1 or result.rank != 2:
        return None
    if source.layout != SliceAttr(1 - op.get_dims()[0], result.layout):
        return None
    if along_of(source) == "one":
        element = cast(VectorType[Attribute], value.type).element_type
        return emit.repeat(emit.first(value), VectorType(element, [fragment.registers]))
    return emit.insert(warp.SpreadOp(value, along_of(source), fragment)).result


def counted(emit: GpuEmitter, op: tile.IotaOp, start: SSAValue | None) -> SSAValue:
    """The numbers of this thread's rows or columns in a tile, from `start` (i32) on, as the tile's integers."""
    kind = op.result.type
    assert isinstance(kind, TileType) and isinstance(kind.element_type, IntegerType)
    fragment, along = fragment_of(kind), along_of(kind)
    assert fragment is not None
    lines = "rows" if along == "rows" or (along == "block" and op.dim.value.data == 0) else "cols"
    numbers: SSAValue = emit.splat(0, VectorType(i32, [1]))
    if along != "one":
        numbers = emit.insert(warp.FragmentIndexOp(lines, fragment)).result
    if start is not None:
        numbers = emit.add(numbers, emit.repeat(start, numbers.type))
    if along == "block":
        numbers = emit.insert(warp.SpreadOp(numbers, lines, fragment)).result
    width = kind.element_type.width.data
    if width == 32:
        return numbers
    convert = llvm.TruncOp if width < 32 else llvm.SExtOp
    return emit.insert(convert(numbers, vector_of(kind))).res
