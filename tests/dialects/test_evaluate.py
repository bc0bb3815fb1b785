"""Evaluation of arith and math ops: exactness against rational arithmetic, special values, integer corner cases."""

from __future__ import annotations

import math as pymath
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects import arith, math
from xdsl.dialects import test as test_dialect
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerType,
    VectorType,
    f16,
    f32,
    f64,
    f80,
    i1,
    i8,
    i32,
    i64,
)
from xdsl.dialects.linalg.ops import YieldOp
from xdsl.ir import Attribute, Block, Operation
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects.evaluate import BINARY, CONVERSIONS, UNARY, UnsupportedOp, evaluate, evaluate_block
from stepwell.dialects.numpy_types import Array, numpy_dtype

F32 = st.floats(width=32)


def f(values: list[float]) -> Array:
    return np.array(values, np.float32)


def i(values: list[int]) -> Array:
    return np.array(values, np.int32)


def run(kind: type[Operation], *values: object, type: Attribute = f32) -> Array:
    dtype = numpy_dtype(type)
    operands = [create_ssa_value(type) for _ in values]
    (result,) = evaluate(kind(*operands), [np.asarray(v, dtype) for v in values])
    assert result.dtype == dtype
    return result


def rounded(exact: Fraction) -> np.float32:
    """The float32 nearest to a fraction, ties to even, by comparing the two neighbours exactly."""
    if exact == 0:
        return np.float32(0)
    guess = np.float32(float(exact))
    near = np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))
    finite = [g for g in near if np.isfinite(g)]
    order = sorted(finite, key=lambda g: (abs(Fraction(float(g)) - exact), int(np.asarray(g).view(np.int32)) & 1))
    return order[0]


@given(F32, F32, F32)
def test_fma_rounds_once(a: float, b: float, c: float) -> None:
    got = run(math.FmaOp, a, b, c)
    if not all(map(pymath.isfinite, (a, b, c))):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(got, np.float32(np.float64(a) * b + c))
        return
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if abs(exact) < Fraction(2) ** 127:
        assert float(got) == float(rounded(exact))


@pytest.mark.parametrize("type", [f16, f32, f64])
def test_fma_keeps_what_separate_rounding_loses(type: Attribute) -> None:
    tiny = float(np.finfo(str(numpy_dtype(type))).eps)
    got = run(math.FmaOp, 1 + tiny, 1 - tiny, -1.0, type=type)
    assert float(got) == -(float(tiny) ** 2)


@given(st.floats(width=16, allow_nan=False), st.floats(width=16, allow_nan=False))
def test_half_arithmetic_is_correctly_rounded(a: float, b: float) -> None:
    with np.errstate(all="ignore"):
        wide = {arith.AddfOp: np.float64(a) + b, arith.MulfOp: np.float64(a) * b, arith.SubfOp: np.float64(a) - b}
        for kind, value in wide.items():
            np.testing.assert_array_equal(run(kind, a, b, type=f16), value.astype(np.float16))


def test_maximum_and_minimum_of_nan_and_zeros() -> None:
    nan = np.nan
    a, b = [nan, 1.0, -0.0, 0.0, -0.0], [1.0, nan, 0.0, -0.0, -0.0]
    maximum, minimum = run(arith.MaximumfOp, a, b), run(arith.MinimumfOp, a, b)
    assert np.isnan(maximum[:2]).all() and np.isnan(minimum[:2]).all()
    assert list(np.signbit(maximum[2:])) == [False, False, True]
    assert list(np.signbit(minimum[2:])) == [True, True, True]
    np.testing.assert_array_equal(run(arith.MaxnumfOp, a[:2], b[:2]), [1, 1])
    np.testing.assert_array_equal(run(arith.MinnumfOp, a[:2], b[:2]), [1, 1])


