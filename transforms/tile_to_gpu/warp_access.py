"""Loads and stores of a kernel without matrix product: which elements of memory a thread's vector is, by the layout in the tile's type.

Loads are gathers: one for each row and each group of columns that are accessed at once, all in flight together.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from xdsl.dialects.builtin import VectorType, i32
from xdsl.ir import Attribute, BlockArgument, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import PassFailure, names_of
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.fragments import along_of, fragment_of, vector_of
from stepwell.transforms.tile_to_gpu.warp_refs import Parameters, Pixels, Place, tap_access, window_pixels

Access = tile.LoadOp | tile.StoreOp
ACCESS_BYTES = 16


def is_window(op: tile.LoadOp) -> bool:
    """Whether a load reads pixels under filter taps."""
    return isinstance(op.source.type, RefType) and op.source.type.access.kind == "window"


@dataclass(frozen=True)
class Moved:
    """What a load or store moves: the tile's fragment, the ref's dims that its rows and columns run along (None: it has none), and how many
    columns are accessed at once."""

    ref: BlockArgument
    kind: TileType
    fragment: warp.FragmentAttr
    rows: int | None
    columns: int | None
    access: int

    @property
    def groups(self) -> warp.FragmentAttr:
        """The layout of groups of `access` columns."""
        of, by = self.fragment, self.access
        return warp.FragmentAttr.blocked(
            of.rows.data, of.cols.data // by, of.threads.data, of.width.data // by, of.across.data
        )


@dataclass
class Accesses:
    """Where the elements of one kernel's tiles lie. Rows and columns that begin at the block's offsets are numbered once, before all loops."""

    emit: GpuEmitter
    kernel: tile.KernelOp
    parameters: Parameters
    numbers: dict[SSAValue, SSAValue]
    place: Place
    mine: SSAValue | None = None
    """Whether this thread stores at all; None: every one does."""
    _numbered: dict[tuple[str, warp.FragmentAttr, int, SSAValue], SSAValue] = field(default_factory=dict)
    _windows: dict[BlockArgument, Pixels] = field(default_factory=dict)

    def begin(self) -> None:
        """Number the rows and columns of the block."""
        ops = [op for op in self.kernel.body.walk() if isinstance(op, tile.LoadOp | tile.StoreOp)]
        masks = [op for op in self.kernel.body.walk() if isinstance(op, tile.InsideOp)]
        held: list[tuple[Access | tile.InsideOp, Moved]] = [(op, self.moved(op)) for op in ops]
        held += [(op, self._moved(op, op.source, op.result.type, 1)) for op in masks]
        blocks = self.kernel.grid.body.block.args
        for along in ("rows", "cols"):
            for op, moved in held:
                dim = moved.rows if along == "rows" else moved.columns
                if dim is not None and op.indices[dim] in blocks:
                    key = self._key(along, moved, op.indices[dim])
                    self._numbered[key] = self._number(along, moved, op.indices[dim])

    def _key(self, along: str, moved: Moved, at: SSAValue) -> tuple[str, warp.FragmentAttr, int, SSAValue]:
        """What numbers depend on: of the fragment, the extent that they run along and the threads."""
        of = moved.fragment
        rows, columns = (
            (of.rows.data, of.across.data * of.width.data) if along == "rows" else (of.row_step, of.cols.data)
        )
        line = warp.FragmentAttr.blocked(rows, columns, of.threads.data, of.width.data, of.across.data)
        return along, line, moved.access if along == "cols" else 1, at

    def _lines(self, along: str, moved: Moved, at: SSAValue) -> SSAValue:
        """Numbers of this thread's rows, or of the first columns of its groups, of a tile that begins at `at`; a scalar for one group."""
        key = self._key(along, moved, at)
        return self._numbered[key] if key in self._numbered else self._number(along, moved, at)

    def _number(self, along: str, moved: Moved, at: SSAValue) -> SSAValue:
        emit = self.emit
        key = self._key(along, moved, at)
        if key in self._numbered:
            return self._numbered[key]
        if along == "rows" or moved.groups.columns_per_thread == 1:
            whole = emit.insert(warp.FragmentIndexOp(along, moved.fragment)).result
            if along == "cols":
                return emit.add(emit.first(whole), self.numbers[at], "column")
            return emit.add(whole, emit.repeat(self.numbers[at], whole.type), "rows")
        numbers: SSAValue = emit.insert(warp.FragmentIndexOp(along, moved.groups)).result
        if moved.access > 1:
            numbers = emit.mul(numbers, emit.repeat(emit.i32(moved.access), numbers.type))
        return emit.add(numbers, emit.repeat(self.numbers[at], numbers.type), "columns")

    # --- what is moved

    def moved(self, op: Access) -> Moved:
        """What a load or store moves; refused: tiles that have no form, more elements at once than lie side by side or are aligned."""
        ref = op.source if isinstance(op, tile.LoadOp) else op.target
        kind = op.result.type if isinstance(op, tile.LoadOp) else op.tile.type
        moved = self._moved(op, ref, kind, 1 if op.access is None else op.access.value.data)
        self._check(op, moved)
        return moved

    def _moved(self, op: Access | tile.InsideOp, ref: SSAValue, kind: Attribute, access: int) -> Moved:
        assert isinstance(ref, BlockArgument) and isinstance(kind, TileType)
        fragment, along, dims = fragment_of(kind), along_of(kind), op.get_dims()
        if fragment is None:
            raise self.refuse(op, f"moves {kind}: threads hold tiles of two dims, and vectors along one of them")
        rows = dims[0] if along in ("rows", "block") else None
        columns = dims[-1] if along in ("cols", "block") else None
        return Moved(ref, kind, fragment, rows, columns, access)

    def _check(self, op: Access, moved: Moved) -> None:
        assert isinstance(moved.ref.type, RefType)
        size, held = element_bytes(moved.kind.element_type), moved.ref.type.access
        if moved.access == 1:
            return
        if moved.columns != moved.ref.type.rank - 1:
            reason = f"moves {moved.access} elements at once that are no neighbours in memory"
            raise self.refuse(op, reason, "access 1, by leaving it out")
        most = min(moved.fragment.width.data, held.elements_at_once(size, ACCESS_BYTES // size))
        if moved.access > most:
            reason = f"moves {moved.access} elements at once: a thread holds {moved.fragment.width.data} side by side, and the ref is aligned to {held.align or size} bytes"
            raise self.refuse(op, reason, f"access {most}" if most > 1 else "access 1, by leaving it out")

    def refuse(self, op: Access | tile.InsideOp, reason: str, hint: str = "") -> PassFailure:
        """A refusal that names kernel and op."""
        where = f"@{self.kernel.sym_name.data}, {op.name} ({' + '.join(names_of(op))})"
        return PassFailure(f"{op.name} {reason}", where=where, hint=hint)

    # --- loads

    def load(self, op: tile.LoadOp) -> SSAValue:
        """This thread's vector of a tile in memory; what does not exist is the load's fill."""
        moved = self.moved(op)
        offsets, mask = self._window_rows(op, moved) if is_window(op) else self._dense_rows(op, moved)
        if moved.columns is not None:
            offsets, mask = self._with_columns(op, moved, offsets, mask)
        fill = self.emit.constant(op.fill, moved.kind.element_type, "fill")
        pointer = self.parameters.pointer(moved.ref)
        return self.emit.insert(warp.GatherOp(pointer, offsets, mask, fill, moved.access)).result

    def pixels(self, op: tile.LoadOp) -> Pixels:
        """The pixels of this thread's rows of a window."""
        moved = self.moved(op)
        if moved.ref not in self._windows:
            pixel = op.indices[0]
            if moved.rows != 0 or pixel is not self.kernel.grid.body.block.args[-2]:
                raise self.refuse(op, "reads a window whose pixels are not the rows of the output")
            rows = self._lines("rows", moved, pixel)
            self._windows[moved.ref] = window_pixels(self.emit, self.parameters, moved.ref, rows)
        return self._windows[moved.ref]

    def _window_rows(self, op: tile.LoadOp, moved: Moved) -> tuple[SSAValue, SSAValue]:
        """Offsets of this thread's pixels under the tap, and of the channel where the tile has one; which lie in the image."""
        if moved.columns not in (None, 2):
            raise self.refuse(op, f"reads columns along dim {moved.columns} of a window ref: they are its last dim")
        _, tap, channel = op.indices
        pixels = self.pixels(op)
        offsets, mask = tap_access(self.emit, self.parameters, moved.ref, pixels, self.numbers[tap])
        if moved.columns is None:
            offsets = self.emit.add(offsets, self.emit.repeat(self.numbers[channel], offsets.type))
        return offsets, mask

    def _dense_rows(self, op: Access, moved: Moved) -> tuple[SSAValue, SSAValue]:
        """Offsets of this thread's rows (one offset when the tile has none), without columns; which rows exist."""
        emit, parameters, ref = self.emit, self.parameters, moved.ref
        assert isinstance(ref.type, RefType)
        last = ref.type.rank - 1
        base: SSAValue = emit.i32(0)
        for dim, index in enumerate(op.indices):
            if dim not in (moved.rows, moved.columns):
                number = self.numbers[index]
                base = emit.add(base, number if dim == last else emit.mul(number, parameters.stride(ref, dim)))
        if moved.rows is None:
            one = VectorType(i32, [1])
            return emit.repeat(base, one), emit.true(one)
        rows = self._lines("rows", moved, op.indices[moved.rows])
        offsets = emit.repeat(base, rows.type)
        steps = rows
        if moved.rows != last:
            steps = emit.mul(rows, emit.repeat(parameters.stride(ref, moved.rows), rows.type))
        return emit.add(offsets, steps), emit.within(rows, parameters.extent(ref, moved.rows))

    def _with_columns(self, op: Access, moved: Moved, offsets: SSAValue, mask: SSAValue) -> tuple[SSAValue, SSAValue]:
        """Move the offsets to this thread's columns; columns beyond the extent are masked. Columns that lie apart (a transpose) have one offset for
        each element: where the rows are contiguous, threads with neighbouring rows share the sectors of a load."""
        emit, parameters, ref, dim = self.emit, self.parameters, moved.ref, moved.columns
        assert isinstance(ref.type, RefType) and dim is not None
        columns, extent = self._lines("cols", moved, op.indices[dim]), parameters.extent(ref, dim)
        across = columns
        if dim != ref.type.rank - 1:
            across = emit.mul(columns, emit.repeat(parameters.stride(ref, dim), columns.type))
        if columns.type == i32:
            exists = emit.compare("slt", columns, extent)
            moved_by = emit.add(offsets, emit.repeat(across, offsets.type))
            return moved_by, emit.bit_and(mask, emit.repeat(exists, mask.type))
        inside = emit.within(columns, extent)
        if moved.rows is None:
            return emit.add(across, emit.repeat(emit.first(offsets), across.type)), inside
        rows, row_mask = (self._spread(value, "rows", moved) for value in (offsets, mask))
        cols, col_mask = (self._spread(value, "cols", moved) for value in (across, inside))
        return emit.add(rows, cols), emit.bit_and(row_mask, col_mask)

    def _spread(self, value: SSAValue, along: str, moved: Moved) -> SSAValue:
        return self.emit.insert(warp.SpreadOp(value, along, moved.groups)).result

    def inside(self, op: tile.InsideOp) -> SSAValue:
        """Which of this thread's elements exist."""
        moved, emit = self._moved(op, op.source, op.result.type, 1), self.emit
        assert isinstance(op.result.type, TileType)
        held: list[SSAValue] = []
        for along, dim in (("rows", moved.rows), ("cols", moved.columns)):
            if dim is None:
                continue
            lines, extent = self._lines(along, moved, op.indices[dim]), self.parameters.extent(moved.ref, dim)
            found = emit.within(emit.repeat(lines, VectorType(i32, [1])) if lines.type == i32 else lines, extent)
            held.append(found if None in (moved.rows, moved.columns) else self._spread(found, along, moved))
        if not held:
            return emit.true(vector_of(op.result.type))
        return held[0] if len(held) == 1 else emit.bit_and(held[0], held[1])

    # --- stores

    def store(self, op: tile.StoreOp, value: SSAValue) -> None:
        """Leading dims are flattened into the row number: outputs are contiguous, or matrices with a pitch. What does not lie in rows of the
        output, vectors and transposed tiles, goes element by element."""
        moved = self.moved(op)
        assert isinstance(moved.ref.type, RefType)
        rank, grid = moved.ref.type.rank, self.kernel.grid.body.block.args
        flat = rank == 2 or (self.place.lead is not None and list(op.indices[:-2]) == list(grid[:-2]))
        if (moved.rows, moved.columns) == (rank - 2, rank - 1) and flat:
            with self._for_mine():
                self._store_rows(op, moved, value)
            return
        offsets, mask = self._dense_rows(op, moved)
        if moved.columns is not None:
            offsets, mask = self._with_columns(op, moved, offsets, mask)
        if moved.rows is None or moved.columns is None:
            mask = self.emit.bit_and(mask, self.emit.repeat(self._owns(moved), mask.type))
        with self._for_mine():
            pointer = self.parameters.pointer(moved.ref)
            self.emit.insert(warp.ScatterOp(value, pointer, offsets, mask, moved.access))

    def _for_mine(self) -> AbstractContextManager[None]:
        return nullcontext() if self.mine is None else self.emit.when(self.mine)

    def _owns(self, moved: Moved) -> SSAValue:
        """Whether this thread is the first of those that hold the same elements of a vector: it has the first row, or column, of what was lost."""
        emit, zero = self.emit, self.emit.i32(0)
        held = along_of(moved.kind)
        lost = ("rows", "cols") if held == "one" else ("cols",) if held == "rows" else ("rows",)
        first = [emit.first(emit.insert(warp.FragmentIndexOp(along, moved.fragment)).result) for along in lost]
        owned = [emit.compare("eq", number, zero) for number in first]
        return owned[0] if len(owned) == 1 else emit.bit_and(owned[0], owned[1])

    def _store_rows(self, op: tile.StoreOp, moved: Moved, value: SSAValue) -> None:
        emit, parameters = self.emit, self.parameters
        assert isinstance(moved.ref.type, RefType)
        rank = moved.ref.type.rank
        rows, columns = parameters.extent(moved.ref, rank - 2), parameters.extent(moved.ref, rank - 1)
        row, last = self.numbers[op.indices[-2]], rows
        if rank > 2 and self.place.lead is not None:
            before = emit.mul(self.place.lead, rows)
            row, last = emit.add(row, before), emit.add(rows, before)
        stride = parameters.stride(moved.ref, rank - 2)
        index = (row, self.numbers[op.indices[-1]])
        pointer = parameters.pointer(moved.ref)
        emit.insert(warp.FragmentStoreOp(value, pointer, index, stride, (last, columns), moved.fragment, moved.access))
