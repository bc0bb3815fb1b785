"""The body of a kernel without matrix product: each thread holds a few rows of a few contiguous columns as one vector.

A tile of the block's shape is a fragment vector (row after row); a tile along the rows or the columns only is the vector of this thread's rows or
columns, spread when it is broadcast. Loads are gathers: one per row, all in flight together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, VectorType, i32
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.tile_to_gpu.emitter import Emitter
from stepwell.transforms.tile_to_gpu.warp_refs import (
    Parameters,
    Pixels,
    Place,
    block_place,
    tap_access,
    tile_axes,
    window_pixels,
)


@dataclass(frozen=True)
class Held:
    """What a tile became: a vector over the block ("block"), this thread's rows ("rows") or its columns ("cols"), or one element ("one")."""

    vector: SSAValue
    along: str = "block"


@dataclass
class WarpBody:
    """Emits one kernel."""

    emit: Emitter
    kernel: tile.KernelOp
    layout: warp.FragmentAttr
    parameters: Parameters
    values: dict[SSAValue, Held] = field(default_factory=dict)
    numbers: dict[SSAValue, SSAValue] = field(default_factory=dict)
    windows: dict[BlockArgument, Pixels] = field(default_factory=dict)

    def write(self) -> None:
        """Start, wait for the predecessor, then one block of the output."""
        emit = self.emit
        emit.insert(warp.LaunchDependentsOp())
        emit.insert(warp.WaitPredecessorOp())
        if self.layout.threads.data < self.threads:
            mine = emit.compare("ult", emit.insert(warp.ThreadIdOp()).result, emit.i32(self.layout.threads.data))
            with emit.when(mine):
                self._write_block()
        else:
            self._write_block()
        emit.insert(warp.ReturnOp())

    @property
    def threads(self) -> int:
        """Threads of a block: whole warps."""
        return max(32, self.layout.threads.data)

    def _write_block(self) -> None:
        emit, arguments = self.emit, self.kernel.grid.body.block.args
        self.place: Place = block_place(emit, self.parameters, self.kernel)
        starts = (*self.place.leading, self.place.row, self.place.column)
        self.numbers.update(zip(arguments, starts, strict=True))
        rows = emit.insert(warp.FragmentIndexOp("rows", self.layout)).result
        self.rows = emit.add(rows, emit.repeat(self.place.row, rows.type), "rows")
        columns = emit.insert(warp.FragmentIndexOp("cols", self.layout)).result
        first = emit.first(columns)
        self.column = emit.add(first, self.place.column, "column")
        self._write_ops(self.kernel.grid.body.block)

    def _write_ops(self, block: Block) -> None:
        for op in block.ops:
            lower = _EMITTERS.get(type(op))
            if lower is None:
                raise self.refuse(op, "has no place in a kernel without matrix product")
            with self.emit.at(op.location):
                lower(self, op)

    def refuse(self, op: Operation, reason: str) -> PassFailure:
        """A refusal that names the op."""
        where = f"@{self.kernel.sym_name.data}, {op.name} ({' + '.join(names_of(op))})"
        return PassFailure(f"{op.name} {reason}", where=where)

    # --- kinds of values

    def length(self, along: str) -> int:
        """Elements of this thread's vector."""
        lengths = {"rows": self.layout.rows_per_thread, "cols": self.layout.width.data, "one": 1}
        return lengths.get(along, self.layout.registers)

    def as_block(self, held: Held) -> SSAValue:
        """The fragment vector of a tile."""
        if held.along == "block":
            return held.vector
        if held.along == "one":
            element = cast(VectorType[Attribute], held.vector.type).element_type
            return self.emit.repeat(self.emit.first(held.vector), VectorType(element, [self.layout.registers]))
        return self.emit.insert(warp.SpreadOp(held.vector, held.along, self.layout)).result

    def kind_of(self, op: Operation, shape: Sequence[int]) -> str:
        """How a computed tile of this shape is held."""
        if tuple(shape) == tuple(self.kernel.config.data.block[-2:]):
            return "block"
        raise self.refuse(op, f"makes a tile of {list(shape)}: kernels without matrix product compute whole blocks")


