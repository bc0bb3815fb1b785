"""Operators on whole tensors against NumPy: products, windows, norms, choices, resizes, in both layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef, run_operator

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.runtime.errors import ModelError

RNG = np.random.default_rng(21)


def _normal(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def _close(got: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    assert got.shape == np.shape(wanted)
    assert np.allclose(np.asarray(got, np.float64), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op", ["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"])
@pytest.mark.parametrize(
    ("left", "right"), [((2, 3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 1)), ((3, 4), (4, 5)), ((2, 0, 4), (2, 4, 3))]
)
def test_batches_of_products(op: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    a, b = _normal(*left), _normal(*right)
    _close(run_operator(op, [a, b], fed=2), a @ b)
    turned = [np.swapaxes(value, -1, -2) for value in (a, b)]
    _close(run_operator(op, turned, fed=2, adj_x=True, adj_y=True), a @ b)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_extremes(axis: int, dtype: str) -> None:
    """The first of equals; positions are int64 unless the node says otherwise."""
    x = RNG.integers(0, 4, (3, 5, 4)).astype(dtype)
    for op, wanted in (("ArgMax", x.argmax(axis)), ("ArgMin", x.argmin(axis))):
        got = run_operator(op, [x, np.int32(axis)])
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got, wanted)
        assert run_operator(op, [x, np.int32(axis)], output_type=np.dtype(np.int32)).dtype == np.int32
    np.testing.assert_array_equal(
        run_operator("Min", [x, np.array([axis], np.int32)], keep_dims=True), x.min(axis, keepdims=True)
    )


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool"])
def test_choices_and_repetitions(dtype: str) -> None:
    x, y = RNG.integers(0, 2, (3, 1)).astype(dtype), RNG.integers(0, 2, (1, 4)).astype(dtype)
    condition = np.array([True, False, True, False])
    np.testing.assert_array_equal(run_operator("SelectV2", [condition, x, y], fed=3), np.where(condition, x, y))
    np.testing.assert_array_equal(run_operator("BroadcastTo", [x, np.array([2, 3, 5])]), np.broadcast_to(x, (2, 3, 5)))
    np.testing.assert_array_equal(run_operator("EnsureShape", [x]), x)
    for output, wanted in enumerate(np.split(np.repeat(y, 2, 1), [3, 3], 1)):
        sizes = [np.repeat(y, 2, 1), np.array([3, 0, -1], np.int32), np.int32(1)]
        np.testing.assert_array_equal(run_operator("SplitV", sizes, output=output, num_split=3), wanted)
    np.testing.assert_array_equal(
        run_operator("Pad", [x, np.array([[1, 0], [0, 2]], np.int32)]), np.pad(x, ((1, 0), (0, 2)))
    )
    if dtype != "bool":
        low, high = np.asarray(0.5 if dtype.startswith("f") else 1).astype(dtype), np.asarray(1).astype(dtype)
        np.testing.assert_array_equal(run_operator("ClipByValue", [x, low, high]), np.clip(x, low, high))
        np.testing.assert_array_equal(run_operator("TopK", [y, np.int32(3)][:1], k=3), -np.sort(-y, 1)[:, :3])


def test_shapes_of_several() -> None:
    x, y = _normal(2, 3), _normal(4)
    assert run_operator("ShapeN", [x, y], fed=2).tolist() == [2, 3]
    assert run_operator("ShapeN", [x, y], fed=2, output=1).tolist() == [4]


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_one_hot(axis: int) -> None:
    """A class outside of the depth is off everywhere."""
    classes = np.array([[0, 2, 5], [-1, 1, 0]], np.int32)
    on, off = np.float32(3), np.float32(-1)
    wanted = np.where(
        np.expand_dims(classes, axis) == np.arange(4).reshape([-1 if d == axis % 3 else 1 for d in range(3)]), on, off
    )
    np.testing.assert_array_equal(run_operator("OneHot", [classes, np.int32(4), on, off], axis=axis), wanted)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("op", ["FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"])
def test_batch_norm(op: str, first: bool) -> None:
    x, scale, offset, mean, variance = _normal(2, 3, 4, 5), _normal(5), _normal(5), _normal(5), _normal(5) ** 2
    wanted = (x - mean) / np.sqrt(variance + 1e-3) * scale + offset
    given = x.transpose(0, 3, 1, 2) if first else x
    layout = "NCHW" if first else "NHWC"
    got = run_operator(op, [given, scale, offset, mean, variance], is_training=False, epsilon=1e-3, data_format=layout)
    _close(got, wanted.transpose(0, 3, 1, 2) if first else wanted)
    with pytest.raises(ModelError, match="freeze the graph for inference"):
        run_operator(op, [given, scale, offset, mean, variance])


def test_local_response() -> None:
    x = _normal(2, 3, 3, 7)
    squares = np.pad(x.astype(np.float64) ** 2, ((0, 0), (0, 0), (0, 0), (2, 2)))
    sums = sum(squares[..., k : k + 7] for k in range(5))
    got = run_operator("LRN", [x], depth_radius=2, bias=1.5, alpha=0.3, beta=0.6)
    _close(got, x / (1.5 + 0.3 * sums) ** 0.6)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_windows_of_volumes(padding: str, first: bool) -> None:
    """A 3-D convolution and a maximum over windows, stride 2, by sums over the taps."""
    x, filter = _normal(1, 4, 5, 4, 2), _normal(2, 3, 2, 2, 3)
    kernel, extents = (2, 3, 2), (4, 5, 4)
    totals = [
        max(0, (-(-e // 2) - 1) * 2 + k - e) if padding == "SAME" else 0 for e, k in zip(extents, kernel, strict=True)
    ]
    pads = [(0, 0), *((t // 2, t - t // 2) for t in totals), (0, 0)]
    counts = [(e + t - k) // 2 + 1 for e, t, k in zip(extents, totals, kernel, strict=True)]
    product, most = np.zeros((1, *counts, 3)), np.full((1, *counts, 2), -np.inf)
    padded, lowest = np.pad(x, pads), np.pad(x, pads, constant_values=-np.inf)
    for i, j, k in np.ndindex(*kernel):
        cut = (slice(None), *(slice(at, at + 2 * n - 1, 2) for at, n in zip((i, j, k), counts, strict=True)))
        product += padded[cut] @ filter[i, j, k]
        most = np.maximum(most, lowest[cut])
    order = [0, 4, 1, 2, 3]
    given = x.transpose(order) if first else x
    strides = [1, 1, 2, 2, 2] if first else [1, 2, 2, 2, 1]
    window = [1, 1, *kernel] if first else [1, *kernel, 1]
    common: dict[str, Any] = {"strides": strides, "padding": padding, "data_format": "NCDHW" if first else "NDHWC"}
    _close(run_operator("Conv3D", [given, filter], **common), product.transpose(order) if first else product)
    _close(run_operator("MaxPool3D", [given], ksize=window, **common), most.transpose(order) if first else most)


@pytest.mark.parametrize("first", [False, True])
def test_depth_to_space(first: bool) -> None:
    x = _normal(2, 3, 4, 12)
    wanted = x.reshape(2, 3, 4, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 8, 3)
    given = x.transpose(0, 3, 1, 2) if first else x
    got = run_operator("DepthToSpace", [given], block_size=2, data_format="NCHW" if first else "NHWC")
    np.testing.assert_array_equal(got, wanted.transpose(0, 3, 1, 2) if first else wanted)


def _positions(before: int, after: int, corners: bool, centres: bool) -> Any:
    scale = (before - 1) / (after - 1) if corners and after > 1 else before / after
    places = np.arange(after)
    return (places + 0.5) * scale - 0.5 if centres else places * scale


def _line(before: int, after: int, corners: bool, centres: bool) -> Any:
    """[after, before] weights of a linear interpolation."""
    at = np.clip(_positions(before, after, corners, centres), 0, before - 1)
    low = np.floor(at).astype(int)
    weights = np.zeros((after, before))
    weights[np.arange(after), low] += 1 - (at - low)
    weights[np.arange(after), np.minimum(low + 1, before - 1)] += at - low
    return weights


@pytest.mark.parametrize(("corners", "centres"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("size", [(7, 9), (2, 3), (1, 1), (4, 5)])
def test_resizes(size: tuple[int, int], corners: bool, centres: bool) -> None:
    x = _normal(2, 4, 5, 3)
    flags = {"align_corners": corners, "half_pixel_centers": centres}
    rows, columns = _line(4, size[0], corners, centres), _line(5, size[1], corners, centres)
    wanted = np.einsum("ah,nhwc,bw->nabc", rows, x, columns)
    _close(run_operator("ResizeBilinear", [x, np.array(size, np.int32)], **flags), wanted)
    places = []
    for before, after in ((4, size[0]), (5, size[1])):
        at = _positions(before, after, corners, centres) + (0.5 if centres else 0)
        places.append(np.clip(np.floor(at + 0.5) if corners else np.floor(at), 0, before - 1).astype(int))
    got = run_operator("ResizeNearestNeighbor", [x, np.array(size, np.int32)], **flags)
    np.testing.assert_array_equal(got, x[:, places[0]][:, :, places[1]])


def test_random_numbers_hang_on_their_seeds() -> None:
    made = GraphDef()
    made.const("shape", np.array([64, 3], np.int32))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made.node(name, "RandomUniform", "shape", dtype=np.dtype(np.float32), seed=seed, seed2=5)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["a", "b", "c"])
    results = stepwell.interpret(module, {}, weights=weights)
    np.testing.assert_array_equal(results["a"], results["b"])
    assert (results["a"] != results["c"]).any()
    assert 0 <= results["a"].min() < results["a"].max() < 1


def test_stitches_and_counts_by_another_name() -> None:
    index, rows = np.array([2, 0, 1], np.int32), _normal(3, 2)
    np.testing.assert_array_equal(run_operator("ParallelDynamicStitch", [index, rows], fed=0), rows[[1, 2, 0]])
    x = np.array([3, 3, 1], np.int32)
    assert run_operator("UniqueWithCountsV2", [x, np.array([0])], output=2).tolist() == [2, 1]


@pytest.mark.parametrize("shape", [(2,), (3, 4), (0, 8), (2, 8)])
@pytest.mark.parametrize(
    "pair",
    [
        ("float32", "uint8"),
        ("int64", "float32"),
        ("float64", "int16"),
        ("uint8", "int32"),
        ("float16", "uint64"),
        ("int32", "float64"),
    ],
)
def test_bits_of_another_width(pair: tuple[str, str], shape: tuple[int, ...]) -> None:
    """Narrower elements are one dim more, wider ones one less, as NumPy's views are."""
    before, after = (np.dtype(name) for name in pair)
    ratio = after.itemsize // before.itemsize
    x = RNG.integers(0, 256, (*shape[:-1], *([shape[-1], ratio] if ratio else [shape[-1]]), before.itemsize)).astype(
        np.uint8
    )
    given = np.ascontiguousarray(x).view(before)[..., 0]
    wanted = np.ascontiguousarray(given[..., None]).view(after) if not ratio else given.view(after)[..., 0]
    got = run_operator("Bitcast", [given], type=after)
    assert got.shape == wanted.shape
    assert got.tobytes() == np.ascontiguousarray(wanted).tobytes()
    if ratio:
        with pytest.raises(ModelError, match=f"the last extent must be {ratio}"):
            run_operator("Bitcast", [given[..., :1]], type=after)


def test_ragged_ranges() -> None:
    starts, limits, deltas = (
        np.array([0, 5, 8], np.int32),
        np.array([3, 5, 3], np.int32),
        np.array([1, 1, -2], np.int32),
    )
    assert run_operator("RaggedRange", [starts, limits, deltas], fed=0).tolist() == [0, 3, 3, 6]
    assert run_operator("RaggedRange", [starts, limits, deltas], fed=0, output=1).tolist() == [0, 1, 2, 8, 6, 4]
    with pytest.raises(ModelError, match="a delta is 0"):
        run_operator("RaggedRange", [starts, limits, deltas * 0], fed=0)
