"""Convolution and pooling on NumPy arrays, any number of spatial dims, channels last: what the interpreter computes with.

Strided views (`sliding_window_view`) in place of loops. Products of f16 and f32 accumulate in float32, f64 in float64, integers in the
result's type, so sums of small integers are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stepwell.dialects import numerics
from stepwell.dialects.numpy_types import Array, is_float_dtype, lowest_of

Ints = Sequence[int]


def patches(x: Array, kernel: Ints, strides: Ints, begins: Ints, dilations: Ints, out: Ints, fill: Any) -> Array:
    """Windows of x [N,*,C] as a view [N,*out,C,*kernel]; positions outside x hold `fill`."""
    rank = len(kernel)
    spans = [(kernel[d] - 1) * dilations[d] + 1 for d in range(rank)]
    needed = [(out[d] - 1) * strides[d] + spans[d] for d in range(rank)]
    ends = [max(0, needed[d] - x.shape[1 + d] - begins[d]) for d in range(rank)]
    padded = np.pad(x, [(0, 0), *zip(begins, ends, strict=True), (0, 0)], constant_values=fill)
    axes = tuple(range(1, 1 + rank))
    windows: Array = sliding_window_view(padded, spans, axis=axes)
    every = tuple(slice(0, out[d] * strides[d], strides[d]) for d in range(rank))
    taps = tuple(slice(None, None, dilation) for dilation in dilations)
    return windows[(slice(None), *every, slice(None), *taps)]


EXACT = 2**53
"""Below this float64 holds every whole number."""


def product(a: Array, b: Array) -> Array:
    """a @ b. Integers go through float64 products, which are fast, where no sum can leave the range that float64 holds exactly; they wrap."""
    if a.dtype.kind not in "iu" or not a.size or not b.size:
        return np.asarray(a @ b)
    largest = [max(abs(int(x.max())), abs(int(x.min()))) for x in (a, b)]
    if largest[0] * largest[1] * a.shape[-1] >= EXACT:
        return np.asarray(a @ b)
    return np.asarray((a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64).astype(a.dtype))


def convolve(x: Array, filter: Array, strides: Ints, begins: Ints, dilations: Ints, groups: int, out: Ints) -> Array:
    """x [N,*,C] with filter [K,*,C/groups]: [N,*out,K] in the type of the operands, which is also the accumulator's."""
    kernel = filter.shape[1:-1]
    windows = patches(x, kernel, strides, begins, dilations, out, 0)
    rank = len(kernel)
    per_group, outputs = filter.shape[-1], filter.shape[0] // groups
    terms = prod(kernel) * per_group
    results = []
    for group in range(groups):
        part = windows[(slice(None),) * (1 + rank) + (slice(group * per_group, (group + 1) * per_group),)]
        rows = np.moveaxis(part, 1 + rank, -1).reshape(x.shape[0] * prod(out), terms)
        columns = filter[group * outputs : (group + 1) * outputs].reshape(outputs, terms).T
        results.append(product(rows, columns))
    return np.concatenate(results, axis=-1).reshape(x.shape[0], *out, filter.shape[0])


def convolve_transposed(
    x: Array, filter: Array, strides: Ints, pads: Ints, dilations: Ints, groups: int, out: Ints
) -> Array:
    """x [N,*,C] with filter [C,*,K/groups]: [N,*out,K]. One product gives every element's multiples of the filter; tap by tap they are added
    into the plane, of which the pads are cut off."""
    spatial, kernel, rank = x.shape[1:-1], filter.shape[1:-1], len(strides)
    per_group, inner = filter.shape[-1], filter.shape[0] // groups
    spans = [(spatial[d] - 1) * strides[d] + (kernel[d] - 1) * dilations[d] + 1 for d in range(rank)]
    extents = [max(spans[d], pads[d] + out[d]) for d in range(rank)]
    plane = np.zeros((x.shape[0], *extents, per_group * groups), x.dtype)
    for group in range(groups):
        part, channels = slice(group * inner, (group + 1) * inner), slice(group * per_group, (group + 1) * per_group)
        rows = np.ascontiguousarray(x[..., part]).reshape(x.shape[0] * prod(spatial), inner)
        spread = product(rows, filter[part].reshape(inner, prod(kernel) * per_group))
        spread = spread.reshape(x.shape[0], *spatial, *kernel, per_group)
        for tap in np.ndindex(*kernel):
            begins = [tap[d] * dilations[d] for d in range(rank)]
            where = tuple(
                slice(begins[d], begins[d] + (spatial[d] - 1) * strides[d] + 1, strides[d]) for d in range(rank)
            )
            plane[(slice(None), *where, channels)] += spread[(slice(None), *(slice(None),) * rank, *tap)]
    cut = tuple(slice(pads[d], pads[d] + out[d]) for d in range(rank))
    return np.ascontiguousarray(plane[(slice(None), *cut)])


