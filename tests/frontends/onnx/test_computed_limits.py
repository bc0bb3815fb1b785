"""Limits, scales and regions that are inputs of the network: the same as where they are constants, and as ONNX Runtime has them."""

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
RNG = np.random.default_rng(3)


def by_runtime(model: onnx.ModelProto, feeds: dict[str, Array]) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    (result,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    return np.asarray(result)


def both(make_model: MakeModel, node: onnx.NodeProto, data: dict[str, Array], more: dict[str, Array]) -> None:
    """With the other inputs as constants and as inputs, whose result is declared then."""
    fixed = make_model([node], data, weights=more, infer=False, opset=18)
    expected = by_runtime(fixed, data)
    module, store = import_onnx(fixed)
    module.verify()
    np.testing.assert_allclose(interpret(module, data, store)["y"], expected, rtol=1e-4, atol=1e-5)
    free = make_model([node], {**data, **more}, infer=False, opset=18)
    code = helper.np_dtype_to_tensor_dtype(expected.dtype)
    free.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", code, expected.shape))
    module, store = import_onnx(free)
    module.verify()
    made = interpret(module, {**data, **more}, store)["y"]
    assert made.dtype == expected.dtype
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-5)


def boxes(count: int, classes: int) -> dict[str, Array]:
    corners = RNG.uniform(0, 1, (2, count, 4)).astype(np.float32)
    return {"boxes": corners, "scores": RNG.uniform(0, 1, (2, classes, count)).astype(np.float32)}


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("most, iou, score", [(3, 0.3, 0.2), (100, 0.0, 0.9), (0, 0.5, 0.0), (1, 1.0, -1.0)])
def test_non_max_suppression(make_model: MakeModel, center: int, most: int, iou: float, score: float) -> None:
    limits = {"n": np.array([most]), "iou": np.array([iou], np.float32), "score": np.array([score], np.float32)}
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", *limits], ["y"], center_point_box=center)
    both(make_model, node, boxes(20, 2), limits)


@pytest.mark.parametrize("given", [["n"], ["n", "", "score"], ["n", "iou"], []])
def test_limits_that_are_left_out(make_model: MakeModel, given: list[str]) -> None:
    limits = {"n": np.array(4), "iou": np.array(0.4, np.float32), "score": np.array(0.5, np.float32)}
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", *given], ["y"])
    both(make_model, node, boxes(12, 1), {name: limits[name] for name in given if name})


X = RNG.standard_normal((1, 2, 5, 7)).astype(np.float32)
FORMS: list[dict[str, Any]] = [
    {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": rule}
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for rule in ("asymmetric", "half_pixel")
] + [
    {"mode": "linear", "coordinate_transformation_mode": rule}
    for rule in ("half_pixel", "pytorch_half_pixel", "asymmetric")
] + [
    {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.5, "exclude_outside": exclude}
    for exclude in (0, 1)
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=[f"{n}-{form['mode']}" for n, form in enumerate(FORMS)])
@pytest.mark.parametrize("scales", [(1, 1, 2, 1.5), (1, 1, 0.625, 0.5)])
def test_resize(make_model: MakeModel, form: dict[str, Any], scales: tuple[float, ...]) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], **form)
    both(make_model, node, {"x": X}, {"scales": np.array(scales, np.float32)})


def test_corners_that_are_kept(make_model: MakeModel) -> None:
    """Whole extents only: of others ONNX's reference takes the fraction into the step, ONNX Runtime does not."""
    node = helper.make_node(
        "Resize", ["x", "", "s"], ["y"], mode="linear", coordinate_transformation_mode="align_corners"
    )
    both(make_model, node, {"x": X}, {"s": np.array([1, 1, 2, 3], np.float32)})


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_a_resize_that_smooths(make_model: MakeModel, mode: str) -> None:
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode=mode, antialias=1)
    both(make_model, node, {"x": X}, {"scales": np.array([1, 1, 0.6, 0.4], np.float32)})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_region_is_cut_and_resized(make_model: MakeModel, mode: str) -> None:
    node = helper.make_node(
        "Resize", ["x", "roi", "", "sizes"], ["y"], mode=mode, coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=9.0
    )  # fmt: skip
    region = np.array([0, 0, 0.4, 0.6, 1, 1, 1.2, 1.7], np.float32)
    both(make_model, node, {"x": X}, {"roi": region, "sizes": np.array([1, 2, 3, 4])})


def test_what_has_to_be_declared(make_model: MakeModel) -> None:
    node = helper.make_node("Resize", ["x", "", "s"], ["y"])
    with pytest.raises(ModelError) as caught:
        import_onnx(make_model([node], {"x": X, "s": np.ones(4, np.float32)}, infer=False))
    assert "make them constants, or declare the shape of the result" in caught.value.reasons[0]
