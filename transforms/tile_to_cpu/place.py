"""Where the CPU lowering stands: the refs of a kernel, one output tile, the row in it, the values so far; and the addresses that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xdsl.dialects import arith, llvm, vector
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerAttr, VectorType, i32, i64
from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.passes import PassFailure
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.emitter import POINTER, CpuEmitter, chunk_width, slot_count

Chunks = list[SSAValue]
"""One row of a tile: vectors of the largest power of two that divides its columns; of a tile of one element along the rows the scalar."""


@dataclass
class Ref:
    """A kernel parameter as values: data (or table) pointer, extents and element strides (plain only; the last one is 1)."""

    type: tile.RefType
    pointer: SSAValue
    extents: list[SSAValue]
    strides: list[SSAValue]


def kernel_refs(emit: CpuEmitter, kernel: tile.KernelOp) -> tuple[dict[SSAValue, Ref], int]:
    """The parameters of a kernel from its record, and the slot behind them."""
    refs: dict[SSAValue, Ref] = {}
    slot = 0
    for arg in kernel.body.block.args:
        assert isinstance(arg.type, tile.RefType)
        refs[arg] = _ref(emit, arg.type, slot, arg.name_hint or "ref")
        slot += slot_count(arg.type)
    return refs, slot


def _ref(emit: CpuEmitter, of: tile.RefType, slot: int, name: str) -> Ref:
    extents = [emit.slot(slot + 1 + d) for d in range(of.rank)]
    count = of.rank - 1 if of.access.kind == "plain" else 0
    strides = [emit.slot(slot + 1 + of.rank + d) for d in range(count)]
    ref = Ref(of, emit.slot(slot, POINTER), extents, strides)
    ends = ["", *(f"_d{d}" for d in range(of.rank)), *(f"_s{d}" for d in range(count))]
    for value, end in zip([ref.pointer, *extents, *strides], ends, strict=True):
        value.name_hint = name + end
    return ref


@dataclass
class Place:
    """One output tile and what is known in it. `indices`: offsets as i64, by the kernel's own names. `row`: which row of the block (a value; 0
    outside of rows). `mask`: the columns that exist, where not all do. `tiles`: rows of chunks. `bases`: for an operand of a product the
    addresses of its rows without the last offset."""

    emit: CpuEmitter
    refs: dict[SSAValue, Ref]
    row_tile: SSAValue
    column_tile: SSAValue
    rows: int
    columns: int
    column: SSAValue
    valid_rows: SSAValue
    row: SSAValue
    indices: dict[SSAValue, SSAValue]
    mask: Chunks | None = None
    tiles: dict[SSAValue, list[Chunks]] = field(default_factory=dict)
    bases: dict[tile.LoadOp, list[SSAValue]] = field(default_factory=dict)

    def inner(self, **changes: object) -> Place:
        """A scope in this one: what is computed there stays there."""
        return replace(self, indices=dict(self.indices), tiles=dict(self.tiles), bases=dict(self.bases), **changes)  # type: ignore[arg-type]

    def index(self, value: SSAValue) -> SSAValue:
        """An index of the tile level as an i64."""
        if value in self.indices:
            return self.indices[value]
        match value.owner:
            case arith.ConstantOp(value=IntegerAttr() as number):
                return self.emit.integer(number.value.data)
            case Operation(properties=properties) as op if op.name.startswith("arith."):
                operands = [self.index(v) for v in op.operands]
                made = type(op).create(operands=operands, result_types=[i64], properties=properties)
                return self.emit.insert(made).results[0]
        raise PassFailure("an offset is neither an argument of the grid or a loop nor computed by arith")

    def base(self, op: tile.LoadOp) -> SSAValue:
        """The address of a load's offsets but the last."""
        ref = self.refs[op.source]
        if ref.type.access.kind == "window":
            return self._table_row(op, self.row)
        return self.address(ref, op.indices[:-1])

    def operand_row(self, op: tile.LoadOp, number: int) -> SSAValue:
        """The address of row `number` of a product's first operand, without the last offset; the last row for those that do not exist."""
        emit, ref, dim = self.emit, self.refs[op.source], op.get_dims()[0]
        if ref.type.access.kind == "window":
            return self._table_row(op, emit.integer(number))
        offsets = [self.index(index) for index in op.indices[:-1]]
        last = emit.binary(arith.SubiOp, ref.extents[dim], emit.integer(1))
        offsets[dim] = emit.minimum(emit.add(offsets[dim], emit.integer(number)), last)
        return self._at(ref, offsets)

    def address(self, ref: Ref, indices: Sequence[SSAValue]) -> SSAValue:
        """The address at these offsets (of the dims from the first on) of a plain ref."""
        return self._at(ref, [self.index(index) for index in indices])

    def _at(self, ref: Ref, offsets: Sequence[SSAValue]) -> SSAValue:
        pointer = ref.pointer
        for offset, stride in zip(offsets, [*ref.strides, self.emit.integer(1)], strict=False):
            pointer = self.emit.address(pointer, self.emit.mul(offset, stride), ref.type.element_type)
        return pointer

    def knows(self, indices: Sequence[SSAValue]) -> bool:
        """Whether these offsets have a value here."""
        return all(index in self.indices or not isinstance(index, BlockArgument) for index in indices)

    def panel(self, op: tile.LoadOp) -> SSAValue:
        """The address of the panel of packed weights [N/P, T, K, P] under this block's columns, at a load's tap."""
        emit, ref = self.emit, self.refs[op.source]
        if ref.type.access.panel != self.columns:
            reason = f"panels of {ref.type.access.panel} in a block of {self.columns} columns"
            raise error_at(op, reason, "pack for the block")
        number = emit.add(emit.mul(self.column_tile, ref.extents[1]), self.index(op.indices[1]))
        start = emit.mul(emit.mul(number, ref.extents[2]), emit.integer(self.columns))
        return emit.address(ref.pointer, start, ref.type.element_type)

    def _table_row(self, op: tile.LoadOp, row: SSAValue) -> SSAValue:
        """The address of a window's row under the load's tap, from the table [tile][tap][row]."""
        ref, emit = self.refs[op.source], self.emit
        taps, rows = ref.extents[1], emit.integer(self.rows)
        first = emit.mul(emit.add(emit.mul(self.row_tile, taps), self.index(op.indices[1])), rows)
        return emit.load(emit.address(ref.pointer, emit.add(first, row), POINTER), POINTER, 8)


def column_mask(emit: CpuEmitter, valid: SSAValue, columns: int) -> Chunks:
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