# --- loads


def _load(body: WarpBody, op: tile.LoadOp) -> None:
    ref, kind = op.source, op.result.type
    assert isinstance(ref, BlockArgument) and isinstance(ref.type, RefType) and isinstance(kind, TileType)
    row_dim, column_dim = tile_axes(body.kernel, op)
    if kind.get_shape() == (1,) and row_dim is None and column_dim is None:
        body.values[op.result] = _single(body, op)
        return
    if sum(dim is not None for dim in (row_dim, column_dim)) != kind.rank:
        raise body.refuse(op, f"loads {kind} along dims that are neither the rows nor the columns of the output")
    if column_dim is not None and column_dim != ref.type.rank - 1:
        body.values[op.result] = _apart(body, op, row_dim, column_dim)
        return
    along = "cols" if row_dim is None else "rows" if column_dim is None else "block"
    width = 1 if column_dim is None else body.layout.width.data
    offsets, mask = _window_access(body, op) if ref.type.access.kind == "window" else _dense_access(body, op, row_dim)
    if column_dim is not None:
        offsets, mask = _with_columns(body, op, column_dim, offsets, mask)
    fill = body.emit.constant(op.fill, kind.element_type, "fill")
    loaded = body.emit.insert(warp.GatherOp(body.parameters.pointer(ref), offsets, mask, fill, width))
    body.values[op.result] = Held(loaded.result, along)


def _single(body: WarpBody, op: tile.LoadOp) -> Held:
    """One element, the same for the whole block: a scalar that is repeated."""
    offsets, mask = _dense_access(body, op, None)
    fill = body.emit.constant(op.fill, op.fill.type, "fill")
    return Held(
        body.emit.insert(
            warp.GatherOp(body.parameters.pointer(cast(BlockArgument, op.source)), offsets, mask, fill, 1)
        ).result,
        "one",
    )


def _window_access(body: WarpBody, op: tile.LoadOp) -> tuple[SSAValue, SSAValue]:
    """Offsets of this thread's pixels under the tap, and of the channel where it is a loop's; which lie in the image."""
    ref = cast(BlockArgument, op.source)
    pixel, tap, channel = op.indices
    if pixel is not body.kernel.grid.body.block.args[-2]:
        raise body.refuse(op, "reads a window whose pixels are not the rows of the output")
    if ref not in body.windows:  # outside of loops; inside, the loop has made them
        body.windows[ref] = window_pixels(body.emit, body.parameters, ref, body.rows)
    offsets, mask = tap_access(body.emit, body.parameters, ref, body.windows[ref], body.numbers[tap])
    if channel is not body.kernel.grid.body.block.args[-1]:
        offsets = body.emit.add(offsets, body.emit.repeat(body.numbers[channel], offsets.type))
    return offsets, mask


def _dense_access(body: WarpBody, op: tile.LoadOp, row_dim: int | None) -> tuple[SSAValue, SSAValue]:
    """Offsets of this thread's rows (one offset when the tile has none), without columns; which rows exist."""
    emit, parameters, ref = body.emit, body.parameters, cast(BlockArgument, op.source)
    assert isinstance(ref.type, RefType)
    column = body.kernel.grid.body.block.args[-1]
    kind = body.rows.type if row_dim is not None else VectorType(i32, [1])
    base: SSAValue = emit.i32(0)
    for dim, index in enumerate(op.indices):
        if dim == row_dim or (index is column and dim in op.get_dims()):
            continue
        step = (
            body.numbers[index]
            if dim == ref.type.rank - 1
            else emit.mul(body.numbers[index], parameters.stride(ref, dim))
        )
        base = emit.add(base, step)
    offsets = emit.repeat(base, kind)
    if row_dim is None:
        return offsets, emit.true(kind)
    moved = (
        body.rows
        if row_dim == ref.type.rank - 1
        else emit.mul(body.rows, emit.repeat(parameters.stride(ref, row_dim), kind))
    )
    return emit.add(offsets, moved), emit.within(body.rows, parameters.extent(ref, row_dim))


