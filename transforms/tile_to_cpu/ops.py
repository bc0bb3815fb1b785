"""One function per op of a CPU kernel: what it emits at a place. Tiles are rows of vectors; only what a product adds up is ever more than one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from xdsl.dialects import arith, math, vector
from xdsl.dialects.builtin import VectorType, f32, i32
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.passes import PassFailure
from stepwell.transforms.emit.vectorise import vectorised
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.accesses import (
    chunk_addresses,
    chunk_type,
    element_of,
    is_one,
    lower_load,
    lower_store,
    tile_shape,
)
from stepwell.transforms.tile_to_cpu.emitter import chunk_width
from stepwell.transforms.tile_to_cpu.folds import lower_inside, lower_iota, lower_reduce
from stepwell.transforms.tile_to_cpu.loops import lower_for
from stepwell.transforms.tile_to_cpu.place import Chunks, Place


def lower_ops(ops: Iterable[Operation], at: Place) -> None:
    """Emit these ops in order."""
    for op in ops:
        if op.name.startswith("arith.") or isinstance(op, tile.WaitPredecessorOp):
            continue  # offsets are made where they are needed; the barrier between kernels is the wait
        if type(op) not in RULES:
            raise PassFailure(f"{op.name} has no form by rows on the CPU")
        with at.emit.at(op):
            RULES[type(op)](op, at)
        for result in op.results:
            for chunk in (chunk for row in at.tiles.get(result, ()) for chunk in row):
                chunk.name_hint = chunk.name_hint or result.name_hint


def _mma(op: tile.MmaOp, at: Place) -> None:
    """One step of the reduction: a row of the panel, times one element of each row of A."""
    emit, (panel,) = at.emit, at.tiles[op.b]
    total = element_of(op.c)
    if total not in (f32, i32):
        raise error_at(op, f"accumulates in {op.c.type}, CPU kernels in f32 or i32", "precision=fp32")
    sums: list[Chunks] = []
    for (scalar,), row in zip(at.tiles[op.a], at.tiles[op.c], strict=True):
        spread = emit.insert(vector.BroadcastOp(scalar, chunk_type(op.c))).vector
        sums.append([_multiply_add(spread, b, c, at) for b, c in zip(panel, row, strict=True)])
    at.tiles[op.result] = sums


def _multiply_add(a: SSAValue, b: SSAValue, c: SSAValue, at: Place) -> SSAValue:
    """a * b + c on vectors: whole numbers wrap, floats are rounded once."""
    if c.type.element_type == i32:  # type: ignore[attr-defined]
        return at.emit.add(at.emit.mul(a, b), c)
    return at.emit.insert(math.FmaOp(a, b, c)).result


def _fill(op: tile.FillOp, at: Place) -> None:
    if is_one(op.result):
        at.tiles[op.result] = [[at.emit.constant(op.value, element_of(op.result))]]
        return
    at.tiles[op.result] = _repeated(op.result, at.emit.splat(op.value, chunk_type(op.result)))


def _repeated(value: SSAValue, chunk: SSAValue) -> list[Chunks]:
    """A tile whose chunks are all the same."""
    rows, columns = tile_shape(value)
    return [[chunk] * (columns // chunk_width(columns))] * rows


def _broadcast(op: tile.BroadcastOp, at: Place) -> None:
    """A row for all rows, or one element for a whole row."""
    (row,) = at.tiles[op.source]
    if isinstance(row[0].type, VectorType):
        at.tiles[op.result] = [row] * tile_shape(op.result)[0]
        return
    spread = at.emit.insert(vector.BroadcastOp(row[0], chunk_type(op.result))).vector
    at.tiles[op.result] = _repeated(op.result, spread)


def _map(op: tile.MapOp, at: Place) -> None:
    if not op.inputs:
        width = 0 if is_one(op.result) else chunk_type(op.result).get_shape()[0]
        at.tiles[op.result] = _repeated(op.result, _mapped(op, [], width, at))
        return
    rows = zip(*(at.tiles[value] for value in op.inputs), strict=True)
    at.tiles[op.result] = [
        [_mapped(op, list(chunks), _lanes(chunks[0]), at) for chunks in zip(*row, strict=True)] for row in rows
    ]


def _lanes(chunk: SSAValue) -> int:
    """Lanes of a chunk; 0 for a scalar."""
    return chunk.type.get_shape()[0] if isinstance(chunk.type, VectorType) else 0


def _mapped(op: tile.MapOp, operands: Chunks, width: int, at: Place) -> SSAValue:
    """The body on vectors of `width` lanes, or on scalars."""
    values: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, operands, strict=True))
    for scalar in op.body.block.ops:
        if isinstance(scalar, tile.YieldOp):
            return values[scalar.arguments[0]]
        if isinstance(scalar, arith.ConstantOp):
            kind = scalar.result.type
            values[scalar.result] = (
                at.emit.splat(scalar.value, VectorType(kind, [width]))
                if width
                else at.emit.constant(scalar.value, kind)
            )
            continue
        given = [values[v] for v in scalar.operands]
        made = vectorised(scalar, given, width) if width else scalar.clone(dict(zip(scalar.operands, given)))
        values[scalar.results[0]] = at.emit.insert(made).results[0]
    raise error_at(op, "the body yields nothing")


def _for(op: tile.ForOp, at: Place) -> None:
    lower_for(op, at, lower_ops)


def _for_rows(op: tile.ForRowsOp, at: Place) -> None:
    """Each row of a whole block straight from registers, or the rows that exist in a loop, taken tiles through memory."""
    start = at.index(op.start)
    if op.unrolled is not None and at.mask is None:
        for number in range(op.count):
            taken: dict[SSAValue, list[Chunks]] = {
                arg: [at.tiles[value][number]] for arg, value in zip(op.taken, op.tiles, strict=True)
            }
            _one_row(op, at, at.emit.integer(number), start, taken)
        return
    lines = {arg: _in_memory(arg, at.tiles[value], at) for arg, value in zip(op.taken, op.tiles, strict=True)}

    def body(number: SSAValue, _: Chunks) -> Chunks:
        taken: dict[SSAValue, list[Chunks]] = {arg: [_line(arg, lines[arg], number, at)] for arg in op.taken}
        _one_row(op, at, number, start, taken)
        return []

    at.emit.loop(at.emit.integer(0), at.valid_rows, [], body)


def _one_row(
    op: tile.ForRowsOp, at: Place, number: SSAValue, start: SSAValue, taken: dict[SSAValue, list[Chunks]]
) -> None:
    inner = at.inner(row=number)
    inner.indices[op.offset] = at.emit.add(start, number)
    inner.tiles |= taken
    lower_ops(op.body.block.ops, inner)


def _in_memory(argument: SSAValue, rows: list[Chunks], at: Place) -> SSAValue:
    """All rows of a tile, stored one behind the other."""
    columns, element = tile_shape(argument)[1], element_of(argument)
    base = at.emit.scratch(len(rows) * columns, element, argument)
    for number, row in enumerate(rows):
        for chunk, address in zip(row, chunk_addresses(at, at.emit.address(base, number * columns, element), argument)):
            at.emit.store(chunk, address, element_bytes(element))
    return base


def _line(argument: SSAValue, base: SSAValue, number: SSAValue, at: Place) -> Chunks:
    """A row of what `_in_memory` stored."""
    columns, of = tile_shape(argument)[1], chunk_type(argument)
    start = at.emit.address(base, at.emit.mul(number, at.emit.integer(columns)), of.element_type)
    return [
        at.emit.load(address, of, element_bytes(of.element_type)) for address in chunk_addresses(at, start, argument)
    ]


RULES: Mapping[type[Operation], Callable[[Any, Place], None]] = MappingProxyType(
    {
        tile.LoadOp: lower_load,
        tile.StoreOp: lower_store,
        tile.FillOp: _fill,
        tile.BroadcastOp: _broadcast,
        tile.MapOp: _map,
        tile.MmaOp: _mma,
        tile.InsideOp: lower_inside,
        tile.ReduceOp: lower_reduce,
        tile.IotaOp: lower_iota,
        tile.ForOp: _for,
        tile.ForRowsOp: _for_rows,
    }
)
"""What each op becomes."""