@given(F32)
def test_erf_exp_tanh_are_float64_rounded(x: float) -> None:
    np.testing.assert_array_equal(run(math.ErfOp, x), np.float32(pymath.erf(x)))
    np.testing.assert_array_equal(run(math.TanhOp, x), np.float32(pymath.tanh(x)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(run(math.ExpOp, x), np.float32(np.exp(np.float64(x))))


INT = st.integers(-(2**31), 2**31 - 1)


def wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


@given(INT, INT)
def test_integer_arithmetic_wraps(a: int, b: int) -> None:
    def n(kind: type[Operation]) -> int:
        return int(run(kind, a, b, type=i32))

    ua, ub = a % 2**32, b % 2**32
    assert n(arith.AddiOp) == wrap(a + b)
    assert n(arith.SubiOp) == wrap(a - b)
    assert n(arith.MuliOp) == wrap(a * b)
    assert n(arith.MaxUIOp) == wrap(max(ua, ub))
    assert n(arith.MinSIOp) == min(a, b)
    if b:
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        assert n(arith.DivSIOp) == wrap(quotient)
        if (a, b) != (-(2**31), -1):
            assert n(arith.RemSIOp) == a - quotient * b
            assert n(arith.FloorDivSIOp) == a // b
            assert n(arith.CeilDivSIOp) == -(-a // b)
        assert n(arith.DivUIOp) == wrap(ua // ub)
        assert n(arith.RemUIOp) == wrap(ua % ub)
        assert n(arith.CeilDivUIOp) == wrap(-(-ua // ub))


@given(INT, st.integers(0, 31))
def test_shifts(a: int, n: int) -> None:
    assert int(run(arith.ShLIOp, a, n, type=i32)) == wrap(a << n)
    assert int(run(arith.ShRSIOp, a, n, type=i32)) == a >> n
    assert int(run(arith.ShRUIOp, a, n, type=i32)) == wrap((a % 2**32) >> n)


@given(INT, INT, st.booleans())
def test_extended_products_and_sums(a: int, b: int, signed: bool) -> None:
    x, y = create_ssa_value(i32), create_ssa_value(i32)
    arrays = [np.int32(a), np.int32(b)]
    low, high = evaluate((arith.MulSIExtendedOp if signed else arith.MulUIExtendedOp)(x, y), arrays)
    exact = a * b if signed else (a % 2**32) * (b % 2**32)
    assert (int(low), int(high)) == (wrap(exact), wrap(exact >> 32))
    total, carry = evaluate(arith.AddUIExtendedOp(x, y), arrays)
    assert (int(total), bool(carry)) == (wrap(a + b), a % 2**32 + b % 2**32 >= 2**32)


def test_booleans_count_modulo_two() -> None:
    a, b = [False, False, True, True], [False, True, False, True]
    np.testing.assert_array_equal(run(arith.AddiOp, a, b, type=i1), np.logical_xor(a, b))
    np.testing.assert_array_equal(run(arith.MuliOp, a, b, type=i1), np.logical_and(a, b))
    np.testing.assert_array_equal(run(arith.MaxSIOp, a, b, type=i1), np.logical_and(a, b))
    np.testing.assert_array_equal(run(arith.XOrIOp, a, b, type=i1), np.logical_xor(a, b))
    one = create_ssa_value(i1)
    assert evaluate(arith.SIToFPOp(one, f32), [np.asarray(True)])[0] == -1.0
    assert evaluate(arith.UIToFPOp(one, f32), [np.asarray(True)])[0] == 1.0
    assert evaluate(arith.ExtSIOp(one, i32), [np.asarray(True)])[0] == -1
    assert evaluate(arith.ExtUIOp(one, i32), [np.asarray(True)])[0] == 1


@pytest.mark.parametrize(
    "predicate, expected",
    [
        ("false", [0, 0, 0]), ("oeq", [0, 1, 0]), ("ogt", [0, 0, 0]), ("oge", [0, 1, 0]), ("olt", [1, 0, 0]),
        ("ole", [1, 1, 0]), ("one", [1, 0, 0]), ("ord", [1, 1, 0]), ("ueq", [0, 1, 1]), ("ugt", [0, 0, 1]),
        ("uge", [0, 1, 1]), ("ult", [1, 0, 1]), ("ule", [1, 1, 1]), ("une", [1, 0, 1]), ("uno", [0, 0, 1]),
        ("true", [1, 1, 1]),
    ],
)  # fmt: skip
def test_cmpf(predicate: str, expected: list[int]) -> None:
    x = create_ssa_value(f32)
    (got,) = evaluate(arith.CmpfOp(x, x, predicate), [f([1, 2, np.nan]), f([2, 2, 1])])
    assert got.dtype == np.bool_ and list(got) == [bool(e) for e in expected]


@pytest.mark.parametrize(
    "predicate, expected",
    [("eq", [0, 1]), ("ne", [1, 0]), ("slt", [1, 0]), ("sle", [1, 1]), ("sgt", [0, 0]), ("sge", [0, 1]), ("ult", [0, 0]),
     ("ule", [0, 1]), ("ugt", [1, 0]), ("uge", [1, 1])],
)  # fmt: skip
def test_cmpi(predicate: str, expected: list[int]) -> None:
    x = create_ssa_value(i32)
    (got,) = evaluate(arith.CmpiOp(x, x, predicate), [i([-1, 3]), i([2, 3])])
    assert list(got) == [bool(e) for e in expected]


def test_select_scalar_condition_over_vectors() -> None:
    vector = VectorType(f32, [4])
    op = arith.SelectOp(create_ssa_value(i1), create_ssa_value(vector), create_ssa_value(vector))
    (got,) = evaluate(op, [np.array([True, False]), np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)])
    np.testing.assert_array_equal(got, [[1] * 4, [0] * 4])


def test_constants() -> None:
    assert evaluate(arith.ConstantOp(FloatAttr(0.1, f32)), [])[0] == np.float32(0.1)
    assert evaluate(arith.ConstantOp.from_int_and_width(-1, i1), [])[0].item() is True
    assert evaluate(arith.ConstantOp.from_int_and_width(-3, i64), [])[0].item() == -3
    splat = DenseIntOrFPElementsAttr.from_list(VectorType(f16, [2, 2]), [0.5])
    np.testing.assert_array_equal(evaluate(arith.ConstantOp(splat), [])[0], np.full((2, 2), 0.5, np.float16))
    dense = DenseIntOrFPElementsAttr.from_list(VectorType(i32, [3]), [1, -2, 3])
    np.testing.assert_array_equal(evaluate(arith.ConstantOp(dense), [])[0], i([1, -2, 3]))


def test_conversions() -> None:
    def convert(kind: type[Operation], value: object, before: Attribute, after: Attribute) -> Array:
        operand = np.asarray(value, numpy_dtype(before))
        (result,) = evaluate(kind.create(operands=[create_ssa_value(before)], result_types=[after]), [operand])
        assert result.dtype == numpy_dtype(after)
        return result

    assert convert(arith.TruncFOp, 65520.0, f32, f16) == np.inf
    assert convert(arith.TruncFOp, 2049.0, f32, f16) == 2048.0
    assert convert(arith.ExtFOp, 0.1, f16, f32) == np.float32(np.float16(0.1))
    assert convert(arith.FPToSIOp, -2.7, f32, i32) == -2
    assert convert(arith.FPToUIOp, 3e9, f64, i32) == np.uint32(3_000_000_000).view(np.int32)
    assert convert(arith.UIToFPOp, -1, i32, f64) == 2**32 - 1
    assert convert(arith.TruncIOp, 257, i32, i8) == 1
    assert convert(arith.TruncIOp, 2, i32, i1).item() is False
    assert convert(arith.BitcastOp, 1.0, f32, i32) == 0x3F800000
    assert convert(arith.ExtUIOp, -1, i8, i32) == 255


@pytest.mark.parametrize(
    "kind, values", [(math.CtPopOp, (0, 3)), (math.CountLeadingZerosOp, (32, 28)), (math.CountTrailingZerosOp, (32, 2))]
)
def test_bit_counts(kind: type[Operation], values: tuple[int, int]) -> None:
    patterns: dict[type[Operation], int] = {
        math.CtPopOp: 0b1011,
        math.CountLeadingZerosOp: 0b1011,
        math.CountTrailingZerosOp: 0b1100,
    }
    np.testing.assert_array_equal(run(kind, [0, patterns[kind]], type=i32), values)


def test_rounding() -> None:
    x = [0.5, 1.5, 2.5, -0.5, -2.5, 0.49999997]
    np.testing.assert_array_equal(run(math.RoundOp, x), [1, 2, 3, -1, -3, 0])
    np.testing.assert_array_equal(run(math.RoundEvenOp, x), [0, 2, 2, 0, -2, 0])


def test_every_table_entry_keeps_shape_and_type() -> None:
    for kind in BINARY:
        type = f32 if kind.name.endswith("f") or kind.name in ("math.copysign", "math.atan2") else i32
        assert run(kind, [3, 5], [2, 1], type=type).shape == (2,)
    for kind in UNARY:
        integer = kind.name in ("math.absi", "math.ctlz", "math.cttz", "math.ctpop")
        assert run(kind, [0.25, 0.5], type=i32 if integer else f32).shape == (2,)
    assert {kind.name for kind in CONVERSIONS} >= {"arith.extf", "arith.truncf", "arith.sitofp", "arith.index_cast"}


def test_block_evaluation_and_hook() -> None:
    block = Block(arg_types=[f32, f32])
    outside = create_ssa_value(f32)
    product = arith.MulfOp(block.args[0], block.args[1])
    total = arith.AddfOp(product, outside)
    block.add_ops([product, total, YieldOp(total)])
    arguments = [f([2, 3]), f([4, 5])]
    (got,) = evaluate_block(block, arguments, {outside: f([1])})
    np.testing.assert_array_equal(got, [9, 16])
    (seen,) = evaluate_block(
        block, arguments, {outside: f([1])}, lambda op, v: (np.zeros_like(v[0]),) if op is total else evaluate(op, v)
    )
    np.testing.assert_array_equal(seen, [0, 0])


def test_unknown_ops_and_types_are_named() -> None:
    with pytest.raises(UnsupportedOp, match="test.op: no evaluation"):
        evaluate(test_dialect.TestOp(), [])
    with pytest.raises(UnsupportedOp, match="arith.addf: type f80 has no NumPy equivalent"):
        evaluate(arith.AddfOp(create_ssa_value(f80), create_ssa_value(f80)), [np.float32(0), np.float32(0)])
    with pytest.raises(UnsupportedOp, match="i17"):
        value = create_ssa_value(IntegerType(17))
        evaluate(arith.AddiOp(value, value), [np.int32(0), np.int32(0)])
