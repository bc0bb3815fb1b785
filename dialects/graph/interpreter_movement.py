"""Ops that move data, on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from stepwell.dialects import numerics
from stepwell.dialects.graph.interpretation import Results, Settings, Table, accumulator
from stepwell.dialects.graph.ops_index import GatherOp, ScatterOp
from stepwell.dialects.graph.ops_movement import BroadcastOp, ReshapeOp, TransposeOp, WeightOp
from stepwell.dialects.graph.ops_slice import ConcatOp, ConstantOp, IotaOp, PadOp, ReverseOp, SliceOp
from stepwell.dialects.numpy_types import Array, is_float_dtype
from stepwell.runtime.errors import ModelError


def _weight(op: WeightOp, operands: Sequence[Array], settings: Settings) -> Results:
    if settings.weights is None:
        raise ModelError(
            "the value of a weight is needed and none was given",
            where=op.ref.source.data,
            hint="give the weights: --weights FILE.safetensors or --weights random:0",
        )
    return (settings.weights.evaluate(op.ref).astype(settings.dtype(op.result.type), copy=False),)


def _constant(op: ConstantOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (op.array.astype(settings.dtype(op.result.type), copy=False),)


def _iota(op: IotaOp, operands: Sequence[Array], settings: Settings) -> Results:
    shape = settings.shape(op.result.type)
    aligned = [extent if dim == op.dim else 1 for dim, extent in enumerate(shape)]
    index = np.arange(shape[op.dim], dtype=np.int64).astype(settings.dtype(op.result.type))
    return (np.broadcast_to(index.reshape(aligned), shape),)


def _broadcast(op: BroadcastOp, operands: Sequence[Array], settings: Settings) -> Results:
    shape = settings.shape(op.result.type)
    aligned = [1] * len(shape)
    for position, dim in enumerate(op.dims):
        aligned[dim] = operands[0].shape[position]
    return (np.broadcast_to(operands[0].reshape(aligned), shape),)


def _reshape(op: ReshapeOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (operands[0].reshape(settings.shape(op.result.type)),)


def _transpose(op: TransposeOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (operands[0].transpose(op.permutation).copy(),)


def _slice(op: SliceOp, operands: Sequence[Array], settings: Settings) -> Results:
    (x,) = operands
    extents = [x.shape[dim] if extent < 0 else extent for dim, extent in enumerate(op.extents)]
    parts = zip(op.begins, extents, op.strides, strict=True)
    return (x[tuple(slice(begin, begin + extent * stride, stride) for begin, extent, stride in parts)].copy(),)


def _reverse(op: ReverseOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (np.flip(operands[0], op.dims).copy() if op.dims else operands[0],)


def _concat(op: ConcatOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (np.concatenate(operands, axis=op.dim),)


def _pad(op: PadOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, value = operands
    shape = [extent + low + high for extent, low, high in zip(x.shape, op.low, op.high, strict=True)]
    padded = np.full(shape, value, x.dtype)
    padded[tuple(slice(low, low + extent) for low, extent in zip(op.low, x.shape, strict=True))] = x
    return (padded,)


def _dims_first(x: Array, batch: int, dims: Sequence[int]) -> tuple[Array, tuple[int, ...]]:
    """`x` as [batch.., dims.., others..], and the permutation that did it."""
    others = [dim for dim in range(batch, x.ndim) if dim not in dims]
    order = (*range(batch), *dims, *others)
    return x.transpose(order), order


def _coordinates(indices: Array, batch: int) -> tuple[tuple[Array, ...], list[Array]]:
    """Index arrays of the batch dims, and the components of the indices, that broadcast to [batch.., any..]."""
    lead = indices.shape[:-1]
    grid = tuple(np.arange(lead[d]).reshape([-1 if e == d else 1 for e in range(len(lead))]) for d in range(batch))
    return grid, [indices[..., component].astype(np.int64) for component in range(indices.shape[-1])]


def _gather(op: GatherOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, indices = operands
    moved, _ = _dims_first(x, op.batch, op.dims)
    grid, parts = _coordinates(indices, op.batch)
    shape = (*indices.shape[:-1], *moved.shape[op.batch + len(op.dims) :])
    if 0 in shape:
        return (np.empty(shape, x.dtype),)
    clamped = [np.clip(part, 0, x.shape[dim] - 1) for part, dim in zip(parts, op.dims, strict=True)]
    picked = moved[(*grid, *clamped)] if grid or clamped else np.broadcast_to(moved, shape)
    return (np.broadcast_to(picked, shape).copy(),)


COMBINE: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": numerics.maximumf,
    "min": numerics.minimumf,
}
INTEGER_COMBINE: Mapping[str, Callable[[Any, Any], Any]] = {**COMBINE, "max": np.maximum, "min": np.minimum}


def _scatter(op: ScatterOp, operands: Sequence[Array], settings: Settings) -> Results:
    """Updates of one target come in row-major order: the n-th of every target is combined in the n-th round."""
    x, indices, updates = operands
    moved, order = _dims_first(x, op.batch, op.dims)
    result = np.ascontiguousarray(moved).astype(accumulator(x.dtype) if op.combine != "none" else x.dtype)
    indexed = op.batch + len(op.dims)
    targets = result.reshape(prod(result.shape[:indexed]), prod(result.shape[indexed:]))
    rows, kept = _rows(indices, op.batch, moved.shape[:indexed])
    sources = updates.reshape(rows.size, targets.shape[1])[kept].astype(result.dtype, copy=False)
    rows = rows[kept]
    if op.combine == "none":
        targets[rows] = sources  # NumPy keeps the last of equal rows
    else:
        _combine(targets, rows, sources, (COMBINE if is_float_dtype(x.dtype) else INTEGER_COMBINE)[op.combine])
    back = np.argsort(order)
    return (targets.reshape(result.shape).transpose(back).astype(x.dtype),)


def _rows(indices: Array, batch: int, extents: Sequence[int]) -> tuple[Array, Array]:
    """The target row of every update, and which updates lie inside."""
    grid, parts = _coordinates(indices, batch)
    lead = indices.shape[:-1]
    components = [np.broadcast_to(part, lead) for part in (*grid, *parts)]
    inside = np.ones(lead, np.bool_)
    row = np.zeros(lead, np.int64)
    for component, extent in zip(components, extents, strict=True):
        inside &= (component >= 0) & (component < extent)
        row = row * extent + component
    return row.reshape(-1), inside.reshape(-1)


def _combine(targets: Array, rows: Array, sources: Array, function: Callable[[Any, Any], Any]) -> None:
    order = np.argsort(rows, kind="stable")
    ranked = rows[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if ranked.size else ranked
    counts = np.diff(np.concatenate([starts, [ranked.size]])) if ranked.size else ranked
    for turn in range(int(counts.max()) if counts.size else 0):
        chosen = order[(starts + turn)[counts > turn]]
        targets[rows[chosen]] = function(targets[rows[chosen]], sources[chosen])


TABLE: Table = {
    WeightOp: _weight,
    ConstantOp: _constant,
    IotaOp: _iota,
    BroadcastOp: _broadcast,
    ReshapeOp: _reshape,
    TransposeOp: _transpose,
    SliceOp: _slice,
    ReverseOp: _reverse,
    ConcatOp: _concat,
    PadOp: _pad,
    GatherOp: _gather,
    ScatterOp: _scatter,
}
