"""One tile.kernel as a function over a range of its tiles: the walk over tiles, the register-blocked product, and the two ways to end a tile
(whole: unrolled, straight from registers; at an edge, or after much elementwise work: row by row through scratch memory).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

from xdsl.dialects import arith, func, math, vector
from xdsl.dialects.builtin import FloatAttr, VectorType, f32
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import (
    POINTER,
    Emitter,
    byte_size,
    chunk_width,
    kernel_function,
    slot_count,
)
from stepwell.transforms.tile_to_cpu.rows import Chunks, Ref, Row, RowEvaluator, TilePlace, column_mask
from stepwell.types.targets import Target


def is_product(op: Operation) -> bool:
    """A loop that holds a matrix product: its accumulators stay in registers."""
    return isinstance(op, tile.ForOp) and any(isinstance(inner, tile.MmaOp) for inner in op.walk())


def tile_counts(extents: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, int]:
    """Row tiles (of all leading indices) and column tiles of an output of these extents."""
    rows = prod(extents[:-2]) * -(-extents[-2] // block[-2]) if len(block) > 1 else 1
    return rows, -(-extents[-1] // block[-1])


def build_function(kernel: tile.KernelOp, target: Target) -> func.FuncOp:
    """The function of `kernel`: (record, first tile, last tile)."""
    return kernel_function(kernel, target, lambda emit, first, last: _KernelBody(emit, kernel).walk_tiles(first, last))


@dataclass
class _Operand:
    """A matrix operand of a product: its load, and row addresses once the offsets before the last are known."""

    load: tile.LoadOp
    rows: list[SSAValue] = field(default_factory=list)


UNROLLED_OPS = 100
"""Up to so many vector ops after a product, each row has its own copy, straight from registers; a longer epilogue is a loop over rows."""

Operands = dict[SSAValue, _Operand]
Stores = list[tile.StoreOp]
Held = dict[SSAValue, list[Chunks]]
"""Tiles that are in registers as a whole: value -> rows -> chunks."""


class _KernelBody:
    """Emits one kernel."""

    def __init__(self, emit: Emitter, kernel: tile.KernelOp) -> None:
        self.emit, self.kernel, self.grid = emit, kernel, kernel.grid
        block = self.grid.get_block()
        windows = [ref for ref in kernel.inputs if ref.type.access.kind == "window"]  # type: ignore[attr-defined]
        if len(block) > 2 and (windows or kernel.config.data.mma != "none" or {*block[:-2]} != {1}):
            reason = "that is neither elementwise work nor a transpose, or a block of several leading indices"
            raise error_at(kernel, f"an output of rank {len(block)} {reason}", "CPU kernels have rows and columns")
        self.row_dim = len(block) - 2
        self.rows, self.columns = (1, *block)[-2:]
        self.refs: dict[SSAValue, Ref] = {}
        slot = 0
        for arg in kernel.body.block.args:
            assert isinstance(arg.type, tile.RefType)
            self.refs[arg] = self._ref(arg.type, slot, arg.name_hint or "ref")
            slot += slot_count(arg.type)
        self.group_slot = slot

    def _ref(self, of: tile.RefType, slot: int, name: str) -> Ref:
        extents = [self.emit.slot(slot + 1 + d) for d in range(of.rank)]
        count = of.rank - 1 if of.access.kind == "plain" else 0
        strides = [self.emit.slot(slot + 1 + of.rank + d) for d in range(count)]
        ref = Ref(of, self.emit.slot(slot, POINTER), extents, strides)
        ends = ["", *(f"_d{d}" for d in range(of.rank)), *(f"_s{d}" for d in range(count))]
        for value, end in zip([ref.pointer, *extents, *strides], ends, strict=True):
            value.name_hint = name + end
        return ref

    # --- the walk over tiles

    def walk_tiles(self, first: SSAValue, last: SSAValue) -> None:
        """Tiles are numbered by groups of row tiles, in a group by weight panel, in a panel by row: consecutive tiles share the panel, and the
        rows of a group stay in the cache for the next one."""
        emit, output = self.emit, self.refs[self.grid.output]
        zero, one = emit.integer(0), emit.integer(1)
        *leading, rows = output.extents[:-1] or [one]
        row_tiles = emit.ceil_div(rows, self.rows)
        for extent in leading:
            row_tiles = emit.mul(row_tiles, extent)
        column_tiles = emit.ceil_div(output.extents[-1], self.columns)
        group = emit.slot(self.group_slot)
        whole = emit.mul(group, column_tiles)
        begin = emit.mul(emit.binary(arith.DivUIOp, first, whole), group)
        end = emit.minimum(emit.add(begin, group), row_tiles)
        rest = emit.binary(arith.RemUIOp, first, whole)
        size = emit.binary(arith.MaxUIOp, emit.binary(arith.SubiOp, end, begin), one)
        column = emit.binary(arith.DivUIOp, rest, size)
        row = emit.add(begin, emit.binary(arith.RemUIOp, rest, size))

        def body(_: SSAValue, state: list[SSAValue]) -> list[SSAValue]:
            row, column, begin, end = state
            self._tile(row, column)
            next_row, next_column = emit.add(row, one), emit.add(column, one)
            panel_done = emit.compare("eq", next_row, end)
            group_done = emit.insert(arith.AndIOp(panel_done, emit.compare("eq", next_column, column_tiles))).result
            next_end = emit.minimum(emit.add(end, group), row_tiles)
            new_begin = emit.select(group_done, end, begin)
            return [
                emit.select(panel_done, new_begin, next_row),
                emit.select(group_done, zero, emit.select(panel_done, next_column, column)),
                new_begin,
                emit.select(group_done, next_end, end),
            ]

        emit.loop(first, last, [row, column, begin, end], body)

    # --- one tile

    def _offsets(self, row_tile: SSAValue, column_tile: SSAValue) -> list[SSAValue]:
        """Where a tile begins: the number of its row tile is split into leading indices and rows, the rows fastest."""
        emit, extents = self.emit, self.refs[self.grid.output].extents
        offsets = [emit.mul(column_tile, emit.integer(self.columns))]
        for dim in reversed(range(self.row_dim + 1)):
            rows, index = dim == self.row_dim, row_tile
            if dim > 0:
                count = emit.ceil_div(extents[dim], self.rows) if rows else extents[dim]
                index, row_tile = (emit.binary(op, row_tile, count) for op in (arith.RemUIOp, arith.DivUIOp))
            offsets.insert(0, emit.mul(index, emit.integer(self.rows)) if rows else index)
        return offsets

    def _tile(self, row_tile: SSAValue, column_tile: SSAValue) -> None:
        emit, offsets = self.emit, self._offsets(row_tile, column_tile)
        row, column = offsets[-2] if len(offsets) > 1 else None, offsets[-1]
        indices: dict[SSAValue, SSAValue] = dict(zip(self.grid.body.block.args, offsets, strict=True))
        for name, value in indices.items():
            value.name_hint = name.name_hint
        place = TilePlace(row_tile, column_tile, self.rows, self.columns, indices, row, column)
        rows = RowEvaluator(emit, self.refs, place)
        ops = list(self.grid.body.block.ops)
        stores = [op for op in ops if isinstance(op, tile.StoreOp)]
        products = {op: self._product(op, rows) for op in ops if isinstance(op, tile.ForOp) and is_product(op)}
        held: Held = {
            value: chunks for op, results in products.items() for value, chunks in zip(op.carried, results, strict=True)
        }
        extents = self.refs[self.grid.output].extents
        valid_columns = emit.binary(arith.SubiOp, extents[-1], column)
        valid_rows = emit.integer(1)
        if row is not None:
            valid_rows = emit.minimum(emit.binary(arith.SubiOp, extents[-2], row), emit.integer(self.rows))
        full = emit.compare("ule", emit.integer(self.columns), valid_columns)
        unrolled = held and self._epilogue_ops() <= UNROLLED_OPS
        if unrolled:
            all_rows = emit.compare("eq", valid_rows, emit.integer(self.rows))
            full = emit.insert(arith.AndIOp(full, all_rows)).result

        def whole() -> None:
            self._whole(rows, stores, held) if unrolled else self._by_row(rows, stores, held, valid_rows, None)

        def edge() -> None:
            mask = column_mask(emit, valid_columns, self.columns)
            self._by_row(rows, stores, held, valid_rows, mask)

        emit.branch(full, whole, edge)

    def _epilogue_ops(self) -> int:
        """Ops of the elementwise work when every row of a tile has a copy of its own."""
        maps = [op for op in self.grid.body.block.ops if isinstance(op, tile.MapOp)]
        chunks = self.columns // chunk_width(self.columns)
        return self.rows * chunks * sum(len(op.body.block.ops) for op in maps)

    def _whole(self, rows: RowEvaluator, stores: Stores, held: Held) -> None:
        """Every row from its registers; what is the same for all rows (a bias) is read once."""
        rows.held = {value: lambda at, c=chunks: c[at.static] for value, chunks in held.items()}  # type: ignore[misc]
        shared: dict[SSAValue, Chunks] = {}
        for r in range(self.rows):
            at = Row(self.emit.integer(r), r, None, dict(shared))
            self._store_row(rows, stores, at)
            shared = {value: chunks for value, chunks in at.memo.items() if value.type.rank == 1}  # type: ignore[attr-defined]
        rows.held = {}

    def _by_row(self, rows: RowEvaluator, stores: Stores, held: Held, count: SSAValue, mask: Chunks | None) -> None:
        """The rows that exist, one after the other, accumulators through scratch memory."""
        rows.held = {value: self._through_scratch(rows, chunks, k) for k, (value, chunks) in enumerate(held.items())}

        def body(number: SSAValue, _: list[SSAValue]) -> list[SSAValue]:
            self._store_row(rows, stores, Row(number, None, mask))
            return []

        self.emit.loop(self.emit.integer(0), count, [], body)
        rows.held = {}

    def _through_scratch(self, rows: RowEvaluator, chunks: list[Chunks], number: int) -> Callable[[Row], Chunks]:
        """Store all rows now; load the wanted one later."""
        size = self.rows * self.columns
        base = self.emit.address(self.emit.scratch(size * (number + 1), f32), number * size, f32)
        for r, row in enumerate(chunks):
            addresses = rows.chunk_addresses(self.emit.address(base, r * self.columns, f32), f32)
            for chunk, address in zip(row, addresses, strict=True):
                self.emit.store(chunk, address, 4)

        def load(at: Row) -> Chunks:
            start = self.emit.mul(at.number, self.emit.integer(self.columns))
            return rows.load_chunks(self.emit.address(base, start, f32), FloatAttr(0.0, f32), None)

        return load

    def _store_row(self, rows: RowEvaluator, stores: Stores, at: Row) -> None:
        for op in stores:
            with self.emit.at(op):
                ref, element = self.refs[op.target], self.refs[op.target].type.element_type
                start = rows.address(ref, op.indices, self.row_dim, at.number)
                pairs = zip(rows.row(op.tile, at), rows.chunk_addresses(start, element), strict=True)
                for i, (chunk, address) in enumerate(pairs):
                    self.emit.store(chunk, address, byte_size(element), None if at.mask is None else at.mask[i])

    # --- the matrix product

    def _product(self, op: tile.ForOp, rows: RowEvaluator) -> list[list[Chunks]]:
        """The loop nest with all accumulators carried; results by carried tile, row, chunk."""
        last = op.body.block.last_op
        assert isinstance(last, tile.YieldOp)
        for inner in op.body.block.ops:
            if not isinstance(inner, tile.LoadOp | tile.MmaOp | tile.YieldOp):
                raise error_at(inner, "stands in a product's loop", "on the CPU it holds tile.load and tile.mma")
        places = [Row(self.emit.integer(r), r) for r in range(self.rows)]
        inits = [chunk for v in op.inits for at in places for chunk in rows.row(v, at)]
        per_row = self.columns // chunk_width(self.columns)

        def split(flat: Chunks) -> list[list[Chunks]]:
            pieces = [flat[i : i + per_row] for i in range(0, len(flat), per_row)]
            return [pieces[i : i + self.rows] for i in range(0, len(pieces), self.rows)]

        loads = [_Operand(load) for load in op.body.block.ops if isinstance(load, tile.LoadOp)]
        operands: Operands = {operand.load.result: operand for operand in loads}

        def enter() -> None:
            for operand in loads:
                if not operand.rows and all(i in rows.place.indices for i in operand.load.indices[:-1]):
                    operand.rows = self._operand_rows(operand.load, rows)

        def body(flat: Chunks) -> Chunks:
            values: Held = dict(zip(op.iter_args, split(flat), strict=True))
            for product in op.body.block.ops:
                if isinstance(product, tile.MmaOp):
                    values[product.result] = self._mma(product, operands, values[product.c], rows)
            return [chunk for v in last.arguments for row in values[v] for chunk in row]

        with self.emit.at(op):
            return split(rows.nest(op, inits, body, enter))

    def _operand_rows(self, load: tile.LoadOp, rows: RowEvaluator) -> list[SSAValue]:
        """Addresses that only the last offset is missing from: the panel of packed weights, or the rows of A."""
        emit, ref, place = self.emit, self.refs[load.source], rows.place
        if ref.type.access.panel:
            if ref.type.access.panel != self.columns:
                reason = f"panels of {ref.type.access.panel} in a block of {self.columns} columns"
                raise error_at(load, reason, "pack for the block")
            panel = emit.add(emit.mul(place.column_tile, ref.extents[1]), rows.index(load.indices[1]))
            start = emit.mul(emit.mul(panel, ref.extents[2]), emit.integer(self.columns))
            return [emit.address(ref.pointer, start, ref.type.element_type)]
        numbers = [emit.integer(r) for r in range(self.rows)]
        return [rows.base(load, load.get_dims()[0], number, clamp=True) for number in numbers]

    def _mma(self, op: tile.MmaOp, operands: Operands, held: list[Chunks], rows: RowEvaluator) -> list[Chunks]:
        """One step of the reduction: a row of the panel, times one element of each row of A."""
        emit, a, b = self.emit, operands[op.a], operands[op.b]
        if not isinstance(op.c.type, tile.TileType) or op.c.type.element_type != f32:
            raise error_at(op, f"accumulates in {op.c.type}, CPU kernels in f32", "precision=fp32")
        if a.load.result.type.get_shape()[1] != 1:
            raise error_at(op, "takes one element of the reduction at a time on the CPU", "k = 1 in the config")
        width, depth = chunk_width(self.columns), rows.index(b.load.indices[-1])
        element = self.refs[b.load.source].type.element_type
        alignment = min(64, width * byte_size(element))
        start = emit.address(b.rows[0], emit.mul(depth, emit.integer(self.columns)), element)
        of = VectorType(element, [width])
        panel = [self._widened(emit.load(at, of, alignment)) for at in rows.chunk_addresses(start, element)]
        result: list[Chunks] = []
        for r, pointer in enumerate(a.rows):
            address = emit.address(pointer, rows.index(a.load.indices[-1]), element)
            scalar = self._widened(emit.load(address, element, byte_size(element)))
            spread = emit.insert(vector.BroadcastOp(scalar, VectorType(f32, [width]))).vector
            sums = zip(panel, held[r], strict=True)
            result.append([emit.insert(math.FmaOp(spread, chunk, c)).result for chunk, c in sums])
        return result

    def _widened(self, value: SSAValue) -> SSAValue:
        """As f32: exact for 16-bit floats."""
        of = VectorType(f32, value.type.get_shape()) if isinstance(value.type, VectorType) else f32
        return value if value.type == of else self.emit.insert(arith.ExtFOp(value, of)).result
