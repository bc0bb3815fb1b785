"""Register tiles on Hopper: vectors in each thread, as the layout in the tile's type says.

Each warpgroup holds its 64 rows of `#tile.wgmma`: a thread has pairs of columns in two rows. A slice of it is one element for each row, or each column,
of the thread, and is spread over its registers where it is repeated. Lanes of four hold a row together: folds along it end in shuffles.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, VectorType, i32
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, SliceAttr, TileType, WgmmaAAttr, WgmmaAttr
from stepwell.transforms.tile_to_gpu.folds import WARP, fold_in_thread, fold_in_warp, folded, lost_dim
from stepwell.transforms.tile_to_gpu.fragments import (
    along_of,
    counted,
    fragment_of,
    length_of,
    spread,
    uneven_parts,
    vector_of,
)
from stepwell.transforms.tile_to_gpu.hopper_lowering import WARPGROUP_ROWS, Lowering
from stepwell.transforms.tile_to_gpu.hopper_parameters import is_row_somewhere, is_somewhere

HALF = 2
"""Bytes of elements whose accumulator is an operand as it lies (PTX ISA, wgmma, layouts of A and D)."""


def fragment_at(lowering: Lowering, op: Operation, kind: TileType) -> warp.FragmentAttr:
    """How a warpgroup holds its part of a tile; refused: tiles without a layout, in another one, or of other rows than the role's."""
    whole = kind.layout.parent if isinstance(kind.layout, SliceAttr) else kind.layout
    fragment = fragment_of(kind)
    if fragment is None or not isinstance(whole, WgmmaAttr):
        held = f"lies in {whole}" if kind.has_layout else "has no layout"
        reason = f"makes {kind}, which {held}: roles hold tiles as products do, #tile.wgmma"
        raise lowering.refuse(op, reason, "run tile-assign-layouts")
    rows = kind.get_shape()[0] if along_of(kind) in ("block", "rows") else None
    expected = WARPGROUP_ROWS * lowering.current.op.warpgroups.value.data
    if rows is not None and rows != expected:
        raise lowering.refuse(op, f"makes {kind} in a role that holds {expected} rows", "set warpgroups accordingly")
    return fragment


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
    kind, ref, role, emit = op.result.type, op.source.type, lowering.current, lowering.emit
    assert isinstance(kind, TileType) and isinstance(ref, RefType) and role.row is not None
    if float(op.fill.value.data) != 0.0:
        raise lowering.refuse(op, "fills with something else than 0")
    fragment, pointer, access = fragment_at(lowering, op, kind), lowering.pointer(op.source), access_of(op)
    if kind.rank == 2 and at_block(lowering, op, kind.get_shape()):
        index, bounds = _in_plane(lowering, op)
        made = warp.FragmentLoadOp(pointer, index, lowering.pitch(op.source), bounds, fragment, access)
        lowering.values[op.result] = emit.insert(made).result
    elif is_somewhere(op):
        index, bounds = _place_of(lowering, op)
        made = warp.FragmentLoadOp(pointer, index, lowering.pitch(op.source), bounds, fragment, access)
        lowering.values[op.result] = emit.insert(made).result
    elif is_row_somewhere(op):
        numbers, mask = _part_of_row(lowering, op, fragment)
        fill = emit.constant(op.fill, op.fill.type, "fill")
        lowering.values[op.result] = emit.insert(warp.GatherOp(pointer, numbers, mask, fill, 1)).result
    elif runs_along(op, 1):
        column = lowering.values[op.indices[0]]
        made_row = warp.FragmentLoadRowOp(pointer, column, lowering.bounds()[1], fragment, access)
        lowering.values[op.result] = emit.insert(made_row).result
    elif runs_along(op, 0):
        rows, mask = _own_rows(lowering, fragment)
        fill = emit.constant(op.fill, op.fill.type, "fill")
        lowering.values[op.result] = emit.insert(warp.GatherOp(pointer, rows, mask, fill, 1)).result
    elif ref.rank == 1 and kind.get_shape() == (1,) and isinstance(op.indices[0].owner, arith.ConstantOp):
        one, fill = VectorType(i32, [1]), emit.constant(op.fill, op.fill.type, "fill")
        made_one = warp.GatherOp(pointer, emit.repeat(emit.i32(0), one), emit.true(one), fill, 1)
        lowering.values[op.result] = emit.insert(made_one).result
    else:
        reads = "the block, a vector along its columns or rows, or one element"
        raise lowering.refuse(op, f"loads {kind} from {ref}: an epilogue reads {reads}")


