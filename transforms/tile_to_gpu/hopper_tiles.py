"""Register tiles on Hopper: each warpgroup holds its 64 rows as one vector in the layout of wgmma's accumulator.

A vector along the columns is held as a fragment whose rows are equal, so that repeating it down the rows costs nothing; one along the rows, or of one
element, is repeated in the registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, VectorType, i32
from xdsl.ir import SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.tile import RefType, TileType
from stepwell.transforms.tile_to_gpu.hopper_lowering import Lowering


def layout_of(lowering: Lowering) -> warp.FragmentAttr:
    """How a warpgroup holds its part of the kernel's block."""
    return warp.FragmentAttr.wgmma(lowering.signature.grid.get_block()[-1])


def at_block(lowering: Lowering, op: tile.LoadOp | tile.StoreOp, shape: Sequence[int]) -> bool:
    """Whether an access covers the block: all its rows and columns at its offsets."""
    grid = _grid_of(op)
    rank = len(grid.get_block())
    whole = op.get_dims() == (rank - 2, rank - 1) and tuple(shape) == grid.get_block()[-2:]
    return list(op.indices) == list(grid.body.block.args) and whole


def _grid_of(op: tile.LoadOp | tile.StoreOp) -> tile.ForTilesOp:
    parent = op.parent_op()
    while not isinstance(parent, tile.ForTilesOp):
        assert parent is not None
        parent = parent.parent_op()
    return parent


def lower_load(lowering: Lowering, op: tile.LoadOp) -> None:
    """The block, a vector along its columns or rows, or one element."""
    kind, ref, role, emit, layout = op.result.type, op.source.type, lowering.current, lowering.emit, layout_of(lowering)
    assert isinstance(kind, TileType) and isinstance(ref, RefType) and role.row is not None
    if float(op.fill.value.data) != 0.0:
        raise lowering.refuse(op, "fills with something else than 0")
    pointer, access = lowering.pointer(op.source), access_of(op)
    loaded: Any
    if kind.rank == 2 and at_block(lowering, op, kind.get_shape()):
        index, bounds = _in_plane(lowering, op)
        loaded = warp.FragmentLoadOp(pointer, index, lowering.pitch(op.source), bounds, layout, access)
    elif runs_along(op, 1):
        column = lowering.values[op.indices[0]]
        loaded = warp.FragmentLoadRowOp(pointer, column, lowering.bounds()[1], layout, access)
    elif runs_along(op, 0):
        lowering.values[op.result] = _rows(lowering, op, pointer, layout)
        return
    elif ref.rank == 1 and kind.get_shape() == (1,) and isinstance(op.indices[0].owner, arith.ConstantOp):
        lowering.values[op.result] = _single(lowering, op, pointer, layout)
        return
    else:
        reads = "the block, a vector along its columns or rows, or one element"
        raise lowering.refuse(op, f"loads {kind} from {ref}: an epilogue reads {reads}")
    lowering.values[op.result] = emit.insert(loaded).result


def access_of(op: tile.LoadOp | tile.StoreOp) -> int:
    """Contiguous elements that are read or written at once; one where nothing is known."""
    return 1 if op.access is None else op.access.value.data


def runs_along(op: tile.LoadOp, dim: int) -> bool:
    """Whether a load reads a vector along the rows (dim 0) or columns (dim 1) of the output's last two dims."""
    grid = _grid_of(op)
    assert isinstance(op.result.type, TileType)
    shape, block = op.result.type.get_shape(), grid.get_block()
    return len(op.indices) == 1 and op.indices[0] is grid.body.block.args[dim - 2] and shape == (block[dim - 2],)


