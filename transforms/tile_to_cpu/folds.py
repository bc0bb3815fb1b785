"""Rows that are folded: which elements exist, counts along a row, and the fold of a row's lanes into one number."""

from __future__ import annotations

from typing import Any, cast

from xdsl.dialects import arith, llvm, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    IntegerAttr,
    IntegerType,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import llvm_extra, tile
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.accesses import chunk_type, element_of, tile_shape
from stepwell.transforms.tile_to_cpu.emitter import chunk_width
from stepwell.transforms.tile_to_cpu.place import Place

_FLOATS: dict[str, type[Operation]] = {
    "add": arith.AddfOp,
    "mul": arith.MulfOp,
    "max": arith.MaximumfOp,
    "min": arith.MinimumfOp,
}
_INTEGERS: dict[str, type[Operation]] = {
    "add": arith.AddiOp,
    "mul": arith.MuliOp,
    "max": arith.MaxSIOp,
    "min": arith.MinSIOp,
    "and": arith.AndIOp,
    "or": arith.OrIOp,
}


def lower_inside(op: tile.InsideOp, at: Place) -> None:
    """The columns that exist: known where the row was cut into chunks."""
    rows, columns = tile_shape(op.result)
    if rows != 1 or columns != at.columns or at.indices.get(op.indices[op.get_dims()[-1]]) is not at.column:
        raise error_at(op, "asks for elements that are not the chunk of a row")
    width = chunk_width(columns)
    every = at.emit.splat(IntegerAttr(1, i1), VectorType(i1, [width]))
    at.tiles[op.result] = [list(at.mask) if at.mask is not None else [every] * (columns // width)]


def lower_reduce(op: tile.ReduceOp, at: Place) -> None:
    """Chunk by chunk, then half by half, to one number."""
    rows = at.tiles[op.source]
    if op.get_dims() != (1,) or len(rows) != 1:
        raise error_at(op, f"folds along dims {list(op.get_dims())}: a row is folded on the CPU, one at a time")
    element = element_of(op.source)
    fold = (_FLOATS if isinstance(element, AnyFloat) else _INTEGERS)[op.kind.data]
    made, *others = rows[0]
    for chunk in others:
        made = at.emit.binary(fold, made, chunk)
    width = chunk_width(tile_shape(op.source)[1])
    while width > 1:
        width //= 2
        low, high = (_lanes(made, start, width, at) for start in (0, width))
        made = at.emit.binary(fold, low, high)
    number: SSAValue = at.emit.insert(llvm_extra.ExtractElementOp(made, at.emit.integer(0))).res
    if op.init is not None:
        number = at.emit.binary(fold, number, at.tiles[op.init][0][0])
    at.tiles[op.result] = [[number]]


def _lanes(value: SSAValue, start: int, count: int, at: Place) -> SSAValue:
    element = value.type.element_type  # type: ignore[attr-defined]
    mask = DenseArrayBase.from_list(i32, list(range(start, start + count)))
    return at.emit.insert(llvm.ShuffleVectorOp(value, value, mask, VectorType(element, [count]))).res


def lower_iota(op: tile.IotaOp, at: Place) -> None:
    """Counts along the columns from the offset on; along the one row the offset alone."""
    emit, of = at.emit, element_of(op.result)
    rows, columns = tile_shape(op.result)
    shape = op.result.type.get_shape()
    if rows != 1:
        raise error_at(op, "counts in several rows", "run tile-split-rows")
    start = emit.integer(0) if op.offset is None else at.index(op.offset)
    first = _as(start, of, at)
    along = op.dim.value.data == len(shape) - 1
    if shape == (1,):
        at.tiles[op.result] = [[first]]
        return
    kind = chunk_type(op.result)
    width = chunk_width(columns)
    spread = emit.insert(vector.BroadcastOp(first, kind)).vector
    chunks = []
    for column in range(0, columns, width):
        counted = list(range(column, column + width)) if along else [0] * width
        lanes = emit.constant(DenseIntOrFPElementsAttr.from_list(cast(Any, kind), counted), kind)
        chunks.append(emit.binary(arith.AddiOp, spread, lanes))
    at.tiles[op.result] = [chunks]


def _as(value: SSAValue, of: Attribute, at: Place) -> SSAValue:
    """An i64 in another integer type."""
    assert isinstance(of, IntegerType)
    if of == i64:
        return value
    return at.emit.insert(arith.TruncIOp(value, of)).result
