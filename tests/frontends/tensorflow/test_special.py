"""Special functions against the standard library and against identities; every float type, scalars, no elements, the borders."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, exp, factorial, inf, lgamma, nan, pi
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import run_operator

RNG = np.random.default_rng(3)
EULER = 0.57721566490153286061


def _close(got: Any, wanted: Any, units: float) -> None:
    """Within so many units in the last place of the result's type; infinities and NaN at the same places."""
    expected = np.asarray(wanted).astype(got.dtype)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got[~finite], expected[~finite])
    error = np.abs(got[finite].astype(np.float64) - expected[finite].astype(np.float64))
    unit = np.abs(np.spacing(expected[finite])).astype(np.float64)
    assert (error <= units * unit).all(), (error / unit).max()


def _harmonic(n: int) -> float:
    return -EULER + sum(1 / k for k in range(1, n))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((), np.float32),
        ((1,), np.float64),
        ((0,), np.float32),
        ((2, 0), np.float16),
        ((17,), np.float16),
        ((3, 5), np.float32),
    ],
)
@pytest.mark.parametrize("op", ["Lgamma", "Digamma", "Ndtri", "Erfinv"])
def test_shapes_and_types(op: str, shape: tuple[int, ...], dtype: type) -> None:
    got = run_operator(op, [np.full(shape, 0.25, dtype)])
    assert (got.shape, got.dtype) == (shape, np.dtype(dtype))
    wanted = {
        "Lgamma": lgamma(0.25),
        "Digamma": -4.2274535333762654,
        "Ndtri": -0.6744897501960817,
        "Erfinv": 0.2253120550121781,
    }
    _close(got, np.full(shape, wanted[op]), 4)


def test_lgamma() -> None:
    x = np.concatenate([RNG.uniform(-20, 40, 300), 10.0 ** RNG.uniform(-30, 12, 100), [1, 2, 0.5, 1e-30, -1e-30]])
    for dtype, units in ((np.float32, 1), (np.float64, 400)):
        given = x.astype(dtype)
        _close(run_operator("Lgamma", [given]), [lgamma(float(value)) for value in given], units)
    poles = np.array([0, -1, -7, inf, -inf, nan], np.float32)
    _close(run_operator("Lgamma", [poles]), [inf, inf, inf, inf, inf, nan], 0)


def test_digamma() -> None:
    """At whole and half numbers, by reflection at negative ones, and near 0."""
    n = np.arange(1, 60)
    _close(run_operator("Digamma", [n.astype(np.float32)]), [_harmonic(int(k)) for k in n], 1)
    x = RNG.uniform(0.1, 0.9, 50)
    left, right = (run_operator("Digamma", [value]) for value in (1 - x, x))
    assert np.allclose(left - right, pi / np.tan(pi * x), rtol=1e-12, atol=1e-12)
    assert np.allclose(run_operator("Digamma", [-x]), right + 1 / x + pi / np.tan(pi * x) - 1 / x + 1 / x, rtol=1e-11)
    edges = np.array([-1e-30, 1e-30, 0, -3, inf, nan], np.float32)
    _close(run_operator("Digamma", [edges]), [1e30, -1e30, nan, nan, inf, nan], 1)


def test_quantiles() -> None:
    p = np.concatenate([RNG.uniform(0, 1, 200), 10.0 ** RNG.uniform(-300, 0, 100)])
    _close(run_operator("Ndtri", [p]), [NormalDist().inv_cdf(float(value)) for value in p], 8)
    edges = np.array([0, 1, 0.5, -0.1, 1.1, nan], np.float32)
    _close(run_operator("Ndtri", [edges]), [-inf, inf, 0, nan, nan, nan], 0)
    x = RNG.uniform(-0.999, 0.999, 200)
    assert np.allclose([erf(value) for value in run_operator("Erfinv", [x])], x, rtol=1e-14, atol=1e-16)
    _close(run_operator("Erfinv", [np.array([-1, 1, 0, 2, 1e-30], np.float32)]), [-inf, inf, 0, nan, 8.862269e-31], 1)


