"""One tile.kernel as a function over a range of its tiles: the walk over tiles, the register-blocked product, and the two ways to end a tile
(whole: unrolled, straight from registers; at an edge: row by row through scratch memory, with a column mask).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.dialects import arith, func, math, vector
from xdsl.dialects.builtin import ArrayAttr, FunctionType, StringAttr, UnitAttr, VectorType, f32, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.codegen.targets import Target
from stepwell.dialects import tile
from stepwell.transforms.lower._llvm_conversion import error_at
from stepwell.transforms.lower._tile_to_cpu_emit import POINTER, Emitter, slot_count
from stepwell.transforms.lower._tile_to_cpu_rows import (
    Chunks,
    Ref,
    Row,
    RowEvaluator,
    TilePlace,
    byte_size,
    chunk_width,
    column_mask,
)


def is_product(op: Operation) -> bool:
    """A loop that holds a matrix product: its accumulators stay in registers."""
    return isinstance(op, tile.ForOp) and any(isinstance(inner, tile.MmaOp) for inner in op.walk())


def tile_counts(extents: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, int]:
    """Row tiles and column tiles of an output of these extents."""
    rows = -(-extents[0] // block[0]) if len(block) == 2 else 1
    return rows, -(-extents[-1] // block[-1])


def build_function(kernel: tile.KernelOp, target: Target) -> func.FuncOp:
    """The function of `kernel`: (record, first tile, last tile)."""
    block = Block(arg_types=[POINTER, i64, i64])
    for argument, name in zip(block.args, ("record", "first", "last"), strict=True):
        argument.name_hint = name
    emit = Emitter(block.args[0])
    emit.location = kernel.location
    _KernelBody(emit, kernel).walk_tiles(block.args[1], block.args[2])
    emit.insert(func.ReturnOp())
    block.add_ops(emit.prelude)
    for op in list(emit.block.ops):
        op.detach()
        block.add_op(op)
    function = func.FuncOp(kernel.sym_name.data, FunctionType.from_lists([POINTER, i64, i64], []), Region(block))
    function.attributes |= {"stepwell.kernel": UnitAttr(), "passthrough": _function_attributes(target)}
    function.location = kernel.location
    return function


def _function_attributes(target: Target) -> ArrayAttr[Attribute]:
    pairs = {"target-cpu": target.processor, "prefer-vector-width": str(8 * target.vector_bytes)}
    return ArrayAttr([StringAttr("nounwind"), *(ArrayAttr([StringAttr(k), StringAttr(v)]) for k, v in pairs.items())])


@dataclass
class _Operand:
    """A matrix operand of a product: its load, and row addresses once the offsets before the last are known."""

    load: tile.LoadOp
    rows: list[SSAValue] = field(default_factory=list)


class _KernelBody:
    """Emits one kernel."""

    def __init__(self, emit: Emitter, kernel: tile.KernelOp) -> None:
        self.emit, self.kernel, self.grid = emit, kernel, kernel.grid
        block = self.grid.get_block()
        if len(block) > 2:
            raise error_at(
                kernel, f"an output of rank {len(block)}: CPU kernels have rows and columns", "collapse the outer dims"
            )
        self.rows, self.columns = block if len(block) == 2 else (1, *block)
        self.refs: dict[SSAValue, Ref] = {}
        slot = 0
        for arg in kernel.body.block.args:
            assert isinstance(arg.type, tile.RefType)
            self.refs[arg] = self._ref(arg.type, slot)
            slot += slot_count(arg.type)
        self.group_slot = slot

    def _ref(self, of: tile.RefType, slot: int) -> Ref:
        extents = [self.emit.slot(slot + 1 + d) for d in range(of.rank)]
        strides = (
            [self.emit.slot(slot + 1 + of.rank + d) for d in range(of.rank - 1)] if of.access.kind == "plain" else []
        )
        return Ref(of, self.emit.slot(slot, POINTER), extents, strides)

    # --- the walk over tiles

    def walk_tiles(self, first: SSAValue, last: SSAValue) -> None:
        """Tiles are numbered by groups of row tiles, in a group by weight panel, in a panel by row: consecutive tiles share the panel, and the
        rows of a group stay in the cache for the next one."""
        emit, output = self.emit, self.refs[self.grid.output]
        zero, one = emit.integer(0), emit.integer(1)
        row_tiles = emit.ceil_div(output.extents[0], self.rows) if output.type.rank == 2 else one
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

    def _tile(self, row_tile: SSAValue, column_tile: SSAValue) -> None:
        emit, args = self.emit, list(self.grid.body.block.args)
        column = emit.mul(column_tile, emit.integer(self.columns))
        row = emit.mul(row_tile, emit.integer(self.rows)) if len(args) == 2 else None
        indices: dict[SSAValue, SSAValue] = dict(zip(args, [column] if row is None else [row, column], strict=True))
        place = TilePlace(row_tile, column_tile, self.rows, self.columns, indices, row, column)
        rows = RowEvaluator(emit, self.refs, place)
        ops = list(self.grid.body.block.ops)
        stores = [op for op in ops if isinstance(op, tile.StoreOp)]
        products = {op: self._product(op, rows) for op in ops if isinstance(op, tile.ForOp) and is_product(op)}
        held: dict[SSAValue, list[Chunks]] = {
            value: chunks for op, results in products.items() for value, chunks in zip(op.carried, results, strict=True)
        }
        output = self.refs[self.grid.output]
        valid_columns = emit.binary(arith.SubiOp, output.extents[-1], column)
        valid_rows = (
            emit.integer(1)
            if row is None
            else emit.minimum(emit.binary(arith.SubiOp, output.extents[0], row), emit.integer(self.rows))
        )
        full = emit.compare("ule", emit.integer(self.columns), valid_columns)
        if held:
            all_rows = emit.compare("eq", valid_rows, emit.integer(self.rows))
            full = emit.insert(arith.AndIOp(full, all_rows)).result
            emit.branch(
                full,
                lambda: self._whole(rows, stores, held),
                lambda: self._edge(rows, stores, held, valid_rows, valid_columns),
            )
        else:
            emit.branch(
                full,
                lambda: self._by_row(rows, stores, valid_rows, None),
                lambda: self._edge(rows, stores, {}, valid_rows, valid_columns),
            )

    def _whole(self, rows: RowEvaluator, stores: list[tile.StoreOp], held: dict[SSAValue, list[Chunks]]) -> None:
        """Every row from its registers; what is the same for all rows (a bias) is read once."""
        rows.held = {value: _static_row(chunks) for value, chunks in held.items()}
        shared: dict[SSAValue, Chunks] = {}
        for r in range(self.rows):
            at = Row(self.emit.integer(r), r, None, dict(shared))
            self._store_row(rows, stores, at)
            shared = {value: chunks for value, chunks in at.memo.items() if _is_row_vector(value)}
        rows.held = {}

    def _edge(
        self,
        rows: RowEvaluator,
        stores: list[tile.StoreOp],
        held: dict[SSAValue, list[Chunks]],
        valid_rows: SSAValue,
        valid_columns: SSAValue,
    ) -> None:
        """The rows that exist, each through scratch memory, with the columns masked."""
        mask = column_mask(self.emit, valid_columns, self.columns)
        rows.held = {value: self._through_scratch(chunks, k) for k, (value, chunks) in enumerate(held.items())}
        self._by_row(rows, stores, valid_rows, mask)
        rows.held = {}

    def _by_row(self, rows: RowEvaluator, stores: list[tile.StoreOp], count: SSAValue, mask: Chunks | None) -> None:
        def body(number: SSAValue, _: list[SSAValue]) -> list[SSAValue]:
            self._store_row(rows, stores, Row(number, None, mask))
            return []

        self.emit.loop(self.emit.integer(0), count, [], body)

    def _through_scratch(self, chunks: list[Chunks], number: int) -> Callable[[Row], Chunks]:
        """Store all rows now; load the wanted one later."""
        element, width = f32, chunk_width(self.columns)
        of = VectorType(element, [width])
        memory = self.emit.scratch(self.rows * self.columns * (number + 1), element)
        base = self.emit.address(memory, number * self.rows * self.columns, element)
        for r, row in enumerate(chunks):
            for c, chunk in enumerate(row):
                self.emit.store(
                    chunk, self.emit.address(base, r * self.columns + c * width, element), min(64, 4 * width)
                )

        def load(at: Row) -> Chunks:
            start = self.emit.address(base, self.emit.mul(at.number, self.emit.integer(self.columns)), element)
            starts = [self.emit.address(start, c, element) for c in range(0, self.columns, width)]
            return [self.emit.load(address, of, min(64, 4 * width)) for address in starts]

        return load

    def _store_row(self, rows: RowEvaluator, stores: list[tile.StoreOp], at: Row) -> None:
        from stepwell.dialects import llvm_extra

        for op in stores:
            self.emit.location = op.location
            ref, element = self.refs[op.target], self.refs[op.target].type.element_type
            chunks = rows.row(op.tile, at)
            pointer = ref.pointer
            if ref.strides:
                assert rows.place.row_offset is not None
                offset = self.emit.mul(self.emit.add(rows.place.row_offset, at.number), ref.strides[0])
                pointer = self.emit.address(pointer, offset, element)
            pointer = self.emit.address(pointer, rows.place.column_offset, element)
            width, size = chunk_width(self.columns), byte_size(element)
            for i, chunk in enumerate(chunks):
                address = self.emit.address(pointer, i * width, element) if i else pointer
                if at.mask is None:
                    self.emit.store(chunk, address, size)
                else:
                    self.emit.insert(llvm_extra.MaskedStoreOp(chunk, address, at.mask[i], size))
        self.emit.location = self.kernel.location

    # --- the matrix product

    def _product(self, op: tile.ForOp, rows: RowEvaluator) -> list[list[Chunks]]:
        """The loop nest with all accumulators carried; results by carried tile, row, chunk."""
        outer, self.emit.location = self.emit.location, op.location
        last = op.body.block.last_op
        assert isinstance(last, tile.YieldOp)
        for inner in op.body.block.ops:
            if not isinstance(inner, tile.LoadOp | tile.MmaOp | tile.YieldOp):
                raise error_at(
                    inner, "stands in the loop of a matrix product", "on the CPU such a loop holds loads and tile.mma"
                )
        inits = [[rows.row(v, Row(self.emit.integer(r), r)) for r in range(self.rows)] for v in op.inits]
        loads = [_Operand(load) for load in op.body.block.ops if isinstance(load, tile.LoadOp)]
        operands: dict[SSAValue, _Operand] = {operand.load.result: operand for operand in loads}

        def enter() -> None:
            for operand in loads:
                if not operand.rows and all(i in rows.place.indices for i in operand.load.indices[:-1]):
                    operand.rows = self._operand_rows(operand.load, rows)

        def body(flat: Chunks) -> Chunks:
            values: dict[SSAValue, list[Chunks]] = dict(zip(op.iter_args, _nested(flat, inits), strict=True))
            for product in op.body.block.ops:
                if isinstance(product, tile.MmaOp):
                    values[product.result] = self._mma(product, operands, values[product.c], rows)
            return _flat([values[v] for v in last.arguments])

        results = _nested(rows.nest(op, _flat(inits), body, enter), inits)
        self.emit.location = outer
        return results

    def _operand_rows(self, load: tile.LoadOp, rows: RowEvaluator) -> list[SSAValue]:
        """Addresses that only the last offset is missing from: the panel of packed weights, or the rows of A."""
        emit, ref, place = self.emit, self.refs[load.source], rows.place
        if ref.type.access.panel:
            if ref.type.access.panel != self.columns:
                raise error_at(
                    load,
                    f"panels of {ref.type.access.panel} in a block of {self.columns} columns",
                    "pack for the block",
                )
            taps, depth = ref.extents[1], ref.extents[2]
            panel = emit.add(emit.mul(place.column_tile, taps), rows.index(load.indices[1]))
            return [
                emit.address(
                    ref.pointer, emit.mul(emit.mul(panel, depth), emit.integer(self.columns)), ref.type.element_type
                )
            ]
        if ref.type.access.kind == "window":
            return [rows.table_row(load, r) for r in range(self.rows)]
        return [self._clamped_row(load, rows, r) for r in range(self.rows)]

    def _clamped_row(self, load: tile.LoadOp, rows: RowEvaluator, number: int) -> SSAValue:
        """Row `number` of a plain A, or its last row: rows that do not exist are computed and dropped."""
        emit, ref = self.emit, self.refs[load.source]
        pointer = ref.pointer
        for dim, stride in enumerate(ref.strides):
            offset = rows.index(load.indices[dim])
            if dim == load.get_dims()[0]:
                last = emit.binary(arith.SubiOp, ref.extents[dim], emit.integer(1))
                offset = emit.minimum(emit.add(offset, emit.integer(number)), last)
            pointer = emit.address(pointer, emit.mul(offset, stride), ref.type.element_type)
        return pointer

    def _mma(
        self, op: tile.MmaOp, operands: dict[SSAValue, _Operand], held: list[Chunks], rows: RowEvaluator
    ) -> list[Chunks]:
        """One step of the reduction: a row of the panel, times one element of each row of A."""
        emit, a, b = self.emit, operands[op.a], operands[op.b]
        if a.load.result.type.get_shape()[1] != 1:
            raise error_at(op, "takes one element of the reduction at a time on the CPU", "k = 1 in the config")
        width, depth = chunk_width(self.columns), rows.index(b.load.indices[-1])
        element = self.refs[b.load.source].type.element_type
        alignment = min(64, width * byte_size(element))
        start = emit.address(b.rows[0], emit.mul(depth, emit.integer(self.columns)), element)
        starts = [emit.address(start, c, element) if c else start for c in range(0, self.columns, width)]
        panel = [self._widened(emit.load(address, VectorType(element, [width]), alignment)) for address in starts]
        result: list[Chunks] = []
        for r, pointer in enumerate(a.rows):
            address = emit.address(pointer, rows.index(a.load.indices[-1]), element)
            scalar = self._widened(emit.load(address, element, byte_size(element)))
            spread = emit.insert(vector.BroadcastOp(scalar, VectorType(f32, [width]))).vector
            result.append(
                [emit.insert(math.FmaOp(spread, chunk, c)).result for chunk, c in zip(panel, held[r], strict=True)]
            )
        return result

    def _widened(self, value: SSAValue) -> SSAValue:
        """As f32: exact for 16-bit floats."""
        if not isinstance(value.type, VectorType):
            return value if value.type == f32 else self.emit.insert(arith.ExtFOp(value, f32)).result
        if value.type.element_type == f32:
            return value
        return self.emit.insert(arith.ExtFOp(value, VectorType(f32, value.type.get_shape()))).result


def _static_row(chunks: list[Chunks]) -> Callable[[Row], Chunks]:
    def row(at: Row) -> Chunks:
        assert at.static is not None
        return chunks[at.static]

    return row


def _is_row_vector(value: SSAValue) -> bool:
    return isinstance(value.type, tile.TileType) and value.type.rank == 1


def _flat(nested: list[list[Chunks]]) -> Chunks:
    return [chunk for rows in nested for row in rows for chunk in row]


def _nested(flat: Chunks, like: list[list[Chunks]]) -> list[list[Chunks]]:
    values = iter(flat)
    return [[[next(values) for _ in row] for row in rows] for rows in like]
