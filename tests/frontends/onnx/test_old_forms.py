"""What operator sets 1 to 6 said otherwise, and where files are taken that the letter of the standard does not allow, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

MakeModel = Callable[..., onnx.ModelProto]
X = np.arange(1, 25, dtype=np.float32).reshape(2, 3, 2, 2)
ROW = np.array([1, 2, 4], np.float32)
SLOPE = np.array([0.5, 2, 3], np.float32)


def f(*values: float) -> Array:
    return np.array(values, np.float32)


CASES: list[tuple[str, int, list[Array], dict[str, Any], Array]] = [
    ("Add", 6, [X, ROW], {"broadcast": 1, "axis": 1}, X + ROW[:, None, None]),
    ("Add", 1, [X, ROW], {"broadcast": 1, "axis": -3, "consumed_inputs": [0, 0]}, X + ROW[:, None, None]),
    ("Mul", 6, [X, f(1, 2)], {"broadcast": 1}, X * f(1, 2)),
    ("Sub", 6, [X, X], {}, X - X),
    ("Pow", 1, [X, f(2)], {"broadcast": 1}, X**2),
    ("Greater", 1, [X, ROW], {"broadcast": 1, "axis": 1}, X > ROW[:, None, None]),
    ("Relu", 1, [X - 9], {"consumed_inputs": [0]}, np.maximum(X - 9, 0)),
    ("PRelu", 6, [X - 9, SLOPE], {}, np.where(X > 9, X - 9, (X - 9) * SLOPE[:, None, None])),
    ("PRelu", 6, [X - 9, f(3)], {}, np.where(X > 9, X - 9, (X - 9) * 3)),
    ("Cast", 1, [X], {"to": "INT32"}, X.astype(np.int32)),
    ("Clip", 6, [X], {"min": 3.0, "max": 9.0}, np.clip(X, 3, 9)),
    ("Reshape", 1, [X], {"shape": [0, -1]}, X.reshape(2, 12)),
    ("Pad", 1, [X], {"paddings": [0, 0, 1, 0, 0, 0, 0, 2], "value": 5.0}, np.pad(X, ((0, 0), (0, 0), (1, 0), (0, 2)), constant_values=5)),
    ("Slice", 1, [X], {"starts": [1, -1], "ends": [9, 9], "axes": [1, 3]}, X[:, 1:, :, -1:]),
    ("Split", 2, [X], {"axis": 1, "split": [3]}, X),
    ("Squeeze", 1, [X[:1]], {"axes": [0]}, X[0]),
    ("Unsqueeze", 1, [X], {"axes": [0, 5]}, X[None, ..., None]),
    ("Dropout", 6, [X], {"is_test": 1, "ratio": 0.5}, X),
    ("Dropout", 1, [X], {"is_test": 1, "consumed_inputs": [0]}, X),
    ("Concat", 1, [X, X], {}, np.concatenate([X, X], 1)),
    ("Upsample", 1, [X], {"height_scale": 2.0, "width_scale": 3.0, "mode": "nearest"}, X.repeat(2, 2).repeat(3, 3)),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 1.0]}, X.repeat(2, 2)),
    ("Softmax", 1, [X[:, :, 0, 0]], {}, np.exp(X[:, :, 0, 0]) / np.exp(X[:, :, 0, 0]).sum(1, keepdims=True)),
    ("GlobalLpPool", 1, [X], {"p": 1.0}, X.sum((2, 3), keepdims=True)),
    ("Gemm", 6, [X[0, 0], X[0, 1], X[0, 2]], {"broadcast": 1}, X[0, 0] @ X[0, 1] + X[0, 2]),
    ("InstanceNormalization", 1, [X, ROW, ROW], {"consumed_inputs": [0, 0, 0], "epsilon": 0.0}, (X - X.mean((2, 3), keepdims=True)) / X.std((2, 3), keepdims=True) * ROW[:, None, None] + ROW[:, None, None]),
    ("BatchNormalization", 6, [X, ROW, ROW, ROW, ROW], {"is_test": 1, "epsilon": 0.0}, ((X.swapaxes(1, 3) - ROW) / np.sqrt(ROW) * ROW + ROW).swapaxes(1, 3)),
    ("BatchNormalization", 1, [X, *[np.ones((3, 2, 2), np.float32)] * 4], {"spatial": 0, "epsilon": 0.0, "is_test": 1, "consumed_inputs": [0] * 5}, X),
]  # fmt: skip


@pytest.mark.parametrize(
    "op, opset, inputs, attributes, expected", CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)]
)
def test_a_form_of_its_time(
    make_model: MakeModel, op: str, opset: int, inputs: list[Array], attributes: dict[str, Any], expected: Array
) -> None:
    feeds = {f"x{n}": array for n, array in enumerate(inputs)}
    node = helper.make_node(op, [*feeds], ["y"], **attributes)
    module, store = import_onnx(make_model([node], feeds, opset=opset, infer=False))
    module.verify()
    np.testing.assert_allclose(interpret(module, feeds, store)["y"], expected, rtol=1e-5, atol=1e-5)


def test_parameters_that_were_inputs(make_model: MakeModel) -> None:
    tile = helper.make_node("Tile", ["x", "tiles", "axis"], ["y"])
    scalars = {"tiles": np.asarray(2, np.int64), "axis": np.asarray(1, np.int64)}
    module, store = import_onnx(make_model([tile], {"x": X}, weights=scalars, opset=1, infer=False))
    np.testing.assert_array_equal(interpret(module, {"x": X}, store)["y"], np.concatenate([X, X], 1))
    split = helper.make_node("Split", ["x", "s"], ["y", "z"], axis=1)
    module, store = import_onnx(
        make_model([split], {"x": X}, ["y", "z"], weights={"s": np.array([1, 2])}, opset=1, infer=False)
    )
    made = interpret(module, {"x": X}, store)
    np.testing.assert_array_equal(made["z"], X[:, 1:])


@pytest.mark.parametrize(
    "inputs, attributes, message",
    [
        ([X, ROW], {}, "broadcast is not set"),
        ([X, ROW], {"broadcast": 1, "axis": 4}, "axis 4 does not place [3] in [2, 3, 2, 2]"),
        ([X, ROW], {"broadcast": 1}, "do not broadcast"),
    ],
)
def test_broadcasts_that_do_not_fit(
    make_model: MakeModel, inputs: list[Array], attributes: dict[str, Any], message: str
) -> None:
    feeds = {f"x{n}": array for n, array in enumerate(inputs)}
    with pytest.raises(ModelError) as caught:
        import_onnx(make_model([helper.make_node("Add", [*feeds], ["y"], **attributes)], feeds, opset=6, infer=False))
    assert message in caught.value.reasons[0]


def lenient() -> onnx.ModelProto:
    """y = x + w, x of shape [3]."""
    node = helper.make_node("Add", ["x", "w"], ["y"])
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])]
    made = helper.make_graph([node], "net", inputs, outputs, [numpy_helper.from_array(ROW, "w")])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 9)], ir_version=4)


def runs(model: onnx.ModelProto) -> None:
    module, store = import_onnx(model)
    np.testing.assert_array_equal(interpret(module, {"x": ROW}, store)["y"], 2 * ROW)


def test_initialisers_that_are_no_inputs_before_ir_version_4() -> None:
    model = lenient()
    model.ir_version = 3
    runs(model)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    runs(model)


def test_outputs_without_a_shape_or_a_type() -> None:
    model = lenient()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    runs(model)
    model.graph.output[0].ClearField("type")
    runs(model)


def test_names_of_nodes_that_are_missing_or_given_twice() -> None:
    model = lenient()
    model.graph.node[0].output[0] = "a"
    for result, before in (("b", "a"), ("y", "b")):
        model.graph.node.append(helper.make_node("Identity", [before], [result], name="same"))
    runs(model)


def test_an_output_that_nothing_reads() -> None:
    model = lenient()
    model.graph.node[0].output[0] = "a"
    model.graph.node.append(helper.make_node("Dropout", ["a"], ["y", "mask"]))
    runs(model)
    model.graph.node[1].output[1] = ""
    runs(model)


def test_a_file_without_operator_sets() -> None:
    """Before IR version 3 there was one set."""
    model = lenient()
    model.ir_version = 2
    del model.opset_import[:]
    runs(model)
