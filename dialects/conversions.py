"""Conversion of NumPy arrays between element types, ml_dtypes' narrow ones included: rounded once, saturating where that is asked for."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from stepwell.dialects.numpy_types import Array, is_float_dtype

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)


def round_to(value: Array, dtype: np.dtype[Any]) -> Array:
    """Floats as another float type, nearest even, rounded once: bfloat16 goes through a float32 that is rounded to odd (Boldo and Melquiond,
    2008), since ml_dtypes rounds a float64 twice."""
    if dtype != BFLOAT16 or value.dtype != np.float64:
        return value.astype(dtype, copy=False)
    near = value.astype(np.float32)
    error = value - near
    even = (near.view(np.int32) & 1) == 0
    moved = np.nextafter(near, np.copysign(np.float32(np.inf), error).astype(np.float32))
    return np.where(np.isfinite(near) & (error != 0) & even, moved, near).astype(dtype)


def convert(value: Array, dtype: np.dtype[Any], *, saturate: bool = False, rounding: str = "nearest") -> Array:
    """Every element in another type, as `graph.cast` defines it."""
    with np.errstate(all="ignore"):
        if value.dtype == dtype:
            return value
        if value.dtype == np.bool_:
            value = value.astype(np.uint8)
        if dtype == np.bool_:
            return np.asarray(_wide(value) != 0)
        if dtype == E8M0:
            return power_of_two(_wide(value).astype(np.float32), saturate, rounding)
        return _to_float(value, dtype, saturate) if is_float_dtype(dtype) else _to_integer(value, dtype, saturate)


def _wide(value: Array) -> Array:
    """Narrow floats as float32, narrow integers as int64; the rest as it is."""
    if value.dtype.kind != "V":
        return value
    return value.astype(np.float32 if is_float_dtype(value.dtype) else np.int64)


def _to_float(value: Array, dtype: np.dtype[Any], saturate: bool) -> Array:
    value = _wide(value)
    if value.dtype.kind in "iu" and dtype.kind == "V":
        value = value.astype(np.float64)
    if not saturate:
        return round_to(value, dtype)
    most = float(ml_dtypes.finfo(dtype).max)
    return round_to(np.clip(value.astype(np.float64), -most, most), dtype)


def _to_integer(value: Array, dtype: np.dtype[Any], saturate: bool) -> Array:
    value, limits = _wide(value), ml_dtypes.iinfo(dtype)
    if not saturate and dtype.kind == "V" and value.dtype.kind == "f":
        value = _to_integer(value, np.dtype(np.int64), True)
    if not saturate and value.dtype.kind != "f":
        return value.astype(np.int64).astype(dtype) if dtype.kind == "V" else value.astype(dtype)
    low, high = int(limits.min), int(limits.max)
    if value.dtype.kind != "f":
        own = np.iinfo(value.dtype)
        inside = np.clip(value, value.dtype.type(max(low, own.min)), value.dtype.type(min(high, own.max)))
        return np.asarray(inside).astype(dtype)
    whole = np.trunc(np.nan_to_num(value.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
    inside = np.where((whole > low) & (whole < high), whole, 0).astype(np.uint64 if low == 0 else np.int64)
    return np.where(whole >= high, dtype.type(high), np.where(whole <= low, dtype.type(low), inside.astype(dtype)))


def power_of_two(value: Array, saturate: bool, rounding: str) -> Array:
    """The exponent of float32 magnitudes as f8E8M0FNU (ONNX Cast 24): the next power of two up, down, or the nearest (halves up); infinities and
    NaN give NaN. With `saturate` the largest power stays where rounding up would leave the range."""
    bits = value.view(np.uint32)
    exponent, fraction = ((bits >> 23) & 0xFF).astype(np.int32), bits & 0x7FFFFF
    normal = exponent != 0xFF
    half, rest = (fraction & 0x400000) != 0, (fraction & 0x3FFFFF) != 0
    ups = {"nearest": half & (rest | (exponent > 0)), "up": fraction != 0, "down": np.zeros_like(half)}
    up = ups[rounding] & normal
    if saturate:
        up &= exponent != 0xFE
    return (exponent + up).astype(np.uint8).view(E8M0)
