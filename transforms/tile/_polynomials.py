"""erf, tanh and exp of an f32 scalar by multiply-add, division and integer arithmetic only, so that CPU, GPU and NumPy
compute the same bits.

erf and tanh are x P(x^2) / Q(x^2), clamped where the function is 1 to f32; P and Q were fitted to the relative error by
iterated reweighted least squares. exp splits x = n ln 2 + r (Cody and Waite, 1980) and evaluates e^r = 1 + r + r^2
P(r). Against float64, over all f32: erf 5, tanh 5, exp 2 units in the last place
(tests/transforms/tile/test_expand_math.py)."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import SSAValue

from stepwell.transforms.tile._scalars import Scalars

ERF_LIMIT = 3.92
ERF_P = (
    0.8449277281761169, 0.1425744593143463, 0.03949757665395737, 0.002819534856826067, 0.00021330121671780944,
    1.5349123714258894e-06,
)  # fmt: skip
ERF_Q = (
    0.7487977147102356, 0.3759521245956421, 0.08544372022151947, 0.011208614334464073, 0.0008704402134753764,
    2.8520085834315978e-05,
)  # fmt: skip

TANH_LIMIT = 9.0
TANH_P = (
    0.8502630591392517, 0.11124847829341888, 0.0026391756255179644, 9.484040674578864e-06, -1.7196439827671384e-08,
    4.4874375049186455e-11, -7.216982274380751e-14,
)  # fmt: skip
TANH_Q = (0.8502630591392517, 0.39466944336891174, 0.020827332511544228, 0.00021648868278134614)

EXP_LOW, EXP_HIGH = -104.0, 89.0  # below: 0, above: infinity, by the scaling alone
EXP_P = (
    0.5, 0.1666666567325592, 0.04166628047823906, 0.00833350419998169, 0.0013945753453299403, 0.00019789264479186386,
)  # fmt: skip
LOG2_E = 1.4426950216293335
LN2_HIGH, LN2_LOW = 0.693145751953125, 1.428606765330187e-06  # the high part has 15 bits: n times it is exact
TO_INTEGER = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest integer in the low bits of the sum


def _rational(s: Scalars, x: SSAValue, limit: float, p: Sequence[float], q: Sequence[float]) -> SSAValue:
    t = s.clamp(x, -limit, limit)
    square = s.op(arith.MulfOp(t, t))
    ratio = s.op(arith.DivfOp(s.op(arith.MulfOp(t, s.horner(p, square))), s.horner(q, square)))
    return s.clamp(ratio, -1.0, 1.0)


def erf(s: Scalars, x: SSAValue) -> SSAValue:
    """The error function."""
    return _rational(s, x, ERF_LIMIT, ERF_P, ERF_Q)


def tanh(s: Scalars, x: SSAValue) -> SSAValue:
    """The hyperbolic tangent."""
    return _rational(s, x, TANH_LIMIT, TANH_P, TANH_Q)


def exp(s: Scalars, x: SSAValue) -> SSAValue:
    """The exponential: e^r 2^n, the power of two in two factors so that subnormal results and infinity come out by
    rounding."""
    t = s.clamp(x, EXP_LOW, EXP_HIGH)
    shifted = s.fma(t, s.number(LOG2_E), s.number(TO_INTEGER))
    n = s.op(arith.SubfOp(shifted, s.number(TO_INTEGER)))
    r = s.fma(n, s.number(-LN2_LOW), s.fma(n, s.number(-LN2_HIGH), t))
    square = s.op(arith.MulfOp(r, r))
    power = s.op(arith.AddfOp(s.fma(s.horner(EXP_P, r), square, r), s.number(1.0)))
    bits = s.op(arith.SubiOp(s.op(arith.BitcastOp(shifted, i32)), s.integer(0x4B400000)))
    half = s.op(arith.ShRSIOp(bits, s.integer(1)))
    for part in (half, s.op(arith.SubiOp(bits, half))):
        exponent = s.op(arith.ShLIOp(s.op(arith.AddiOp(part, s.integer(127))), s.integer(23)))
        power = s.op(arith.MulfOp(power, s.op(arith.BitcastOp(exponent, f32))))
    return power
