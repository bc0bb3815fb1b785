"""RNN, GRU and LSTM with every attribute and optional input, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

MakeModel = Callable[..., onnx.ModelProto]
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, WIDTH, HIDDEN = 5, 3, 4, 6
RNG = np.random.default_rng(7)


def data(op: str, directions: int, optional: str) -> dict[str, Array]:
    """All inputs by their letters, in order; those that are not in `optional` are left out."""
    gates = GATES[op] * HIDDEN
    shapes = {
        "X": (STEPS, BATCH, WIDTH), "W": (directions, gates, WIDTH), "R": (directions, gates, HIDDEN), "b": (directions, 2 * gates),
        "l": (), "h": (directions, BATCH, HIDDEN), "c": (directions, BATCH, HIDDEN), "p": (directions, 3 * HIDDEN),
    }  # fmt: skip
    made = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    made["l"] = np.array([5, 1, 3], np.int32)
    order = "XWRblh" if op != "LSTM" else "XWRblhcp"
    return {name: made[name] for name in order if name in "XWR" + optional}


def agrees(make_model: MakeModel, op: str, given: dict[str, Array], **attributes: Any) -> None:
    order = "XWRblh" if op != "LSTM" else "XWRblhcp"
    names = [name if name in given else "" for name in order]
    outputs = ["Y", "H"] if op != "LSTM" else ["Y", "H", "C"]
    node = helper.make_node(op, names, outputs, hidden_size=HIDDEN, **attributes)
    model = make_model([node], given, outputs, infer=False, opset=14)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, given)
    module, store = import_onnx(model)
    module.verify()
    made = interpret(module, given, store)
    for name, wanted in zip(outputs, expected, strict=True):
        assert made[name].shape == wanted.shape
        np.testing.assert_allclose(made[name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("optional", ["", "b", "l", "bh", "blhcp"])
def test_directions_and_optional_inputs(make_model: MakeModel, op: str, direction: str, optional: str) -> None:
    agrees(make_model, op, data(op, 2 if direction == "bidirectional" else 1, optional), direction=direction)


@pytest.mark.parametrize(
    "name",
    [
        "Relu",
        "Tanh",
        "Sigmoid",
        "LeakyRelu",
        "ThresholdedRelu",
        "ScaledTanh",
        "HardSigmoid",
        "Elu",
        "Softsign",
        "Softplus",
    ],
)
@pytest.mark.parametrize("op", GATES)
def test_activations(make_model: MakeModel, op: str, name: str) -> None:
    """Each in the place of the last, with parameters of its own where it has any."""
    names = {"RNN": [name], "GRU": ["Sigmoid", name], "LSTM": ["Sigmoid", "Tanh", name]}[op]
    alphas = [0.3] if name in ("LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu") else []
    betas = [0.6] if name in ("ScaledTanh", "HardSigmoid") else []
    more = {key: value for key, value in (("activation_alpha", alphas), ("activation_beta", betas)) if value}
    agrees(make_model, op, data(op, 1, "bh"), activations=names, **more)


@pytest.mark.parametrize(
    "op, attributes",
    [
        ("RNN", {"clip": 0.5}),
        ("GRU", {"clip": 0.5}),
        ("GRU", {"linear_before_reset": 1}),
        ("LSTM", {"input_forget": 1}),
    ],
)
@pytest.mark.parametrize("optional", ["", "blhcp"])
def test_attributes(make_model: MakeModel, op: str, attributes: dict[str, Any], optional: str) -> None:
    agrees(make_model, op, data(op, 1, optional), **attributes)


def test_the_clip_of_an_lstm_is_before_every_activation(make_model: MakeModel) -> None:
    """Also before the last one, of the cell, as the standard says: ONNX Runtime leaves that out. A clip beyond all values is none."""
    given = data("LSTM", 1, "b")
    agrees(make_model, "LSTM", given, clip=1e6)
    node = helper.make_node("LSTM", list(given), ["Y", "", "C"], hidden_size=HIDDEN, clip=0.5)
    module, store = import_onnx(make_model([node], given, ["Y", "C"], infer=False, opset=14))
    made = interpret(module, given, store)
    assert np.abs(made["C"]).max() > 0.5
    assert np.abs(made["Y"]).max() <= np.tanh(0.5) / (1 + np.exp(-0.5)) + 1e-6


@pytest.mark.parametrize("op", GATES)
def test_the_batch_first(make_model: MakeModel, op: str) -> None:
    """layout = 1, which ONNX Runtime lacks, is the other layout turned."""
    given = data(op, 2, "bh")
    outputs = ["Y", "H"]
    results = []
    for layout in (0, 1):
        feeds = given if layout == 0 else {**given, "X": given["X"].swapaxes(0, 1), "h": given["h"].swapaxes(0, 1)}
        node = helper.make_node(
            op, ["X", "W", "R", "b", "", "h"], outputs, hidden_size=HIDDEN, direction="bidirectional", layout=layout
        )
        module, store = import_onnx(make_model([node], feeds, outputs, infer=False, opset=14))
        results.append(interpret(module, feeds, store))
    np.testing.assert_allclose(results[1]["Y"], results[0]["Y"].transpose(2, 0, 1, 3), rtol=1e-6)
    np.testing.assert_allclose(results[1]["H"], results[0]["H"].swapaxes(0, 1), rtol=1e-6)


@pytest.mark.parametrize(
    "attributes, reason",
    [
        ({"activations": ["Tanh"]}, "activations"),
        ({"activations": ["Sine", "Tanh", "Tanh"]}, "activations"),
        ({"direction": "sideways"}, "direction 'sideways' is none of"),
    ],
)
def test_what_is_refused(make_model: MakeModel, attributes: dict[str, Any], reason: str) -> None:
    given = data("LSTM", 1, "")
    node = helper.make_node("LSTM", ["X", "W", "R"], ["Y"], hidden_size=HIDDEN, **attributes)
    with pytest.raises(ModelError) as caught:
        import_onnx(make_model([node], given, ["Y"], infer=False, opset=14))
    assert reason in caught.value.reasons[0]