def _integer_order(n: int, x: float) -> float:
    """Q(n, x)."""
    return exp(-x) * sum(x**k / factorial(k) for k in range(n))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_incomplete_gamma(dtype: type) -> None:
    n = RNG.integers(1, 20, 100)
    x: Any = RNG.uniform(0, 40, 100).astype(dtype)
    wanted = np.array([_integer_order(int(a), float(b)) for a, b in zip(n, x, strict=True)])
    upper = run_operator("Igammac", [n.astype(dtype), x], fed=2)
    lower = run_operator("Igamma", [n.astype(dtype), x], fed=2)
    tolerance = 1e-6 if dtype is np.float32 else 1e-11
    assert np.allclose(upper, wanted, rtol=tolerance, atol=tolerance)
    assert np.allclose(lower, 1 - wanted, rtol=tolerance, atol=tolerance)
    half = run_operator("Igamma", [np.full(100, 0.5, dtype), x], fed=2)
    assert np.allclose(half, [erf(float(v) ** 0.5) for v in x], rtol=tolerance)
    a: Any = np.array([0, -1, 2, 2, 2, nan, 1, 3], dtype)
    edges: Any = np.array([1, 1, -1, inf, 0, 1, nan, 1e5], dtype)
    _close(run_operator("Igamma", [a, edges], fed=2), [nan, nan, nan, 1, 0, nan, nan, 1], 0)


def test_large_orders_of_incomplete_gamma() -> None:
    """Near the middle P(a, a) is 1/2 + 1 / (3 sqrt(2 pi a)); a sum that would not end is no number."""
    a = np.array([100.0, 1e3, 1e4, 1e12])
    got = run_operator("Igamma", [a, a], fed=2)
    assert np.allclose(got[:3], 0.5 + 1 / (3 * np.sqrt(2 * pi * a[:3])), atol=1e-5)
    assert np.isnan(got[3])


def test_zeta_and_polygamma() -> None:
    x, q = np.array([2, 4, 2, 2, 3.5]), np.array([1, 1, 0.5, -3.5, 1.0])
    squares = [
        pi**2 / 6,
        pi**4 / 90,
        pi**2 / 2,
        pi**2 / 2 + sum(1 / (k + 0.5) ** 2 for k in range(4)),
        1.1267338673170566,
    ]
    _close(run_operator("Zeta", [x, q], fed=2), squares, 8)
    x, q = np.array([1, 0.5, 2.5, 2, 3, 2, nan], np.float32), np.array([1, 1, -1.5, -2, 0, -1e9, 1], np.float32)
    _close(run_operator("Zeta", [x, q], fed=2), [inf, nan, nan, inf, inf, inf, nan], 0)
    order, at = np.array([0, 1, 2, 3, -1, 0.5], np.float32), np.array([1, 1, 1, 0.5, 1, 1], np.float32)
    wanted = [-EULER, pi**2 / 6, -2 * 1.2020569031595942, pi**4, nan, nan]
    _close(run_operator("Polygamma", [order, at], fed=2), wanted, 1)


BINARY: dict[str, Callable[[Any], Any]] = {
    "Igamma": lambda x: x,
    "Igammac": lambda x: x,
    "Zeta": lambda x: x + 2,
    "Polygamma": np.round,
}


@pytest.mark.parametrize("shape", [(), (0,), (3, 1)])
@pytest.mark.parametrize("op", list(BINARY))
def test_broadcast(op: str, shape: tuple[int, ...]) -> None:
    first, second = BINARY[op](np.full(shape, 1.5, np.float32)), np.full((3, 2), 0.75, np.float32)
    if shape == (0,):
        second = second[:, :0]
    got = run_operator(op, [first, second], fed=2)
    assert got.shape == np.broadcast_shapes(shape, second.shape)
    assert np.isfinite(got).all()
