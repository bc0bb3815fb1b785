"""Random numbers, Fourier transforms, determinants, boxes and attention through a state as loops, at every level of both targets."""

from __future__ import annotations

from types import UnionType
from typing import Any, get_args

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.passes.levels import OF_LOOPS
from stepwell.testing.every_level import check_every_level
from stepwell.transforms.graph.fuse_single import Alone
from stepwell.transforms.graph_to_loops.counted import Counted
from stepwell.transforms.graph_to_loops.table import WRITERS

SLOW = pytest.mark.slow


def value(element: Attribute, *shape: int) -> SSAValue:
    return create_ssa_value(TensorType(element, shape))


def normal(element: Attribute, *shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(numpy_dtype(element))


def test_the_lists_of_ops_agree() -> None:
    """What has a writer is put alone into a fusion, and may stand at the linalg level."""
    assert isinstance(Alone, UnionType)
    assert set(get_args(Alone)) == {*WRITERS, *get_args(Counted)}
    assert set(OF_LOOPS) == {op.name for op in get_args(Alone)}


@pytest.mark.parametrize("element", [f32, pytest.param(f16, marks=SLOW), pytest.param(f64, marks=SLOW)])
def test_random(element: Any) -> None:
    check_every_level(graph.RandomOp(value(i64, 2), element, [3, 70]), np.array([-5, 2**40 + 3]))


@pytest.mark.parametrize(
    ("length", "inverse", "onesided", "parts", "element"),
    [
        (6, False, False, 2, f32),
        (6, True, True, 2, f16),
        pytest.param(5, True, False, 2, f64, marks=SLOW),
        pytest.param(7, False, True, 1, f32, marks=SLOW),
        pytest.param(7, True, True, 2, f32, marks=SLOW),
        pytest.param(1, False, False, 1, f32, marks=SLOW),
    ],
)
def test_dft(length: int, inverse: bool, onesided: bool, parts: int, element: Any) -> None:
    op = graph.DftOp(value(element, 2, 5, 3, parts), dim=1, length=length, inverse=inverse, onesided=onesided)
    tolerance = {f16: 1e-3, f32: 1e-6, f64: 1e-12}[element]
    check_every_level(op, normal(element, 2, 5, 3, parts), rtol=tolerance)


@pytest.mark.parametrize(
    ("shape", "element"),
    [((2, 4, 4), f32), pytest.param((0, 0), f32, marks=SLOW), pytest.param((3, 1, 1), f64, marks=SLOW)],
)
def test_determinant(shape: tuple[int, ...], element: Any) -> None:
    x = normal(element, *shape)
    if shape[0] == 2:
        x[0, 0, 0], x[1, :, 2] = 0, 2 * x[1, :, 0]  # a row to be exchanged, a singular matrix
    check_every_level(graph.DeterminantOp(value(element, *shape)), x, rtol=1e-6 if element == f32 else 1e-12)


@pytest.mark.parametrize(
    ("kind", "samples", "offset"),
    [
        ("align_average", 2, 0.5),
        ("max", 0, 0.0),
        pytest.param("align_average", 0, 0.0, marks=SLOW),
        pytest.param("align_max", 0, 0.5, marks=SLOW),
    ],
)
def test_roi_pool(kind: str, samples: int, offset: float) -> None:
    boxes = np.array(
        [[0, 0, 9, 7], [2.5, 1, 3, 12.5], [-3, -4, 5, 5], [7, 6, 1, 2], [0, 0, np.inf, 3], [1, 1, 1e6, 2]], np.float32
    )
    op = graph.RoiPoolOp(
        value(f32, 2, 3, 6, 5),
        value(f32, 6, 4),
        value(i64, 6),
        kind=kind,
        extents=[2, 3],
        scale=0.5,
        samples=samples,
        offset=offset,
    )
    check_every_level(op, normal(f32, 2, 3, 6, 5), boxes, np.array([0, 1, 0, 7, 1, -1]), rtol=1e-6)


@pytest.mark.parametrize(
    "rule", ["gated_delta", *(pytest.param(name, marks=SLOW) for name in ("linear", "gated", "delta"))]
)
def test_linear_attention(rule: str) -> None:
    shapes = {"q": (2, 4, 3, 5), "k": (2, 2, 3, 5), "v": (2, 2, 3, 4), "state": (2, 2, 5, 4)}
    shapes |= {"decay": (2, 2, 3, 1 if rule == "gated" else 5)} if "gated" in rule else {}
    shapes |= {"beta": (2, 2, 3, 1)} if "delta" in rule else {}
    operands: dict[str, Any] = {name: value(f32, *shape) for name, shape in shapes.items()}
    op = graph.LinearAttentionOp(**operands, rule=rule, scale=0.5)
    check_every_level(op, *(0.3 * normal(f32, *shape) for shape in shapes.values()), rtol=1e-5)
