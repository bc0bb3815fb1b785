"""Reductions, scans, orders and normalisations on arrays. What rounds is computed in float64 and rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.ops_normalise import BatchNormOp, LrnOp, NormalizeOp, SoftmaxOp
from stepwell.dialects.graph.ops_reduction import ArgReduceOp, CumulativeOp, ReduceOp, TopKOp
from stepwell.dialects.numpy_types import Array, highest_of, is_float_dtype, lowest_of

UFUNCS: dict[str, Any] = {
    "sum": np.add,
    "product": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}


def identity_of(kind: str, dtype: np.dtype[Any]) -> Any:
    """What a reduction of nothing gives."""
    match kind:
        case "max":
            return lowest_of(dtype)
        case "min":
            return highest_of(dtype)
        case "and":
            return np.invert(np.zeros((), dtype))[()]
    return dtype.type(kind == "product")


def _wide(x: Array) -> Array:
    """Floats as float64; integers as they are."""
    return x.astype(np.float64, copy=False) if is_float_dtype(x.dtype) else x


def _reduce(op: ReduceOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = _wide(operands[0])
    if not op.dims:
        return (operands[0],)
    initial = identity_of(op.kind, x.dtype)
    made = UFUNCS[op.kind].reduce(x, axis=op.dims, dtype=x.dtype, initial=initial)
    return (settings.rounded(np.asarray(made), op.result.type),)


def _arg_reduce(op: ArgReduceOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = _wide(operands[0])
    x = np.flip(x, op.dim) if op.last else x
    found = np.argmax(x, op.dim) if op.kind == "max" else np.argmin(x, op.dim)
    return (np.asarray(x.shape[op.dim] - 1 - found if op.last else found, np.int64),)


def _cumulative(op: CumulativeOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = _wide(operands[0])
    x = np.moveaxis(np.flip(x, op.dim) if op.reverse else x, op.dim, 0)
    made = UFUNCS[op.kind].accumulate(x, axis=0, dtype=x.dtype)
    if op.exclusive and x.shape[0]:
        first = np.full((1, *x.shape[1:]), identity_of(op.kind, x.dtype), x.dtype)
        made = np.concatenate([first, made[:-1]])
    made = np.moveaxis(made, 0, op.dim)
    return (settings.rounded(np.ascontiguousarray(np.flip(made, op.dim) if op.reverse else made), op.result.type),)


def descending(x: Array, dim: int) -> Array:
    """The positions of the elements in falling order, the lower position first among equals, NaN before everything."""
    flipped = np.flip(x, dim)
    order = np.flip(np.argsort(flipped, axis=dim, kind="stable"), dim)
    return x.shape[dim] - 1 - order


def _top_k(op: TopKOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = _wide(operands[0])
    order = descending(x, op.dim) if op.largest else np.argsort(x, axis=op.dim, kind="stable")
    positions = order.take(np.arange(op.k), axis=op.dim)
    return np.take_along_axis(operands[0], positions, op.dim), positions.astype(np.int64)


def _softmax(op: SoftmaxOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = operands[0].astype(np.float64)
    return (settings.rounded(softmax(x, op.dims, op.log), op.result.type),)


def softmax(x: Array, dims: Sequence[int], log: bool = False) -> Array:
    """Softmax, or its logarithm, over the dims together."""
    axes = tuple(dims)
    shifted = x - x.max(axis=axes, keepdims=True, initial=-np.inf) if axes else x - x
    powers = np.exp(shifted)
    total = powers.sum(axis=axes, keepdims=True) if axes else powers
    return np.asarray(shifted - np.log(total) if log else powers / total)


def _normalize(op: NormalizeOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, axes = operands[0].astype(np.float64), tuple(op.dims)
    count = np.float64(prod(x.shape[axis] for axis in axes))
    mean = (x if op.center else np.zeros_like(x)).sum(axis=axes, keepdims=True) / count
    variance = np.square(x - mean).sum(axis=axes, keepdims=True) / count
    inverse = 1 / np.sqrt(variance + op.epsilon)
    made = ((x - mean) * inverse, mean.squeeze(axes), inverse.squeeze(axes))
    return tuple(settings.rounded(np.asarray(a), r.type) for a, r in zip(made, op.results, strict=True))


def _batch_norm(op: BatchNormOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = operands[0]
    scale, bias, mean, variance = (operand.astype(np.float64) for operand in operands[1:])
    factor = scale / np.sqrt(variance + op.epsilon)
    aligned = [1] * x.ndim
    aligned[op.dim] = -1
    made = (x.astype(np.float64) - mean.reshape(aligned)) * factor.reshape(aligned) + bias.reshape(aligned)
    return (settings.rounded(made, op.result.type),)


def _lrn(op: LrnOp, operands: Sequence[Array], settings: Settings) -> Results:
    dim = operands[0].ndim - 1 if op.layout == "channels_last" else 1
    x = np.moveaxis(operands[0].astype(np.float64), dim, 0)
    below, above = (op.size - 1) // 2, op.size // 2
    squares = np.pad(np.square(x), [(below, above)] + [(0, 0)] * (x.ndim - 1))
    total = sum((squares[i : i + x.shape[0]] for i in range(op.size)), np.zeros_like(x))
    made = x / np.power(op.k + op.alpha / op.size * total, op.beta)
    return (settings.rounded(np.ascontiguousarray(np.moveaxis(made, 0, dim)), op.result.type),)


TABLE: Table = {
    ReduceOp: _reduce,
    ArgReduceOp: _arg_reduce,
    CumulativeOp: _cumulative,
    TopKOp: _top_k,
    SoftmaxOp: _softmax,
    NormalizeOp: _normalize,
    BatchNormOp: _batch_norm,
    LrnOp: _lrn,
}
