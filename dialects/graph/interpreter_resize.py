"""Interpolation on arrays: resize, sample, pooled regions. Computed in float64 and rounded once.

Kernels and neighbours as ONNX's reference has them: linear 1 - |d|; cubic R. Keys, "Cubic convolution interpolation for digital image
processing", 1981, equation 4 with a free coefficient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.interpreter_contraction import as_layout, channels_last
from stepwell.dialects.graph.ops_resize import ResizeOp, RoiPoolOp, SampleOp
from stepwell.dialects.numpy_types import Array

COORDINATES: Mapping[str, Callable[[Array, float, int, int], Any]] = {
    "half_pixel": lambda i, scale, before, after: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, before, after: (i + 0.5) / scale - 0.5 if after > 1 else 0 * i,
    "align_corners": lambda i, scale, before, after: (
        i * (before - 1) / (scale * before - 1) if scale * before != 1 else 0 * i
    ),
    "asymmetric": lambda i, scale, before, after: i / scale,
    "tf_half_pixel_for_nn": lambda i, scale, before, after: (i + 0.5) / scale,
    "half_pixel_symmetric": lambda i, scale, before, after: (
        before / 2 * (1 - after / (scale * before)) + (i + 0.5) / scale - 0.5
    ),
}
NEAREST: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


MOST_SAMPLES = 4096
"""Most points along a bin of a region, however large its box."""


def linear_kernel(distance: Array) -> Array:
    """1 at 0, 0 from 1 on."""
    return np.clip(1 - np.abs(distance), 0, 1)


def cubic_kernel(distance: Array, a: float) -> Array:
    """Keys' cubic convolution, 0 from 2 on."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _resize(op: ResizeOp, operands: Sequence[Array], settings: Settings) -> Results:
    x = channels_last(operands[0], op.layout)
    made = x if op.mode == "nearest" else x.astype(np.float64)
    for d, (after, scale) in enumerate(zip(op.extents, op.scales, strict=True)):
        made = _resize_dim(op, made, 1 + d, after, scale)
    made = as_layout(made, op.layout)
    return (made if op.mode == "nearest" else settings.rounded(made, op.result.type),)


def _resize_dim(op: ResizeOp, x: Array, dim: int, after: int, scale: float) -> Array:
    before = x.shape[dim]
    if after == before and scale == 1.0 and op.coordinates != "tf_half_pixel_for_nn":
        return x
    where = COORDINATES[op.coordinates](np.arange(after, dtype=np.float64), scale, before, after)
    if op.mode == "nearest":
        return x.take(np.clip(NEAREST[op.rounding](where), 0, before - 1).astype(np.int64), axis=dim)
    places, weights = _neighbours(op, where, scale)
    if op.exclude_outside:
        weights = weights * ((places >= 0) & (places < before))
    weights = weights / weights.sum(axis=1, keepdims=True)
    places = np.clip(places, 0, before - 1)
    aligned = [-1 if d == dim else 1 for d in range(x.ndim)]
    total = np.zeros((*x.shape[:dim], after, *x.shape[dim + 1 :]))
    for tap in range(places.shape[1]):
        total += x.take(places[:, tap], axis=dim) * weights[:, tap].reshape(aligned)
    return total


def _neighbours(op: ResizeOp, where: Array, scale: float) -> tuple[Array, Array]:
    """For each position the elements that count, [after, taps], and what each weighs."""
    shrink = min(scale, 1.0) if op.antialias else 1.0
    reach = {"linear": 1, "cubic": 2}[op.mode] / shrink
    taps = np.arange(1 - int(np.ceil(reach)), int(np.ceil(reach)) + 1)
    places = np.floor(where).astype(np.int64)[:, None] + taps
    distance = (places - where[:, None]) * shrink
    return places, linear_kernel(distance) if op.mode == "linear" else cubic_kernel(distance, op.cubic)


def _reflected(x: Array, low: float, high: float) -> Array:
    """Coordinates mirrored at `low` and `high` until they lie between."""
    span = high - low
    if span == 0:
        return np.full_like(x, low)
    steps = np.mod(x - low, 2 * span)
    return low + np.where(steps > span, 2 * span - steps, steps)