def _taps(x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints, fill: Any) -> Array:
    """Windows of x with the taps as one last dim in row-major order: [N,*out,C,taps]."""
    windows = patches(x, kernel, strides, pads[: len(kernel)], dilations, out, fill)
    return windows.reshape(*windows.shape[: x.ndim], prod(kernel))


def pool_max(x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints) -> Array:
    """The largest element of each window of x [N,*,C]; NaN where a window holds one."""
    taps = _taps(x, kernel, strides, pads, dilations, out, lowest_of(x.dtype))
    larger = numerics.maximumf if is_float_dtype(x.dtype) else np.maximum
    result = taps[..., 0]
    for tap in range(1, taps.shape[-1]):
        result = larger(result, taps[..., tap])
    return np.ascontiguousarray(result)


def pool_argmax(x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints) -> tuple[Array, Array]:
    """As pool_max, and the row-major spatial position of each winner: the first of equals, a NaN before everything."""
    plane = x.shape[1:-1]
    index = np.arange(int(np.prod(plane, dtype=np.int64)), dtype=np.int64).reshape(1, *plane, 1)
    places = _taps(index, kernel, strides, pads, dilations, out, -1)
    taps = _taps(x, kernel, strides, pads, dilations, out, lowest_of(x.dtype))
    rank = np.where(np.isnan(taps), np.inf, taps) if is_float_dtype(x.dtype) else taps
    inside = np.broadcast_to(places >= 0, taps.shape)
    most = np.where(inside, rank, lowest_of(x.dtype)).max(axis=-1, keepdims=True)
    first_nan = np.isnan(taps) if is_float_dtype(x.dtype) else np.zeros_like(inside)
    candidates = np.where(first_nan.any(axis=-1, keepdims=True), first_nan, inside & (rank == most))
    winner = np.argmax(candidates, axis=-1)[..., None]
    values = np.take_along_axis(taps, winner, -1)[..., 0]
    return values, np.take_along_axis(np.broadcast_to(places, taps.shape), winner, -1)[..., 0]


def pool_sum(x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints) -> Array:
    """The sum of each window of x [N,*,C]: taps added in row-major order in x's type."""
    taps = _taps(x, kernel, strides, pads, dilations, out, 0)
    total = taps[..., 0]
    for tap in range(1, taps.shape[-1]):
        total = total + taps[..., tap]
    return np.ascontiguousarray(total)


def pool_average(
    x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints, count_include_pad: bool
) -> Array:
    """The mean of each window of x [N,*,C]: the sum divided by the number of counted elements."""
    rank = len(kernel)
    begins, ends = pads[:rank], pads[rank:]
    extents = [x.shape[1 + d] + (begins[d] + ends[d]) * count_include_pad for d in range(rank)]
    inside = np.ones((1, *extents, 1), np.int64)
    start = (0,) * rank if count_include_pad else begins
    counts = patches(inside, kernel, strides, start, dilations, out, 0).sum(axis=tuple(range(-rank, 0)))
    return np.ascontiguousarray(pool_sum(x, kernel, strides, pads, dilations, out) / counts.astype(x.dtype))
