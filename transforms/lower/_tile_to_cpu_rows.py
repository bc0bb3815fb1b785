"""Rows of register tiles as vectors. A tile [R, C] is evaluated row by row, on demand of the store: only the accumulators of a matrix
product are ever held as a whole. A row is a list of vectors (`chunks`): the largest power of two that divides C, so that no lane is wasted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.dialects import arith, llvm, vector
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FixedBitwidthType, IntegerAttr, VectorType, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import llvm_extra, tile
from stepwell.passes import PassFailure
from stepwell.transforms.lower._llvm_conversion import error_at
from stepwell.transforms.lower._tile_to_cpu_emit import POINTER, Emitter

Chunks = list[SSAValue]


def chunk_width(columns: int) -> int:
    """Lanes of one vector of a row: 64 -> 64, 24 -> 8."""
    return columns & -columns


def byte_size(element: Attribute) -> int:
    """Bytes of an element in memory."""
    assert isinstance(element, FixedBitwidthType)
    return element.size


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

    def child(self) -> Row:
        """The same row inside a loop body: what is computed there is not visible outside."""
        return Row(self.number, self.static, self.mask, dict(self.memo))


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
                raise (
                    error_at(op, "has no value by rows")
                    if isinstance(op, Operation)
                    else RuntimeError("a tile argument without a value")
                )
            outer, self.emit.location = self.emit.location, op.location
            chunks = self._rules[type(op)](op, value, at)
            self.emit.location = outer
        at.memo[value] = chunks
        return chunks

    def index(self, value: SSAValue) -> SSAValue:
        """An index of the tile level as an i64."""
        if value in self.place.indices:
            return self.place.indices[value]
        match value.owner:
            case arith.ConstantOp(value=IntegerAttr() as number):
                return self.emit.integer(number.value.data)
            case Operation() if value.owner.name.startswith("arith."):
                operands = [self.index(v) for v in value.owner.operands]
                return self.emit.insert(
                    type(value.owner).create(operands=operands, result_types=[i64], properties=value.owner.properties)
                ).results[0]
        raise RuntimeError("an offset is neither an argument of the grid or a loop nor computed by arith")

    # --- loads

    def _load(self, op: tile.LoadOp, value: SSAValue, at: Row) -> Chunks:
        ref, dims = self.refs[op.source], op.get_dims()
        if dims[-1] != ref.type.rank - 1 or op.indices[dims[-1]] not in self._names(self.place.column_offset):
            raise error_at(
                op,
                "the columns of a register tile are the dense dim of the ref, at the column offset of the grid",
                "transpose on the graph level",
            )
        if len(dims) == 2 and (
            self.place.row_offset is None or op.indices[dims[0]] not in self._names(self.place.row_offset)
        ):
            raise error_at(op, "the rows of a register tile are at the row offset of the grid")
        base = (
            self.table_row(op, at.number)
            if ref.type.access.kind == "window"
            else self.plain_row(op, at.number if len(dims) == 2 else None)
        )
        columns = self.place.columns
        return self._load_chunks(op, base, columns, at.mask)

    def _names(self, offset: SSAValue) -> list[SSAValue]:
        return [name for name, held in self.place.indices.items() if held is offset]

    def plain_row(self, op: tile.LoadOp, row: SSAValue | None) -> SSAValue:
        """The address of the load's offsets but the last, plus `row` rows."""
        ref, emit = self.refs[op.source], self.emit
        pointer = ref.pointer
        for dim, stride in enumerate(ref.strides):
            offset = self.index(op.indices[dim])
            if row is not None and dim == op.get_dims()[0]:
                offset = emit.add(offset, row)
            pointer = emit.address(pointer, emit.mul(offset, stride), ref.type.element_type)
        return pointer

    def table_row(self, op: tile.LoadOp, row: SSAValue | int) -> SSAValue:
        """The address of a window's row under the load's tap, from the table [tile][tap][row]."""
        ref, emit = self.refs[op.source], self.emit
        taps, rows = ref.extents[1], emit.integer(self.place.rows)
        first = emit.mul(emit.add(emit.mul(self.place.row_tile, taps), self.index(op.indices[1])), rows)
        number = emit.integer(row) if isinstance(row, int) else row
        return emit.load(emit.address(ref.pointer, emit.add(first, number), POINTER), POINTER, 8)

    def _load_chunks(self, op: tile.LoadOp, base: SSAValue, columns: int, mask: Chunks | None) -> Chunks:
        element = self.refs[op.source].type.element_type
        width, size = chunk_width(columns), byte_size(element)
        start = self.emit.address(base, self.place.column_offset, element)
        chunks = []
        for i in range(columns // width):
            address = self.emit.address(start, i * width, element) if i else start
            of = VectorType(element, [width])
            if mask is None:
                chunks.append(self.emit.load(address, of, size))
            else:
                fill = self.emit.splat(op.fill, of)
                chunks.append(self.emit.insert(llvm_extra.MaskedLoadOp(address, mask[i], fill, size)).res)
        return chunks

    # --- what is computed

    def _fill(self, op: tile.FillOp, value: SSAValue, at: Row) -> Chunks:
        columns = _columns(value)
        of = VectorType(_element(value), [chunk_width(columns)])
        return [self.emit.splat(op.value, of)] * (columns // chunk_width(columns))

    def _broadcast(self, op: tile.BroadcastOp, value: SSAValue, at: Row) -> Chunks:
        """Along rows: the source is the row. Along columns: one scalar of the source for the whole row."""
        if op.get_dims()[-1] == _rank(value) - 1:
            return self.row(op.source, at)
        width = chunk_width(_columns(value))
        of = VectorType(_element(value), [width])
        scalar = self._scalar(op.source, at)
        return [self.emit.insert(vector.BroadcastOp(scalar, of)).vector] * (_columns(value) // width)

    def _scalar(self, source: SSAValue, at: Row) -> SSAValue:
        op = source.owner
        if not isinstance(op, tile.LoadOp):
            raise PassFailure("tile.broadcast: only a loaded tile is repeated along columns on the CPU")
        ref, dim = self.refs[op.source], op.get_dims()[0]
        pointer = ref.pointer
        strides = [*ref.strides, self.emit.integer(1)]
        for d, stride in enumerate(strides):
            offset = self.index(op.indices[d])
            offset = self.emit.add(offset, at.number) if d == dim else offset
            pointer = self.emit.address(pointer, self.emit.mul(offset, stride), ref.type.element_type)
        return self.emit.load(pointer, ref.type.element_type, byte_size(ref.type.element_type))

    def _map(self, op: tile.MapOp, value: SSAValue, at: Row) -> Chunks:
        operands = [self.row(v, at) for v in op.inputs]
        count = len(operands[0]) if operands else _columns(value) // chunk_width(_columns(value))
        return [
            self._map_chunk(op, [chunks[i] for chunks in operands], chunk_width(_columns(value))) for i in range(count)
        ]

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
            inner = at.child()
            for arg, chunks in zip(op.iter_args, _unflatten(flat, counts), strict=True):
                inner.memo[arg] = chunks
            last = op.body.block.last_op
            assert isinstance(last, tile.YieldOp)
            return [chunk for v in last.arguments for chunk in self.row(v, inner)]

        results = _unflatten(self.nest(op, [c for chunks in inits for c in chunks], body), counts)
        for carried, chunks in zip(op.carried, results, strict=True):
            at.memo[carried] = chunks
        return at.memo[value]

    def nest(
        self,
        op: tile.ForOp,
        inits: Chunks,
        body: Callable[[Chunks], Chunks],
        enter: Callable[[], None] = lambda: None,
        level: int = 0,
    ) -> Chunks:
        """The loops of `op` from `level` inwards; `enter` is called outside of the innermost loop, whenever one more offset is known."""
        dims, steps = op.get_dims(), op.get_steps()
        if steps[level] != 1:
            raise error_at(op, f"steps by {steps[level]}: CPU loops go one by one", "k = 1 in the config")
        if level == 0 and len(dims) == 1:
            enter()

        def inside(counter: SSAValue, carried: Chunks) -> Chunks:
            self.place.indices[op.offsets[level]] = counter
            if level == len(dims) - 1:
                return body(carried)
            enter()
            return self.nest(op, carried, body, enter, level + 1)

        end = self.refs[op.over].extents[dims[level]]
        return self.emit.loop(self.emit.integer(0), end, inits, inside)


def vectorised(op: Operation, operands: Chunks, width: int) -> Operation:
    """The same scalar arith or math op on vectors. xDSL's comparisons, select and integer conversions are for scalars: LLVM's take their place."""
    result = VectorType(op.results[0].type, [width])
    if isinstance(op, arith.SelectOp):
        return llvm_extra.SelectOp(*operands)
    if isinstance(op, arith.CmpiOp):
        return llvm.ICmpOp(operands[0], operands[1], IntegerAttr(op.predicate.value.data, i64))
    if isinstance(op, arith.CmpfOp):
        predicate = llvm.FCmpPredicateFlag.from_int(op.predicate.value.data)
        return llvm_extra.FCmpOp(str(predicate), operands[0], operands[1])
    casts: dict[type[Operation], Callable[..., Operation]] = {
        arith.SIToFPOp: llvm.SIToFPOp,
        arith.UIToFPOp: llvm_extra.UIToFPOp,
        arith.FPToSIOp: llvm_extra.FPToSIOp,
        arith.FPToUIOp: llvm_extra.FPToUIOp,
        arith.BitcastOp: llvm.BitcastOp,
        arith.ExtSIOp: llvm.SExtOp,
        arith.ExtUIOp: llvm.ZExtOp,
        arith.TruncIOp: llvm.TruncOp,
    }
    if make := casts.get(type(op)):
        return make(operands[0], result)
    return type(op).create(operands=operands, result_types=[result], properties=op.properties, attributes=op.attributes)


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


def _element(value: SSAValue) -> Attribute:
    assert isinstance(value.type, tile.TileType)
    return value.type.element_type


def _columns(value: SSAValue) -> int:
    assert isinstance(value.type, tile.TileType)
    return value.type.get_shape()[-1]


def _rank(value: SSAValue) -> int:
    assert isinstance(value.type, tile.TileType)
    return value.type.rank
