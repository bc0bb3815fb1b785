"""Rows of register tiles as vectors. A tile [R, C] is evaluated row by row, on demand of the store: only the accumulators of a matrix
product are ever held as a whole. A row is a list of vectors (`chunks`): the largest power of two that divides C, so that no lane is wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from xdsl.dialects import arith, llvm, vector
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, IntegerAttr, VectorType, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.passes import PassFailure
from stepwell.transforms.emit.vectorise import vectorised
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import POINTER, Emitter, byte_size, chunk_width

Chunks = list[SSAValue]


@dataclass
class Ref:
    """A kernel parameter as values: data (or table) pointer, extents and element strides (plain only; the last one is 1)."""

    type: tile.RefType
    pointer: SSAValue
    extents: list[SSAValue]
    strides: list[SSAValue]


@dataclass
class TilePlace:
    """Where one output tile stands: its row and column tile numbers, and the values of its offsets by the kernel's own names."""

    row_tile: SSAValue
    column_tile: SSAValue
    rows: int
    columns: int
    indices: dict[SSAValue, SSAValue]
    row_offset: SSAValue | None
    column_offset: SSAValue


@dataclass
class Row:
    """One row that is being evaluated: its number in the tile (a value, and as a number where it is known), values so far, and the
    column mask at the edge."""

    number: SSAValue
    static: int | None = None
    mask: Chunks | None = None
    memo: dict[SSAValue, Chunks] = field(default_factory=dict)


