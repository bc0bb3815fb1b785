"""Transforms, window functions, grids, deformed convolutions, counted n-grams and statistics of a batch, against ONNX Runtime where it has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

MakeModel = Callable[..., onnx.ModelProto]
RNG = np.random.default_rng(5)


def a(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def agrees(
    make_model: MakeModel, node: onnx.NodeProto, data: dict[str, Array], more: dict[str, Array], *, opset: int = 20, reference: bool = False
) -> None:  # fmt: skip
    model = make_model([node], data, list(node.output), weights=more, infer=False, opset=opset)
    if reference:
        expected = ReferenceEvaluator(model).run(None, data)
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, data)
    module, store = import_onnx(model)
    module.verify()
    made = interpret(module, data, store)
    for name, wanted in zip(node.output, expected, strict=True):
        assert (made[name].dtype, made[name].shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(made[name], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("periodic, size", [(1, 10), (0, 10), (1, 1), (0, 5)])
def test_window_functions(make_model: MakeModel, op: str, periodic: int, size: int) -> None:
    node = helper.make_node(op, ["n"], ["y"], periodic=periodic)
    agrees(make_model, node, {}, {"n": np.asarray(size, np.int64)})


@pytest.mark.parametrize("step, length, onesided", [(4, 8, 1), (3, 5, 0), (40, 40, 1)])
@pytest.mark.parametrize("window", [True, False])
def test_stft(make_model: MakeModel, step: int, length: int, onesided: int, window: bool) -> None:
    more = {"s": np.asarray(step, np.int64), "w": np.abs(a(length)), "n": np.asarray(length, np.int64)}
    names = ["x", "s", "w" if window else "", "n"]
    node = helper.make_node("STFT", names, ["y"], onesided=onesided)
    agrees(make_model, node, {"x": a(2, 40, 1)}, {name: more[name] for name in names[1:] if name})


def test_mel_scale(make_model: MakeModel) -> None:
    given = [np.asarray(v, np.int64) for v in (8, 64, 8192)] + [np.asarray(v, np.float32) for v in (10, 3000)]
    names = ["a", "b", "c", "d", "e"]
    agrees(make_model, helper.make_node("MelWeightMatrix", names, ["y"]), {}, dict(zip(names, given, strict=True)))


@pytest.mark.parametrize("size", [[2, 1, 5, 4], [2, 3, 3, 2, 4]])
@pytest.mark.parametrize("corners", [0, 1])
def test_affine_grid(make_model: MakeModel, size: list[int], corners: int) -> None:
    node = helper.make_node("AffineGrid", ["x", "n"], ["y"], align_corners=corners)
    rank = len(size) - 2
    agrees(make_model, node, {"x": a(2, rank, rank + 1)}, {"n": np.array(size, np.int64)})


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize(
    "rows", [[1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8], [[2, 3, 5, 4], [5, 6, 5, 6], [9, 9, 9, 9]], [5]]
)
@pytest.mark.parametrize("least, skips", [(1, 0), (1, 5), (2, 2)])
def test_counted_n_grams(make_model: MakeModel, mode: str, rows: Any, least: int, skips: int) -> None:
    node = helper.make_node(
        "TfIdfVectorizer", ["x"], ["y"], mode=mode, min_gram_length=least, max_gram_length=2, max_skip_count=skips, ngram_counts=[0, 4],
        ngram_indexes=[0, 2, 1, 3, 6, 4, 5], pool_int64s=[2, 3, 5, 4, 5, 6, 7, 8, 6, 7], weights=[0.5, 1.0, 2.0, 3.0, 0.25, 0.75, 5.0],
    )  # fmt: skip
    agrees(make_model, node, {"x": np.array(rows, np.int64)}, {})


@pytest.mark.parametrize(
    "attributes, parts",
    [({"pads": [1, 0, 1, 1]}, 1), ({"strides": [2, 1], "dilations": [1, 2]}, 2), ({"group": 2}, 4)],
)
@pytest.mark.parametrize("masked", [False, True])
def test_deformed_convolution(make_model: MakeModel, attributes: dict[str, Any], parts: int, masked: bool) -> None:
    groups = attributes.get("group", 1)
    x, w = a(2, 4, 6, 7), a(6, 4 // groups, 3, 2)
    plain = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    module, _ = import_onnx(make_model([plain], {"x": x, "w": w}, infer=False))
    height, width = interpret(module, {"x": x, "w": w})["y"].shape[2:]
    data = {
        "x": x,
        "w": w,
        "o": a(2, parts * 12, height, width),
        "b": a(6),
        "m": np.abs(a(2, parts * 6, height, width)),
    }
    names = list(data) if masked else ["x", "w", "o"]
    node = helper.make_node("DeformConv", names, ["y"], offset_group=parts, **attributes)
    agrees(make_model, node, {name: data[name] for name in names}, {}, reference=True)


def test_statistics_of_the_batch(make_model: MakeModel) -> None:
    data = {"x": a(4, 3, 5, 2), **{name: np.abs(a(3)) + 1 for name in "sbmv"}}
    node = helper.make_node("BatchNormalization", list(data), ["y", "n", "w"], training_mode=1, momentum=0.7)
    agrees(make_model, node, data, {}, opset=15, reference=True)


def test_what_does_not_fit(make_model: MakeModel) -> None:
    x, w = a(1, 2, 4, 4), a(2, 2, 2, 2)
    for node, data, message in (
        (helper.make_node("DeformConv", ["x", "w", "o"], ["y"]), {"x": x, "w": w, "o": a(1, 8, 2, 2)}, "they must be [1, 8, 3, 3]"),
        (helper.make_node("AffineGrid", ["x", "n"], ["y"]), {"x": a(2, 2, 3), "n": np.array([1, 1, 2, 2])}, "must be a constant"),
        (helper.make_node("STFT", ["x", "n"], ["y"]), {"x": a(1, 9, 1), "n": np.array(2)}, "neither window nor frame_length"),
    ):  # fmt: skip
        with pytest.raises(ModelError) as caught:
            import_onnx(make_model([node], data, infer=False))
        assert message in caught.value.reasons[0]
