"""Loops over the dims of a ref, with carried tiles in registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import tile
from stepwell.transforms.kernel_to_llvm.conversion import error_at
from stepwell.transforms.tile_to_cpu.place import Chunks, Place, column_mask

LowerOps = Callable[[Iterable[Operation], Place], None]


def lower_for(op: tile.ForOp, at: Place, lower_ops: LowerOps) -> None:
    """The loop nest of `op`; what the last iteration yields is carried out of it."""
    carried = [at.tiles[value] for value in op.inits]
    counts = [[len(row) for row in rows] for rows in carried]
    flat = [chunk for rows in carried for row in rows for chunk in row]
    results = _nest(op, at.inner(), flat, counts, lower_ops)
    at.tiles |= dict(zip(op.carried, _unflatten(results, counts), strict=True))


def _nest(
    op: tile.ForOp, at: Place, flat: Chunks, counts: list[list[int]], lower_ops: LowerOps, level: int = 0
) -> Chunks:
    """The loops from `level` inwards. Addresses of a product's operands are made outside of the innermost loop, as soon as all offsets but
    the last are known."""
    dims, step = op.get_dims(), op.get_steps()[level]
    if step != 1 and (level != len(dims) - 1 or at.mask is not None or at.columns != 1):
        raise error_at(op, f"steps by {step}: CPU loops go one by one, but for chunks of a row", "k = 1 in the config")
    _find_bases(op, at)
    end = at.refs[op.over].extents[dims[level]]

    def inside(offset: SSAValue, carried: Chunks, inner: Place) -> Chunks:
        offset.name_hint = op.offsets[level].name_hint
        inner.indices[op.offsets[level]] = offset
        if level < len(dims) - 1:
            return _nest(op, inner, carried, counts, lower_ops, level + 1)
        inner.tiles |= dict(zip(op.iter_args, _unflatten(carried, counts), strict=True))
        *ops, last = op.body.block.ops
        lower_ops(ops, inner)
        return [chunk for value in last.operands for row in inner.tiles[value] for chunk in row]

    if step == 1:
        return at.emit.loop(at.emit.integer(0), end, flat, lambda offset, carried: inside(offset, carried, at.inner()))
    return _chunked(at, end, step, flat, inside)


def _chunked(
    at: Place, end: SSAValue, step: int, flat: Chunks, inside: Callable[[SSAValue, Chunks, Place], Chunks]
) -> Chunks:
    """The chunks of a row: those that are whole, then the one that reaches beyond its end, where there is one, with a mask."""
    emit = at.emit
    whole = emit.binary(arith.DivUIOp, end, emit.integer(step))

    def chunk(number: SSAValue, carried: Chunks) -> Chunks:
        column = emit.mul(number, emit.integer(step))
        return inside(column, carried, at.inner(column=column, columns=step))

    def edge(number: SSAValue, carried: Chunks) -> Chunks:
        column = emit.mul(number, emit.integer(step))
        mask = column_mask(emit, emit.binary(arith.SubiOp, end, column), step)
        return inside(column, carried, at.inner(column=column, columns=step, mask=mask))

    carried = emit.loop(emit.integer(0), whole, flat, chunk)
    return emit.loop(whole, emit.ceil_div(end, step), carried, edge)


def _find_bases(op: tile.ForOp, at: Place) -> None:
    for load in op.body.block.ops:
        if not isinstance(load, tile.LoadOp) or load in at.bases or not isinstance(load.result.type, tile.TileType):
            continue
        home, known = load.result.type.home, at.knows(load.indices[:-1])
        if home is tile.Residence.PACKED and known:
            at.bases[load] = [at.panel(load)]
        elif home is tile.Residence.IN_PLACE and known:
            rows = range(load.result.type.get_shape()[0])
            at.bases[load] = [at.operand_row(load, row) for row in rows]


def _unflatten(flat: Chunks, counts: list[list[int]]) -> list[list[Chunks]]:
    values = iter(flat)
    return [[[next(values) for _ in range(chunks)] for chunks in rows] for rows in counts]
