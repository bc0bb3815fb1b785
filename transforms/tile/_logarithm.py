"""The natural logarithm of an f32 or f64 scalar by multiply-add, one division and integer arithmetic.

x = 2^n m with m in [sqrt(1/2), sqrt(2)), by the bits alone, so that denormals count on machines that flush them; then
log m = 2 atanh(s) = 2 s (1 + s^2/3 + s^4/5 + ..) with s = (m - 1)/(m + 1), |s| < 0.172. Against float64 and NumPy: 3 units in the last
place (tests/transforms/tile/test_expand_math.py). Zeros give minus infinity, negative numbers NaN."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from stepwell.transforms.tile._scalars import Scalars


@dataclass(frozen=True)
class Format:
    """A float type: bits of the fraction, bits of sqrt(1/2) and of infinity, the exponent of the least denormal, ln 2 in two parts (n times
    the high one is exact), and the terms of the series that it needs."""

    fraction: int
    root: int
    infinity: int
    least: int
    ln2_high: float
    ln2_low: float
    terms: int


FORMATS = {
    32: Format(23, 0x3F3504F3, 0x7F800000, -149, 0.693145751953125, 1.4286068203094173e-06, 6),
    64: Format(52, 0x3FE6A09E667F3BCD, 0x7FF0000000000000, -1074, 0.6931471804855391, 7.440617110012397e-11, 12),
}


def log(s: Scalars, x: SSAValue) -> SSAValue:
    """The natural logarithm."""
    of = FORMATS[s.bits.bitwidth]
    bits = s.to_bits(x)
    normal = s.compare(bits, "sge", s.integer(1 << of.fraction))
    whole = s.to_bits(s.op(arith.SIToFPOp(bits, s.float)))  # a denormal is its bits times the least one
    shifted = s.subtract(s.select(normal, bits, whole), s.integer(of.root))
    exponent = s.op(arith.ShRSIOp(shifted, s.integer(of.fraction)))
    fraction = s.op(arith.AndIOp(shifted, s.integer((1 << of.fraction) - 1)))
    m = s.from_bits(s.add(fraction, s.integer(of.root)))
    power = s.add(exponent, s.select(normal, s.integer(0), s.integer(of.least)))
    n = s.op(arith.SIToFPOp(power, s.float))
    ratio = s.divide(s.subtract(m, s.number(1.0)), s.add(m, s.number(1.0)))
    series = s.horner([2 / (2 * k + 1) for k in range(of.terms)], s.multiply(ratio, ratio))
    value = s.fma(n, s.number(of.ln2_high), s.fma(ratio, series, s.multiply(n, s.number(of.ln2_low))))
    return _special(s, x, bits, value, of)


def _special(s: Scalars, x: SSAValue, bits: SSAValue, value: SSAValue, of: Format) -> SSAValue:
    """What infinity, NaN, negative numbers and zeros give."""
    value = s.select(s.compare(bits, "sge", s.integer(of.infinity)), x, value)
    value = s.select(s.compare(bits, "slt", s.integer(0)), s.number(float("nan")), value)
    magnitude = s.op(arith.AndIOp(bits, s.integer((1 << (s.bits.bitwidth - 1)) - 1)))
    return s.select(s.compare(magnitude, "eq", s.integer(0)), s.number(float("-inf")), value)
