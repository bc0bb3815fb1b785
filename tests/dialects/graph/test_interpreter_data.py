"""Ops that move, index, reduce, order and quantise data, against plain loops and published values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import bf16, f16, f32, f64, i1, i32
from xdsl.ir import Operation
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.graph.interpreter_transform import philox
from stepwell.dialects.numpy_types import INTEGERS, Array, f8E4M3FN, numpy_dtype, tensor_type_of, ui8

NAN, INF = np.nan, np.inf


def run(op: type[Operation], *arrays: Array, **arguments: Any) -> tuple[Array, ...]:
    made = op(*(create_ssa_value(tensor_type_of(array)) for array in arrays), **arguments)
    made.verify()
    results = run_graph_op(made, arrays)
    for array, result in zip(results, made.results, strict=True):
        assert array.dtype == numpy_dtype(result.type)
    return results


def whole(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def test_constants_hold_every_type() -> None:
    for value in (
        np.array([NAN, -INF, -0.0, 1e-45], np.float32),
        np.array([2**64 - 1], np.uint64),
        np.zeros((2, 0), np.int8),
    ):
        op = graph.ConstantOp(value)
        np.testing.assert_array_equal(op.array, value)
        np.testing.assert_array_equal(np.signbit(op.array), np.signbit(value))
        np.testing.assert_array_equal(run_graph_op(op, [])[0], value)
    assert graph.ConstantOp(np.zeros((1000, 1000), np.float32)).values.data == ("0.0",), "a splat is one number"
    assert graph.ConstantOp(0.5, bf16).array.dtype == numpy_dtype(bf16)


def test_slices_reverses_joins_and_pads() -> None:
    x = whole(4, 7)
    np.testing.assert_array_equal(
        run(graph.SliceOp, x, begins=[1, 0], extents=[2, 3], strides=[2, 3])[0], x[1:4:2, 0:7:3]
    )
    assert run(graph.SliceOp, x, begins=[4, 7], extents=[0, 0])[0].shape == (0, 0)
    np.testing.assert_array_equal(run(graph.ReverseOp, x, dims=[0, 1])[0], x[::-1, ::-1])
    op = graph.ConcatOp([create_ssa_value(tensor_type_of(x))] * 2, dim=1)
    np.testing.assert_array_equal(run_graph_op(op, [x, x])[0], np.hstack([x, x]))
    padded = run(graph.PadOp, x, np.array(9, np.float32), low=[1, 0], high=[0, 2])[0]
    np.testing.assert_array_equal(padded, np.pad(x, [(1, 0), (0, 2)], constant_values=9))
    np.testing.assert_array_equal(run_graph_op(graph.IotaOp(f16, [2, 3], dim=1), [])[0], [[0, 1, 2]] * 2)


@given(st.data())
def test_gather_and_scatter_are_loops_over_indices(data: st.DataObject) -> None:
    batch, more = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 4))
    dims = data.draw(st.sampled_from([[1], [2], [1, 2]] if batch else [[0], [2], [0, 1], [0, 1, 2]]))
    x = whole(2, 3, 4, dtype="int32")
    lead = (*x.shape[:batch], more)
    indices = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-2, 5, (*lead, len(dims)))
    others = [d for d in range(batch, 3) if d not in dims]
    shape = (*lead, *(x.shape[d] for d in others))
    updates = whole(*shape, seed=3, dtype="int32")
    gathered = np.zeros(shape, np.int32)
    scattered = {kind: x.copy() for kind in ("none", "add", "mul", "max", "min")}
    combine: dict[str, Callable[..., Any]] = {
        "none": lambda a, b: b,
        "add": np.add,
        "mul": np.multiply,
        "max": np.maximum,
        "min": np.minimum,
    }
    for at in itertools.product(*map(range, shape)):
        index = indices[at[: len(lead)]]
        place = [0, 0, 0]
        place[:batch] = at[:batch]
        for d, i in zip(others, at[len(lead) :], strict=True):
            place[d] = i
        for d, i in zip(dims, index, strict=True):
            place[d] = int(np.clip(i, 0, x.shape[d] - 1))
        gathered[at] = x[tuple(place)]
        if all(0 <= i < x.shape[d] for d, i in zip(dims, index, strict=True)):
            for kind, function in combine.items():
                scattered[kind][tuple(place)] = function(scattered[kind][tuple(place)], updates[at])
    np.testing.assert_array_equal(run(graph.GatherOp, x, indices, batch=batch, dims=dims)[0], gathered)
    for kind, expected in scattered.items():
        got = run(graph.ScatterOp, x, indices, updates, batch=batch, dims=dims, combine=kind)[0]
        np.testing.assert_array_equal(got, expected, err_msg=kind)


def test_scatter_of_half_sums_in_f32() -> None:
    x, indices = np.array([2048], np.float16), np.zeros((3, 1), np.int64)
    np.testing.assert_array_equal(
        run(graph.ScatterOp, x, indices, np.ones(3, np.float16), dims=[0], combine="add")[0], [2052]
    )


def test_reductions() -> None:
    x = whole(2, 3, 4)
    functions: dict[str, Callable[..., Any]] = {"sum": np.sum, "product": np.prod, "max": np.max, "min": np.min}
    for kind, function in functions.items():
        np.testing.assert_array_equal(run(graph.ReduceOp, x, kind=kind, dims=[0, 2])[0], function(x, axis=(0, 2)))
    logic = x > 0
    np.testing.assert_array_equal(run(graph.ReduceOp, logic, kind="and", dims=[1])[0], logic.all(axis=1))
    np.testing.assert_array_equal(run(graph.ReduceOp, logic, kind="or", dims=[1])[0], logic.any(axis=1))
    half = np.ones((1, 4096), np.float16)
    assert run(graph.ReduceOp, half, kind="sum", dims=[1])[0] == 4096
    assert run(graph.ReduceOp, np.full(3, 100, np.int8), kind="sum", dims=[0])[0] == 44, "integers wrap"
    assert np.isnan(run(graph.ReduceOp, np.array([1, NAN], np.float32), kind="max", dims=[0])[0])


@pytest.mark.parametrize("element", [f32, bf16, *INTEGERS], ids=str)
def test_the_empty_reduction_is_the_identity(element: Any) -> None:
    dtype = numpy_dtype(element)
    nothing = np.zeros((0, 2), dtype)
    low, high = (-INF, INF) if element in (f32, bf16) else (np.iinfo(dtype.name).min, np.iinfo(dtype.name).max)
    for kind, expected in {"sum": 0, "product": 1, "max": low, "min": high}.items():
        got = run(graph.ReduceOp, nothing, kind=kind, dims=[0])[0]
        assert list(got.tolist()) == [expected] * 2, kind


def test_positions_of_extremes() -> None:
    x = np.array([[1, 3, 3, 0], [NAN, 2, NAN, 5]], np.float32)
    assert run(graph.ArgReduceOp, x, kind="max", dim=1)[0].tolist() == [1, 0]
    assert run(graph.ArgReduceOp, x, kind="max", dim=1, last=True)[0].tolist() == [2, 2]
    assert run(graph.ArgReduceOp, x, kind="min", dim=1)[0].tolist() == [3, 0]


def test_scans() -> None:
    x = np.array([1, 2, 3, 4], np.int32)
    cases = {
        (False, False): [1, 3, 6, 10],
        (True, False): [0, 1, 3, 6],
        (False, True): [10, 9, 7, 4],
        (True, True): [9, 7, 4, 0],
    }
    for (exclusive, reverse), expected in cases.items():
        got = run(graph.CumulativeOp, x, kind="sum", dim=0, exclusive=exclusive, reverse=reverse)[0]
        assert got.tolist() == expected
    assert run(graph.CumulativeOp, x, kind="max", dim=0, exclusive=True)[0].tolist() == [-(2**31), 1, 2, 3]
    assert run(graph.CumulativeOp, x, kind="product", dim=0)[0].tolist() == [1, 2, 6, 24]


def test_top_k_is_stable_and_nan_is_largest() -> None:
    x = np.array([2, NAN, 3, 2, 3], np.float32)
    assert run(graph.TopKOp, x, dim=0, k=5)[1].tolist() == [1, 2, 4, 0, 3]
    assert run(graph.TopKOp, x, dim=0, k=5, largest=False)[1].tolist() == [0, 3, 2, 4, 1]
    assert run(graph.TopKOp, np.array([200, 3], np.uint8), dim=0, k=1)[0].tolist() == [200]


def test_normalisations_are_their_formulas() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    share = exact / exact.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(run(graph.SoftmaxOp, x, dims=[1, 2])[0], share, rtol=1e-6)
    np.testing.assert_allclose(run(graph.SoftmaxOp, x, dims=[1, 2], log=True)[0], np.log(share), rtol=1e-5, atol=1e-6)
    assert np.isnan(run(graph.SoftmaxOp, np.full((1, 2), -INF, np.float32), dims=[1])[0]).all()
    np.testing.assert_array_equal(run(graph.SoftmaxOp, np.array([1e30, 1e30], np.float32), dims=[0])[0], [0.5, 0.5])
    y, mean, inverse = run(graph.NormalizeOp, x, dims=[2], epsilon=0.1)
    deviation = np.sqrt(x.var(axis=2, dtype=np.float64) + 0.1)
    np.testing.assert_allclose(mean, x.mean(axis=2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(inverse, 1 / deviation, rtol=1e-6)
    np.testing.assert_allclose(y, (x - x.mean(axis=2, keepdims=True)) / deviation[..., None], rtol=1e-4, atol=1e-6)
    root = run(graph.NormalizeOp, x, dims=[2], epsilon=0.1, center=False)[0]
    np.testing.assert_allclose(root, x / np.sqrt((x**2).mean(axis=2, keepdims=True) + 0.1), rtol=1e-5)
    scale, bias, mu, variance = np.abs(np.random.default_rng(1).standard_normal((4, 3))).astype(np.float32)
    expected = (x - mu[:, None]) / np.sqrt(variance[:, None] + 0.5) * scale[:, None] + bias[:, None]
    np.testing.assert_allclose(
        run(graph.BatchNormOp, x, scale, bias, mu, variance, dim=1, epsilon=0.5)[0], expected, rtol=1e-5, atol=1e-6
    )
    wide = np.random.default_rng(2).standard_normal((1, 5, 2)).astype(np.float32)
    for size in (2, 3):
        sums = [np.square(wide[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1]).sum(axis=1) for c in range(5)]
        lrn = wide / (1.5 + 0.5 / size * np.stack(sums, axis=1)) ** 0.75
        np.testing.assert_allclose(run(graph.LrnOp, wide, size=size, alpha=0.5, k=1.5)[0], lrn, rtol=1e-5)


def test_quantisation() -> None:
    x = np.array([[-1000, -0.75, 0.25, 0.75], [1.25, 1000, NAN, 2]], np.float32)
    zero = np.array(3, np.int8)
    got = run(graph.QuantizeOp, x, np.array(0.5, np.float32), zero)[0]
    np.testing.assert_array_equal(got, [[-128, 1, 3, 5], [5, 127, 0, 7]])
    back = run(graph.DequantizeOp, got, np.array(0.5, np.float32), zero)[0]
    np.testing.assert_array_equal(back, (got.astype(np.float32) - 3) * 0.5)
    channels = run(graph.QuantizeOp, x[:, :2], np.array([1, 2], np.float32), np.zeros(2, np.uint8), dims=[1])[0]
    np.testing.assert_array_equal(channels, [[0, 0], [1, 255]])
    blocks = run(
        graph.DequantizeOp,
        np.array([[1, 2, 3]], np.int8),
        np.array([[1, 10]], np.float32),
        np.zeros((1, 2), np.int8),
        dims=[0, 1],
        block=[1, 2],
    )[0]
    np.testing.assert_array_equal(blocks, [[1, 2, 30]])
    narrow = run(
        graph.QuantizeOp,
        np.array([1e6, 0.3], np.float32),
        np.array(1, np.float32),
        np.zeros((), numpy_dtype(f8E4M3FN)),
        saturate=True,
    )[0]
    np.testing.assert_array_equal(narrow.astype(np.float32), [448, 0.3125])


@pytest.mark.parametrize(
    "counter, key, expected",
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_words(counter: list[int], key: list[int], expected: list[int]) -> None:
    """Known answers of Random123, kat_vectors, philox4x32 10."""
    words = philox([np.array(word, np.uint64) for word in counter], [np.uint64(word) for word in key])
    assert [int(word) for word in words] == expected


@pytest.mark.parametrize("element", [f16, bf16, f32, f64], ids=str)
def test_random_numbers_are_uniform(element: Any) -> None:
    key = np.array([7, 1], np.int64)
    (got,) = run(graph.RandomOp, key, element_type=element, shape=[100, 100])
    values = got.astype(np.float64)
    assert (
        values.min() >= 0
        and values.max() < 1
        and abs(values.mean() - 0.5) < 0.01
        and abs(values.var() - 1 / 12) < 0.003
    )
    other = run(graph.RandomOp, np.array([8, 1], np.int64), element_type=element, shape=[100, 100])[0]
    assert (got != other).mean() > 0.9


def test_transforms() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6, 2)).astype(np.float32)
    k = np.arange(6)
    matrix = np.exp(-2j * np.pi * np.outer(k, k) / 6)
    exact = np.einsum("kj,bj->bk", matrix, x[..., 0] + 1j * x[..., 1])
    (got,) = run(graph.DftOp, x, dim=1, length=6)
    np.testing.assert_allclose(got[..., 0] + 1j * got[..., 1], exact, atol=1e-5)
    np.testing.assert_allclose(run(graph.DftOp, got, dim=1, length=6, inverse=True)[0], x, atol=1e-5)
    half = run(graph.DftOp, x[..., :1], dim=1, length=6, onesided=True)[0]
    assert half.shape == (2, 4, 2)
    np.testing.assert_allclose(
        run(graph.DftOp, half, dim=1, length=6, inverse=True, onesided=True)[0], x[..., :1], atol=1e-5
    )
    m = whole(5, 3, 3)
    leibniz = m[:, 0, 0] * (m[:, 1, 1] * m[:, 2, 2] - m[:, 1, 2] * m[:, 2, 1]) - m[:, 0, 1] * (
        m[:, 1, 0] * m[:, 2, 2] - m[:, 1, 2] * m[:, 2, 0]
    )
    leibniz += m[:, 0, 2] * (m[:, 1, 0] * m[:, 2, 1] - m[:, 1, 1] * m[:, 2, 0])
    np.testing.assert_allclose(run(graph.DeterminantOp, m)[0], leibniz, atol=1e-4)


def test_arg_pool_finds_the_first_winner() -> None:
    x = np.array([[1, 5, 5, 0], [5, 2, NAN, NAN], [0, 0, 0, 9]], np.float32).reshape(1, 1, 3, 4)
    values, positions = run(graph.ArgPoolOp, x, kernel=[2, 2], strides=[1, 2], pads=[0, 0, 1, 0])
    np.testing.assert_array_equal(values[0, 0], [[5, NAN], [5, NAN], [0, 9]])
    np.testing.assert_array_equal(positions[0, 0], [[1, 6], [4, 6], [8, 11]])


def test_selects_of_any_type() -> None:
    chosen = np.array([True, False])
    for element in (i1, ui8, i32, f8E4M3FN):
        a, b = np.ones(2, numpy_dtype(element)), np.zeros(2, numpy_dtype(element))
        np.testing.assert_array_equal(run(graph.SelectOp, chosen, a, b)[0].astype(np.float32), [1, 0])
