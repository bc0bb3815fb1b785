"""Interpolation, recurrences and attention against plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from xdsl.ir import Operation
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.numpy_types import Array, numpy_dtype, tensor_type_of

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def run(op: type[Operation], *arrays: Array | None, **arguments: Any) -> tuple[Array, ...]:
    values = [None if array is None else create_ssa_value(tensor_type_of(array)) for array in arrays]
    made = op(*values, **arguments)
    made.verify()
    results = run_graph_op(made, [array for array in arrays if array is not None])
    for array, result in zip(results, made.results, strict=True):
        assert array.dtype == numpy_dtype(result.type)
    return results


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("rank, groups", [(1, 1), (2, 2), (3, 1)])
def test_the_transposed_convolution_is_the_adjoint(rank: int, groups: int, layout: str) -> None:
    plane, kernel, strides, dilations = [5, 6, 4][:rank], [3, 2, 2][:rank], [2, 3, 1][:rank], [1, 2, 1][:rank]
    pads = [*[1, 0, 1][:rank], *[0, 1, 0][:rank]]
    last = layout == "channels_last"
    place = lambda *shape: np.moveaxis(normal(*shape), 1, -1).copy() if last else normal(*shape)
    x, f = place(2, 2 * groups, *plane), place(3 * groups, 2, *kernel)
    window = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups, "layout": layout}
    (forward,) = run(graph.ConvOp, x, f, **window)
    y = normal(*forward.shape)
    (back,) = run(graph.ConvTransposeOp, y, f, extents=plane, **window)
    assert back.shape == x.shape
    np.testing.assert_allclose((forward * y).sum(dtype=np.float64), (x * back).sum(dtype=np.float64), rtol=1e-4)


def test_resize() -> None:
    x = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 1, 2, 2)
    size: dict[str, Any] = {"extents": [4, 4], "scales": [2.0, 2.0]}
    linear = run(graph.ResizeOp, x, mode="linear", **size)[0][0, 0]
    weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(linear, weights @ x[0, 0] @ weights.T, rtol=1e-6)
    corners = run(graph.ResizeOp, x, mode="linear", coordinates="align_corners", **size)[0][0, 0]
    np.testing.assert_allclose(corners[0], np.linspace(1, 2, 4), rtol=1e-6)
    nearest = run(
        graph.ResizeOp, x.astype(np.int32), mode="nearest", coordinates="asymmetric", rounding="floor", **size
    )[0]
    np.testing.assert_array_equal(nearest[0, 0], np.kron(x[0, 0], np.ones((2, 2))))
    row = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    halved = run(graph.ResizeOp, row, mode="linear", extents=[4], scales=[0.5], antialias=True)[0]
    kernel = np.array([1, 3, 3, 1]) / 8
    np.testing.assert_allclose(halved[0, 0, 1:3], [kernel @ row[0, 0, 1:5], kernel @ row[0, 0, 3:7]], rtol=1e-6)
    for coordinates in graph.Coordinates:
        same = run(graph.ResizeOp, row, mode="cubic", extents=[8], scales=[1.0], coordinates=coordinates.value)[0]
        if coordinates != "tf_half_pixel_for_nn":
            np.testing.assert_allclose(same, row, atol=1e-6)


def test_sampling_the_centres_gives_the_elements() -> None:
    x = normal(1, 2, 3, 4)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4), indexing="ij")
    grid = np.stack([columns, rows], axis=-1)[None].astype(np.float32)
    for mode in ("nearest", "linear", "cubic"):
        np.testing.assert_allclose(run(graph.SampleOp, x, grid, mode=mode, align_corners=True)[0], x, atol=1e-5)
    far = np.full((1, 1, 1, 2), 3, np.float32)
    assert (run(graph.SampleOp, x, far, outside="zeros")[0] == 0).all()
    np.testing.assert_allclose(run(graph.SampleOp, x, far, outside="border")[0][0, :, 0, 0], x[0, :, -1, -1])
    np.testing.assert_allclose(
        run(graph.SampleOp, x, far, outside="reflect", align_corners=True)[0][0, :, 0, 0], x[0, :, 0, 0], atol=1e-6
    )


def test_region_pools() -> None:
    x = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    box, batch = np.array([[0, 0, 3, 3]], np.float32), np.zeros(1, np.int64)
    most = run(graph.RoiPoolOp, x, box, batch, kind="max", extents=[2, 2])[0]
    np.testing.assert_array_equal(most[0, 0], [[9, 11], [25, 27]])
    aligned = run(
        graph.RoiPoolOp, x, np.array([[1, 1, 3, 3]], np.float32), batch, kind="align_average", extents=[1, 1], samples=2
    )[0]
    np.testing.assert_allclose(aligned[0, 0], [[18]])


@pytest.mark.parametrize("kind", list(graph.RoiKind))
def test_boxes_of_any_size_are_pooled(kind: graph.RoiKind) -> None:
    """No value of the data is a signal, and none costs more than the bound on samples."""
    boxes = np.array([[0, 0, np.inf, 1], [np.nan, 0, 1, 1], [-1e30, -1e30, 1e30, 1e30]], np.float32)
    x = np.ones((1, 1, 4, 4), np.float32)
    (got,) = run(graph.RoiPoolOp, x, boxes, np.array([0, 7, -3]), kind=kind.value, extents=[1, 1])
    assert np.isnan(got[:2]).all() and np.isfinite(got[2]).all()


def scalar_lstm(
    gates: Array, r: Array, b: Array, h: Array, c: Array, p: Array, length: int, reverse: bool
) -> tuple[Array, Array, Array]:
    """One row of an LSTM, as its definition says it."""
    steps, hidden = gates.shape[0], c.size
    out = np.zeros((steps, hidden))
    sigmoid = lambda v: 1 / (1 + math.exp(-v))
    for t in [t for t in (reversed(range(steps)) if reverse else range(steps)) if t < length]:
        pre = gates[t] + r @ h + b
        new_h, new_c = np.zeros(hidden), np.zeros(hidden)
        for j in range(hidden):
            i = sigmoid(pre[j] + p[j] * c[j])
            forget = sigmoid(pre[2 * hidden + j] + p[2 * hidden + j] * c[j])
            new_c[j] = forget * c[j] + i * math.tanh(pre[3 * hidden + j])
            new_h[j] = sigmoid(pre[hidden + j] + p[hidden + j] * new_c[j]) * math.tanh(new_c[j])
        h, c = new_h, new_c
        out[t] = h
    return out, h, c


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_is_its_definition(reverse: bool) -> None:
    gates, r, b, h, c, p = normal(4, 3, 20), normal(20, 5), normal(20), normal(3, 5), normal(3, 5), normal(15)
    lengths = np.array([4, 2, 0])
    sequence, last_h, last_c = run(graph.LstmOp, gates, r, b, h, c, lengths, p, reverse=reverse)
    for row in range(3):
        expected = scalar_lstm(gates[:, row], r, b, h[row], c[row], p, int(lengths[row]), reverse)
        for got, wanted in zip((sequence[:, row], last_h[row], last_c[row]), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_lstm_projects_and_couples_its_gates() -> None:
    gates, r, b, h, c, projection = (
        normal(1, 2, 12),
        normal(12, 2),
        normal(12),
        normal(2, 2),
        normal(2, 3),
        normal(2, 3),
    )
    sequence, last_h, last_c = run(graph.LstmOp, gates, r, b, h, c, None, None, projection, input_forget=True, clip=0.5)
    i, o, _, g = np.split(np.clip(gates[0] + h @ r.T + b, -0.5, 0.5), 4, axis=1)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    made = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(last_c, made, rtol=1e-5)
    np.testing.assert_allclose(last_h, (sigmoid(o) * np.tanh(np.clip(made, -0.5, 0.5))) @ projection.T, rtol=1e-5)
    np.testing.assert_array_equal(sequence[0], last_h)


@pytest.mark.parametrize("before", [False, True])
def test_gru_and_rnn_are_their_definitions(before: bool) -> None:
    gates, r, b, h = normal(2, 3, 12), normal(12, 4), normal(12), normal(3, 4)
    sequence, last = run(graph.GruOp, gates, r, b, h, linear_before_reset=before)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    state, (rz, rr, rn), (bz, br, bn) = h, np.split(r, 3), np.split(b, 3)
    for t in range(2):
        gz, gr, gn = np.split(gates[t], 3, axis=1)
        z, reset = sigmoid(gz + state @ rz.T + bz), sigmoid(gr + state @ rr.T + br)
        inner = reset * (state @ rn.T + bn) if before else (reset * state) @ rn.T + bn
        state = (1 - z) * np.tanh(gn + inner) + z * state
        np.testing.assert_allclose(sequence[t], state, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(last, sequence[1])
    gates, r, b, h = normal(1, 3, 4), normal(4, 4), normal(4), normal(3, 4)
    made = run(graph.RnnOp, gates, r, b, h, activations=["affine"], alphas=[2.0], betas=[1.0])[1]
    np.testing.assert_allclose(made, 2 * (gates[0] + h @ r.T + b) + 1, rtol=1e-5, atol=1e-6)


def test_attention_sees_what_masks_and_windows_allow() -> None:
    q, k, v = normal(2, 4, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 6)
    mask, lengths = RNG.random((1, 4, 3, 5)) < 0.8, np.array([5, 3])
    options: dict[str, Any] = {"scale": 0.3, "softcap": 2.0, "causal": True, "offset": 1, "window": 3}
    (got,) = run(graph.AttentionOp, q, k, v, mask, lengths, **options)
    for b, h, i in np.ndindex(2, 4, 3):
        seen = [j for j in range(5) if j < lengths[b] and i + 1 - 3 < j <= i + 1 and mask[0, h, i, j]]
        scores = [2 * math.tanh(0.3 * float(q[b, h, i] @ k[b, h // 2, j]) / 2) for j in seen]
        shares = np.exp(scores) / np.exp(scores).sum() if seen else []
        expected = sum((s * v[b, h // 2, j] for s, j in zip(shares, seen, strict=True)), np.zeros(6))
        np.testing.assert_allclose(got[b, h, i], expected, rtol=1e-4, atol=1e-5)
    last = run(graph.AttentionOp, q, k, v, None, lengths, scale=1.0, causal=True, from_end=True)[0]
    alone = run(graph.AttentionOp, q[1:], k[1:, :, :3], v[1:, :, :3], scale=1.0, causal=True)[0]
    np.testing.assert_allclose(last[1:], alone, rtol=1e-5, atol=1e-6)


def test_linear_attention_carries_a_state() -> None:
    q, k, v, state, decay, beta = (
        normal(1, 2, 3, 4),
        normal(1, 1, 3, 4),
        normal(1, 1, 3, 5),
        normal(1, 1, 4, 5),
        normal(1, 1, 3, 1),
        normal(1, 1, 3, 1),
    )
    got, last = run(graph.LinearAttentionOp, q, k, v, state, decay, beta, rule="gated_delta", scale=0.5)
    s = state[0, 0].astype(np.float64)
    for t in range(3):
        s = s * math.exp(decay[0, 0, t, 0])
        s = s + np.outer(k[0, 0, t], beta[0, 0, t, 0] * (v[0, 0, t] - k[0, 0, t] @ s))
        for head in range(2):
            np.testing.assert_allclose(got[0, head, t], 0.5 * q[0, head, t] @ s, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last[0, 0], s, rtol=1e-5, atol=1e-5)
