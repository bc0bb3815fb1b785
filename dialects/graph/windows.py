"""Convolution and pooling on NumPy arrays, any number of spatial dims, channels last: what the interpreter computes with.

Strided views (`sliding_window_view`) in place of loops. Products of f16 and f32 accumulate in float32, f64 in float64, integers in the
result's type, so sums of small integers are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from stepwell.dialects import numerics
from stepwell.dialects.numpy_types import Array

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


def convolve(x: Array, filter: Array, strides: Ints, begins: Ints, dilations: Ints, groups: int, out: Ints) -> Array:
    """x [N,*,C] with filter [K,*,C/groups]: [N,*out,K] in the type of the operands, which is also the accumulator's."""
    kernel = filter.shape[1:-1]
    windows = patches(x, kernel, strides, begins, dilations, out, 0)
    rank = len(kernel)
    per_group, outputs = filter.shape[-1], filter.shape[0] // groups
    results = []
    for group in range(groups):
        part = windows[(slice(None),) * (1 + rank) + (slice(group * per_group, (group + 1) * per_group),)]
        rows = np.moveaxis(part, 1 + rank, -1).reshape(x.shape[0] * int(np.prod(out, dtype=np.int64)), -1)
        columns = filter[group * outputs : (group + 1) * outputs].reshape(outputs, -1).T
        results.append(rows @ columns)
    return np.concatenate(results, axis=-1).reshape(x.shape[0], *out, filter.shape[0])


def pool_max(x: Array, kernel: Ints, strides: Ints, begins: Ints, dilations: Ints, out: Ints) -> Array:
    """The largest element of each window of x [N,*,C]; NaN where a window holds one."""
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    windows = patches(x, kernel, strides, begins, dilations, out, lowest)
    taps = windows.reshape(*windows.shape[: x.ndim], -1)
    result = taps[..., 0]
    for tap in range(1, taps.shape[-1]):
        result = (
            numerics.maximumf(result, taps[..., tap]) if x.dtype.kind == "f" else np.maximum(result, taps[..., tap])
        )
    return np.ascontiguousarray(result)


def pool_average(
    x: Array, kernel: Ints, strides: Ints, pads: Ints, dilations: Ints, out: Ints, count_include_pad: bool
) -> Array:
    """The mean of each window of x [N,*,C]: taps added in row-major order in x's type, divided by the number of counted elements."""
    rank = len(kernel)
    begins, ends = pads[:rank], pads[rank:]
    windows = patches(x, kernel, strides, begins, dilations, out, 0)
    taps = windows.reshape(*windows.shape[: x.ndim], -1)
    total = taps[..., 0]
    for tap in range(1, taps.shape[-1]):
        total = total + taps[..., tap]
    if count_include_pad:
        inside = np.ones((1, *(x.shape[1 + d] + begins[d] + ends[d] for d in range(rank)), 1), x.dtype)
        counted = patches(inside, kernel, strides, (0,) * rank, dilations, out, 0)
    else:
        counted = patches(np.ones((1, *x.shape[1:-1], 1), x.dtype), kernel, strides, begins, dilations, out, 0)
    counts = counted.sum(axis=tuple(range(-rank, 0)), dtype=x.dtype)
    return np.ascontiguousarray(total / counts)