def _sample(op: SampleOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, grid = operands[0].astype(np.float64), operands[1].astype(np.float64)
    spatial = x.shape[2:]
    where = [_denormal(grid[..., len(spatial) - 1 - d], extent, op) for d, extent in enumerate(spatial)]
    parts = [_sample_taps(op, w) for w in where]
    total = np.zeros((x.shape[0], x.shape[1], *grid.shape[1:-1]))
    for chosen in product(*(range(places.shape[-1]) for places, _ in parts)):
        weight = np.ones(grid.shape[:-1])
        index, inside = [], np.ones(grid.shape[:-1], np.bool_)
        for (places, weights), tap, extent in zip(parts, chosen, spatial, strict=True):
            place, seen = _placed(op, places[..., tap], extent)
            index.append(place)
            inside &= seen
            weight = weight * weights[..., tap]
        for n in range(x.shape[0]):
            values = x[n][(slice(None), *(place[n] for place in index))]
            total[n] += np.where(inside[n] & (weight[n] != 0), values, 0) * weight[n]
    return (settings.rounded(total, op.result.type),)


def _denormal(coordinate: Array, extent: int, op: SampleOp) -> Array:
    """From [-1, 1] to positions; outside ones moved in as `border` and `reflect` say."""
    if op.align_corners:
        position, low, high = (coordinate + 1) / 2 * (extent - 1), 0.0, extent - 1.0
    else:
        position, low, high = ((coordinate + 1) * extent - 1) / 2, -0.5, extent - 0.5
    if op.mode == "nearest":
        position = np.rint(position)
    outside = (position < low) | (position > high)
    if op.outside == "border":
        return np.where(outside, np.clip(position, 0, extent - 1), position)
    if op.outside == "reflect":
        return np.where(outside, _reflected(position, low, high), position)
    return position


def _sample_taps(op: SampleOp, where: Array) -> tuple[Array, Array]:
    """Neighbours and weights along one dim."""
    if op.mode == "nearest":
        places = np.rint(where)[..., None]
        return places, np.ones_like(places)
    taps = np.arange(0, 2) if op.mode == "linear" else np.arange(-1, 3)
    places = np.floor(where)[..., None] + taps
    distance = places - where[..., None]
    return places, linear_kernel(distance) if op.mode == "linear" else cubic_kernel(distance, -0.75)


def _placed(op: SampleOp, place: Array, extent: int) -> tuple[Array, Array]:
    """Indices inside the input, and which of them count."""
    inside = (place >= 0) & (place <= extent - 1)
    if op.outside == "reflect":
        bounds = (0.0, extent - 1.0) if op.align_corners else (-0.5, extent - 0.5)
        place = np.where(inside, place, _reflected(place, *bounds))
    safe = np.clip(np.nan_to_num(place), 0, extent - 1).astype(np.int64)
    return safe, inside | (op.outside != "zeros")


def _roi_pool(op: RoiPoolOp, operands: Sequence[Array], settings: Settings) -> Results:
    x, boxes, batch = operands[0].astype(np.float64), operands[1].astype(np.float64), operands[2]
    made = np.zeros((boxes.shape[0], x.shape[1], *op.extents))
    pool = _roi_max if op.kind == "max" else _roi_align
    for row, (box, image) in enumerate(zip(boxes, batch, strict=True)):
        if not np.isfinite(box).all():
            made[row] = np.nan
            continue
        made[row] = pool(op, x[int(np.clip(image, 0, x.shape[0] - 1))], box)
    return (settings.rounded(made, op.result.type),)


def _roi_max(op: RoiPoolOp, x: Array, box: Array) -> Array:
    left, top, right, bottom = (int(np.copysign(np.floor(abs(v * op.scale) + 0.5), v)) for v in box)
    made = np.zeros((x.shape[0], *op.extents))
    sizes = (max(bottom - top + 1, 1), max(right - left + 1, 1))
    for bin in product(range(op.extents[0]), range(op.extents[1])):
        parts: list[slice] = []
        for d, start in enumerate((top, left)):
            step = sizes[d] / op.extents[d]
            low, high = int(np.floor(bin[d] * step)) + start, int(np.ceil((bin[d] + 1) * step)) + start
            parts.append(slice(max(0, min(low, x.shape[1 + d])), max(0, min(high, x.shape[1 + d]))))
        cells = x[:, parts[0], parts[1]]
        if cells.size:
            made[:, bin[0], bin[1]] = cells.max(axis=(1, 2))
    return made


def _roi_align(op: RoiPoolOp, x: Array, box: Array) -> Array:
    low = np.array([box[1], box[0]]) * op.scale - op.offset
    size = np.array([box[3] - box[1], box[2] - box[0]]) * op.scale
    size = size if op.offset else np.maximum(size, 1.0)
    points: list[tuple[list[Array], list[Array]]] = []
    for d in range(2):
        count = op.samples or int(np.clip(np.ceil(size[d] / op.extents[d]), 1, MOST_SAMPLES))
        step = size[d] / op.extents[d]
        at = low[d] + (np.arange(op.extents[d])[:, None] + (np.arange(count) + 0.5) / count) * step
        points.append(_bilinear(at.reshape(-1), x.shape[1 + d]))
    if op.kind == "align_average":
        rows, columns = (_mean_weights(*points[d], op.extents[d], x.shape[1 + d]) for d in range(2))
        return np.asarray(rows @ x @ columns.T)
    return _largest_corners(x, points, op.extents)


def _mean_weights(places: list[Array], weights: list[Array], bins: int, extent: int) -> Array:
    """How much each element of a dim counts in the mean over each bin's points: [bins, extent]."""
    count = places[0].size // bins
    bin = np.repeat(np.arange(bins), count)
    total = np.zeros((bins, extent))
    for place, weight in zip(places, weights, strict=True):
        np.add.at(total, (bin, place), weight / count)
    return total


def _largest_corners(x: Array, points: list[tuple[list[Array], list[Array]]], bins: Sequence[int]) -> Array:
    """The largest weighted neighbour of any point of each bin, one row of points after the other."""
    (rows, row_weights), (columns, column_weights) = points
    made = np.full((x.shape[0], *bins), -np.inf)
    count = rows[0].size // bins[0]
    for point in range(rows[0].size):
        for i, j in product(range(2), range(2)):
            part = x[:, rows[i][point], columns[j]] * (row_weights[i][point] * column_weights[j])
            most = part.reshape(x.shape[0], bins[1], part.shape[1] // bins[1]).max(axis=2)
            made[:, point // count] = np.maximum(made[:, point // count], most)
    return made


def _bilinear(at: Array, extent: int) -> tuple[list[Array], list[Array]]:
    """The two neighbours of each point and their weights; none for points more than one element outside."""
    counts = (at >= -1) & (at <= extent)
    inside = np.clip(at, 0, extent - 1)
    first = np.floor(inside).astype(np.int64)
    share = inside - first
    return [first, np.minimum(first + 1, extent - 1)], [(1 - share) * counts, share * counts]


TABLE: Table = {ResizeOp: _resize, SampleOp: _sample, RoiPoolOp: _roi_pool}
