"""Linear algebra on batches of matrices against NumPy: sizes 0, 1 and more, batches, both triangles, pivots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import run_operator

from stepwell.runtime.errors import ModelError

RNG = np.random.default_rng(9)
SHAPES = [(0, 0), (1, 1), (7, 7), (0, 3, 3), (2, 3, 4, 4)]


def _matrices(shape: tuple[int, ...], dtype: type = np.float64) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
def test_decompositions(shape: tuple[int, ...]) -> None:
    """P L U is the matrix, pivots are the largest of their column; L L' is the matrix."""
    x = _matrices(shape)
    made, order = (run_operator("Lu", [x], output=output) for output in (0, 1))
    assert order.dtype == np.int32
    unit = np.eye(shape[-1])
    lower = np.tril(made, -1) + unit
    assert (np.abs(lower) <= 1 + 1e-12).all()
    assert np.allclose(lower @ np.triu(made), np.take_along_axis(x, order[..., None].astype(np.int64), -2))
    positive = x @ np.swapaxes(x, -1, -2) + unit
    made = run_operator("Cholesky", [np.tril(positive) + 7 * np.triu(unit + x, 1)])
    assert np.allclose(made, np.linalg.cholesky(positive) if x.size else positive)


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_systems(shape: tuple[int, ...], adjoint: bool) -> None:
    x, right = _matrices(shape), _matrices((*shape[:-1], 3))
    turned = np.swapaxes(x, -1, -2) if adjoint else x
    assert np.allclose(run_operator("MatrixSolve", [x, right], fed=2, adjoint=adjoint), np.linalg.solve(turned, right))
    assert np.allclose(run_operator("MatrixInverse", [x], adjoint=adjoint), np.linalg.inv(turned))
    for lower in (True, False):
        half = np.tril(x) if lower else np.triu(x)
        half = half + 3 * np.eye(shape[-1])
        used = np.swapaxes(half, -1, -2) if adjoint else half
        other = half + (np.triu(x + 1, 1) if lower else np.tril(x + 1, -1))
        got = run_operator("MatrixTriangularSolve", [other, right], fed=2, adjoint=adjoint, lower=lower)
        assert np.allclose(got, np.linalg.solve(used, right))


@pytest.mark.parametrize("shape", SHAPES)
def test_determinants(shape: tuple[int, ...]) -> None:
    x = _matrices(shape)
    sign, logarithm = np.linalg.slogdet(x)
    assert np.allclose(run_operator("LogMatrixDeterminant", [x]), sign)
    assert np.allclose(run_operator("LogMatrixDeterminant", [x], output=1), logarithm)
    assert np.allclose(run_operator("MatrixDeterminant", [x]), np.linalg.det(x))


def test_a_matrix_of_f32_with_zeros_to_exchange() -> None:
    x = np.array([[0, 2, 1], [0, 0, 3], [4, 1, 1]], np.float32)
    got = run_operator("MatrixSolve", [x, np.eye(3, dtype=np.float32)], fed=2)
    assert got.dtype == np.float32
    assert np.allclose(got, np.linalg.inv(x))


@pytest.mark.parametrize(
    ("op", "shapes", "reason"),
    [
        ("Lu", [(2, 3)], "square matrices are needed"),
        ("Cholesky", [(3,)], "square matrices are needed"),
        ("MatrixSolve", [(2, 2), (3, 1)], "are no system"),
        ("MatrixTriangularSolve", [(4, 2, 2), (2, 2, 1)], "are no system"),
        ("MatrixSolve", [(2, 2)], "it has 1 inputs, 2 are needed"),
        ("Svd", [(2, 2)], "compute it before the network"),
    ],
)
def test_refused(op: str, shapes: list[tuple[int, ...]], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        run_operator(op, [np.ones(shape, np.float32) for shape in shapes])
