"""Random numbers: by their distribution, the same in every run, others for another seed; and pooled regions, which no suite has."""

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
SHAPE = [40, 50]


def drawn(make_model: MakeModel, op: str, feeds: dict[str, Array], **attributes: Any) -> Array:
    module, store = import_onnx(
        make_model([helper.make_node(op, list(feeds), ["y"], **attributes)], feeds, infer=False)
    )
    module.verify()
    first, again = (interpret(module, feeds, store)["y"] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    return first


def test_uniform(make_model: MakeModel) -> None:
    made = drawn(make_model, "RandomUniform", {}, shape=SHAPE, low=-2.0, high=6.0, seed=3.0)
    assert made.dtype == np.float32 and made.min() >= -2 and made.max() < 6
    assert abs(made.mean() - 2) < 0.2 and abs(made.std() - 8 / 12**0.5) < 0.1
    other = drawn(make_model, "RandomUniformLike", {"x": made}, low=-2.0, high=6.0, seed=4.0)
    assert (made != other).mean() > 0.99


def test_normal(make_model: MakeModel) -> None:
    for made in (
        drawn(make_model, "RandomNormal", {}, shape=SHAPE, mean=1.0, scale=2.0, seed=1.0, dtype=11),
        drawn(make_model, "RandomNormalLike", {"x": np.zeros(SHAPE)}, mean=1.0, scale=2.0, seed=1.0),
    ):
        assert made.dtype == np.float64
        assert abs(made.mean() - 1) < 0.2 and abs(made.std() - 2) < 0.1


def test_bernoulli(make_model: MakeModel) -> None:
    for p in (0.0, 0.3, 1.0):
        made = drawn(make_model, "Bernoulli", {"x": np.full(SHAPE, p, np.float32)}, seed=1.0, dtype=9)
        assert made.dtype == np.bool_ and abs(made.mean() - p) < 0.05 * (0 < p < 1) + 1e-9


def test_multinomial(make_model: MakeModel) -> None:
    logits = np.log(np.array([[0.1, 0.6, 0.3], [1e-30, 1e-30, 1]], np.float32))
    made = drawn(make_model, "Multinomial", {"x": logits}, sample_size=2000, seed=1.0)
    assert made.dtype == np.int32 and made.shape == (2, 2000)
    np.testing.assert_allclose([(made[0] == k).mean() for k in range(3)], [0.1, 0.6, 0.3], atol=0.05)
    assert (made[1] == 2).all()


@pytest.mark.parametrize("ratio", [0.0, 0.25])
def test_dropout_in_training(make_model: MakeModel, ratio: float) -> None:
    x = np.ones(SHAPE, np.float32)
    more = {"r": np.asarray(ratio, np.float32), "t": np.asarray(True)}
    node = helper.make_node("Dropout", ["x", "r", "t"], ["y", "m"], seed=7)
    module, store = import_onnx(make_model([node], {"x": x}, ["y", "m"], weights=more, infer=False))
    made = interpret(module, {"x": x}, store)
    np.testing.assert_allclose(made["y"], np.where(made["m"], 1 / (1 - ratio), 0), rtol=1e-6)
    assert abs(made["m"].mean() - (1 - ratio)) < 0.05


def test_without_a_seed(make_model: MakeModel) -> None:
    with pytest.raises(ModelError) as caught:
        import_onnx(make_model([helper.make_node("RandomUniform", [], ["y"], shape=[2])], {}, infer=False))
    assert "give the node a seed" in caught.value.reasons[0]


def test_pooled_regions(make_model: MakeModel) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 8)).astype(np.float32)
    boxes = np.array([[0, 0, 0, 14, 16], [1, 4, 2, 12, 10], [1, 6, 6, 6, 6], [0, 8, 0, 18, 18]], np.float32)
    node = helper.make_node("MaxRoiPool", ["x", "b"], ["y"], pooled_shape=[3, 2], spatial_scale=0.5)
    model = make_model([node], {"x": x, "b": boxes}, infer=False)
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x, "b": boxes})
    module, store = import_onnx(model)
    np.testing.assert_array_equal(interpret(module, {"x": x, "b": boxes}, store)["y"], expected)