def _with_columns(
    body: WarpBody, op: tile.LoadOp, dim: int, offsets: SSAValue, mask: SSAValue
) -> tuple[SSAValue, SSAValue]:
    """Move the offsets to this thread's columns; columns beyond the extent are masked."""
    emit, ref = body.emit, cast(BlockArgument, op.source)
    inside = emit.compare("slt", body.column, body.parameters.extent(ref, dim))
    return emit.add(offsets, emit.repeat(body.column, offsets.type)), emit.bit_and(mask, emit.repeat(inside, mask.type))


def _apart(body: WarpBody, op: tile.LoadOp, row_dim: int | None, column_dim: int) -> Held:
    """Columns that lie apart (a transpose): one offset for each element. Where the rows are contiguous, threads with neighbouring rows share
    the sectors of a load, and stores stay as wide as without the transpose."""
    emit, parameters, ref, layout = body.emit, body.parameters, cast(BlockArgument, op.source), body.layout
    assert isinstance(ref.type, RefType)
    if ref.type.access.kind != "plain":
        raise body.refuse(
            op, f"reads columns along dim {column_dim} of a {ref.type.access.kind} ref: they are its last dim"
        )
    lanes = emit.insert(warp.FragmentIndexOp("cols", layout)).result
    columns = emit.add(lanes, emit.repeat(body.place.column, lanes.type), "columns")
    across = emit.mul(columns, emit.repeat(parameters.stride(ref, column_dim), columns.type))
    inside = emit.within(columns, parameters.extent(ref, column_dim))
    offsets, mask = _dense_access(body, op, row_dim)
    if row_dim is None:
        offsets, mask = emit.add(across, emit.repeat(emit.first(offsets), across.type)), inside
    else:
        rows, row_mask = (emit.insert(warp.SpreadOp(value, "rows", layout)).result for value in (offsets, mask))
        cols, col_mask = (emit.insert(warp.SpreadOp(value, "cols", layout)).result for value in (across, inside))
        offsets, mask = emit.add(rows, cols), emit.bit_and(row_mask, col_mask)
    fill = emit.constant(op.fill, ref.type.element_type, "fill")
    loaded = emit.insert(warp.GatherOp(parameters.pointer(ref), offsets, mask, fill, 1))
    return Held(loaded.result, "cols" if row_dim is None else "block")


# --- the other ops


def _constant(body: WarpBody, op: arith.ConstantOp) -> None:
    """An index constant: the offset along a dim that no loop runs along."""
    body.numbers[op.result] = body.emit.i32(cast(IntegerAttr, op.value).value.data)


def _fill(body: WarpBody, op: tile.FillOp) -> None:
    assert isinstance(op.result.type, TileType)
    along = body.kind_of(op, op.result.type.get_shape())
    vector = VectorType(op.result.type.element_type, [body.length(along)])
    body.values[op.result] = Held(body.emit.splat(float(op.value.value.data), vector), along)


def _broadcast(body: WarpBody, op: tile.BroadcastOp) -> None:
    assert isinstance(op.result.type, TileType)
    body.kind_of(op, op.result.type.get_shape())
    held = body.values[op.source]
    expected = {(0,): "rows", (1,): "cols", (0, 1): "block"}.get(op.get_dims())
    if held.along not in (expected, "one"):
        raise body.refuse(op, f"repeats along dims {list(op.get_dims())} what lies along the block's {held.along}")
    body.values[op.result] = Held(body.as_block(held))