def _place_of(lowering: Lowering, op: tile.LoadOp) -> tuple[tuple[SSAValue, SSAValue], tuple[SSAValue, SSAValue]]:
    """The first row and column of a tile that lies anywhere in its ref, and the ref's rows and columns; in planes rows are counted on."""
    emit, role, dims = lowering.emit, lowering.current, op.get_dims()
    assert role.group_row is not None
    rows, columns = (lowering.extent(op.source, dim) for dim in dims)
    row, column = (lowering.values[op.indices[dim]] for dim in dims)
    row = emit.add(row, role.group_row)
    if len(op.indices) == 3:
        above = emit.mul(lowering.values[op.indices[0]], rows)
        row, rows = emit.add(row, above), emit.add(above, rows)
    return (row, column), (rows, columns)


def _part_of_row(lowering: Lowering, op: tile.LoadOp, fragment: warp.FragmentAttr) -> tuple[SSAValue, SSAValue]:
    """The numbers of this thread's columns in a ref whose rows lie one behind the other, and which of them exist."""
    emit, (plane, row, column) = lowering.emit, (lowering.values[index] for index in op.indices)
    numbers = emit.insert(warp.FragmentIndexOp("cols", fragment)).result
    columns = emit.add(numbers, emit.repeat(column, numbers.type))
    mask = emit.within(columns, lowering.extent(op.source, 2))
    line = emit.add(emit.mul(plane, lowering.extent(op.source, 1)), row)
    return emit.add(columns, emit.repeat(emit.mul(line, lowering.pitch(op.source)), columns.type)), mask


def _own_rows(lowering: Lowering, fragment: warp.FragmentAttr) -> tuple[SSAValue, SSAValue]:
    """The numbers of this thread's two rows in the output, and which of them exist."""
    emit, row = lowering.emit, lowering.current.row
    assert row is not None
    numbers = emit.insert(warp.FragmentIndexOp("rows", fragment)).result
    rows = emit.add(numbers, emit.repeat(row, numbers.type))
    return rows, emit.within(rows, lowering.bounds()[0])


def access_of(op: tile.LoadOp | tile.StoreOp) -> int:
    """Contiguous elements that are read or written at once; one where nothing is known."""
    return 1 if op.access is None else op.access.value.data


def runs_along(op: tile.LoadOp, dim: int) -> bool:
    """Whether a load reads a vector along the rows (dim 0) or columns (dim 1) of the output's last two dims."""
    grid = _grid_of(op)
    assert isinstance(op.result.type, TileType)
    shape, block = op.result.type.get_shape(), grid.get_block()
    return len(op.indices) == 1 and op.indices[0] is grid.body.block.args[dim - 2] and shape == (block[dim - 2],)


def lower_fill(lowering: Lowering, op: tile.FillOp) -> None:
    """One number in every register."""
    kind = op.result.type
    assert isinstance(kind, TileType)
    fragment_at(lowering, op, kind)
    lowering.values[op.result] = lowering.emit.splat(op.value.value.data, vector_of(kind))


def lower_broadcast(lowering: Lowering, op: tile.BroadcastOp) -> None:
    """A slice in each register of its row or column."""
    made = spread(lowering.emit, lowering.values[op.source], op)
    if made is None:
        reason = f"repeats {op.source.type} along dims {list(op.get_dims())}: it is no slice of the result"
        raise lowering.refuse(op, reason)
    lowering.values[op.result] = made


def lower_map(lowering: Lowering, op: tile.MapOp) -> None:
    """The body on vectors."""
    kind = op.result.type
    assert isinstance(kind, TileType)
    fragment_at(lowering, op, kind)
    if uneven := uneven_parts(op):
        raise lowering.refuse(op, *uneven)
    operands = [lowering.values[value] for value in op.inputs]
    lowering.values[op.result] = lowering.emit.map(op, operands, length_of(kind))


def lower_iota(lowering: Lowering, op: tile.IotaOp) -> None:
    """Numbers of this thread's rows or columns."""
    emit, role, kind = lowering.emit, lowering.current, op.result.type
    assert isinstance(kind, TileType) and role.group_row is not None
    fragment_at(lowering, op, kind)
    start = None if op.offset is None else lowering.values[op.offset]
    if along_of(kind) == "rows" or (along_of(kind) == "block" and op.dim.value.data == 0):
        start = role.group_row if start is None else emit.add(start, role.group_row)
    lowering.values[op.result] = counted(emit, op, start)


