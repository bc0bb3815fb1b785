"""Special functions, computed in f64 and rounded once: an error of a few f64 units, so the nearest f32 but for ties.

Lanczos' sum for the logarithm of the gamma function (g = 7, 9 terms: Godfrey), asymptotic series behind recurrences for digamma, Euler and Maclaurin's
for zeta (Cephes), Wichura's AS 241 for the normal quantile, series and continued fraction for the incomplete gamma function (Gautschi, 1979; DLMF 8.7, 8.9)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import factorial, inf, log, nan, pi, sqrt

from xdsl.dialects.builtin import f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.tensorflow.convert_incomplete import incomplete_gamma
from stepwell.frontends.tensorflow.formula import Formula
from stepwell.frontends.tensorflow.node import Converter, Node, Values, needs

_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
"""B2, B4, ..., B20."""
MOST = 4096
"""Most terms of zeta left of 0."""
FRACTION = 40
"""Levels of the continued fraction of erfc: at 2 what is left out is less than 1e-15."""
SHIFT = 12
"""Asymptotic series are used from here on."""
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
     4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
     3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)  # fmt: skip
_NEAR = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
     1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1, 1.48103976427480074590e-1,
     1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9),
)  # fmt: skip
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
     2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2, 7.86869131145613259100e-4,
     1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15),
)  # fmt: skip


def _lgamma_right(x: Formula) -> Formula:
    """For x of at least 1/2."""
    sum = _LANCZOS[0] + _LANCZOS[1] / x
    for number, coefficient in enumerate(_LANCZOS[2:], 1):
        sum = sum + coefficient / (x + number)
    top = x + 6.5
    large = (x - 0.5) * (top.unary("log") - 1) + (sum.unary("log") + (0.5 * log(2 * pi) - 7))
    zero = x.compare("eq", 1) | x.compare("eq", 2)
    return x.compare("eq", inf).select(inf, zero.select(0.0, large))


def lgamma(x: Formula) -> Formula:
    """log |gamma(x)|, by reflection left of 1/2; infinite at the poles and at both infinities."""
    left = x.compare("lt", 0.5)
    right = _lgamma_right(left.select(1 - x, x))
    part = x - x.unary("round_even")
    sine = (part * pi).unary("sin").unary("abs")
    reflected = log(pi) - sine.unary("log") - right
    pole = part.compare("eq", 0) | x.compare("eq", -inf)
    return left.select(pole.select(inf, reflected), right)


def digamma(x: Formula) -> Formula:
    """The derivative of lgamma, by reflection left of 0; no number at the poles."""
    left = x.compare("le", 0)
    right = left.select(1 - x, x)
    shifted = right + SHIFT
    square = 1 / (shifted * shifted)
    terms = [b / (2 * n) for n, b in enumerate(_BERNOULLI, 1)]
    sum = shifted.unary("log") - 0.5 / shifted - square.polynomial([0, *terms])
    for number in range(SHIFT):
        sum = sum - 1 / (right + number)
    part = x - x.unary("round_even")
    reflected = part.compare("eq", 0).select(nan, sum - pi / (part * pi).unary("tan"))
    return left.select(reflected, x.compare("eq", inf).select(inf, sum))


def zeta(x: Formula, q: Formula) -> Formula:
    """Hurwitz' zeta, the sum of (q + n)^-x over n from 0: infinite at x = 1 and where a term is; no number for x < 1, for a power of a negative number that is
    none, and left of -MOST."""
    count = q.compare("lt", 0).select(-q.unary("floor"), 0.0)
    found = _negative_terms(x, q, count) + _zeta_right(x, q + count)
    wrong = x.compare("lt", 1) | (q.compare("lt", 0) & x.unary("floor").compare("ne", x)) | count.compare("gt", MOST)
    pole = q.compare("le", 0) & q.unary("floor").compare("eq", q) & x.compare("gt", 1)
    return (x.compare("eq", 1) | pole).select(inf, wrong.select(nan, found))


def _negative_terms(x: Formula, q: Formula, count: Formula) -> Formula:
    """The first `count` terms of each element."""
    build = q.build

    def body(iteration: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        number = Formula(build, build.broadcast(build.cast(iteration, f64), q.shape))
        term = number.compare("lt", count).select((q + number) ** -x, 0.0)
        return [(Formula(build, carried[0]) + term).value]

    within = count.compare("le", MOST).select(count, 0.0)
    most = build.emit(graph.ReduceOp(within.value, kind="max", dims=range(len(q.shape))))
    trip = build.cast(Formula(build, most).binary("max", 0.0).value, i64)
    return Formula(build, build.loop([(q * 0).value], body, trip=trip)[0])


def _zeta_right(x: Formula, q: Formula) -> Formula:
    """For q of at least 0: terms up to q + SHIFT, then Euler and Maclaurin's tail."""
    sum = q**-x
    for number in range(1, SHIFT):
        sum = sum + (q + number) ** -x
    end = q + SHIFT
    power = end**-x
    tail = power * end / (x - 1) + 0.5 * power
    factor, term = x, power / end
    for n, bernoulli in enumerate(_BERNOULLI, 1):
        tail = tail + factor * term * (bernoulli / factorial(2 * n))
        factor, term = factor * (x + (2 * n - 1)) * (x + 2 * n), term / (end * end)
    return sum + tail


