"""Counted dims that end where they begin, at every level of both targets; others are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, i1, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.test_value import create_ssa_value

import stepwell
from stepwell.dialects import graph
from stepwell.runtime.errors import ModelError
from stepwell.testing.every_level import check_every_level, network_of

SLOW = pytest.mark.slow


def value(element: Attribute, *shape: int) -> SSAValue:
    return create_ssa_value(TensorType(element, shape))


def ended(counted: Operation, dim: int, fill: SSAValue) -> list[Operation]:
    """The op, its first elements with a value behind them, and their count."""
    (rows,) = counted.results
    return [counted, graph.FillTailOp(rows, fill, dim=dim), graph.ExtentOp(rows, dim=dim)]


@pytest.mark.parametrize("kept", ["some", pytest.param("none", marks=SLOW), pytest.param("all", marks=SLOW)])
def test_compact(kept: str) -> None:
    mask = {"some": [1, 0, 1, 1, 0], "none": [0] * 5, "all": [1] * 5}[kept]
    op = graph.CompactOp(value(f32, 2, 5, 3), value(i1, 5), dim=1, symbol="n")
    x = np.arange(30, dtype=np.float32).reshape(2, 5, 3)
    full, count = check_every_level(ended(op, 1, value(f32)), x, np.array(mask, bool), np.array(-1, np.float32))
    assert count == sum(mask) and full.shape == x.shape


@pytest.mark.parametrize("count", [3, pytest.param(-2, marks=SLOW), pytest.param(99, marks=SLOW)])
def test_prefix(count: int) -> None:
    op = graph.PrefixOp(value(i64, 4, 2), value(i64), dim=0, symbol="n")
    full, found = check_every_level(
        ended(op, 0, value(i64)), np.arange(8).reshape(4, 2), np.asarray(count), np.asarray(7)
    )
    assert found == min(max(count, 0), 4) and (full == 7).sum() >= 8 - 2 * found


@pytest.mark.parametrize(
    ("most", "iou", "score", "center", "element"),
    [
        (3, 0.3, 0.2, False, f32),
        pytest.param(20, 0.0, None, True, f32, marks=SLOW),
        pytest.param(0, 0.5, None, False, f32, marks=SLOW),
        pytest.param(4, 0.5, 0.0, False, f16, marks=SLOW),
    ],
)
def test_non_max_suppression(most: int, iou: float, score: float | None, center: bool, element: Any) -> None:
    random = np.random.default_rng(0)
    boxes = random.uniform(0, 4, (2, 9, 4)).round(1)
    boxes[:, 3], boxes[0, 5] = boxes[:, 2], [0, 0, 0, 3]
    scores = random.integers(0, 5, (2, 3, 9)) / 4
    scores[1, 1, 4] = np.nan
    op = graph.NonMaxSuppressionOp(
        value(element, 2, 9, 4), value(element, 2, 3, 9), most=most, iou=iou, score=score, center=center, symbol="n"
    )
    dtype = np.float16 if element == f16 else np.float32
    check_every_level(ended(op, 0, value(i64)), boxes.astype(dtype), scores.astype(dtype), np.asarray(-1))


def test_a_known_extent() -> None:
    (extent,) = check_every_level(graph.ExtentOp(value(f32, 3, 5), dim=1), np.zeros((3, 5), np.float32))
    assert extent == 5


def test_other_readers_are_refused() -> None:
    op = graph.CompactOp(value(f32, 5), value(i1, 5), dim=0, symbol="n")
    twice = graph.UnaryOp(op.result, kind="relu")
    with pytest.raises(ModelError, match="2 operations have no lowering for cpu"):
        stepwell.lower(network_of(op, twice), to="llvm", target="x86-64-v3")
