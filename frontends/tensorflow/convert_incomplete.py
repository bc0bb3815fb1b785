"""The incomplete gamma function by its power series left of a + 1 and its continued fraction right of it (DLMF 8.7.1, 8.9.2), each repeated until no element changes."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan

from xdsl.dialects.builtin import f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import shape_of
from stepwell.frontends.tensorflow.formula import Formula

MOST_STEPS = 2000
"""Enough for a up to 100,000: about six times its root."""
EPSILON = 2.0**-53
TINY = 1e-300


def incomplete_gamma(a: Formula, x: Formula, lgamma: Callable[[Formula], Formula], *, upper: bool) -> Formula:
    """P(a, x), or with `upper` Q = 1 - P; no number where a <= 0 or x < 0, and where a is so large that the sums do not end."""
    fraction = x.compare("ge", a + 1)
    wrong = a.compare("gt", 0).select(x.compare("ge", 0).select(a * 0, nan), nan)
    factor = (a * x.unary("log") - x - lgamma(a)).unary("exp")
    low = factor * _series(a, fraction.select(0.0, x)) / a
    high = factor * _fraction(fraction.select(a, 0.5), fraction.select(x, 8.0))
    low, high = (x.compare("eq", 0).select(zero, part) for part, zero in ((low, 0.0), (high, 1.0)))
    found = fraction.select(high, 1 - low) if upper else fraction.select(1 - high, low)
    return x.compare("eq", inf).select(0.0 if upper else 1.0, found) + wrong


def _series(a: Formula, x: Formula) -> Formula:
    """1 + x / (a + 1) + x^2 / ((a + 1)(a + 2)) + ..."""

    def step(number: Formula, sum: Formula, term: Formula) -> list[Formula]:
        new = term * x / (a + number)
        return [sum + new, new]

    one = x * 0 + 1
    sum, term = _until_still([one, one], step, lambda values: values[1].unary("abs").compare("gt", values[0] * EPSILON))
    return term.unary("abs").compare("gt", sum * EPSILON).select(nan, sum)


def _fraction(a: Formula, x: Formula) -> Formula:
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / ...)), by Lentz's method."""

    def step(number: Formula, value: Formula, c: Formula, d: Formula, change: Formula) -> list[Formula]:
        above, below = number * (a - number), x + 1 - a + 2 * number
        c, d = _not_zero(below + above / c), 1 / _not_zero(below + above * d)
        return [value * c * d, c, d, c * d]

    def moves(values: list[Formula]) -> Formula:
        return (values[3] - 1).unary("abs").compare("gt", 4 * EPSILON)

    first = 1 / _not_zero(x + 1 - a)
    values = _until_still([first, x * 0 + 1 / TINY, first, x * 0], step, moves)
    return moves(values).select(nan, values[0])


def _not_zero(x: Formula) -> Formula:
    return x.unary("abs").compare("lt", TINY).select(TINY, x)


def _until_still(
    start: list[Formula], step: Callable[..., list[Formula]], moves: Callable[[list[Formula]], Formula]
) -> list[Formula]:
    """Steps, numbered from 1, until none of the elements moves, at most MOST_STEPS."""
    build = start[0].build

    def any_moves(values: list[Formula]) -> SSAValue:
        moving = moves(values).value
        return build.emit(graph.ReduceOp(moving, kind="or", dims=range(len(shape_of(moving)))))

    def body(iteration: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        number = Formula(build, build.broadcast(build.cast(iteration, f64), start[0].shape)) + 1
        values = step(number, *(Formula(build, value) for value in carried))
        return [any_moves(values), *(value.value for value in values)]

    trip = build.emit(graph.ConstantOp(MOST_STEPS, i64))
    results = build.loop([value.value for value in start], body, trip=trip, condition=any_moves(start))
    return [Formula(build, value) for value in results]
