"""Whole networks by the API alone: LeNet, a perceptron, recurrent layers, and the digits network as the ONNX file has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell import Network
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.events import ImportEvents
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError, UsageError

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


def _weights(*shape: int, seed: int = 0) -> Array:
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def _interpret(module: ModuleOp, inputs: dict[str, Array]) -> dict[str, Any]:
    return dict(stepwell.interpret(module, inputs))


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _convolved(x: Array, filter: Array, bias: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(x, filter.shape[2:], (2, 3))
    return np.asarray(np.einsum("nchwij,kcij->nkhw", windows, filter) + bias.reshape(-1, 1, 1))


def _pooled(x: Array) -> Array:
    n, c, h, w = x.shape
    return np.asarray(x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5)))


def test_lenet() -> None:
    filters, biases = [_weights(20, 1, 5, 5), _weights(50, 20, 5, 5)], [_weights(20), _weights(50)]
    matrices, offsets = [_weights(500, 800), _weights(10, 500)], [_weights(500), _weights(10)]
    network = Network("lenet", max_batch_size=3)
    x = data = network.add_input("data", (1, 28, 28))
    for filter, bias in zip(filters, biases, strict=True):
        x = network.add_convolution(x, len(filter), 5, filter, bias)
        x = network.add_pooling(x, "MAX", 2, strides=2)
    x = network.add_fully_connected(x, 500, matrices[0], offsets[0], name="ip1")
    x = network.add_activation(x, "RELU")
    x = network.add_fully_connected(x, 10, matrices[1], offsets[1], name="ip2")
    network.mark_output(network.add_softmax(x), "prob")
    assert data.shape == (3, 1, 28, 28)
    image = np.random.default_rng(1).standard_normal(data.shape).astype(np.float32)
    found = _interpret(stepwell.import_model(network), {"data": image})["prob"]
    y = image.astype(np.float64)
    for filter, bias in zip(filters, biases, strict=True):
        y = _pooled(_convolved(y, filter, bias))
    y = np.maximum(y.reshape(3, 800) @ matrices[0].T + offsets[0], 0) @ matrices[1].T + offsets[1]
    powers = np.exp(y - y.max(1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


def _perceptron() -> tuple[Network, Array, Array]:
    network = Network("perceptron")
    x = network.add_input("x", (2, 12))
    first, second = _weights(16, 12), _weights(4, 16)
    hidden = network.add_activation(network.add_fully_connected(x, 16, first, [0.5] * 16, name="hidden"), "TANH")
    network.mark_output(network.add_fully_connected(hidden, 4, second, name="last"), "y")
    image = _weights(2, 12, seed=3)
    return network, image, np.asarray(np.tanh(image @ first.T + 0.5) @ second.T)


def test_a_perceptron_is_interpreted_and_compiled() -> None:
    network, image, wanted = _perceptron()
    np.testing.assert_allclose(_interpret(network.module(), {"x": image})["y"], wanted, rtol=1e-4, atol=1e-6)
    engine = stepwell.compile(network, target="cpu")
    np.testing.assert_allclose(engine.run({"x": image})["y"], wanted, rtol=1e-4, atol=1e-6)


def _lstm(x: Array, w: Array, r: Array, bias: Array, projection: Array | None) -> tuple[Array, Array]:
    """h of all steps and the last c, gates i, o, f, c."""
    hidden = r.shape[0] // 4
    h, c, found = np.zeros((x.shape[1], r.shape[1])), np.zeros((x.shape[1], hidden)), []
    for step in x.astype(np.float64):
        i, o, f, g = np.split(step @ w.T + h @ r.T + bias, 4, 1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        h = h if projection is None else h @ projection.T
        found.append(h)
    return np.stack(found), c


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_lstm(width: int | None, direction: str) -> None:
    sides, hidden = (2 if direction == "bidirectional" else 1), 6
    w, r = _weights(sides, 24, 5), _weights(sides, 24, width or hidden)
    bias, p = _weights(sides, 24), _weights(sides, width or 1, hidden)
    network = Network("lstm")
    x = network.add_input("x", (4, 2, 5))
    given = None if width is None else p.reshape(p.shape[sides == 1 :])
    drop = [array.reshape(array.shape[sides == 1 :]) for array in (w, r, bias)]
    made = network.add_lstm(x, hidden, *drop, projection=given, width=width, direction=direction, name="cell")
    assert [tensor.name for tensor in made] == ["cell.sequence", "cell.last_h", "cell.last_c"]
    for tensor in made:
        network.mark_output(tensor)
    steps = _weights(4, 2, 5, seed=2)
    found = _interpret(network.module(), {"x": steps})
    parts = []
    for side in range(sides):
        back = direction == "reverse" or side == 1
        sequence, c = _lstm(
            steps[::-1] if back else steps, w[side], r[side], bias[side], None if width is None else p[side]
        )
        parts.append((sequence[::-1] if back else sequence, sequence[-1], c))
    for name, wanted in zip(("sequence", "last_h", "last_c"), zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(found[f"cell.{name}"], np.concatenate(wanted, -1), rtol=1e-4, atol=1e-6)


def test_lstm_with_peepholes_and_states() -> None:
    w, r, peepholes = _weights(8, 3), _weights(8, 2), _weights(6)
    h, c = _weights(1, 2), _weights(1, 2, seed=5)
    network = Network("lstm")
    x = network.add_input("x", (3, 1, 3))
    made = network.add_lstm(x, 2, w, r, recurrent_bias=_weights(8), peepholes=peepholes, initial_h=h, initial_c=c)
    network.mark_output(made[1], "h")
    steps, (pi, po, pf) = _weights(3, 1, 3, seed=2), np.split(peepholes, 3)
    found = _interpret(network.module(), {"x": steps})["h"]
    for step in steps:
        i, o, f, g = np.split(step @ w.T + h @ r.T + _weights(8), 4, 1)
        before = c
        c = _sigmoid(f + pf * before) * before + _sigmoid(i + pi * before) * np.tanh(g)
        h = _sigmoid(o + po * c) * np.tanh(c)
    np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("linear_before_reset", [False, True])
def test_gru_of_rows_with_lengths(linear_before_reset: bool) -> None:
    w, r, bias, more = _weights(9, 4), _weights(9, 3), _weights(9), _weights(9, seed=4)
    network = Network("gru")
    x, lengths = network.add_input("x", (5, 2, 4)), network.add_input("lengths", (2,), "i64")
    sequence, last = network.add_gru(
        x, 3, w, r, bias, recurrent_bias=more, linear_before_reset=linear_before_reset, lengths=lengths
    )
    network.mark_output(sequence, "sequence")
    network.mark_output(last, "last")
    steps, counts = _weights(5, 2, 4, seed=2), np.array([5, 3])
    found = _interpret(network.module(), {"x": steps, "lengths": counts})
    for row, count in enumerate(counts):
        h = np.zeros(3)
        for step in range(count):
            gates, inner = steps[step, row] @ w.T + bias, h @ r.T + more
            z, reset = _sigmoid(gates[:3] + inner[:3]), _sigmoid(gates[3:6] + inner[3:6])
            product = reset * inner[6:] if linear_before_reset else (reset * h) @ r[6:].T + more[6:]
            h = (1 - z) * np.tanh(gates[6:] + product) + z * h
            np.testing.assert_allclose(found["sequence"][step, row], h, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["last"][row], h, rtol=1e-4, atol=1e-6)


def test_rnn_with_an_initial_state() -> None:
    w, r, bias, h = _weights(3, 4), _weights(3, 3), _weights(3), _weights(2, 3)
    network = Network("rnn")
    x = network.add_input("x", (5, 2, 4))
    network.mark_output(network.add_rnn(x, 3, w, r, bias, activation="relu", initial_h=h)[1], "last")
    steps = _weights(5, 2, 4, seed=2)
    found = _interpret(network.module(), {"x": steps})["last"]
    for step in steps:
        h = np.maximum(step @ w.T + bias + h @ r.T, 0)
    np.testing.assert_allclose(found, h, rtol=1e-4, atol=1e-6)


def test_the_digits_network_is_the_onnx_files_twin_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DIGITS)
    import as_network  # type: ignore[import-not-found, unused-ignore]

    held = np.load(DIGITS / "heldout.npz")
    images = next(held[key] for key in held.files if held[key].ndim == 4).astype(np.float32)[:24]
    by_onnx = stepwell.import_model(DIGITS / "digits.onnx", shapes={"image": images.shape})
    by_api = stepwell.import_model(as_network.build(len(images)))
    wanted = _interpret(by_onnx, {"image": images})["logits"]
    np.testing.assert_array_equal(_interpret(by_api, {"image": images})["logits"], wanted)
    assert np.ptp(wanted) > 1


def test_what_is_there_can_be_asked() -> None:
    network, image, _ = _perceptron()
    assert [layer.name for layer in network] == ["hidden", "activation1", "last"]
    assert [layer.kind for layer in network.layers] == ["fully_connected", "activation", "fully_connected"]
    assert len(network) == 3 and [tensor.name for tensor in network.inputs] == ["x"]
    assert {name: tensor.shape for name, tensor in network.outputs.items()} == {"y": (2, 4)}
    assert network.layers[1].inputs == network.layers[0].outputs and network.tensors["last"].dtype == "f32"
    module = stepwell.import_model(network, outputs=["hidden"])
    assert list(_interpret(module, {"x": image})) == ["hidden"]
    ops = [op for op in module.walk() if op.name.startswith("graph.")]
    assert {names_of(op) for op in ops} == {("hidden",), ("hidden.weights",), ("hidden.bias",)}


def test_names_are_given_or_made() -> None:
    network = Network("names")
    x = network.add_input("", (2, 2))
    layers = [network.add_unary(x, "abs"), network.add_unary(x, "neg", name="unary3"), network.add_unary(x, "abs")]
    assert [x.name, *(tensor.name for tensor in layers)] == ["input1", "unary1", "unary3", "unary4"]
    network.mark_output(network.add_identity(layers[1], name="same"))
    assert list(_interpret(network.module(), {"input1": np.ones((2, 2), np.float32)})) == ["same"]


def test_a_network_goes_on_after_its_module_was_taken() -> None:
    network, image, wanted = _perceptron()
    before = str(network.module())
    network.mark_output(network.add_activation(network.tensors["last"], "RELU"), "positive")
    found = _interpret(network.module(), {"x": image})
    np.testing.assert_allclose(found["positive"], np.maximum(wanted, 0), rtol=1e-4, atol=1e-6)
    assert str(stepwell.import_model(network, outputs=["y"])) == before


def test_what_comes_out_must_be_marked() -> None:
    network = Network("silent")
    x = network.add_input("x", (2,))
    for build in (network.module, lambda: stepwell.compile(network, target="cpu")):
        with pytest.raises(ModelError, match="network 'silent': no output is marked\n  hint: network.mark_output"):
            build()
    with pytest.raises(ModelError, match="'nowhere' is no tensor"):
        stepwell.import_model(network, outputs=["nowhere"])
    with pytest.raises(ModelError, match="is no tensor of network 'silent'"):
        network.mark_output(Network().add_input("x", (2,)))
    network.mark_output(x, "y")
    with pytest.raises(ModelError, match="an output is called 'y' already"):
        network.mark_output(x, "y")
    with pytest.raises(UsageError, match="the inputs of a Network have theirs"):
        stepwell.import_model(network, shapes={"x": (3,)})
    with pytest.raises(ModelError, match="max_batch_size is 0"):
        Network(max_batch_size=0)


def test_the_import_is_told_in_events() -> None:
    events = ImportEvents("API")
    stepwell.import_model(_perceptron()[0], events=events)
    kinds = [record.kind for record in events.records]
    assert kinds[0] == "network-input" and kinds[-1] == "output" and kinds.count("node") == 3
    assert "Parsing node: hidden [fully_connected]" in map(str, events.records)


def test_import_stepwell_loads_no_compiler() -> None:
    code = "import stepwell, sys; assert 'xdsl' not in sys.modules; stepwell.Network('n'); assert 'xdsl' in sys.modules; assert 'onnx' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
