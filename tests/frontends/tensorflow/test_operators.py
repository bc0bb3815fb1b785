"""Operators that are compositions, against NumPy or the standard library."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef, run_operator

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow

RNG = np.random.default_rng(11)


def _normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("peepholes", [False, True])
def test_lstm_steps(peepholes: bool) -> None:
    """All steps equal the cell's formulas; behind the length the results are zeros."""
    x, c, h, w, b = _normal(4, 2, 3), _normal(2, 5), _normal(2, 5), _normal(8, 20), _normal(20)
    peeped = [_normal(5) for _ in range(3)]
    inputs = [x, c, h, w, *peeped, b]
    made = GraphDef()
    made.placeholder("x", [4, 2, 3])
    made.const("length", np.int64(3))
    names = [made.const(f"c{n}", value) for n, value in enumerate(inputs[1:])]
    made.node("y", "BlockLSTM", "length", "x", *names, forget_bias=1.0, cell_clip=0.4, use_peephole=peepholes)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["y:6"])
    got = stepwell.interpret(module, {"x": x}, weights=weights)["y:6"]
    p = peeped if peepholes else [np.zeros(5)] * 3
    for step in range(3):
        i, g, f, o = np.split(np.concatenate([x[step], h], 1) @ w + b, 4, 1)
        c = np.clip(np.tanh(g) * _sigmoid(i + c * p[0]) + c * _sigmoid(f + 1 + c * p[1]), -0.4, 0.4)
        h = np.tanh(c) * _sigmoid(o + c * p[2])
        assert np.allclose(got[step], h, atol=1e-5)
    assert not got[3].any()


def test_gru_cell() -> None:
    x, h, gates, candidate, b, d = _normal(2, 3), _normal(2, 4), _normal(7, 8), _normal(7, 4), _normal(8), _normal(4)
    got = run_operator("GRUBlockCell", [x, h, gates, candidate, b, d], output=3)
    r, u = np.split(_sigmoid(np.concatenate([x, h], 1) @ gates + b), 2, 1)
    new = np.tanh(np.concatenate([x, h * r], 1) @ candidate + d)
    assert np.allclose(got, (1 - u) * new + u * h, atol=1e-5)


def test_colours() -> None:
    colours = RNG.random((4, 5, 3)).astype(np.float32)
    colours[0, 0], colours[0, 1], colours[0, 2] = 0, 0.5, [1, 0, 0]
    hsv = [[colorsys.rgb_to_hsv(*map(float, pixel)) for pixel in row] for row in colours]
    assert np.allclose(run_operator("RGBToHSV", [colours]), hsv, atol=1e-5)
    rgb = [[colorsys.hsv_to_rgb(*map(float, pixel)) for pixel in row] for row in colours]
    assert np.allclose(run_operator("HSVToRGB", [colours]), rgb, atol=1e-5)


def test_areas_and_patches() -> None:
    image = _normal(2, 4, 6, 3)
    wanted = image.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    assert np.allclose(run_operator("ResizeArea", [image, np.array([2, 3], np.int32)]), wanted, atol=1e-6)
    got = run_operator(
        "ExtractImagePatches", [image], ksizes=[1, 2, 3, 1], strides=[1, 2, 1, 1], rates=[1, 1, 1, 1], padding="VALID"
    )
    assert got.shape == (2, 2, 4, 18)
    np.testing.assert_array_equal(got[1, 1, 2], image[1, 2:4, 2:5].reshape(-1))


@pytest.mark.parametrize(("low", "high"), [(-6.0, 6.0), (0.0, 1.0), (1.0, 5.0), (-3.0, -1.0)])
@pytest.mark.parametrize("narrow", [False, True])
def test_fake_quantisation(low: float, high: float, narrow: bool) -> None:
    """Each value is the nearest multiple of the step inside the nudged range, which holds 0."""
    x = np.linspace(-8, 8, 99, dtype=np.float32)
    got = run_operator("FakeQuantWithMinMaxArgs", [x], min=low, max=high, num_bits=4, narrow_range=narrow)
    step = (high - low) / (15 - narrow)
    whole = np.round(got / step)
    assert np.allclose(got, whole * step, atol=1e-5)
    assert whole.max() - whole.min() == 15 - narrow
    assert whole.min() <= 0 <= whole.max()
    inside = (x >= got.min()) & (x <= got.max())
    assert np.abs(got - x)[inside].max() <= step / 2 + 1e-5


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gathers(axis: int) -> None:
    x, picked = _normal(3, 4, 5), np.array([[2, 0], [1, 1]], np.int32)
    got = run_operator("GatherV2", [x, picked, np.int32(axis)])
    np.testing.assert_array_equal(got, np.take(x, picked, axis))


def test_integers_that_round_down() -> None:
    x, y = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    np.testing.assert_array_equal(run_operator("FloorDiv", [x, y]), x // y)
    np.testing.assert_array_equal(run_operator("FloorMod", [x, y]), x % y)
    np.testing.assert_array_equal(run_operator("TruncateMod", [x, y]), np.fmod(x, y))


def test_histograms() -> None:
    """Values outside of the range count at its ends."""
    x = _normal(40)
    got = run_operator("HistogramFixedWidth", [x, np.array([-1, 1], np.float32), np.int32(5)])
    np.testing.assert_array_equal(got, np.histogram(np.clip(x, -1, 1), 5, (-1, 1))[0])


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("size", [1, 4])
def test_triangular_systems(lower: bool, adjoint: bool, size: int) -> None:
    """Batches; what stands in the other triangle does not count."""
    whole, right = _normal(2, size, size) + 3 * np.eye(size, dtype=np.float32), _normal(2, size, 3)
    used = np.tril(whole) if lower else np.triu(whole)
    got = run_operator("MatrixTriangularSolve", [whole, right], lower=lower, adjoint=adjoint)
    assert np.allclose(got, np.linalg.solve(used.swapaxes(1, 2) if adjoint else used, right), atol=1e-4)
