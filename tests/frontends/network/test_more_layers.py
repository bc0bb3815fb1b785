"""Scans, scatters, regions, quantised values, attention, branches and loops of the network API, beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stepwell
from stepwell import Network
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.network import Tensor
from stepwell.runtime.errors import ModelError

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
I64, F32 = np.int64, np.float32


def f32(values: Any) -> Array:
    return np.asarray(values, F32)


def run(build: Callable[[Network, Tensor], Any], x: Array = X, output: int = 0) -> Array:
    network = Network("one")
    made = build(network, network.add_input("x", x.shape, x.dtype))
    network.mark_output(made[output] if isinstance(made, tuple) else made, "y")
    return stepwell.interpret(network.module(), {"x": x})["y"]


def softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def attention(q: Array, k: Array, v: Array, causal: bool) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(f32(q.shape[-1]))
    seen = np.tril(np.ones(scores.shape[-2:], bool)) if causal else np.ones(scores.shape[-2:], bool)
    return softmax(np.where(seen, scores, -np.inf)) @ v


Q = RANDOM.standard_normal((2, 3, 5, 4)).astype(F32)
EXACT: dict[str, tuple[Callable[[Network, Tensor], Any], Array, Array]] = {
    "cumulative": (lambda n, x: n.add_cumulative(x, "MAX", -1), X, np.maximum.accumulate(X, -1)),
    "cumulative from the end": (
        lambda n, x: n.add_cumulative(x, "sum", 1, exclusive=True, reverse=True),
        X.round(),
        np.cumsum(X.round()[:, ::-1], 1)[:, ::-1] - X.round(),
    ),
    "reverse": (lambda n, x: n.add_reverse(x, [0, 2]), X, X[::-1, :, ::-1]),
    "one hot": (
        lambda n, x: n.add_one_hot(x, 3, axis=0, on=2.0, off=-1.0),
        np.array([[0, 2], [5, -1]]),
        np.stack([np.where(np.array([[0, 2], [5, -1]]) == k, 2, -1) for k in range(3)]).astype(F32),
    ),
    "quantize": (lambda n, x: n.add_quantize(x, 0.25), X, np.clip(np.round(X / 0.25), -128, 127).astype(np.int8)),
    "quantize by channel": (
        lambda n, x: n.add_quantize(x, [0.5, 0.25, 0.125], [128, 0, 3], axis=1, dtype="ui8"),
        X,
        np.clip(np.round(X / f32([0.5, 0.25, 0.125])[:, None]) + [[128], [0], [3]], 0, 255).astype(np.uint8),
    ),
    "dequantize": (lambda n, x: n.add_dequantize(x, 0.5, 3), np.arange(6, dtype=np.int8), f32(np.arange(6) - 3) / 2),
    "parametric relu": (lambda n, x: n.add_parametric_relu(x, [0.5, 2, -1]), X, np.where(X >= 0, X, X * f32([0.5, 2, -1])[:, None])),
    "one slope": (lambda n, x: n.add_parametric_relu(x, 0.5), X, np.where(X >= 0, X, X / 2)),
    "scatter": (
        lambda n, x: n.add_scatter(x, n.add_constant(np.array([[1], [5]])), n.add_constant(X[:2] * 0 + 7), combine="ADD"),
        X,
        X + f32([[[0]], [[7]]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_layers_beside_numpy(name: str) -> None:
    build, x, wanted = EXACT[name]
    np.testing.assert_array_equal(run(build, x), wanted, strict=True)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    found = run(lambda n, x: n.add_attention(x, x, x, causal=causal), Q)
    np.testing.assert_allclose(found, attention(Q, Q, Q, causal), 1e-5, 1e-6)


def test_sampling_and_regions() -> None:
    image = np.arange(16, dtype=F32).reshape(1, 1, 4, 4)
    points = np.array([[[[-1, -1], [1, 1], [0, 0]]]], F32)
    sampled = run(lambda n, x: n.add_grid_sample(x, n.add_constant(points), align_corners=True), image)
    assert sampled.reshape(-1).tolist() == [0, 15, 7.5]
    boxes, owner = np.array([[0, 0, 4, 4]], F32), np.array([0], np.int32)
    pooled = run(
        lambda n, x: n.add_roi_align(x, n.add_constant(boxes), n.add_constant(owner), [2, 2], samples=2), image
    )
    assert pooled.reshape(-1).tolist() == [2.5, 4.5, 10.5, 12.5]


def test_suppression_counts_its_rows() -> None:
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]]], F32)
    scores = np.array([[[0.5, 0.9, 0.1]]], F32)
    found = run(lambda n, x: n.add_nms(x, n.add_constant(scores), 5, score_threshold=0.2), boxes)
    assert found.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_branch_sees_what_is_around_it(sign: float) -> None:
    def build(network: Network, x: Tensor) -> tuple[Tensor, ...]:
        total = network.add_reduce(x, "SUM", [0])
        positive = network.add_elementwise("GREATER", total, network.add_constant(f32(0)))
        weights = np.eye(3, dtype=F32)
        return network.add_if(
            positive,
            lambda: network.add_matrix_multiply(network.add_constant(weights), network.add_activation(x, "RELU")),
            lambda: network.add_unary(x, "neg"),
        )

    x = f32([1, -2, 5]) * f32(sign)
    np.testing.assert_array_equal(run(build, x), np.maximum(x, 0) if sign > 0 else -x)


def test_a_loop_carries_and_stacks() -> None:
    def build(network: Network, x: Tensor) -> tuple[Tensor, ...]:
        def body(step: Tensor, total: Tensor) -> tuple[Tensor, ...]:
            added = network.add_elementwise("SUM", total, network.add_cast(step, "f32"), name="added")
            return added, network.add_elementwise("PROD", added, x)

        return network.add_loop([x], body, 3, name="loop")

    x = f32([1, 2])
    assert run(build, x).tolist() == [4, 5]
    assert run(build, x, output=1).tolist() == [[1, 4], [2, 6], [4, 10]]


def test_a_loop_ends_by_its_own_condition() -> None:
    def build(network: Network, x: Tensor) -> tuple[Tensor, ...]:
        limit, two = network.add_constant(f32(100)), network.add_constant(f32(2))

        def body(step: Tensor, value: Tensor) -> tuple[Tensor, ...]:
            doubled = network.add_elementwise("PROD", value, two)
            return network.add_elementwise("LESS", doubled, limit), doubled, doubled

        return network.add_loop([x], body, going=network.add_elementwise("LESS", x, limit), bound=20)

    assert run(build, f32(3)).tolist() == 192
    assert run(build, f32(3), output=1).tolist() == [6, 12, 24, 48, 96, 192]
    assert run(build, f32(300)).tolist() == 300


def test_loops_in_loops_and_iterations_that_are_fed() -> None:
    def build(network: Network, x: Tensor) -> tuple[Tensor, ...]:
        one = network.add_constant(np.array(1, I64))

        def outer(step: Tensor, value: Tensor) -> tuple[Tensor, ...]:
            return network.add_loop([value], lambda _, v: network.add_elementwise("SUM", v, one), 2)

        return network.add_loop([x], outer, x, bound=10)

    assert run(build, np.array(4)).tolist() == 12


def test_a_body_that_fails_leaves_nothing_behind() -> None:
    network = Network("kept")
    x = network.add_input("x", (2, 3))
    before, layers = str(network.tensors), len(network)
    inner: list[Tensor] = []

    def body(step: Tensor, value: Tensor) -> Tensor:
        inner.append(network.add_activation(value, "RELU", name="inside"))
        return network.add_concatenation([value, step])

    with pytest.raises(ModelError, match="concatenation"):
        network.add_loop([x], body, 2)
    assert (str(network.tensors), len(network)) == (before, layers)
    (y,) = network.add_loop([x], lambda _, value: network.add_activation(value, "RELU", name="inside"), 2)
    with pytest.raises(ModelError, match="of another network, or of a body that ended"):
        network.add_unary(inner[0], "neg")
    with pytest.raises(ModelError, match="it does not end"):
        network.add_loop([x], lambda _, value: value)
    with pytest.raises(ModelError, match="the body gives 3"):
        network.add_loop([x], lambda _, value: 3, 2)  # type: ignore[arg-type, return-value]
    with pytest.raises(ModelError, match="it must be i1"):
        network.add_if(x, lambda: x, lambda: x)
    with pytest.raises(ModelError, match="yields"):
        network.add_loop([x], lambda _, value: network.add_shuffle(value, reshape=[6]), 2)
    network.mark_output(y, "y")
    assert "graph.loop" in str(network.module())


@pytest.mark.parametrize("build, said", [
    (lambda n, x: n.add_cumulative(x, "MEAN", 0), "kind 'MEAN' is unknown: use one of SUM, PROD, MAX, MIN"),
    (lambda n, x: n.add_reverse(x, 3), "axis 3 is outside"),
    (lambda n, x: n.add_scatter(x, x, x), "indices"),
    (lambda n, x: n.add_one_hot(n.add_constant(np.array(1)), -1), "depth -1 is negative"),
    (lambda n, x: n.add_quantize(x, [1.0, 2.0], axis=1), "scale have shape [2], [3] is needed"),
    (lambda n, x: n.add_quantize(x, 1.0, dtype="f99"), "dtype 'f99' is unknown"),
    (lambda n, x: n.add_dequantize(x, 1.0), "graph.dequantize"),
    (lambda n, x: n.add_parametric_relu(x, [1.0, 2.0]), "slopes have shape [2], [3] is needed"),
    (lambda n, x: n.add_attention(x, x, x), "graph.attention"),
    (lambda n, x: n.add_grid_sample(x, x), "graph.sample"),
    (lambda n, x: n.add_roi_align(x, x, x, [2, 2]), "graph.roi_pool"),
    (lambda n, x: n.add_nms(x, x, -1), "graph.non_max_suppression"),
])  # fmt: skip
def test_what_cannot_be_is_refused(build: Callable[[Network, Tensor], Any], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        run(build)
    assert said in str(caught.value) and "; inputs: " in str(caught.value)
