"""Every converter against ONNX's reference evaluator, on the operator's own attributes, broadcasting and opset variants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import SUPPORTED_OPS, import_onnx
from stepwell.testing.conformance.node_tests import node_tests, operators_of
from stepwell.testing.conformance.record import record_path
from stepwell.testing.conformance.suites import recorded

RECORDS = Path(__file__).resolve().parents[2] / "conformance"
RNG = np.random.default_rng(0)


def a(*shape: int, dtype: str = "float32") -> Array:
    """A random array, whole numbers for integer types."""
    return (
        RNG.standard_normal(shape).astype(dtype) if dtype.startswith("f") else RNG.integers(-5, 6, shape).astype(dtype)
    )


def positive(*shape: int) -> Array:
    return np.abs(a(*shape)) + np.float32(0.5)


def i(*values: int) -> Array:
    return np.array(values, np.int64)


Case = tuple[str, list[Array], list[Array], dict[str, Any], int]


def case(op: str, inputs: list[Array], weights: list[Array] | None = None, opset: int = 20, **attributes: Any) -> Case:
    return op, inputs, weights or [], attributes, opset


CASES: list[Case] = [
    *(case(op, [a(2, 3)]) for op in ("Abs", "Neg", "Relu", "Tanh", "Sigmoid", "Exp", "Erf", "Identity", "Dropout")),
    *(case(op, [positive(2, 3)]) for op in ("Log", "Sqrt")),
    *(case(op, [a(2, 3, dtype="int32")]) for op in ("Abs", "Neg", "Relu")),
    case("Gelu", [a(2, 3)]),
    case("Gelu", [a(2, 3)], approximate="tanh"),
    *(case(op, [a(2, 3, 4), a(3, 1)]) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")),
    case("Add", [a(2, 3, 4, 5)], [a(3, 1, 1)]),
    case("Add", [a(2, 3, 4, 5)], [a(1, 3, 1, 5)]),
    case("Add", [a(2, 3)], [np.asarray(np.float32(2))]),
    case("Mul", [a(1, 3), a(2, 1)]),
    case("Sub", [a(3), a(2, 3)]),
    case("Div", [a(2, 3, dtype="int32")], [np.array([2, -3, 4], np.int32)]),
    case("Max", [a(2, 3), a(3), a(2, 1)]),
    case("Sum", [a(2, 3)]),
    case("Conv", [a(2, 3, 7, 6)], [a(4, 3, 3, 3)]),
    case("Conv", [a(2, 3, 7, 6)], [a(4, 3, 3, 3), a(4)], pads=[1, 0, 2, 1], strides=[2, 1], kernel_shape=[3, 3]),
    case("Conv", [a(2, 4, 9, 9)], [a(6, 2, 3, 3)], group=2, dilations=[2, 3]),
    case("Conv", [a(2, 4, 9)], [a(4, 1, 3)], group=4),
    case("Conv", [a(1, 2, 5, 5, 5)], [a(3, 2, 2, 3, 1)]),
    *(
        case("Conv", [a(2, 3, 8, 7)], [a(4, 3, 3, 2)], auto_pad=mode, strides=[2, 3])
        for mode in ("SAME_UPPER", "VALID")
    ),
    case("Conv", [a(2, 3, 8, 7), a(4, 3, 3, 3)]),
    case("MaxPool", [a(2, 3, 8, 7)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    case("MaxPool", [a(2, 3, 8, 7)], kernel_shape=[3, 3], dilations=[2, 2]),
    case("MaxPool", [a(2, 3, 8, 7)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("MaxPool", [a(2, 3, 8, 7)], kernel_shape=[2, 3], auto_pad="SAME_UPPER"),
    case("AveragePool", [a(2, 3, 8, 7)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]),
    case("AveragePool", [a(2, 3, 8, 7)], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], count_include_pad=1),
    case("AveragePool", [a(2, 3, 8, 7)], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("GlobalAveragePool", [a(2, 3, 4, 5)]),
    case("GlobalMaxPool", [a(2, 3, 4, 5)]),
    case("MatMul", [a(2, 3)], [a(3, 4)]),
    case("MatMul", [a(2, 5, 3)], [a(3, 4)]),
    case("MatMul", [a(3)], [a(3, 4)]),
    case("MatMul", [a(2, 3)], [a(3)]),
    case("MatMul", [a(3), a(3)]),
    case("MatMul", [a(2, 3, dtype="int32")], [a(3, 4, dtype="int32")]),
    case("Gemm", [a(2, 3)], [a(3, 4), a(4)]),
    case("Gemm", [a(3, 2)], [a(4, 3), a(2, 1)], transA=1, transB=1, alpha=0.5, beta=2.0),
    case("Gemm", [a(2, 3)], [a(3, 4)]),
    case("Gemm", [a(2, 3)], [a(3, 4), a(4)], beta=0.0),
    case("Flatten", [a(2, 3, 4)]),
    *(case("Flatten", [a(2, 3, 4)], axis=axis) for axis in (0, 2, 3, -1)),
    case("Reshape", [a(2, 3, 4)], [i(0, -1)]),
    case("Reshape", [a(2, 3, 4)], [i(4, 6)]),
    case("Reshape", [a(2, 3)], [i(2, 3)], allowzero=1),
    case("Transpose", [a(2, 3, 4)]),
    case("Transpose", [a(2, 3, 4)], perm=[1, 0, 2]),
    case("Transpose", [a(2, 3, 4)], perm=[0, 1, 2]),
    case("Squeeze", [a(2, 1, 3, 1)]),
    case("Squeeze", [a(2, 1, 3, 1)], [i(-1)]),
    case("Squeeze", [a(2, 1, 3, 1)], opset=11, axes=[1]),
    case("Unsqueeze", [a(2, 3)], [i(0, -1)]),
    case("Unsqueeze", [a(2, 3)], opset=11, axes=[1, 3]),
    case("Cast", [a(2, 3)], to=TensorProto.FLOAT16),
    case("Cast", [a(2, 3)], to=TensorProto.INT32),
    case("Cast", [a(2, 3, dtype="int32")], to=TensorProto.FLOAT),
    case("Cast", [np.array([[0.0, 2.0]], np.float32)], to=TensorProto.BOOL),
    case("Expand", [a(3, 1)], [i(2, 1, 4)]),
    case("Tile", [a(2, 3)], [i(2, 3)]),
    case("Range", [], [np.array(n, np.int64) for n in (9, -2, -3)]),
    case("ConstantOfShape", [], [i(2, 3)]),
    *(case("Pad", [a(2, 3, 4)], [i(0, 1, 3, 0, 2, 2)], mode=mode) for mode in ("constant", "edge", "reflect", "wrap")),
    case("Not", [np.array([True, False])]),
]


MakeModel = Callable[..., onnx.ModelProto]


@pytest.mark.parametrize(
    "op, inputs, weights, attributes, opset", CASES, ids=[f"{n}-{c[0]}" for n, c in enumerate(CASES)]
)
def test_agrees_with_the_reference_evaluator(
    make_model: MakeModel, op: str, inputs: list[Array], weights: list[Array], attributes: dict[str, Any], opset: int
) -> None:
    feeds = {f"x{n}": array for n, array in enumerate(inputs)}
    stored = {f"w{n}": np.asarray(array) for n, array in enumerate(weights)}
    node = helper.make_node(op, [*feeds, *stored], ["y"], name="node", **attributes)
    model = make_model([node], feeds, weights=stored, opset=opset)
    results = ReferenceEvaluator(model).run(None, feeds)
    assert isinstance(results, list)
    expected = np.asarray(results[0])
    module, store = import_onnx(model)
    module.verify()
    got = interpret(module, feeds, store)["y"]
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_every_supported_operator_has_a_case() -> None:
    """Here, or among ONNX's node tests that the record says the graph interpreter agrees with."""
    cases = node_tests()
    outcomes = recorded(record_path(RECORDS, "nodes", "graph"), cases)
    right = {name for name, outcome in outcomes.items() if outcome.status == "right"}
    assert set(SUPPORTED_OPS) - {op for op, *_ in CASES} - operators_of(right) - BY_HAND == set()


