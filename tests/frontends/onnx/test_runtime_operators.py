"""Operators of ONNX Runtime's own domain, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import stepwell
from stepwell.runtime.errors import ModelError

onnxruntime = pytest.importorskip("onnxruntime")


def quantised_sum(a: Any, b: Any, zeros: tuple[int, int, int]) -> onnx.ModelProto:
    """Scales whose sums are seldom ties; b and all parameters are stored."""
    kind = a.dtype.type
    stored = {"b": b} | {
        f"{name}{part}": value
        for name, scale, zero in zip("abc", (0.1, 0.0731, 0.193), zeros)
        for part, value in (("s", np.float32(scale)), ("z", kind(zero)))
    }
    node = helper.make_node(
        "QLinearAdd", ["a", "as", "az", "b", "bs", "bz", "cs", "cz"], ["y"], name="sum", domain="com.microsoft"
    )
    code = helper.np_dtype_to_tensor_dtype(a.dtype)
    x, y = helper.make_tensor_value_info("a", code, a.shape), helper.make_tensor_value_info("y", code, None)
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()]
    graph = helper.make_graph([node], "net", [x], [y], weights)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("dtype, zeros", [(np.uint8, (3, 128, 7)), (np.int8, (0, -5, 9))])
@pytest.mark.parametrize("shapes", [((4, 5), (5,)), ((4, 5), (4, 5)), ((), ()), ((2, 1, 3), (7, 1)), ((0, 3), (3,))])
def test_quantised_sums(
    dtype: type, zeros: tuple[int, int, int], shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    """Where a sum lies between two integers to the last bit, its neighbour is as good."""
    random, limits = np.random.default_rng(0), np.iinfo(dtype)
    arrays: list[Any] = [
        np.asarray(random.integers(limits.min, limits.max + 1, shape)).astype(dtype) for shape in shapes
    ]
    a, b = arrays
    model = quantised_sum(a, b, zeros)
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"a": a})
    found = stepwell.interpret(stepwell.import_model(model), {"a": a})["y"]
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted.astype(int)).max(initial=0) <= 1
    assert (found != wanted).sum() <= 0.05 * wanted.size


def test_others_are_refused() -> None:
    model = quantised_sum(np.zeros(3, np.uint8), np.zeros(3, np.uint8), (0, 0, 0))
    model.graph.node[0].op_type = "QLinearFancy"
    with pytest.raises(ModelError, match="operators of domain 'com.microsoft' are not supported"):
        stepwell.import_model(model)
