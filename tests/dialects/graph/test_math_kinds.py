"""Elementwise kinds against float64: within 2 units in the last place of f32, special values, and the kinds of integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import IntegerType, bf16, f16, f32, i1
from xdsl.ir import Attribute
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph import checks
from stepwell.dialects.graph.interpreter import ORACLE, run_graph_op
from stepwell.dialects.numpy_types import (
    FLOATS8,
    INTEGERS,
    STORAGE,
    Array,
    element_type_of,
    numpy_dtype,
    tensor_type_of,
    ui8,
)

INF, NAN = np.inf, np.nan
RANGES = {"log": (0, 3e38), "sqrt": (0, 3e38), "acosh": (1, 3e38), "asin": (-1, 1), "acos": (-1, 1), "atanh": (-1, 1)}


REFERENCE: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: 0.5 * x * np.array([math.erfc(-v) for v in x / np.sqrt(2)]),
    "sigmoid": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "sign": np.sign,
    "relu": lambda x: (x + np.abs(x)) / 2,
    "sinh": lambda x: np.where(
        np.abs(x) < 1, x + x**3 / 6 + x**5 / 120 + x**7 / 5040 + x**9 / 362880, (np.exp(x) - np.exp(-x)) / 2
    ),
}
"""Formulas that the interpreter does not share."""


def f32s(values: Sequence[float]) -> Array:
    return np.array(values, np.float32)


def unary(kind: str, x: Array) -> Array:
    op = graph.UnaryOp(create_ssa_value(tensor_type_of(x)), kind=kind)
    op.verify()
    (result,) = run_graph_op(op, [x])
    assert result.dtype == x.dtype
    return result


def binary(kind: str, a: Array, b: Array) -> Array:
    op = graph.BinaryOp(create_ssa_value(tensor_type_of(a)), create_ssa_value(tensor_type_of(b)), kind=kind)
    op.verify()
    (result,) = run_graph_op(op, [a, b])
    assert result.dtype == a.dtype
    return result


def spread(low: float, high: float) -> Array:
    """Numbers of every size in [low, high], normal and not."""
    generator = np.random.default_rng(0)
    bits = generator.integers(0, 2**32, 40_000, dtype=np.uint64).astype(np.uint32)
    every = bits.view(np.float32)
    near = generator.uniform(max(low, -20), min(high, 20), 20_000).astype(np.float32)
    values = np.concatenate([every[np.isfinite(every)], near, f32s([0, -0.0, 1e-45, -1e-45, 1, -1])])
    return values[(values >= low) & (values <= high)]


@pytest.mark.parametrize("kind", sorted(ORACLE))
def test_within_two_units_in_the_last_place(kind: str) -> None:
    x = spread(*RANGES.get(kind, (-3e38, 3e38)))
    got = unary(kind, x)
    with np.errstate(all="ignore"):
        exact = REFERENCE.get(kind, ORACLE[kind])(x.astype(np.float64))
        nearest = exact.astype(np.float32)
        unit = np.spacing(np.abs(np.where(np.isfinite(nearest), nearest, 0)).astype(np.float32)).astype(np.float64)
    finite = np.isfinite(nearest)
    close = np.abs(got.astype(np.float64) - exact) <= 2 * unit
    wrong = finite & ~close
    assert not wrong.any(), [(x[i], got[i], exact[i]) for i in np.flatnonzero(wrong)[:5]]
    np.testing.assert_array_equal(got[~finite], nearest[~finite])


@pytest.mark.parametrize("element", [f16, bf16])
@pytest.mark.parametrize("kind", sorted(ORACLE))
def test_narrow_floats_are_rounded(kind: str, element: Attribute) -> None:
    dtype = numpy_dtype(element)
    low, high = RANGES.get(kind, (-6, 6))
    x = np.linspace(max(low, -6), min(high, 6), 97).astype(dtype)
    with np.errstate(all="ignore"):
        exact = ORACLE[kind](x.astype(np.float64))
    eps = 2.0**-10 if element == f16 else 2.0**-7
    np.testing.assert_allclose(unary(kind, x).astype(np.float64), exact, rtol=8 * eps, atol=8 * eps)


SPECIAL = {
    "abs": {-0.0: 0.0, -INF: INF},
    "neg": {0.0: -0.0, INF: -INF},
    "relu": {-0.0: 0.0, -INF: 0.0, INF: INF},
    "exp": {-INF: 0.0, INF: INF, -0.0: 1.0},
    "log": {0.0: -INF, -1.0: NAN, INF: INF},
    "sqrt": {-0.0: -0.0, -1.0: NAN, INF: INF},
    "tanh": {INF: 1.0, -INF: -1.0, -0.0: -0.0},
    "sigmoid": {INF: 1.0, -INF: 0.0, 0.0: 0.5},
    "erf": {INF: 1.0, -INF: -1.0, -0.0: -0.0},
    "expm1": {-0.0: -0.0, -INF: -1.0, INF: INF},
    "log1p": {-0.0: -0.0, -1.0: -INF, -2.0: NAN, INF: INF},
    "softplus": {INF: INF, -INF: 0.0, 100.0: 100.0},
    "floor": {-0.5: -1.0, -0.0: -0.0, INF: INF},
    "ceil": {-0.5: -0.0, 0.5: 1.0},
    "trunc": {-1.5: -1.0, 1.5: 1.0},
    "round_even": {0.5: 0.0, 1.5: 2.0, 2.5: 2.0, -0.5: -0.0, -2.5: -2.0},
    "sign": {-0.0: -0.0, INF: 1.0, -INF: -1.0, 1e-45: 1.0},
    "sin": {INF: NAN, -0.0: -0.0},
    "cos": {INF: NAN, -0.0: 1.0},
    "tan": {INF: NAN, -0.0: -0.0},
    "asin": {2.0: NAN, -0.0: -0.0},
    "acos": {2.0: NAN, 1.0: 0.0},
    "atan": {-0.0: -0.0},
    "sinh": {-INF: -INF, -0.0: -0.0},
    "cosh": {-INF: INF},
    "asinh": {-INF: -INF, -0.0: -0.0},
    "acosh": {1.0: 0.0, 0.5: NAN, INF: INF},
    "atanh": {1.0: INF, -1.0: -INF, 2.0: NAN, -0.0: -0.0},
    "gelu": {0.0: 0.0, -50.0: -0.0, INF: INF, -INF: NAN},
    "gelu_tanh": {0.0: 0.0, -50.0: -0.0, INF: INF, -INF: NAN},
}


@pytest.mark.parametrize("kind", sorted(ORACLE))
def test_special_values(kind: str) -> None:
    given = {**SPECIAL[kind], NAN: NAN}
    got = unary(kind, np.array(list(given), np.float32))
    expected = np.array(list(given.values()), np.float32)
    np.testing.assert_array_equal(got, expected)
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


def test_every_kind_has_a_formula_or_is_logic() -> None:
    assert {kind.value for kind in graph.UnaryKind} == {*ORACLE, "not"} == {*SPECIAL, "not"}


@pytest.mark.parametrize("element", INTEGERS, ids=str)
def test_kinds_of_integers_wrap(element: Attribute) -> None:
    dtype = numpy_dtype(element)
    info = np.iinfo(dtype.name)
    x = np.array([info.min, info.max, 0, 1, 7], dtype)
    exact = x.astype(object)
    wrap = lambda values: np.array([(int(v) - info.min) % 2**info.bits + info.min for v in values], object).astype(
        dtype
    )
    np.testing.assert_array_equal(unary("neg", x), wrap(-exact))
    np.testing.assert_array_equal(unary("abs", x), wrap(abs(exact)))
    np.testing.assert_array_equal(unary("sign", x), np.sign(x))
    np.testing.assert_array_equal(unary("relu", x), np.maximum(x, 0))
    np.testing.assert_array_equal(unary("not", x), ~x)
    y = np.array([3, 3, 5, 2, 2], dtype)
    other = y.astype(object)
    np.testing.assert_array_equal(binary("add", x, y), wrap(exact + other))
    np.testing.assert_array_equal(binary("mul", x, y), wrap(exact * other))
    np.testing.assert_array_equal(binary("pow", x, y), wrap(exact**other))
    np.testing.assert_array_equal(binary("mod", x, y), wrap(exact % other))
    np.testing.assert_array_equal(binary("rem", x, y), np.fmod(x, y))
    np.testing.assert_array_equal(
        binary("div", x, y), wrap([abs(a) // b * (1 if a >= 0 else -1) for a, b in zip(exact, other)])
    )
    np.testing.assert_array_equal(binary("max", x, y), np.maximum(x, y))
    np.testing.assert_array_equal(binary("shift_left", x, y), wrap(exact * 2**other))
    np.testing.assert_array_equal(binary("shift_right", x, y), x >> y)
    np.testing.assert_array_equal(binary("shift_right", x, np.full(5, info.bits, dtype)), np.zeros(5))
    for kind, function in {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}.items():
        np.testing.assert_array_equal(binary(kind, x, y), function(x, y))


def test_binary_kinds_of_floats() -> None:
    a = np.array([5.5, -5.5, 5.5, -5.5, NAN, -0.0, 1.0], np.float32)
    b = np.array([2.0, 2.0, -2.0, -2.0, 1.0, 2.0, NAN], np.float32)
    np.testing.assert_array_equal(binary("mod", a, b), [1.5, 0.5, -0.5, -1.5, NAN, 0, NAN])
    np.testing.assert_array_equal(binary("rem", a, b), [1.5, -1.5, 1.5, -1.5, NAN, 0, NAN])
    np.testing.assert_array_equal(binary("max", a, b)[-3:], [NAN, 2, NAN])
    np.testing.assert_array_equal(binary("pow", a, b)[:2], [30.25, 30.25])
    np.testing.assert_array_equal(np.signbit(binary("max", f32s([-0.0]), f32s([0.0]))), [False])
    np.testing.assert_allclose(
        binary("atan2", f32s([1, -1, 0]), f32s([-1, -1, -1])),
        np.array([np.pi * 3 / 4, -np.pi * 3 / 4, np.pi]),
        rtol=1e-7,
    )


@pytest.mark.parametrize("kind", list(graph.CompareKind))
def test_comparisons(kind: graph.CompareKind) -> None:
    function = getattr(
        np,
        {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}[
            kind.value
        ],
    )
    cases = [np.array([[0, 200, 7], [7, 100, 7]], "uint8"), np.array([[-1, 2, 7], [7, -3, 7]], "int32")]
    cases += [
        np.array([[True, False, True], [False, False, True]]),
        np.array([[NAN, -0.0, INF], [NAN, 0.0, 1]], "float32"),
    ]
    for a, b in cases:
        type = tensor_type_of(a)
        op = graph.CompareOp(create_ssa_value(type), create_ssa_value(type), kind=kind.value)
        np.testing.assert_array_equal(run_graph_op(op, [a, b])[0], function(a, b))


def cast(x: Array, to: Attribute, **more: object) -> Array:
    op = graph.CastOp(create_ssa_value(tensor_type_of(x)), to, **more)  # type: ignore[arg-type]
    op.verify()
    (result,) = run_graph_op(op, [x])
    assert element_type_of(result.dtype) == to
    return result


@pytest.mark.parametrize("to", [*INTEGERS, *STORAGE[:4]], ids=str)
def test_saturating_casts_to_integers(to: Attribute) -> None:
    assert isinstance(to, IntegerType)
    x = np.array([1e30, -1e30, NAN, INF, 2.7, -2.7], np.float32)
    got = cast(x, to, saturate=True).astype(object)
    bits, unsigned = to.width.data, "ui" in str(to)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    assert [int(v) for v in got] == [high, low, 0, high, min(2, high), max(-2, low)]
    whole = np.array([300, -300, 3, 70000], np.int64)
    assert [int(v) for v in cast(whole, to, saturate=True)] == [max(low, min(high, v)) for v in (300, -300, 3, 70000)]


def test_casts_to_integers_below_a_byte_wrap() -> None:
    x = np.array([-9, -8, -1.9, 7.9, 8, 15, 17, NAN], np.float32)
    assert cast(x, STORAGE[0]).astype(int).tolist() == [7, -8, -1, 7, -8, -1, 1, 0]
    assert cast(x, STORAGE[1]).astype(int).tolist() == [7, 8, 15, 7, 8, 15, 1, 0]
    assert cast(x[1:5].astype(np.int64), STORAGE[3]).astype(int).tolist() == [0, 3, 3, 0]


def test_casts_to_narrow_floats() -> None:
    x = np.array([1e9, -INF, NAN, 0.3], np.float32)
    narrow = [cast(x, element).astype(np.float32) for element in FLOATS8]
    np.testing.assert_array_equal(narrow[0], f32s([NAN, NAN, NAN, 0.3125]))
    np.testing.assert_array_equal(narrow[1], f32s([INF, -INF, NAN, 0.3125]))
    np.testing.assert_array_equal(cast(x, FLOATS8[0], saturate=True).astype(np.float32), f32s([448, -448, NAN, 0.3125]))
    powers = {
        kind: cast(f32s([3, 2, 5]), STORAGE[7], rounding=kind).astype(np.float32) for kind in ("up", "down", "nearest")
    }
    np.testing.assert_array_equal(powers["up"], [4, 2, 8])
    np.testing.assert_array_equal(powers["down"], [2, 2, 4])
    np.testing.assert_array_equal(powers["nearest"], [4, 2, 4])
    twice = np.array([1 + 2.0**-8 + 2.0**-40], np.float64)
    assert cast(twice, bf16).astype(np.float64)[0] == 1 + 2.0**-7, "rounded once: above the tie"
    np.testing.assert_array_equal(cast(np.array([True, False]), FLOATS8[0]).astype(np.float32), [1, 0])
    np.testing.assert_array_equal(cast(f32s([0, -0.0, NAN, 0.1]), i1), [False, False, True, True])
    np.testing.assert_array_equal(cast(np.array([-1, 255], np.int32), ui8), [255, 255])


def test_bits_keep_their_pattern() -> None:
    x = f32s([1.0, -0.0])
    op = graph.BitcastOp(create_ssa_value(tensor_type_of(x)), IntegerType(32))
    (bits,) = run_graph_op(op, [x])
    np.testing.assert_array_equal(bits, [0x3F800000, -(2**31)])
    back = graph.BitcastOp(create_ssa_value(tensor_type_of(bits)), f32)
    np.testing.assert_array_equal(run_graph_op(back, [bits])[0], x)


@pytest.mark.parametrize("shape", [(), (2, 0)], ids=str)
def test_casts_between_all_types_and_shapes(shape: tuple[int, ...]) -> None:
    for before in checks.ANY:
        x = np.ones(shape, numpy_dtype(before))
        for after in checks.ANY:
            for saturate in (False, True):
                got = cast(x, after, saturate=saturate)
                assert got.shape == shape
                assert (got.astype(np.float64) == 1).all(), (before, after)