BY_HAND = {
    *("Bernoulli", "Constant", "GlobalLpPool", "Loop", "MaxRoiPool", "MelWeightMatrix", "Multinomial", "Optional"),
    *(
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "ConcatFromSequence",
        "SplitToSequence",
    ),
    *(f"Sequence{what}" for what in ("At", "Construct", "Empty", "Erase", "Insert", "Length", "Map")),
}
"""Operators with tests of their own: below, and in test_control_flow.py, test_random.py, test_sequences.py, test_signals.py."""


@pytest.mark.parametrize("p", [1, 2, 3])
def test_the_norm_of_a_plane(make_model: MakeModel, p: int) -> None:
    x = a(2, 3, 4, 5)
    module, store = import_onnx(make_model([helper.make_node("GlobalLpPool", ["x"], ["y"], p=p)], {"x": x}))
    expected = np.linalg.norm(x.reshape(2, 3, -1), p, axis=2).reshape(2, 3, 1, 1)
    np.testing.assert_allclose(interpret(module, {"x": x}, store)["y"], expected, rtol=1e-5)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_of_pools_and_convolutions(make_model: MakeModel, mode: str) -> None:
    """Computed here by hand: ceil(in / stride) positions, the odd element of padding at the end (UPPER) or the beginning (LOWER)."""
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=mode, strides=[2])
    module, store = import_onnx(make_model([node], {"x": x}, weights={"w": np.array([[[1.0, 10.0]]], np.float32)}))
    got = interpret(module, {"x": x}, store)["y"].ravel()
    np.testing.assert_array_equal(got, [21, 43, 5] if mode == "SAME_UPPER" else [10, 32, 54])


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_same_padding_of_three(make_model: MakeModel, mode: str) -> None:
    """A total of 3 splits into 1 and 2; by hand."""
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad=mode)
    weight = np.array([[[1.0, 10.0, 100.0, 1000.0]]], np.float32)
    module, store = import_onnx(make_model([node], {"x": x}, weights={"w": weight}))
    got = interpret(module, {"x": x}, store)["y"].ravel()
    upper = [3210, 4321, 5432, 543, 54]
    np.testing.assert_array_equal(got, upper if mode == "SAME_UPPER" else [2100, *upper[:4]])