def lower_inside(lowering: Lowering, op: tile.InsideOp) -> None:
    """Which of this thread's elements exist."""
    emit, role, kind = lowering.emit, lowering.current, op.result.type
    assert isinstance(kind, TileType) and role.group_row is not None
    fragment, along, dims = fragment_at(lowering, op, kind), along_of(kind), op.get_dims()
    if along == "one":
        lowering.values[op.result] = emit.true(vector_of(kind))
        return
    held: list[SSAValue] = []
    for lines, dim in zip(("rows", "cols") if along == "block" else (along,), dims, strict=True):
        numbers = emit.insert(warp.FragmentIndexOp(lines, fragment)).result
        start = lowering.values[op.indices[dim]]
        if lines == "rows":
            start = emit.add(start, role.group_row)
        found = emit.within(emit.add(numbers, emit.repeat(start, numbers.type)), lowering.extent(op.source, dim))
        held.append(found if along != "block" else emit.insert(warp.SpreadOp(found, lines, fragment)).result)
    lowering.values[op.result] = held[0] if len(held) == 1 else emit.bit_and(held[0], held[1])


def lower_reduce(lowering: Lowering, op: tile.ReduceOp) -> None:
    """In the thread, then between the four lanes that hold a row."""
    kind = op.source.type
    assert isinstance(kind, TileType)
    bits = fragment_at(lowering, op, kind).fragment().exchanges(lost_dim(op))
    value = fold_in_thread(lowering.emit, op, lowering.values[op.source])
    if op.partial is None:
        if any(bit >= WARP for bit in bits):
            reason = f"folds {kind} down its columns, which lie in several warps"
            raise lowering.refuse(op, reason, "fold along rows, dims [1], or in a kernel of its own")
        value = fold_in_warp(lowering.emit, op.kind.data, value, bits)
    if op.init is not None:
        value = folded(lowering.emit, op.kind.data, value, lowering.values[op.init])
    lowering.values[op.result] = value


def lower_relayout(lowering: Lowering, op: tile.RelayoutOp) -> None:
    """An accumulator of 16-bit elements is an operand as it lies."""
    source, result = op.source.type, op.result.type
    assert isinstance(source, TileType) and isinstance(result, TileType)
    as_operand = isinstance(source.layout, WgmmaAttr) and isinstance(result.layout, WgmmaAAttr)
    if source.layout != result.layout and not (as_operand and element_bytes(source.element_type) == HALF):
        reason = f"brings {source} into {result.layout}: of 16-bit elements #tile.wgmma becomes #tile.wgmma_a"
        raise lowering.refuse(op, reason, "convert the elements to 16 bits before, or write the tile to a ring")
    lowering.values[op.result] = lowering.values[op.source]


def lower_store(lowering: Lowering, op: tile.StoreOp) -> None:
    """The fragment to its rows of the block; a vector along the rows by the lanes that have the first column."""
    kind, emit = op.tile.type, lowering.emit
    assert isinstance(kind, TileType)
    fragment, value, pointer = fragment_at(lowering, op, kind), lowering.values[op.tile], lowering.pointer(op.target)
    if along_of(kind) == "rows" and len(op.indices) == 1 and op.indices[0] is _grid_of(op).body.block.args[-2]:
        rows, mask = _own_rows(lowering, fragment)
        column = emit.first(emit.insert(warp.FragmentIndexOp("cols", fragment)).result)
        owned = emit.bit_and(mask, emit.repeat(emit.compare("eq", column, emit.i32(0)), mask.type))
        emit.insert(warp.ScatterOp(value, pointer, rows, owned, 1))
        return
    if not at_block(lowering, op, kind.get_shape()):
        raise lowering.refuse(op, f"stores {kind}: an epilogue writes the block of the output")
    index, bounds = _in_plane(lowering, op)
    emit.insert(warp.FragmentStoreOp(value, pointer, index, lowering.pitch(op.target), bounds, fragment, access_of(op)))


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
    """An index that a load has looked at, or where something else begins."""
    users = [use.operation for use in op.result.uses]
    if any(
        not isinstance(user, tile.LoadOp) or is_somewhere(user) or is_row_somewhere(user) for user in users
    ) and isinstance(op.value, IntegerAttr):
        lowering.values[op.result] = lowering.emit.i32(op.value.value.data)