def _rows(lowering: Lowering, op: tile.LoadOp, pointer: SSAValue, layout: warp.FragmentAttr) -> SSAValue:
    """The elements of this thread's two rows, each in the registers of its row: two of four (PTX ISA, wgmma, layout of D)."""
    emit, row = lowering.emit, lowering.current.row
    assert row is not None
    numbers = emit.insert(warp.FragmentIndexOp("rows", layout)).result
    rows = emit.add(numbers, emit.repeat(row, numbers.type))
    mask = emit.within(rows, lowering.bounds()[0])
    held = emit.insert(warp.GatherOp(pointer, rows, mask, emit.constant(op.fill, op.fill.type, "fill"), 1)).result
    return emit.shuffle(held, held, (register // 2 % 2 for register in range(layout.registers)))


def _single(lowering: Lowering, op: tile.LoadOp, pointer: SSAValue, layout: warp.FragmentAttr) -> SSAValue:
    """One element in every register."""
    emit, one = lowering.emit, VectorType(i32, [1])
    fill = emit.constant(op.fill, op.fill.type, "fill")
    held = emit.insert(warp.GatherOp(pointer, emit.repeat(emit.i32(0), one), emit.true(one), fill, 1)).result
    return emit.repeat(emit.first(held), VectorType(op.fill.type, [layout.registers]))


def lower_fill(lowering: Lowering, op: tile.FillOp) -> None:
    """One number in every register."""
    assert isinstance(op.result.type, TileType)
    vector = VectorType(op.result.type.element_type, [layout_of(lowering).registers])
    lowering.values[op.result] = lowering.emit.splat(op.value.value.data, vector)


def lower_broadcast(lowering: Lowering, op: tile.BroadcastOp) -> None:
    """What is loaded is a whole fragment already."""
    load = op.source.owner
    single = isinstance(op.source.type, TileType) and op.source.type.get_shape() == (1,)
    if not isinstance(load, tile.LoadOp) or not (single or runs_along(load, op.get_dims()[0])):
        raise lowering.refuse(op, f"repeats along dims {list(op.get_dims())} what is no vector along them")
    lowering.values[op.result] = lowering.values[op.source]


def lower_map(lowering: Lowering, op: tile.MapOp) -> None:
    """The body on vectors."""
    operands = [lowering.values[value] for value in op.inputs]
    lowering.values[op.result] = lowering.emit.map(op, operands, layout_of(lowering).registers)


def lower_store(lowering: Lowering, op: tile.StoreOp) -> None:
    """The fragment to its rows of the block."""
    assert isinstance(op.tile.type, TileType)
    if not at_block(lowering, op, op.tile.type.get_shape()):
        raise lowering.refuse(op, f"stores {op.tile.type}: an epilogue writes the block of the output")
    index, bounds = _in_plane(lowering, op)
    value, pointer, pitch = lowering.values[op.tile], lowering.pointer(op.target), lowering.pitch(op.target)
    stored = warp.FragmentStoreOp(value, pointer, index, pitch, bounds, layout_of(lowering), access_of(op))
    lowering.emit.insert(stored)


def _in_plane(
    lowering: Lowering, op: tile.LoadOp | tile.StoreOp
) -> tuple[tuple[SSAValue, SSAValue], tuple[SSAValue, SSAValue]]:
    """The first row and column of the block, and the rows and columns that there are: planes lie one behind the other, their rows are counted on."""
    row, bounds = lowering.current.row, lowering.bounds()
    assert row is not None
    if len(op.indices) == 3:
        above = lowering.emit.mul(lowering.values[op.indices[0]], bounds[0])
        row, bounds = lowering.emit.add(row, above), (lowering.emit.add(above, bounds[0]), bounds[1])
    return (row, lowering.values[op.indices[-1]]), bounds


def lower_constant(lowering: Lowering, op: arith.ConstantOp) -> None:
    """An index that a load has looked at, or where a fetch begins."""
    fetched = any(isinstance(use.operation, tile.FetchOp) for use in op.result.uses)
    if fetched and isinstance(op.value, IntegerAttr):
        lowering.values[op.result] = lowering.emit.i32(op.value.value.data)