def test_same_padding_counts_the_dilation(make_model: MakeModel) -> None:
    """Taps 0, 2 and 4: a total of 4, so that the result is as long as the input; by hand."""
    x = np.arange(1, 6, dtype=np.float32).reshape(1, 1, 5)
    node = helper.make_node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", dilations=[2])
    weight = np.array([[[1.0, 10.0, 100.0]]], np.float32)
    module, store = import_onnx(make_model([node], {"x": x}, weights={"w": weight}))
    np.testing.assert_array_equal(interpret(module, {"x": x}, store)["y"].ravel(), [310, 420, 531, 42, 53])


def test_bodies_know_default_attributes(make_model: MakeModel) -> None:
    """An operator with a body in the specification and an attribute that is left out: GroupNormalization's epsilon."""
    x, scale = a(2, 4, 3), a(4)
    node = helper.make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)
    model = make_model([node], {"x": x}, weights={"s": scale, "b": scale}, opset=21, infer=False)
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape))
    results = ReferenceEvaluator(model).run(None, {"x": x})
    assert isinstance(results, list)
    expected = np.asarray(results[0])
    module, store = import_onnx(model)
    np.testing.assert_allclose(interpret(module, {"x": x}, store)["y"], expected, rtol=1e-5, atol=1e-5)