def polygamma(n: Formula, x: Formula) -> Formula:
    """The derivative of digamma of order n, a whole number of at least 0, else no number."""
    sign = (n - 2 * (n / 2).unary("floor")).compare("eq", 0).select(-1.0, n * 0 + 1)
    order = n + 1
    value = sign * _lgamma_right(order).unary("exp") * zeta(order, x)
    wrong = n.compare("lt", 0) | n.unary("floor").compare("ne", n)
    return wrong.select(nan, n.compare("eq", 0).select(digamma(x), value))


def ndtri(p: Formula) -> Formula:
    """The quantile of the normal distribution."""
    q = p - 0.5
    return _quantile(q, q.compare("lt", 0).select(p, 1 - p))


def _quantile(q: Formula, tail: Formula) -> Formula:
    """Of the probability 1/2 + q, whose smaller tail is `tail`."""
    centre = q * _ratio(0.180625 - q * q, _CENTRE)
    root = (-tail.unary("log")).unary("sqrt")
    outer = root.compare("le", 5).select(_ratio(root - 1.6, _NEAR), _ratio(root - 5, _FAR))
    outer = q.compare("lt", 0).select(-outer, outer)
    found = q.unary("abs").compare("le", 0.425).select(centre, outer)
    found = tail.compare("eq", 0).select(q.unary("sign") * inf, found)
    return tail.compare("lt", 0).select(nan, found)


def _ratio(x: Formula, coefficients: tuple[Sequence[float], Sequence[float]]) -> Formula:
    above, below = coefficients
    return x.polynomial(above) / x.polynomial(below)


def erfinv(x: Formula) -> Formula:
    """The inverse of erf: the normal quantile of (1 + x) / 2 over the root of 2, its smaller tail (1 - |x|) / 2 without cancellation."""
    return _quantile(0.5 * x, 0.5 - 0.5 * x.unary("abs")) * (1 / sqrt(2))


def erfc(x: Formula) -> Formula:
    """1 - erf, right of 2 by Laplace's continued fraction, where the difference would cancel."""
    far = x.compare("gt", 2)
    at = far.select(x, 2.0)
    below = at
    for level in range(FRACTION, 0, -1):
        below = at + (level / 2) / below
    return far.select((-at * at).unary("exp") / (sqrt(pi) * below), 1 - x.unary("erf"))


def lower(a: Formula, x: Formula) -> Formula:
    """The incomplete gamma function P(a, x)."""
    return incomplete_gamma(a, x, lgamma, upper=False)


def upper(a: Formula, x: Formula) -> Formula:
    """Its complement Q(a, x)."""
    return incomplete_gamma(a, x, lgamma, upper=True)


def _in_f64(
    formula: Callable[..., Formula], arguments: int, build: GraphBuilder, node: Node, inputs: Values
) -> list[SSAValue]:
    needs(inputs, arguments)
    element = build.element(inputs[0])
    if element not in FLOATS:
        raise Unsupported(f"its operands are {element}: floats are needed")
    given = [Formula(build, value).cast(f64) for value in build.broadcast_all(inputs)]
    return [formula(*given).cast(element).value]


_TABLE: dict[str, tuple[int, Callable[..., Formula]]] = {
    "Erfc": (1, erfc),
    "Digamma": (1, digamma),
    "Erfinv": (1, erfinv),
    "Igamma": (2, lower),
    "Igammac": (2, upper),
    "Lgamma": (1, lgamma),
    "Ndtri": (1, ndtri),
    "Polygamma": (2, polygamma),
    "Zeta": (2, zeta),
}
CONVERTERS: dict[str, Converter] = {op: partial(_in_f64, formula, count) for op, (count, formula) in _TABLE.items()}
"""Operators by name."""
