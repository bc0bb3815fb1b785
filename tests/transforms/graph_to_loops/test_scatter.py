"""Scatters and pools with positions as loops, at every level of both targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, i1, i8, i32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import is_unsigned, numpy_dtype, ui8
from stepwell.testing.every_level import check_every_level


def value(element: Attribute, *shape: int) -> SSAValue:
    return create_ssa_value(TensorType(element, shape))


def whole(element: Attribute, *shape: int, low: int = -3, high: int = 3, seed: int = 0) -> Any:
    numbers = np.random.default_rng(seed).integers(low, high, shape, endpoint=True)
    return (abs(numbers) if is_unsigned(element) else numbers).astype(numpy_dtype(element))


@pytest.mark.parametrize(
    ("combine", "element"),
    [("none", f32), ("add", f16), ("mul", i8), ("max", f32), ("add", i1)]
    + [
        pytest.param(c, e, marks=pytest.mark.slow)
        for c in ("none", "add", "mul", "max", "min")
        for e in (f16, f32, i8, i1, i64, ui8)
    ],
)
def test_scatter(combine: str, element: Any) -> None:
    """Indices beyond an extent, negative ones and ones that 32 bits do not hold drop their updates."""
    indices = np.array([[1, 0], [4, 1], [-1, 0], [1, 0], [2**32 + 1, 0], [3, 1], [1, 2]])
    shapes = (5, 3, 2), (7, 2), (7, 3)
    values = [value(element, *shapes[0]), value(i64, *shapes[1]), value(element, *shapes[2])]
    op = graph.ScatterOp(*values, dims=[0, 2], combine=combine)
    check_every_level(op, whole(element, *shapes[0]), indices, whole(element, *shapes[2], seed=1))


@pytest.mark.parametrize(
    ("updates", "batch"), [((2, 0, 3), 1), ((2, 1, 3), 1), pytest.param((2, 4, 3), 1, marks=pytest.mark.slow)]
)
def test_scatter_in_batches(updates: tuple[int, ...], batch: int) -> None:
    op = graph.ScatterOp(
        value(f32, 2, 4, 3), value(i32, *updates[:2], 1), value(f32, *updates), dims=[1], batch=batch, combine="add"
    )
    check_every_level(op, whole(f32, 2, 4, 3), whole(i32, *updates[:2], 1, low=0), whole(f32, *updates))


@pytest.mark.parametrize("layout", ["channels_first", pytest.param("channels_last", marks=pytest.mark.slow)])
def test_arg_pool(layout: str) -> None:
    shape = (2, 3, 5, 4) if layout == "channels_first" else (2, 5, 4, 3)
    x = whole(f32, *shape)
    x[0, 1, 2, 1:3] = np.nan
    window: dict[str, Any] = {
        "kernel": [3, 2],
        "strides": [2, 1],
        "pads": [1, 1, 1, 0],
        "dilations": [1, 2],
        "ceil": True,
    }
    check_every_level(graph.ArgPoolOp(value(f32, *shape), **window, layout=layout), x)


@pytest.mark.parametrize("element", [i8, pytest.param(f16, marks=pytest.mark.slow)])
def test_arg_pool_along_one_dim(element: Any) -> None:
    op = graph.ArgPoolOp(value(element, 1, 1, 4), kernel=[2], strides=[2], pads=[0, 0])
    check_every_level(op, np.full((1, 1, 4), -128 if element == i8 else -np.inf, numpy_dtype(element)))
