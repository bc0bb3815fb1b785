"""Operators whose number of results depends on data, against NumPy; what follows them; the same on constants, whose count is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef, run_operator

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.runtime.errors import ModelError

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("fed", [0, 1])
@pytest.mark.parametrize("dtype", ["bool", "float32", "float64", "float16", "int8", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (17,), (3, 5), (2, 0, 3), (2, 3, 4)])
def test_where(shape: tuple[int, ...], dtype: str, fed: int) -> None:
    x = RNG.integers(0, 2, shape).astype(dtype)
    if dtype.startswith("float") and x.size > 1:
        x.reshape(-1)[:2] = np.nan, -0.0
    got = run_operator("Where", [x], fed=fed)
    assert got.dtype == np.int64
    np.testing.assert_array_equal(got, np.argwhere(x))


@pytest.mark.parametrize("fed", [0, 1])
@pytest.mark.parametrize("op", ["Unique", "UniqueWithCounts"])
def test_unique(op: str, fed: int) -> None:
    """In the order of first appearance; the inverse and the counts have the type that out_idx says."""
    x = np.array([4, 1, 4, 7, 1, 4], np.int32)
    wanted = ([4, 1, 7], [0, 1, 0, 2, 1, 0], [3, 2, 1])
    for output in range(3 if op == "UniqueWithCounts" else 2):
        got = run_operator(op, [x], output=output, fed=fed, out_idx=np.dtype(np.int64))
        assert got.dtype == (np.int64 if output else np.int32)
        np.testing.assert_array_equal(got, wanted[output])


def test_unique_slices() -> None:
    x = np.array([[1, 2, 1], [3, 4, 3]], np.float32)
    np.testing.assert_array_equal(run_operator("UniqueV2", [x, np.array([1])]), [[1, 2], [3, 4]])


@pytest.mark.parametrize("fed", [0, 1, 2])
def test_list_diff(fed: int) -> None:
    x, y = np.array([5, 3, 5, 1, 0], np.int32), np.array([3, 1, 9], np.int32)
    np.testing.assert_array_equal(run_operator("ListDiff", [x, y], fed=fed), [5, 5, 0])
    np.testing.assert_array_equal(run_operator("ListDiff", [x, y], output=1, fed=fed), [0, 2, 4])
    np.testing.assert_array_equal(run_operator("ListDiff", [x, np.zeros(0, np.int32)], fed=fed), x)


def test_partitions() -> None:
    """A number outside of them drops its row."""
    x, numbers = RNG.standard_normal((2, 3, 4)).astype(np.float32), np.array([[0, 2, 1], [2, 7, 2]], np.int32)
    for part in range(3):
        got = run_operator("DynamicPartition", [x, numbers], output=part, fed=2, num_partitions=3)
        np.testing.assert_array_equal(got, x[numbers == part])


def test_partitions_stitched_together() -> None:
    """Positives doubled, the others negated, by positions that a partition of 0 .. n-1 gives."""
    x = RNG.standard_normal((9, 2)).astype(np.float32)
    numbers = (x[:, 0] > 0).astype(np.int32)
    made = GraphDef()
    made.placeholder("x", [9, 2])
    made.placeholder("numbers", [9], "int32")
    made.const("rows", np.arange(9, dtype=np.int32))
    made.node("parts", "DynamicPartition", "x", "numbers", num_partitions=2)
    made.node("places", "DynamicPartition", "rows", "numbers", num_partitions=2)
    made.node("left", "Neg", "parts")
    made.node("right", "Add", "parts:1", "parts:1")
    made.node("y", "DynamicStitch", "places", "places:1", "left", "right")
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["y"])
    got = stepwell.interpret(module, {"x": x, "numbers": numbers}, weights=weights)["y"]
    np.testing.assert_array_equal(got, np.where(numbers[:, None], 2 * x, -x))


def test_stitches_by_constants_and_by_inputs() -> None:
    """The later of two rows for one index stays; an index that data decides needs a bound."""
    first, second = np.array([0, 2], np.int32), np.array([[1, 2]], np.int32)
    rows, more = np.array([[1.0], [2.0]], np.float32), np.array([[[3.0], [4.0]]], np.float32)
    wanted = [[1], [3], [4]]
    np.testing.assert_array_equal(run_operator("DynamicStitch", [first, second, rows, more], fed=0), wanted)
    with pytest.raises(ModelError, match="the largest index is computed from the network's inputs"):
        run_operator("DynamicStitch", [first, second, rows, more])


BOXES = np.array(
    [[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, -0.1, 1, 0.9], [0, 10, 1, 11], [1, 11.1, 0, 10.1], [0, 100, 1, 101]]
)
SCORES = np.array([0.9, 0.75, 0.6, 0.95, 0.5, 0.3])


def _limits(version: str, most: int, score: float, dtype: type) -> list[Any]:
    given: list[Any] = [np.int32(most)]
    if version:
        given.append(dtype(0.5))
    if version in ("V3", "V4", "V5"):
        given.append(dtype(score))
    return [*given, dtype(0)] if version == "V5" else given


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("version", ["", "V2", "V3", "V4", "V5"])
def test_non_max_suppression(version: str, dtype: type) -> None:
    """The example of TensorFlow's documentation of the operator's tests: three far boxes, each with near ones."""
    inputs = [BOXES.astype(dtype), SCORES.astype(dtype), *_limits(version, 3, -np.inf, dtype)]
    attributes: dict[str, Any] = {"iou_threshold": 0.5} if not version else {}
    got = run_operator(f"NonMaxSuppression{version}", inputs, fed=2, **attributes)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, [3, 0, 5])
    if version in ("V4", "V5"):
        padded = [BOXES.astype(dtype), SCORES.astype(dtype), *_limits(version, 8, 0.4, dtype)]
        run: dict[str, Any] = {"fed": 2, "pad_to_max_output_size": True}
        np.testing.assert_array_equal(
            run_operator(f"NonMaxSuppression{version}", padded, **run), [3, 0, 0, 0, 0, 0, 0, 0]
        )
        assert run_operator(f"NonMaxSuppression{version}", padded, output=2 if version == "V5" else 1, **run) == 2
    if version == "V5":
        scores = run_operator("NonMaxSuppressionV5", padded, output=1, **run)
        np.testing.assert_array_equal(scores, np.array([0.95, 0.9, 0, 0, 0, 0, 0, 0], dtype))


def test_what_follows_a_counted_extent() -> None:
    """A mask's rows scaled, joined with others, their number and sum; extents that must be known are refused by name."""
    x, mask = RNG.standard_normal((7, 3)).astype(np.float32), np.array([1, 0, 1, 1, 0, 0, 1], bool)
    made = GraphDef()
    made.placeholder("x", [7, 3])
    made.placeholder("mask", [7], "bool")
    made.node("where", "Where", "mask")
    made.node("rows", "Squeeze", "where", squeeze_dims=[1])
    made.const("axis", np.int32(0))
    made.node("kept", "GatherV2", "x", "rows", "axis")
    made.const("two", np.float32(2))
    made.node("scaled", "Mul", "kept", "two")
    made.node("joined", "ConcatV2", "scaled", "x", "axis")
    made.node("shape", "Shape", "joined")
    made.node("count", "Size", "kept")
    made.node("sum", "Sum", "kept", "axis")
    made.node("pieces", "Split", "axis", "kept", num_split=2)
    outputs = ["joined", "shape", "count", "sum"]
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=outputs)
    for given in (mask, ~mask, np.zeros(7, bool), np.ones(7, bool)):
        results = stepwell.interpret(module, {"x": x, "mask": given}, weights=weights)
        np.testing.assert_array_equal(results["joined"], np.concatenate([2 * x[given], x]))
        np.testing.assert_array_equal(results["shape"], [7 + given.sum(), 3])
        assert results["count"] == 3 * given.sum()
        assert np.allclose(results["sum"].astype(np.float32), x[given].sum(0), atol=1e-5)
    with pytest.raises(ModelError, match=r"node 'pieces' \(Split\): .* is a symbol"):
        import_tensorflow(made.proto.SerializeToString(), outputs=["pieces"])
