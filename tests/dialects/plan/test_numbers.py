"""Plan arithmetic: every op has the value that Python's integers give, and the numbers of a launch follow from the types of its operands."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.arith import ConstantOp
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, f32, i32, i64
from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import plan
from stepwell.dialects.plan import BufferType, WindowField

EXTENTS = st.lists(st.integers(0, 2**16), min_size=1, max_size=4)
POSITIVE = st.integers(1, 2**31 - 1)


def literal(value: int) -> SSAValue:
    return ConstantOp(IntegerAttr(value, i32)).result


def buffer(shape: list[int], strides: list[int] | None = None) -> SSAValue:
    return plan.BindingOp("x", "input", BufferType.of(shape, f32, strides)).buffer


@given(EXTENTS, st.data())
def test_extents_and_strides_are_those_of_the_type(shape: list[int], data: st.DataObject) -> None:
    strides = data.draw(st.lists(st.integers(0, 2**16), min_size=len(shape), max_size=len(shape)))
    value = buffer(shape, strides)
    for dim, (extent, stride) in enumerate(zip(shape, strides, strict=True)):
        for op, expected in ((plan.ExtentOp, extent), (plan.StrideOp, stride)):
            made = op(value, dim, i64)
            made.verify()
            assert plan.number_of(made.result) == expected


@given(st.integers(0, 2**31 - 1), POSITIVE)
def test_arithmetic_is_that_of_integers(a: int, b: int) -> None:
    expected = {
        plan.MultiplyOp: a * b,
        plan.CeilDivOp: (a + b - 1) // b,
        plan.FloorDivOp: a // b,
        plan.MinimumOp: min(a, b),
        plan.MaximumOp: max(a, b),
    }
    for op, value in expected.items():
        for right in (b, literal(b)):
            made = op(literal(a), right)
            made.verify()
            assert plan.number_of(made.result) == value


@given(POSITIVE, st.integers(0, 2**31 - 1))
def test_a_magic_pair_divides(divisor: int, n: int) -> None:
    multiplier, shift = (
        plan.number_of(op(literal(divisor)).result) for op in (plan.MagicMultiplierOp, plan.MagicShiftOp)
    )
    assert -(2**31) <= multiplier < 2**31
    assert (n * (multiplier % 2**32)) >> shift == n // divisor


def test_a_window_has_output_and_geometry() -> None:
    image = buffer([2, 9, 7, 3])
    op = plan.WindowOp(image, [3, 2], [2, 1], [1, 0, 1, 2], [1, 3], FloatAttr(0.0, f32))
    lists = {
        WindowField.OUTPUT: [5, 6],
        WindowField.KERNEL: [3, 2],
        WindowField.STRIDES: [2, 1],
        WindowField.PADS: [1, 0, 1, 2],
        WindowField.DILATIONS: [1, 3],
    }
    for field, numbers in lists.items():
        made = [plan.GeometryOp(op.window, field, dim, i32) for dim in range(len(numbers))]
        assert [plan.number_of(number.result) for number in made] == numbers
    rows = plan.ExtentOp(op.window, 0, i32)
    assert plan.number_of(rows.result) == 2 * prod(lists[WindowField.OUTPUT])


def test_other_values_are_no_numbers() -> None:
    with pytest.raises(VerifyException, match=r"a launch's number comes from plan\.binding"):
        plan.number_of(buffer([4]))
