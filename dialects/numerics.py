"""Arithmetic on NumPy arrays exactly as IEEE 754 and the arith and math dialects define it, in the operands' own type.

float16 and float32 results are correctly rounded for + - * / sqrt and fma. Functions without a correctly rounded form (erf, exp, tanh,
...) are computed in float64 and rounded once, so float16 and float32 results are the nearest value but for ties below 2^-29 of an ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from stepwell.dialects.conversions import round_to
from stepwell.dialects.numpy_types import Array

_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


# --- floats

TF32_NAN = np.uint32(0x7FFFE000)
"""What a NaN becomes on its way to tf32."""


def round_to_tf32(values: Array) -> Array:
    """f32 numbers with 10 bits after the point, as the copy engine makes them: to nearest, ties to even, every NaN the same one (recorded on
    an H200)."""
    bits = np.array(values, np.float32).view(np.uint32)
    bits += np.uint32(0xFFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    bits &= np.uint32(0xFFFFE000)
    bits[np.isnan(values)] = TF32_NAN
    return bits.view(np.float32)


def _fma_exact(a: float, b: float, c: float) -> float:
    """One double-precision fma by rational arithmetic."""
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)


_fma64 = np.frompyfunc(_fma_exact, 3, 1)


def fma(a: Any, b: Any, c: Any) -> Array:
    """a*b + c rounded once.

    Up to float32 the product is exact in float64; the sum is rounded to odd there (Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums", 2008), so that rounding it to the narrow type is right, subnormals included."""
    dtype = np.result_type(a, b, c)
    if dtype == np.float64:
        return np.asarray(_fma64(a, b, c), dtype=np.float64)
    product = np.asarray(a, np.float64) * np.asarray(b, np.float64)
    addend = np.asarray(c, np.float64)
    total = np.asarray(product + addend)
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (error != 0)
    odd = np.where(inexact & even, np.nextafter(total, np.copysign(np.inf, error)), total)
    return odd.astype(dtype)


def _zero_sum(a: Any, b: Any, other: Array, sign: int) -> Array:
    """`other`, but where both operands are zeros the one that IEEE 754-2019 maximum (sign 1) or minimum (sign -1) gives."""
    zeros = (a == 0) & (b == 0)
    if not np.any(zeros):
        return other
    return np.where(zeros, (a + b) if sign > 0 else -((-a) + (-b)), other)


def maximumf(a: Any, b: Any) -> Array:
    """IEEE 754-2019 maximum: NaN where one is NaN, -0 below +0."""
    return _zero_sum(a, b, np.maximum(a, b), 1)


def minimumf(a: Any, b: Any) -> Array:
    """IEEE 754-2019 minimum: NaN where one is NaN, -0 below +0."""
    return _zero_sum(a, b, np.minimum(a, b), -1)


def maxnumf(a: Any, b: Any) -> Array:
    """The larger one, the other one where one is NaN."""
    return _zero_sum(a, b, np.fmax(a, b), 1)


def minnumf(a: Any, b: Any) -> Array:
    """The smaller one, the other one where one is NaN."""
    return _zero_sum(a, b, np.fmin(a, b), -1)


def through_float64(function: Callable[[Any], Any]) -> Callable[[Any], Array]:
    """`function` computed in float64 and rounded to the operand's type."""

    def rounded(value: Any) -> Array:
        return round_to(np.asarray(function(np.asarray(value, np.float64))), np.asarray(value).dtype)

    return rounded


_erf_object = np.frompyfunc(math.erf, 1, 1)


def _erf64(value: Array) -> Array:
    return np.asarray(_erf_object(value), dtype=np.float64)


_erfc_object = np.frompyfunc(math.erfc, 1, 1)


def _erfc64(value: Array) -> Array:
    return np.asarray(_erfc_object(value), dtype=np.float64)


erf = through_float64(_erf64)
erfc = through_float64(_erfc64)
exp = through_float64(np.exp)
tanh = through_float64(np.tanh)
log = through_float64(np.log)


def reciprocal_root(value: Any) -> Array:
    """1 / sqrt(value), both rounded: what every target computes."""
    array = np.asarray(value)
    return np.asarray(np.divide(array.dtype.type(1), np.sqrt(array)))


def round_half_away(value: Any) -> Array:
    """The nearest integer, halves away from zero (math.round)."""
    whole = np.trunc(value)
    return np.where(np.abs(value - whole) >= 0.5, whole + np.copysign(np.ones_like(value), value), whole)


def powf(a: Any, b: Any) -> Array:
    """a to the power b, through float64."""
    return np.power(np.asarray(a, np.float64), np.asarray(b, np.float64)).astype(np.result_type(a))


# --- integers: two's complement, wrapping; i1 is bool and counts modulo 2


def unsigned(value: Any) -> Any:
    """The same bits as an unsigned array (bool becomes uint8)."""
    array = np.asarray(value)
    return array.astype(np.uint8) if array.dtype == np.bool_ else array.view(_UNSIGNED[array.dtype.itemsize])


def on_unsigned(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Array]:
    """`function` on the operands' unsigned bits, wrapped to the operands' type."""

    def wrapped(a: Any, b: Any) -> Array:
        result = np.asarray(function(unsigned(a), unsigned(b)))
        return (result & 1).astype(np.bool_) if np.asarray(a).dtype == np.bool_ else result.view(np.asarray(a).dtype)

    return wrapped


def _signed(value: Any) -> Any:
    """The value as a signed integer; a true i1 is -1."""
    array = np.asarray(value)
    return -array.astype(np.int8) if array.dtype == np.bool_ else array


def on_signed(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Array]:
    """`function` on the operands as signed integers, wrapped to the operands' type."""

    def wrapped(a: Any, b: Any) -> Array:
        result = np.asarray(function(_signed(a), _signed(b)))
        return (result & 1).astype(np.bool_) if np.asarray(a).dtype == np.bool_ else result.astype(np.asarray(a).dtype)

    return wrapped


def divide_truncating(a: Any, b: Any) -> Any:
    """Quotient rounded toward zero (arith.divsi); 0 where b is 0, whose result the dialect leaves open."""
    return np.floor_divide(a - np.fmod(a, b), b)


def divide_up(a: Any, b: Any) -> Any:
    """Quotient rounded toward plus infinity."""
    quotient = np.floor_divide(a, b)
    return quotient + (quotient * b != a).astype(quotient.dtype)


def _shift(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(a: Any, amount: Any) -> Any:
        return np.where(unsigned(amount) < 8 * a.dtype.itemsize, function(a, amount), a.dtype.type(0))

    return checked


shift_left = on_unsigned(_shift(np.left_shift))
shift_right_unsigned = on_unsigned(_shift(np.right_shift))
shift_right_signed = on_signed(_shift(np.right_shift))
"""Shifts; an amount of the width or more gives 0, the dialect leaves it open."""


def multiply_extended(a: Any, b: Any, signed: bool) -> tuple[Array, Array]:
    """Low and high half of the double-width product."""
    view = _signed if signed else unsigned
    bits = 8 * np.asarray(a).dtype.itemsize
    exact = view(a).astype(object) * view(b).astype(object)
    low = np.asarray(exact & ((1 << bits) - 1)).astype(_UNSIGNED[bits // 8]).view(np.asarray(a).dtype)
    high = np.asarray((exact >> bits) & ((1 << bits) - 1)).astype(_UNSIGNED[bits // 8]).view(np.asarray(a).dtype)
    return low, high


def remainder(a: Any, b: Any) -> Array:
    """The remainder of floats with the sign of the divisor: one divisor is added where the truncating remainder has the other sign."""
    rest = np.fmod(a, b)
    return np.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)


def powi(a: Any, b: Any) -> Array:
    """Integer power, wrapped to the operands' type; with a negative exponent the quotient 1 / a^-b truncated toward zero (0 for a = 0)."""
    base, exponent = np.asarray(a), np.asarray(b)
    rest = np.abs(exponent.astype(object)) if exponent.dtype.kind == "i" else exponent.astype(object)
    rest = np.asarray(rest)
    bits = unsigned(base)
    result, square = np.broadcast_to(np.ones_like(bits), np.broadcast_shapes(base.shape, exponent.shape)), bits
    while np.any(rest > 0):
        result = np.where(np.asarray(rest % 2 == 1, np.bool_), result * square, result)
        square, rest = square * square, np.asarray(rest // 2)
    wrapped = np.asarray(result).view(base.dtype)
    if exponent.dtype.kind != "i":
        return wrapped
    return np.where((exponent < 0) & (np.abs(base) != 1), base.dtype.type(0), wrapped)


def count_bits(value: Any, what: str) -> Array:
    """Leading zeros, trailing zeros or set bits of each element, in its own type."""
    bits = unsigned(value)
    width = 1 if np.asarray(value).dtype == np.bool_ else 8 * bits.dtype.itemsize
    if what == "ones":
        counts = np.bitwise_count(bits)
    elif what == "leading":
        counts = width - np.frompyfunc(int.bit_length, 1, 1)(bits.astype(object))
    else:
        lowest = np.frompyfunc(lambda v: (v & -v).bit_length() - 1 if v else width, 1, 1)
        counts = lowest(bits.astype(object))
    return np.asarray(counts).astype(np.asarray(value).dtype)
