"""Scans and orders as loops: every element type, extents 0 and 1, at every level of both targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, bf16, f16, f32, f64, i8, i16, i32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import is_unsigned, numpy_dtype, ui8, ui32
from stepwell.testing.every_level import check_every_level

ELEMENTS: dict[str, Any] = {str(element): element for element in (bf16, f16, f32, f64, i8, i16, i32, i64, ui8, ui32)}


def value(element: Attribute, *shape: int) -> SSAValue:
    return create_ssa_value(TensorType(element, shape))


def whole(element: Attribute, *shape: int, low: int = -3, high: int = 3, seed: int = 0) -> Any:
    numbers = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    return (abs(numbers) if is_unsigned(element) else numbers).astype(numpy_dtype(element))


CASES = [("sum", "f16"), ("sum", "ui8"), ("max", "f32"), ("product", "i64"), ("min", "f64")]
REST = [(kind, name) for kind in ("sum", "product", "max", "min") for name in ELEMENTS if (kind, name) not in CASES]
SHAPES = [((1,), 0), ((3, 0), 1), ((0, 3), 1), ((7,), 0), ((2, 1, 3), 1)]


@pytest.mark.parametrize(("kind", "name"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)])
def test_cumulative(kind: str, name: str) -> None:
    element = ELEMENTS[name]
    flags = {"exclusive": kind in ("product", "max"), "reverse": kind in ("sum", "product")}
    op = graph.CumulativeOp(value(element, 3, 5, 2), kind=kind, dim=1, **flags)
    check_every_level(op, whole(element, 3, 5, 2))


def test_cumulative_at_the_other_levels() -> None:
    op = graph.CumulativeOp(value(f32, 3, 2), kind="sum", dim=0, exclusive=True)
    check_every_level(op, whole(f32, 3, 2), levels=["linalg", "plan"])


@pytest.mark.parametrize(
    ("shape", "dim"), [((0,), 0), *(pytest.param(*case, marks=pytest.mark.slow) for case in SHAPES)]
)
def test_cumulative_shapes(shape: tuple[int, ...], dim: int) -> None:
    for exclusive in (False, True):
        op = graph.CumulativeOp(value(f32, *shape), kind="max", dim=dim, exclusive=exclusive)
        check_every_level(op, whole(f32, *shape))


def test_cumulative_special_values() -> None:
    x = np.array([[-0.0, -0.0], [np.nan, 1], [np.inf, -np.inf], [1, 1]], np.float32)
    made = check_every_level(graph.CumulativeOp(value(f32, 4, 2), kind="sum", dim=1), x)
    assert np.signbit(made[0][0]).all()


@pytest.mark.parametrize(
    ("largest", "k", "name"),
    [
        (True, 3, "f32"),
        (False, 5, "i16"),
        pytest.param(True, 5, "ui32", marks=pytest.mark.slow),
        pytest.param(False, 1, "f16", marks=pytest.mark.slow),
    ],
)
def test_top_k(largest: bool, k: int, name: str) -> None:
    element = ELEMENTS[name]
    x = whole(element, 2, 5, 3, low=0, high=2)
    if name == "f32":
        x[0, 1:3, 0], x[1, :2, 1] = np.nan, [-0.0, 0.0]
    check_every_level(graph.TopKOp(value(element, 2, 5, 3), dim=1, k=k, largest=largest), x)


@pytest.mark.parametrize(("shape", "k"), [((1,), 1), ((0, 4), 2), ((3, 4), 0)])
def test_top_k_shapes(shape: tuple[int, ...], k: int) -> None:
    check_every_level(graph.TopKOp(value(f32, *shape), dim=len(shape) - 1, k=k), whole(f32, *shape))
