"""Parameters that a model takes as inputs: what its declared shapes say about them, and where they do not say it."""

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
X = np.arange(12, dtype=np.float32).reshape(2, 2, 3)


def model_of(make_model: MakeModel, op: str, parameter: Array, shape: list[int], **attributes: Any) -> onnx.ModelProto:
    """One node whose second input is an input of the model; its result is declared with `shape`."""
    node = helper.make_node(op, ["x", "p"], ["y"], **attributes)
    model = make_model([node], {"x": X, "p": parameter}, infer=False)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, shape))
    return model


@pytest.mark.parametrize(
    "op, parameter, expected",
    [
        ("Reshape", [3, 4], X.reshape(3, 4)),
        ("Tile", [1, 3, 2], np.tile(X, (1, 3, 2))),
        ("Expand", [4, 2, 2, 3], np.broadcast_to(X, (4, 2, 2, 3))),
        ("Unsqueeze", [0], X[None]),
        ("ReduceSum", [2], X.sum(2, keepdims=True)),
    ],
)
def test_the_declared_shape_decides(make_model: MakeModel, op: str, parameter: list[int], expected: Array) -> None:
    given = np.array(parameter, np.int64)
    module, store = import_onnx(model_of(make_model, op, given, list(expected.shape)))
    np.testing.assert_array_equal(interpret(module, {"x": X, "p": given}, store)["y"], expected)


@pytest.mark.parametrize("op, function", [("ReduceSum", np.sum), ("ReduceMax", np.max), ("ReduceMean", np.mean)])
def test_dims_of_one_extent_are_told_apart_when_it_runs(make_model: MakeModel, op: str, function: Any) -> None:
    for axis in (0, 1, -2, -3):
        axes = np.array([axis], np.int64)
        module, store = import_onnx(model_of(make_model, op, axes, [2, 3], keepdims=0))
        made = interpret(module, {"x": X, "p": axes}, store)["y"]
        np.testing.assert_allclose(made, function(X, axis=axis), rtol=1e-6)


def test_what_the_declared_shape_does_not_allow(make_model: MakeModel) -> None:
    for op, shape, message in (
        ("ReduceSum", [5], "[2, 2, 3] to [5] does not say which"),
        ("ReduceSum", [3], "[2, 2, 3] to [3] does not say which"),
    ):
        with pytest.raises(ModelError) as caught:
            import_onnx(model_of(make_model, op, np.array([0], np.int64), shape, keepdims=0))
        assert message in caught.value.reasons[0]


def computed(make_model: MakeModel, node: onnx.NodeProto, feeds: dict[str, Array]) -> None:
    """The node with all inputs from outside agrees with ONNX Runtime, whose result's shape is declared."""
    model = make_model([node], feeds, infer=False)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    code = helper.np_dtype_to_tensor_dtype(expected.dtype)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", code, expected.shape))
    module, store = import_onnx(model)
    module.verify()
    made = interpret(module, feeds, store)["y"]
    assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


def i(*values: int) -> Array:
    return np.array(values, np.int64)


BOX = np.arange(120, dtype=np.float32).reshape(4, 5, 6)
SLICES = {
    "inside": (i(1, 2), i(3, 9)),
    "from the end": (i(-2, -4), i(100, -1), i(1, 2)),
    "axes from the end": (i(1), i(4), i(-1)),
    "steps": (i(0, 1), i(4, 6), i(0, 2), i(2, 3)),
    "backwards": (i(100, -1), i(-100, 0), i(2, 1), i(-1, -2)),
    "empty": (i(3), i(3)),
    "one": (i(2), i(3), i(0), i(1)),
}


@pytest.mark.parametrize("given", SLICES.values(), ids=list(SLICES))
def test_a_slice_at_computed_places(make_model: MakeModel, given: tuple[Array, ...]) -> None:
    feeds = dict(zip(("starts", "ends", "axes", "steps"), given, strict=False))
    computed(make_model, helper.make_node("Slice", ["x", *feeds], ["y"]), {"x": BOX, **feeds})


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
@pytest.mark.parametrize("pads", [i(1, 0, 2, 0, 3, 1), i(0, 0, 0, 0, 0, 0), i(3, 4, 5, 3, 4, 5)])
def test_a_border_of_computed_widths(make_model: MakeModel, mode: str, pads: Array) -> None:
    node = helper.make_node("Pad", ["x", "pads", "value"], ["y"], mode=mode)
    computed(make_model, node, {"x": BOX, "pads": pads, "value": np.asarray(np.float32(7))})


def test_a_border_that_cuts(make_model: MakeModel) -> None:
    feeds = {"x": BOX, "pads": i(-1, 2, 3, -2), "axes": i(2, 0)}
    computed(make_model, helper.make_node("Pad", ["x", "pads", "", "axes"], ["y"]), feeds)


def test_computed_places_without_a_declared_shape(make_model: MakeModel) -> None:
    for node, feeds in (
        (helper.make_node("Slice", ["x", "a", "b"], ["y"]), {"x": BOX, "a": i(0), "b": i(2)}),
        (helper.make_node("Pad", ["x", "a"], ["y"]), {"x": BOX, "a": i(0, 0, 0, 1, 1, 1)}),
    ):
        with pytest.raises(ModelError) as caught:
            import_onnx(make_model([node], feeds, infer=False))
        assert "declare the shape of" in caught.value.reasons[0]


def test_a_declared_shape_reaches_what_elementwise_nodes_read(make_model: MakeModel) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "p"], ["a"]),
        helper.make_node("Constant", [], ["two"], value_float=2.0),
        helper.make_node("Mul", ["two", "a"], ["b"]),
        helper.make_node("Sqrt", ["b"], ["y"]),
    ]
    model = make_model(nodes, {"x": X, "p": i(4, 3)}, infer=False)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", 1, [4, 3]))
    module, store = import_onnx(model)
    made = interpret(module, {"x": X, "p": i(4, 3)}, store)["y"]
    np.testing.assert_allclose(made, np.sqrt(2 * X.reshape(4, 3)), rtol=1e-6)


def test_one_dim_that_can_be_meant_is_meant(make_model: MakeModel) -> None:
    axes = np.array([-1], np.int64)
    module, store = import_onnx(model_of(make_model, "ReduceSum", axes, [2, 2], keepdims=0))
    np.testing.assert_array_equal(interpret(module, {"x": X, "p": axes}, store)["y"], X.sum(2))


def test_the_axis_of_a_prefix_sum_is_chosen_when_it_runs(make_model: MakeModel) -> None:
    for axis in (-3, -2, -1, 0, 1, 2):
        given = np.array(axis, np.int64)
        module, store = import_onnx(model_of(make_model, "CumSum", given, list(X.shape)))
        np.testing.assert_array_equal(interpret(module, {"x": X, "p": given}, store)["y"], X.cumsum(axis))