def _map(body: WarpBody, op: tile.MapOp) -> None:
    assert isinstance(op.result.type, TileType)
    held = [body.values[value] for value in op.inputs]
    alongs = {h.along for h in held}
    along = alongs.pop() if len(alongs) == 1 else "block"
    vectors = [h.vector if h.along == along else body.as_block(h) for h in held]
    body.values[op.result] = Held(body.emit.map(op, vectors, body.length(along)), along)


def _store(body: WarpBody, op: tile.StoreOp) -> None:
    """Leading dims are flattened into the row number: outputs are contiguous, or matrices with a pitch."""
    emit, parameters, ref = body.emit, body.parameters, cast(BlockArgument, op.target)
    assert isinstance(ref.type, RefType)
    rank = ref.type.rank
    if op.get_dims() != (rank - 2, rank - 1):
        raise body.refuse(op, f"writes along dims {list(op.get_dims())}: the block lies along the last two")
    rows, columns = parameters.extent(ref, rank - 2), parameters.extent(ref, rank - 1)
    row, last = body.place.row, rows
    if body.place.lead is not None:
        before = emit.mul(body.place.lead, rows)
        row, last = emit.add(row, before), emit.add(rows, before)
    stride = parameters.stride(ref, rank - 2)
    value, index = body.as_block(body.values[op.tile]), (row, body.place.column)
    access = min(body.layout.width.data, 16 // element_bytes(ref.type.element_type))
    emit.insert(
        warp.FragmentStoreOp(value, parameters.pointer(ref), index, stride, (last, columns), body.layout, access)
    )


def _for(body: WarpBody, op: tile.ForOp) -> None:
    """Nested loops over the dims, the last fastest; carried tiles are fragment vectors."""
    ref = cast(BlockArgument, op.over)
    inits = [body.as_block(body.values[value]) for value in op.inits]
    _prepare_windows(body, op)
    results = _nest(body, op, ref, 0, inits)
    body.values.update(zip(op.carried, map(Held, results), strict=True))


def _nest(body: WarpBody, op: tile.ForOp, ref: BlockArgument, level: int, inits: list[SSAValue]) -> list[SSAValue]:
    emit = body.emit
    if level == len(op.get_dims()):
        body.values.update(zip(op.iter_args, map(Held, inits), strict=True))
        body._write_ops(op.body.block)
        last = op.body.block.last_op
        assert isinstance(last, tile.YieldOp)
        return [body.as_block(body.values[value]) for value in last.arguments]
    extent = body.parameters.extent(ref, op.get_dims()[level])
    carried = {f"c{position}": value for position, value in enumerate(inits)}
    with emit.loop((emit.i32(0), extent, emit.i32(op.get_steps()[level])), carried, f"d{op.get_dims()[level]}") as loop:
        body.numbers[op.offsets[level]] = loop.index
        results = _nest(body, op, ref, level + 1, list(loop.carried.values()))
        loop.next.update(zip(carried, results, strict=True))
    return list(loop.results.values())


def _prepare_windows(body: WarpBody, op: tile.ForOp) -> None:
    """Pixel corners of the windows that the loop reads, once before it."""
    for load in [inner for inner in op.body.walk() if isinstance(inner, tile.LoadOp)]:
        ref = cast(BlockArgument, load.source)
        if isinstance(ref.type, RefType) and ref.type.access.kind == "window" and ref not in body.windows:
            body.windows[ref] = window_pixels(body.emit, body.parameters, ref, body.rows)


def _yield(body: WarpBody, op: tile.YieldOp) -> None:
    """Read by the loop."""


_EMITTERS: Mapping[type[Operation], Callable[[WarpBody, Any], None]] = {
    arith.ConstantOp: _constant,
    tile.LoadOp: _load,
    tile.FillOp: _fill,
    tile.BroadcastOp: _broadcast,
    tile.MapOp: _map,
    tile.StoreOp: _store,
    tile.ForOp: _for,
    tile.YieldOp: _yield,
}
