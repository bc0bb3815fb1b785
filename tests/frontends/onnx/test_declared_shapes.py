"""Parameters that a model takes as inputs: what its declared shapes say about them, and where they do not say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
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


def test_two_dims_of_one_extent_are_not_told_apart(make_model: MakeModel) -> None:
    model = model_of(make_model, "ReduceSum", np.array([0], np.int64), [2, 3], keepdims=0)
    with pytest.raises(ModelError) as caught:
        import_onnx(model)
    assert "[2, 2, 3] to [2, 3] does not say which" in caught.value.reasons[0]


def test_one_dim_that_can_be_meant_is_meant(make_model: MakeModel) -> None:
    axes = np.array([-1], np.int64)
    module, store = import_onnx(model_of(make_model, "ReduceSum", axes, [2, 2], keepdims=0))
    np.testing.assert_array_equal(interpret(module, {"x": X, "p": axes}, store)["y"], X.sum(2))


def test_the_axis_of_a_prefix_sum_is_chosen_when_it_runs(make_model: MakeModel) -> None:
    for axis in (-3, -2, -1, 0, 1, 2):
        given = np.array(axis, np.int64)
        module, store = import_onnx(model_of(make_model, "CumSum", given, list(X.shape)))
        np.testing.assert_array_equal(interpret(module, {"x": X, "p": given}, store)["y"], X.cumsum(axis))
