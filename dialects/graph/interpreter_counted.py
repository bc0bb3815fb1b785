"""Ops of counted extent, plugins and collectives on arrays; arrays have the true counts."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from stepwell.dialects.graph.checks import tensor
from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.ops_counted import (
    CompactOp,
    ExtentOp,
    FillTailOp,
    NonMaxSuppressionOp,
    PrefixOp,
    UniqueOp,
)
from stepwell.dialects.graph.ops_extension import CollectiveOp, CustomOp
from stepwell.dialects.graph.plugins import find_plugin
from stepwell.dialects.numpy_types import Array, is_float_dtype, numpy_dtype
from stepwell.runtime.errors import ModelError


def _extent(op: ExtentOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (np.asarray(operands[0].shape[op.dim], np.int64),)


def _prefix(op: PrefixOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = operands[0]
    count = int(np.clip(operands[1], 0, x.shape[op.dim]))
    return (x.take(np.arange(count), axis=op.dim),)


def _fill_tail(op: FillTailOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, value = operands
    shape = (*x.shape[: op.dim], int(tensor(op.result, "the result").shape[op.dim]), *x.shape[op.dim + 1 :])
    filled = np.full(shape, value, x.dtype)
    filled[(slice(None),) * op.dim + (slice(0, x.shape[op.dim]),)] = x
    return (filled,)


def _compact(op: CompactOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (operands[0].compress(operands[1], axis=op.dim),)


def _unique(op: UniqueOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = operands[0].reshape(-1) if op.dim is None else operands[0]
    dim = op.dim or 0
    rows = np.moveaxis(x, dim, 0).reshape(x.shape[dim], prod(x.shape[:dim] + x.shape[dim + 1 :]))
    rows = rows.astype(np.float64) if is_float_dtype(x.dtype) else rows
    keys = tuple(rows.T[::-1]) if rows.shape[1] else (np.zeros(len(rows)),)
    order = np.lexsort(keys)
    changes = np.any(rows[order][1:] != rows[order][:-1], axis=1)
    group = np.concatenate([[0], np.cumsum(changes)]) if len(order) else np.zeros(0, np.int64)
    inverse = np.empty(len(order), np.int64)
    inverse[order] = group
    count = int(group[-1]) + 1 if len(order) else 0
    first = np.full(count, len(order), np.int64)
    np.minimum.at(first, inverse, np.arange(len(order)))
    rank = np.arange(count) if op.sorted else np.argsort(first, kind="stable")
    place = np.empty(count, np.int64)
    place[rank] = np.arange(count)
    counts = np.bincount(inverse, minlength=count).astype(np.int64)
    return x.take(first[rank], axis=dim), first[rank], place[inverse] if count else inverse, counts[rank]


def _corners(boxes: Array, center: bool) -> Array:
    """[N, 4] as low and high corners."""
    if center:
        x, y, width, height = boxes.T
        return np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], axis=1)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def _overlap(box: Array, others: Array) -> Array:
    """Intersection over union of one box with others; 0 where there is no area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inner = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2]) - inner
    return np.where((inner > 0) & (areas > 0), inner / np.where(areas > 0, areas, 1), 0.0)


def suppress(boxes: Array, scores: Array, op: NonMaxSuppressionOp) -> list[int]:
    """The boxes of one class that are kept, from the highest score."""
    corners, kept = _corners(boxes.astype(np.float64), op.center), list[int]()
    order = np.argsort(-scores.astype(np.float64), kind="stable")
    for box in order:
        if len(kept) == op.most or (op.score is not None and not scores[box] > op.score):
            break
        if not (_overlap(corners[box], corners[kept]) > op.iou).any():
            kept.append(int(box))
    return kept


def _non_max_suppression(op: NonMaxSuppressionOp, operands: Sequence[Array], settings: Settings) -> Results:
    boxes, scores = operands
    rows = [
        (batch, kind, box)
        for batch in range(scores.shape[0])
        for kind in range(scores.shape[1])
        for box in suppress(boxes[batch], scores[batch, kind], op)
    ]
    return (np.array(rows, np.int64).reshape(len(rows), 3),)


def _custom(op: CustomOp, operands: Sequence[Array], settings: Settings) -> Results:
    plugin = find_plugin(op.namespace.data, op.plugin.data, op.version.data, missing_ok=True)
    if plugin is None:
        raise ModelError(
            f'plugin "{op.plugin.data}", version {op.version.data}, is not loaded',
            where=op.name,
            hint="import the module that defines it before",
        )
    exact = [array.astype(numpy_dtype(value.type)) for array, value in zip(operands, op.inputs, strict=True)]
    made = plugin.run(exact, op.parameters.data)
    return tuple(np.asarray(a).astype(settings.dtype(r.type)) for a, r in zip(made, op.outputs, strict=True))


def _collective(op: CollectiveOp, operands: Sequence[Array], settings: Settings) -> Results:
    if len(op.group) == 1:
        return (operands[0],)
    if settings.exchange is None:
        raise ModelError(
            f"the group has {len(op.group)} ranks, one is run",
            where=op.name,
            hint="run all of them: dialects.graph.ranks.interpret_ranks",
        )
    return (settings.exchange(op, operands[0]),)


TABLE: Table = {
    ExtentOp: _extent,
    PrefixOp: _prefix,
    FillTailOp: _fill_tail,
    CompactOp: _compact,
    UniqueOp: _unique,
    NonMaxSuppressionOp: _non_max_suppression,
    CustomOp: _custom,
    CollectiveOp: _collective,
}