class RowEvaluator:
    """Evaluates rows of the tiles of one kernel at one place. `held` are tiles that exist as a whole: row number -> chunks."""

    def __init__(self, emit: Emitter, refs: dict[SSAValue, Ref], place: TilePlace) -> None:
        self.emit, self.refs, self.place = emit, refs, place
        self.held: dict[SSAValue, Callable[[Row], Chunks]] = {}
        self._rules: dict[type[Operation], Callable[..., Chunks]] = {
            tile.LoadOp: self._load,
            tile.FillOp: self._fill,
            tile.BroadcastOp: self._broadcast,
            tile.MapOp: self._map,
            tile.ForOp: self._for,
        }

    def row(self, value: SSAValue, at: Row) -> Chunks:
        """One row of a register tile (of a tile of one dim: all of it)."""
        if value in at.memo:
            return at.memo[value]
        if value in self.held:
            chunks = self.held[value](at)
        else:
            op = value.owner
            if not isinstance(op, Operation) or type(op) not in self._rules:
                raise PassFailure(f"{getattr(op, 'name', 'an argument')}: a tile of it has no form by rows on the CPU")
            with self.emit.at(op):
                chunks = self._rules[type(op)](op, value, at)
        for chunk in chunks:
            chunk.name_hint = chunk.name_hint or value.name_hint
        at.memo[value] = chunks
        return chunks

    def index(self, value: SSAValue) -> SSAValue:
        """An index of the tile level as an i64."""
        if value in self.place.indices:
            return self.place.indices[value]
        match value.owner:
            case arith.ConstantOp(value=IntegerAttr() as number):
                return self.emit.integer(number.value.data)
            case Operation(properties=properties) as op if op.name.startswith("arith."):
                operands = [self.index(v) for v in op.operands]
                made = type(op).create(operands=operands, result_types=[i64], properties=properties)
                return self.emit.insert(made).results[0]
        raise PassFailure("an offset is neither an argument of the grid or a loop nor computed by arith")

    # --- loads

    def _load(self, op: tile.LoadOp, value: SSAValue, at: Row) -> Chunks:
        ref, dims, place = self.refs[op.source], op.get_dims(), self.place
        offsets = [place.indices.get(op.indices[dim]) for dim in dims]
        dense = dims[-1] == ref.type.rank - 1
        if offsets[-1] is not place.column_offset or not (dense or ref.type.access.kind == "plain"):
            raise error_at(op, "the columns are at the column offset of the grid, those of a window are its channels")
        if len(dims) == 2 and offsets[0] is not place.row_offset:
            raise error_at(op, "the rows of a register tile are at the row offset of the grid")
        row_dim = dims[0] if len(dims) == 2 else None
        if not dense:
            return self._apart(op, row_dim, at)
        base = self.base(op, row_dim, at.number)
        return self.load_chunks(self.emit.address(base, place.column_offset, ref.type.element_type), op.fill, at.mask)

    def _apart(self, op: tile.LoadOp, row_dim: int | None, at: Row) -> Chunks:
        """A row whose columns lie apart (a transpose): its elements that exist, one by one, are brought together first."""
        emit, ref, dim = self.emit, self.refs[op.source], op.get_dims()[-1]
        element, size = ref.type.element_type, byte_size(ref.type.element_type)
        start, line = self.address(ref, op.indices, row_dim, at.number), emit.scratch(self.place.columns, element, op)
        rest = emit.binary(arith.SubiOp, ref.extents[dim], self.place.column_offset)

        def move(column: SSAValue, _: Chunks) -> Chunks:
            source = emit.address(start, emit.mul(column, ref.strides[dim]), element)
            emit.store(emit.load(source, element, size), emit.address(line, column, element), size)
            return []

        emit.loop(emit.integer(0), emit.minimum(rest, emit.integer(self.place.columns)), [], move)
        return self.load_chunks(line, op.fill, at.mask)

    def base(self, op: tile.LoadOp, row_dim: int | None, row: SSAValue, clamp: bool = False) -> SSAValue:
        """The address of a load's offsets but the last."""
        ref = self.refs[op.source]
        window = ref.type.access.kind == "window"
        return self.table_row(op, row) if window else self.address(ref, op.indices[:-1], row_dim, row, clamp)

    def address(
        self, ref: Ref, indices: Sequence[SSAValue], row_dim: int | None, row: SSAValue, clamp: bool = False
    ) -> SSAValue:
        """The address at these offsets (of the dims from the first on) of a plain ref, `row` further along `row_dim`. With `clamp` rows
        that do not exist give the last one."""
        emit, pointer = self.emit, ref.pointer
        for dim, (index, stride) in enumerate(zip(indices, [*ref.strides, emit.integer(1)], strict=False)):
            offset = self.index(index)
            if dim == row_dim:
                offset = emit.add(offset, row)
            if dim == row_dim and clamp:
                offset = emit.minimum(offset, emit.binary(arith.SubiOp, ref.extents[dim], emit.integer(1)))
            pointer = emit.address(pointer, emit.mul(offset, stride), ref.type.element_type)
        return pointer

    def table_row(self, op: tile.LoadOp, row: SSAValue) -> SSAValue:
        """The address of a window's row under the load's tap, from the table [tile][tap][row]."""
        ref, emit = self.refs[op.source], self.emit
        taps, rows = ref.extents[1], emit.integer(self.place.rows)
        first = emit.mul(emit.add(emit.mul(self.place.row_tile, taps), self.index(op.indices[1])), rows)
        return emit.load(emit.address(ref.pointer, emit.add(first, row), POINTER), POINTER, 8)

    def load_chunks(self, start: SSAValue, fill: FloatAttr | IntegerAttr, mask: Chunks | None) -> Chunks:
        """A row from memory, masked columns as `fill`."""
        of = VectorType(fill.type, [chunk_width(self.place.columns)])
        chunks = []
        for i, address in enumerate(self.chunk_addresses(start, fill.type)):
            if mask is None:
                chunks.append(self.emit.load(address, of, byte_size(fill.type)))
                continue
            chunks.append(self.emit.masked_load(address, mask[i], fill, of, byte_size(fill.type)))
        return chunks

    def chunk_addresses(self, start: SSAValue, element: Attribute) -> list[SSAValue]:
        """Where the chunks of a row begin."""
        columns, width = self.place.columns, chunk_width(self.place.columns)
        return [self.emit.address(start, c, element) if c else start for c in range(0, columns, width)]

    # --- what is computed

    def _repeat(self, chunk: Callable[[VectorType], SSAValue], value: SSAValue) -> Chunks:
        """A row of `value` whose chunks are all the same."""
        assert isinstance(value.type, tile.TileType)
        columns = value.type.get_shape()[-1]
        width = chunk_width(columns)
        return [chunk(VectorType(value.type.element_type, [width]))] * (columns // width)

    def _fill(self, op: tile.FillOp, value: SSAValue, at: Row) -> Chunks:
        return self._repeat(lambda of: self.emit.splat(op.value, of), value)

    def _broadcast(self, op: tile.BroadcastOp, value: SSAValue, at: Row) -> Chunks:
        """Along rows: the source is the row. Along columns: one scalar of the source for the whole row, the same one for all rows where the
        source is a single element."""
        assert isinstance(value.type, tile.TileType) and isinstance(op.source.type, tile.TileType)
        single = op.source.type.get_shape() == (1,) and value.type.get_shape()[op.get_dims()[-1]] != 1
        if op.get_dims()[-1] == value.type.rank - 1 and not single:
            return self.row(op.source, at)
        load = op.source.owner
        if not isinstance(load, tile.LoadOp):
            raise error_at(op, "only a loaded tile is repeated along columns on the CPU")
        ref, last = self.refs[load.source], self.index(load.indices[-1])
        dim = None if single else load.get_dims()[0]
        last = self.emit.add(last, at.number) if dim == ref.type.rank - 1 else last
        address = self.emit.address(self.base(load, dim, at.number), last, ref.type.element_type)
        scalar = self.emit.load(address, ref.type.element_type, byte_size(ref.type.element_type))
        return self._repeat(lambda of: self.emit.insert(vector.BroadcastOp(scalar, of)).vector, value)

    def _map(self, op: tile.MapOp, value: SSAValue, at: Row) -> Chunks:
        if not op.inputs:
            return self._repeat(lambda of: self._map_chunk(op, [], of.get_shape()[0]), value)
        columns = zip(*[self.row(v, at) for v in op.inputs], strict=True)
        return [self._map_chunk(op, list(chunks), chunk_width(self.place.columns)) for chunks in columns]

    def _map_chunk(self, op: tile.MapOp, operands: Chunks, width: int) -> SSAValue:
        values: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, operands, strict=True))
        for scalar in op.body.block.ops:
            if isinstance(scalar, tile.YieldOp):
                return values[scalar.arguments[0]]
            if isinstance(scalar, arith.ConstantOp):
                values[scalar.result] = self.emit.splat(scalar.value, VectorType(scalar.result.type, [width]))
                continue
            made = self.emit.insert(vectorised(scalar, [values[v] for v in scalar.operands], width))
            values[scalar.results[0]] = made.results[0]
        raise error_at(op, "the body yields nothing")

    def _for(self, op: tile.ForOp, value: SSAValue, at: Row) -> Chunks:
        """A loop without a matrix product, for this one row."""
        inits = [self.row(v, at) for v in op.inits]
        counts = [len(chunks) for chunks in inits]

        def body(flat: Chunks) -> Chunks:
            carried = zip(op.iter_args, _unflatten(flat, counts), strict=True)
            inner = replace(at, memo={**at.memo, **dict(carried)})  # what is computed in the loop stays there
            last = op.body.block.last_op
            assert isinstance(last, tile.YieldOp)
            return [chunk for v in last.arguments for chunk in self.row(v, inner)]

        results = _unflatten(self.nest(op, [c for chunks in inits for c in chunks], body, lambda: None), counts)
        at.memo |= dict(zip(op.carried, results, strict=True))
        return at.memo[value]

    def nest(
        self, op: tile.ForOp, inits: Chunks, body: Callable[[Chunks], Chunks], enter: Callable[[], None], level: int = 0
    ) -> Chunks:
        """The loops of `op` from `level` inwards; `enter` is called outside of the innermost loop, whenever one more offset is known."""
        dims, steps = op.get_dims(), op.get_steps()
        if steps[level] != 1:
            raise error_at(op, f"steps by {steps[level]}: CPU loops go one by one", "k = 1 in the config")
        if level == 0 and len(dims) == 1:
            enter()

        def inside(counter: SSAValue, carried: Chunks) -> Chunks:
            counter.name_hint = op.offsets[level].name_hint
            self.place.indices[op.offsets[level]] = counter
            if level == len(dims) - 1:
                return body(carried)
            enter()
            return self.nest(op, carried, body, enter, level + 1)

        end = self.refs[op.over].extents[dims[level]]
        return self.emit.loop(self.emit.integer(0), end, inits, inside)


def column_mask(emit: Emitter, valid: SSAValue, columns: int) -> Chunks:
    """True for the first `valid` columns, by chunks."""
    width = chunk_width(columns)
    of = VectorType(i32, [width])
    narrow = emit.insert(arith.TruncIOp(valid, i32)).result
    limit = emit.insert(vector.BroadcastOp(narrow, of)).vector
    lanes = [
        emit.constant(DenseIntOrFPElementsAttr.from_list(of, list(range(c, c + width))), of)
        for c in range(0, columns, width)
    ]
    below = IntegerAttr(llvm.ICmpPredicateFlag.ULT.to_int(), i64)
    return [emit.insert(llvm.ICmpOp(lane, limit, below)).res for lane in lanes]


def _unflatten(flat: Chunks, counts: list[int]) -> list[Chunks]:
    values = iter(flat)
    return [[next(values) for _ in range(count)] for count in counts]
