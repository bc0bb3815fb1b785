"""erf, tanh and exp of an f64 scalar by multiply-add, division and integer arithmetic only, as `_polynomials` has them for f32.

exp splits x = n ln 2 + r (Cody and Waite, 1980) and sums the Taylor series of e^r, |r| <= ln 2 / 2, up to r^13. tanh is e / (e + 2) with
e = e^2|x| - 1 put together from the same parts, so that nothing cancels. erf is its Taylor series below 1/2, beyond it
1 - e^(-x^2) g(x), where g = e^(x^2) erfc(x) is smooth: interpolated at 24 Chebyshev nodes of t = (x - 2)/(x + 2) on [1/2, 6] in 80 decimal
digits. Against NumPy and libm: 4 units in the last place (tests/transforms/tile/test_expand_math.py)."""

from __future__ import annotations

from math import factorial, pi, sqrt

from xdsl.dialects import arith, math
from xdsl.ir import SSAValue

from stepwell.transforms.tile._scalars import Scalars

EXP_LOW, EXP_HIGH = -746.0, 710.0  # below: 0, above: infinity, by the scaling alone
EXP_TERMS = tuple(1 / factorial(k) for k in range(2, 14))
LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471804855391, 7.440617110012397e-11  # the high part has 33 bits: n times it is exact
TO_INTEGER, INTEGER_BITS = (
    6755399441055744.0,
    0x4338000000000000,
)  # 1.5 * 2^52: the nearest integer in the low bits of a sum

TANH_LIMIT = 20.0
ERF_LIMIT, ERF_SERIES_LIMIT = 6.0, 0.5
ERF_SERIES = tuple(2 / sqrt(pi) * (-1) ** k / (factorial(k) * (2 * k + 1)) for k in range(13))
ERF_CENTRE, ERF_SCALE = 0.05, 1 / 0.55  # t of [1/2, 6] onto [-1, 1]
ERFCX = (
    0.27736900762083944, -0.24857010886981212, 0.07669952688522057, -0.013234851812970714, 0.0001789924048152538,
    0.0003623587600520113, -1.3901031833589917e-05, -1.4983397251502064e-05, -2.619625382685206e-07, 7.239378760180158e-07,
    1.0223735289456842e-07, -2.659710465511671e-08, -1.0792948675117492e-08, -3.777490380515267e-10, 6.423545464809225e-10,
    1.7454236111380099e-10, -3.2932302606006304e-12, -1.3975867749243399e-11, -3.5252515988770295e-12, 1.481873321754627e-13,
    2.884127864143642e-13, 5.155207721983406e-14,
)  # fmt: skip


def _reduced(s: Scalars, x: SSAValue) -> tuple[SSAValue, SSAValue]:
    """e^r - 1, and n as an integer, with x = n ln 2 + r."""
    shifted = s.fma(x, s.number(LOG2_E), s.number(TO_INTEGER))
    n = s.subtract(shifted, s.number(TO_INTEGER))
    r = s.fma(n, s.number(-LN2_LOW), s.fma(n, s.number(-LN2_HIGH), x))
    less_one = s.fma(s.horner(EXP_TERMS, r), s.multiply(r, r), r)
    return less_one, s.subtract(s.to_bits(shifted), s.integer(INTEGER_BITS))


def _power_of_two(s: Scalars, n: SSAValue) -> SSAValue:
    """2^n for an exponent of a normal number."""
    return s.from_bits(s.op(arith.ShLIOp(s.add(n, s.integer(1023)), s.integer(52))))


def exp(s: Scalars, x: SSAValue) -> SSAValue:
    """The exponential; the power of two in two factors, so that subnormal results and infinity come out by rounding."""
    less_one, n = _reduced(s, s.clamp(x, EXP_LOW, EXP_HIGH))
    half = s.op(arith.ShRSIOp(n, s.integer(1)))
    scaled = s.multiply(s.add(less_one, s.number(1.0)), _power_of_two(s, half))
    return s.multiply(scaled, _power_of_two(s, s.subtract(n, half)))


def tanh(s: Scalars, x: SSAValue) -> SSAValue:
    """The hyperbolic tangent."""
    magnitude = s.clamp(s.op(math.AbsFOp(x)), 0.0, TANH_LIMIT)
    less_one, n = _reduced(s, s.add(magnitude, magnitude))
    power = _power_of_two(s, n)
    e = s.fma(less_one, power, s.subtract(power, s.number(1.0)))
    return s.op(math.CopySignOp(s.divide(e, s.add(e, s.number(2.0))), x))


def erf(s: Scalars, x: SSAValue) -> SSAValue:
    """The error function."""
    magnitude = s.clamp(s.op(math.AbsFOp(x)), 0.0, ERF_LIMIT)
    square = s.multiply(magnitude, magnitude)
    near = s.multiply(magnitude, s.horner(ERF_SERIES, square))
    t = s.divide(s.subtract(magnitude, s.number(2.0)), s.add(magnitude, s.number(2.0)))
    centred = s.multiply(s.add(t, s.number(ERF_CENTRE)), s.number(ERF_SCALE))
    rest = s.multiply(exp(s, s.op(arith.NegfOp(square))), s.horner(ERFCX, centred))
    far = s.subtract(s.number(1.0), rest)
    small = s.compare(magnitude, "olt", s.number(ERF_SERIES_LIMIT))
    return s.op(math.CopySignOp(s.select(small, near, far), x))
