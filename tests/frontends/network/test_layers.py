"""Each layer of the network API against NumPy, and what is refused when it is added."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import stepwell
from stepwell import Network
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.network import Tensor

RANDOM = np.random.default_rng(7)
IMAGE = RANDOM.standard_normal((2, 4, 6, 5)).astype(np.float32)
ROWS = RANDOM.standard_normal((3, 8)).astype(np.float32)
POSITIVE = np.abs(ROWS) + np.float32(0.1)


def _run(make: Callable[..., Any], *arrays: Array) -> Array:
    """The (first) result of a layer over inputs that hold `arrays`."""
    network = Network("one")
    inputs = [network.add_input(f"in{i}", array.shape, array.dtype) for i, array in enumerate(arrays)]
    made = make(network, *inputs)
    first = made if isinstance(made, Tensor) else made[0]
    network.mark_output(first, "out")
    found = stepwell.interpret(network.module(), {f"in{i}": array for i, array in enumerate(arrays)})["out"]
    assert (found.shape, found.dtype) == (first.shape, np.dtype(_numpy_name(first)))
    return found


def _numpy_name(tensor: Tensor) -> str:
    """NumPy's word for a tensor's element type."""
    return {"f32": "float32", "i1": "bool", "i64": "int64", "i32": "int32", "f16": "float16"}[tensor.dtype]


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: Array) -> Array:
    return np.asarray(np.log1p(np.exp(x)))


ACTIVATIONS: dict[str, tuple[dict[str, float], Callable[[Array], Array]]] = {
    "RELU": ({}, lambda x: np.maximum(x, 0)),
    "SIGMOID": ({}, _sigmoid),
    "TANH": ({}, np.tanh),
    "LEAKY_RELU": ({"alpha": 0.25}, lambda x: np.where(x > 0, x, 0.25 * x)),
    "ELU": ({"alpha": 0.5}, lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    "SELU": ({"alpha": 1.5, "beta": 1.25}, lambda x: 1.25 * np.where(x > 0, x, 1.5 * (np.exp(x) - 1))),
    "SOFTSIGN": ({}, lambda x: x / (1 + np.abs(x))),
    "SOFTPLUS": ({"alpha": 2.0, "beta": 0.5}, lambda x: 2 * _softplus(0.5 * x)),
    "CLIP": ({"alpha": -0.5, "beta": 0.75}, lambda x: np.clip(x, -0.5, 0.75)),
    "HARD_SIGMOID": ({}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "SCALED_TANH": ({"alpha": 1.5, "beta": 0.5}, lambda x: 1.5 * np.tanh(0.5 * x)),
    "THRESHOLDED_RELU": ({"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0)),
    "GELU_TANH": ({}, lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
    "SWISH": ({"beta": 2.0}, lambda x: x * _sigmoid(2 * x)),
    "MISH": ({}, lambda x: x * np.tanh(_softplus(x))),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations(kind: str) -> None:
    parameters, reference = ACTIVATIONS[kind]
    found = _run(lambda net, x: net.add_activation(x, kind.lower(), **parameters), ROWS)
    np.testing.assert_allclose(found, reference(ROWS.astype(np.float64)), rtol=1e-5, atol=1e-6)


def test_gelu_by_erf() -> None:
    found = _run(lambda net, x: net.add_activation(x, "GELU_ERF"), np.array([0.0, 1.0, -1.0], np.float32))
    np.testing.assert_allclose(found, [0, 0.8413447, -0.15865526], rtol=1e-5)


ELEMENTWISE: dict[str, Callable[[Array, Array], Any]] = {
    "SUM": np.add,
    "PROD": np.multiply,
    "MAX": np.maximum,
    "MIN": np.minimum,
    "SUB": np.subtract,
    "DIV": np.divide,
    "FLOOR_DIV": lambda a, b: np.floor(a / b),
    "EQUAL": np.equal,
    "GREATER": np.greater,
    "LESS": np.less,
}


@pytest.mark.parametrize("kind", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(3, 8), (8,), (3, 1), (1, 1), ()])
def test_elementwise_broadcasts(kind: str, shape: tuple[int, ...]) -> None:
    other = np.resize(ROWS[::-1], shape)
    found = _run(lambda net, a, b: net.add_elementwise(kind, a, b), ROWS, other)
    np.testing.assert_array_equal(found, ELEMENTWISE[kind](ROWS, other))


def test_power() -> None:
    found = _run(lambda net, a, b: net.add_elementwise("POW", a, b), POSITIVE, ROWS)
    np.testing.assert_allclose(found, POSITIVE**ROWS, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64"])
def test_integers_divide_toward_minus_infinity(dtype: str) -> None:
    a = np.array([7, -7, 7, -7, -128, 127, 6, -6, 0], np.int64).astype(dtype)
    b = np.array([2, 2, -2, -2, 3, -3, 3, 3, -5], np.int64).astype(dtype)
    network = Network("one")
    x, y = network.add_input("a", a.shape, dtype), network.add_input("b", b.shape, dtype)
    network.mark_output(network.add_elementwise("FLOOR_DIV", x, y), "out")
    np.testing.assert_array_equal(stepwell.interpret(network.module(), {"a": a, "b": b})["out"], a // b)


@pytest.mark.parametrize(
    ("kind", "reference"), [("AND", np.logical_and), ("OR", np.logical_or), ("XOR", np.logical_xor)]
)
def test_logic(kind: str, reference: Callable[[Array, Array], Array]) -> None:
    a, b = np.array([[False], [True]]), np.array([False, True])
    np.testing.assert_array_equal(_run(lambda net, x, y: net.add_elementwise(kind, x, y), a, b), reference(a, b))


UNARY: dict[str, tuple[Callable[[Array], Array], Array]] = {
    **{name: (getattr(np, name.lower()), ROWS) for name in ("EXP", "ABS", "SIN", "COS", "TAN", "SINH", "COSH", "CEIL")},
    **{name: (getattr(np, name.lower()), ROWS) for name in ("FLOOR", "TRUNC", "SIGN", "EXPM1")},
    **{name: (getattr(np, name.lower()), POSITIVE) for name in ("LOG", "SQRT", "LOG1P")},
    **{f"A{n}": (getattr(np, f"arc{n.lower()}"), np.tanh(ROWS)) for n in ("SIN", "COS", "TAN", "SINH", "TANH")},
    "ACOSH": (np.arccosh, POSITIVE + 1),
    "NEG": (np.negative, ROWS),
    "RECIP": (np.reciprocal, POSITIVE),
    "ROUND": (np.rint, np.array([0.5, 1.5, 2.5, -0.5], np.float32)),
    "NOT": (np.logical_not, np.array([True, False])),
}


@pytest.mark.parametrize("kind", UNARY)
def test_unary(kind: str) -> None:
    reference, x = UNARY[kind]
    np.testing.assert_allclose(_run(lambda net, v: net.add_unary(v, kind), x), reference(x), rtol=2e-6)


@pytest.mark.parametrize(("mode", "shape"), [("uniform", ()), ("channel", (4,)), ("elementwise", (2, 4, 6, 5))])
def test_scale(mode: str, shape: tuple[int, ...]) -> None:
    shift, scale, power = (
        np.resize(array, shape) for array in (POSITIVE + 4, POSITIVE / 4, np.full(1, 2.0, np.float32))
    )
    found = _run(lambda net, x: net.add_scale(x, mode, shift, scale, power), IMAGE)
    along: list[Any] = [value.reshape(4, 1, 1) if mode == "channel" else value for value in (shift, scale, power)]
    np.testing.assert_allclose(found, (along[1] * IMAGE + along[0]) ** along[2], rtol=1e-5)


def _windows(x: Array, kernel: int, stride: int) -> Array:
    """All windows of the last two dims: [..., rows, columns, kernel, kernel]."""
    return np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (-2, -1))[..., ::stride, ::stride, :, :]


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_and_its_adjoint(groups: int) -> None:
    weights = RANDOM.standard_normal((6, 4 // groups, 3, 3)).astype(np.float32)
    bias = RANDOM.standard_normal(6).astype(np.float32)
    found = _run(
        lambda net, x: net.add_convolution(x, 6, 3, weights, bias, strides=2, pads=[1, 1], groups=groups), IMAGE
    )
    padded = _windows(np.pad(IMAGE, [(0, 0), (0, 0), (1, 1), (1, 1)]), 3, 2)
    parts = zip(np.split(padded, groups, 1), np.split(weights, groups), strict=True)
    wanted = np.concatenate([np.einsum("nchwij,kcij->nkhw", x, w) for x, w in parts], 1)
    np.testing.assert_allclose(found, wanted + bias.reshape(6, 1, 1), rtol=1e-4, atol=1e-5)

    given = RANDOM.standard_normal((2, 6, 3, 3)).astype(np.float32)
    back = _run(lambda net, x: net.add_deconvolution(x, 4, 3, weights, strides=2, pads=1, groups=groups), given)
    forth = _run(
        lambda net, x: net.add_convolution(x, 6, 3, weights, strides=2, pads=1, groups=groups),
        IMAGE[:, :, :5, :5].copy(),
    )
    assert back.shape == (2, 4, 5, 5)
    np.testing.assert_allclose(np.vdot(forth, given), np.vdot(IMAGE[:, :, :5, :5], back), rtol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_over_one_and_three_dims(rank: int) -> None:
    x = RANDOM.standard_normal((1, 2, *[4] * rank)).astype(np.float32)
    weights = np.ones((3, 2, *[1] * rank), np.float32)
    found = _run(lambda net, v: net.add_convolution(v, 3, 1, weights), x)
    np.testing.assert_allclose(found, np.broadcast_to(x.sum(1, keepdims=True), found.shape), rtol=1e-5)


def test_pooling() -> None:
    np.testing.assert_array_equal(
        _run(lambda net, x: net.add_pooling(x, "max", 2, strides=2), IMAGE), _windows(IMAGE, 2, 2).max((-2, -1))
    )
    padded = np.pad(IMAGE, [(0, 0), (0, 0), (1, 1), (1, 1)])
    total = _windows(padded, 3, 2).sum((-2, -1))
    inside = _windows(np.pad(np.ones_like(IMAGE), [(0, 0), (0, 0), (1, 1), (1, 1)]), 3, 2).sum((-2, -1))
    for counted, divisor in ((False, inside), (True, np.float32(9))):
        found = _run(
            lambda net, x, c=counted: net.add_pooling(x, "AVERAGE", 3, strides=2, pads=1, count_include_pad=c), IMAGE
        )
        np.testing.assert_allclose(found, total / divisor, rtol=1e-4, atol=1e-6)
    ceil = _run(lambda net, x: net.add_pooling(x, "max", 2, strides=2, ceil=True), IMAGE)
    assert ceil.shape == (2, 4, 3, 3)
    np.testing.assert_array_equal(ceil[..., 2], IMAGE[..., 4].reshape(2, 4, 3, 2).max(-1))
    whole = _run(lambda net, x: net.add_pooling(x, "average"), IMAGE)
    np.testing.assert_allclose(whole[..., 0, 0], IMAGE.mean((2, 3)), rtol=1e-4, atol=1e-6)


def test_lrn() -> None:
    squares = np.pad(IMAGE.astype(np.float64) ** 2, [(0, 0), (1, 1), (0, 0), (0, 0)])
    total = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
    found = _run(lambda net, x: net.add_lrn(x, 3, 0.5, 0.75, 2.0), IMAGE)
    np.testing.assert_allclose(found, IMAGE / (2 + 0.5 / 3 * total) ** 0.75, rtol=1e-5)


def test_resize() -> None:
    twice = _run(lambda net, x: net.add_resize(x, [12, 10]), IMAGE)
    np.testing.assert_array_equal(twice, IMAGE.repeat(2, 2).repeat(2, 3))
    line = np.array([[[0, 1]]], np.float32)
    found = _run(lambda net, x: net.add_resize(x, scales=[2.0], mode="linear", coordinates="half_pixel"), line)
    np.testing.assert_allclose(found, [[[0, 0.25, 0.75, 1]]])


def test_products() -> None:
    weights, bias = RANDOM.standard_normal((7, 120)).astype(np.float32), ROWS[0, :7]
    found = _run(lambda net, x: net.add_fully_connected(x, 7, weights, bias), IMAGE)
    np.testing.assert_allclose(found, IMAGE.reshape(2, 120) @ weights.T + bias, rtol=1e-4, atol=1e-4)
    a = RANDOM.standard_normal((3, 1, 4, 5)).astype(np.float32)
    b = RANDOM.standard_normal((2, 5, 6)).astype(np.float32)
    for flip_a, flip_b in ((False, False), (True, False), (False, True), (True, True)):
        left, right = a.swapaxes(2, 3).copy() if flip_a else a, b.swapaxes(1, 2).copy() if flip_b else b
        product = _run(
            lambda net, x, y, f=flip_a, g=flip_b: net.add_matrix_multiply(x, y, transpose_a=f, transpose_b=g),
            left,
            right,
        )
        np.testing.assert_allclose(product, a @ b, rtol=1e-4, atol=1e-5)
    for x, y in ((ROWS, ROWS[0]), (ROWS[0], ROWS.T.copy()), (ROWS[0], ROWS[1])):
        np.testing.assert_allclose(
            _run(lambda net, p, q: net.add_matrix_multiply(p, q), x, y), x @ y, rtol=1e-4, atol=1e-6
        )


def test_softmax_and_normalisations() -> None:
    powers = np.exp(IMAGE - IMAGE.max((1, 2), keepdims=True))
    found = _run(lambda net, x: net.add_softmax(x, [1, 2]), IMAGE)
    np.testing.assert_allclose(found, powers / powers.sum((1, 2), keepdims=True), rtol=1e-5)
    plain = (IMAGE - IMAGE.mean((2, 3), keepdims=True)) / np.sqrt(IMAGE.var((2, 3), keepdims=True) + 0.5)
    scale, bias = ROWS[0, :4].reshape(4, 1, 1), ROWS[1, :4].reshape(4, 1, 1)
    found = _run(lambda net, x: net.add_normalization(x, scale, bias, (-2, -1), epsilon=0.5), IMAGE)
    np.testing.assert_allclose(found, plain * scale + bias, rtol=1e-4, atol=1e-5)
    mean, variance = ROWS[2, :4], POSITIVE[2, :4]
    found = _run(lambda net, x: net.add_batch_normalization(x, scale, bias, mean, variance, epsilon=0.5), IMAGE)
    inner = (IMAGE - mean.reshape(4, 1, 1)) / np.sqrt(variance.reshape(4, 1, 1) + 0.5)
    np.testing.assert_allclose(found, inner * scale + bias, rtol=1e-4, atol=1e-5)


def test_reduce_and_top_k() -> None:
    kinds: dict[str, Any] = {"SUM": np.sum, "PROD": np.prod, "MAX": np.max, "MIN": np.min, "AVG": np.mean}
    for kind, reference in kinds.items():
        found = _run(lambda net, x, k=kind: net.add_reduce(x, k, [1, -1], keep_dims=True), IMAGE)
        np.testing.assert_allclose(found, reference(IMAGE, axis=(1, 3), keepdims=True), rtol=1e-4, atol=1e-6)
    assert _run(lambda net, x: net.add_reduce(x, "MAX", 0), IMAGE).shape == (4, 6, 5)
    values = np.array([[1, 3, 3, 2]], np.float32)
    np.testing.assert_array_equal(_run(lambda net, x: net.add_top_k(x, "MAX", 3, -1), values), [[3, 3, 2]])
    np.testing.assert_array_equal(_run(lambda net, x: net.add_top_k(x, "MAX", 3, 1)[1:], values), [[1, 2, 3]])
    np.testing.assert_array_equal(_run(lambda net, x: net.add_top_k(x, "MIN", 2, 1), values), [[1, 2]])


def test_movement() -> None:
    same = np.array_equal
    assert same(_run(lambda net, a, b: net.add_concatenation([a, b]), IMAGE, IMAGE), np.concatenate([IMAGE] * 2, 1))
    assert same(
        _run(lambda net, x: net.add_slice(x, [0, 1, 0, 1], [2, 2, 3, 2], [1, 2, 2, 3]), IMAGE),
        IMAGE[:, 1:4:2, 0:5:2, 1:5:3],
    )
    shuffled = _run(
        lambda net, x: net.add_shuffle(x, first_transpose=[0, 2, 3, 1], reshape=[0, -1, 4], second_transpose=[2, 0, 1]),
        IMAGE,
    )
    assert same(shuffled, IMAGE.transpose(0, 2, 3, 1).reshape(2, 30, 4).transpose(2, 0, 1))
    indices = np.array([[1, 0], [3, 3]])
    for axis in range(4):
        found = _run(lambda net, x, i, a=axis: net.add_gather(x, i, a), IMAGE, indices % IMAGE.shape[axis])
        assert same(found, np.take(IMAGE, indices % IMAGE.shape[axis], axis))
    padded = _run(lambda net, x: net.add_padding(x, [1, -2], [0, 3], value=9.0), IMAGE)
    assert same(padded, np.pad(IMAGE[..., 2:], [(0, 0), (0, 0), (1, 0), (0, 3)], constant_values=9))
    mask = ROWS > 0
    assert same(
        _run(lambda net, c, a, b: net.add_select(c, a, b), mask, ROWS, ROWS[:1]), np.where(mask, ROWS, ROWS[:1])
    )
    assert same(_run(lambda net, x: net.add_cast(x, "i32"), ROWS), ROWS.astype(np.int32))
    assert same(_run(lambda net, x: net.add_cast(net.add_identity(x), np.float16), ROWS), ROWS.astype(np.float16))
    assert same(_run(lambda net, x: net.add_elementwise("SUM", x, net.add_constant(ROWS)), ROWS), ROWS + ROWS)
