"""The graph interpreter: contractions against plain loops, accumulation, special values, the float64 oracle, what it refuses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects import arith
from xdsl.dialects.builtin import ModuleOp, TensorType, f16, f32, i32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.evaluate import UnsupportedOp
from stepwell.dialects.graph.interpreter import interpret, run_graph_op
from stepwell.dialects.numpy_types import Array, tensor_type_of
from stepwell.dialects.weights import WeightStore
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ModelError, UsageError


def values(*arrays: Array) -> list[SSAValue]:
    return [create_ssa_value(tensor_type_of(array)) for array in arrays]


def run(op: Operation, *arrays: Array) -> Array:
    op.verify()
    (result,) = run_graph_op(op, arrays)
    assert tensor_type_of(result) == op.results[0].type
    return result


def whole(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


SMALL = st.integers(1, 3)


@given(st.data(), st.integers(1, 2), st.booleans(), st.integers(1, 2), st.sampled_from(["float32", "float16", "int32"]))
def test_conv_is_the_sum_over_taps(data: st.DataObject, rank: int, last: bool, groups: int, dtype: str) -> None:
    draw = lambda least=1, most=3: data.draw(st.integers(least, most))
    n, channels, outputs = draw(), draw() * groups, draw() * groups
    kernel, strides, dilations = ([draw() for _ in range(rank)] for _ in range(3))
    begins, ends = ([draw(0, 2) for _ in range(rank)] for _ in range(2))
    spatial = [max(draw(1, 6), (k - 1) * d + 1) for k, d in zip(kernel, dilations, strict=True)]
    x, f = whole(n, *spatial, channels, dtype=dtype), whole(outputs, *kernel, channels // groups, dtype=dtype, seed=1)
    if not last:
        x, f = np.moveaxis(x, -1, 1).copy(), np.moveaxis(f, -1, 1).copy()
    layout = "channels_last" if last else "channels_first"
    op = graph.ConvOp(
        *values(x, f), strides=strides, pads=[*begins, *ends], dilations=dilations, groups=groups, layout=layout
    )
    got = run(op, x, f)
    if not last:
        x, f, got = np.moveaxis(x, 1, -1), np.moveaxis(f, 1, -1), np.moveaxis(got, 1, -1)
    expected = np.zeros(got.shape)
    padded = np.pad(x.astype(np.float64), [(0, 0), *zip(begins, ends, strict=True), (0, 0)])
    each, made = channels // groups, outputs // groups
    for position in itertools.product(*map(range, got.shape[1:-1])):
        for tap, k in itertools.product(itertools.product(*map(range, kernel)), range(outputs)):
            at = [p * s + t * d for p, s, t, d in zip(position, strides, tap, dilations, strict=True)]
            read: tuple[Any, ...] = (slice(None), *at, slice(k // made * each, (k // made + 1) * each))
            write: tuple[Any, ...] = (slice(None), *position, k)
            expected[write] += padded[read] @ f[(k, *tap)].astype(np.float64)
    np.testing.assert_array_equal(got, expected.astype(dtype))


def test_half_products_are_added_in_f32_and_rounded_once() -> None:
    a = np.full((1, 4096), 1, np.float16)
    a[0, 0] = 2048
    b = np.ones((1, 4096), np.float16)
    left, right = values(a, b)
    assert run(graph.MatmulOp(left, right, transpose_b=True), a, b) == np.float16(6143)
    wide = graph.MatmulOp(left, right, transpose_b=True, element_type=f32)
    assert run(wide, a, b) == np.float32(6143)


@pytest.mark.parametrize(
    "dtype, size", [("int8", 120), ("int32", 9), ("int32", 2**30), ("int64", 2**40), ("uint8", 200)]
)
def test_products_of_integers_are_exact_and_wrap(dtype: str, size: int) -> None:
    generator = np.random.default_rng(0)
    low = 0 if dtype == "uint8" else -size
    a, b = (generator.integers(low, size, shape).astype(dtype) for shape in ((3, 50), (50, 4)))
    left, right = values(a, b)
    exact = a.astype(object) @ b.astype(object)
    bits = 8 * a.dtype.itemsize
    wrapped = [[(int(v) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for v in row] for row in exact]
    expected = np.array(wrapped, np.int64).astype(dtype)
    np.testing.assert_array_equal(run(graph.MatmulOp(left, right), a, b), expected)


def test_matmul_of_batches() -> None:
    a, b = whole(2, 3, 4), whole(5, 4, seed=1)
    left, right = values(a, b)
    np.testing.assert_array_equal(run(graph.MatmulOp(left, right, transpose_b=True), a, b), a @ b.T)


def pool(x: Array, kind: str, kernel: list[int], strides: list[int], pads: list[int], **more: Any) -> Array:
    (value,) = values(x)
    return run(
        graph.PoolOp(value, kind=kind, kernel=kernel, strides=strides, pads=pads, layout="channels_last", **more), x
    )


def test_max_pool_ignores_padding_and_keeps_nan() -> None:
    x = np.array([-3, -1, np.nan, -2, -5], np.float32).reshape(1, 5, 1)
    np.testing.assert_array_equal(pool(x, "max", [2], [2], [1, 0]).ravel(), [-3, np.nan, -2])
    whole_numbers = np.array([-3, -1, -7, -2, -5], np.int32).reshape(1, 5, 1)
    np.testing.assert_array_equal(pool(whole_numbers, "max", [2], [2], [1, 0]).ravel(), [-3, -1, -2])


def test_average_pool_divides_by_what_is_inside() -> None:
    x = np.array([2, 4, 6, 8, 10], np.float32).reshape(1, 5, 1)
    np.testing.assert_array_equal(pool(x, "average", [2], [2], [1, 0]).ravel(), [2, 5, 9])
    np.testing.assert_array_equal(pool(x, "average", [2], [2], [1, 0], count_include_pad=True).ravel(), [1, 5, 9])
    np.testing.assert_array_equal(pool(x, "average", [2], [2], [0, 0], ceil=True).ravel(), [3, 7, 10])
    np.testing.assert_array_equal(
        pool(x, "average", [2], [2], [0, 0], ceil=True, count_include_pad=True).ravel(), [3, 7, 10]
    )


def test_integers() -> None:
    x = np.array([-(2**31), -5, 0, 7], np.int32)
    (value,) = values(x)
    kinds = {kind: run(graph.UnaryOp(value, kind=kind), x) for kind in ("neg", "abs", "relu")}
    np.testing.assert_array_equal(kinds["neg"], [-(2**31), 5, 0, -7])
    np.testing.assert_array_equal(kinds["relu"], [0, 0, 0, 7])
    np.testing.assert_array_equal(
        run(graph.BinaryOp(value, value, kind="div"), x, np.array([2, 2, 1, -2], np.int32)), [-(2**30), -2, 0, -3]
    )


@pytest.mark.parametrize(
    "before, after, array, expected",
    [
        ("float32", f16, [65504.0, 65520.0, 2049.0], [65504.0, np.inf, 2048.0]),
        ("float32", i32, [2.7, -2.7], [2, -2]),
        ("bool", f32, [True, False], [1.0, 0.0]),
        ("bool", i32, [True, False], [1, 0]),
        ("int32", f16, [3, -4], [3.0, -4.0]),
    ],
)
def test_casts(before: str, after: Attribute, array: list[object], expected: list[object]) -> None:
    x = np.array(array, before)
    (value,) = values(x)
    np.testing.assert_array_equal(run(graph.CastOp(value, after), x), expected)


def module(text: str) -> ModuleOp:
    return parse_text(make_context(), text, SourceMap("test"))


FUSED = """
func.func @main(%x: tensor<2x3xf32> {stepwell.name = "image"}) -> (tensor<2x4xf32> {stepwell.name = "out"}, tensor<6xf32> {stepwell.name = "flat"}) {
  %w = graph.weight #graph.weight<"w", "HASH", tensor<3x4xf32>, [#graph.step<"transpose", [1, 0]>]> : tensor<4x3xf32>
  %y, %z = graph.fusion "f" (%a = %x : tensor<2x3xf32>, %b = %w : tensor<4x3xf32>) -> (tensor<2x4xf32>, tensor<2x3xf32>) {
    %m = graph.matmul %a, %b transpose_b : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32>
    %n = graph.unary neg %a : tensor<2x3xf32> -> tensor<2x3xf32>
    graph.yield %m, %n : tensor<2x4xf32>, tensor<2x3xf32>
  }
  %f = graph.reshape %z : tensor<2x3xf32> -> tensor<6xf32>
  func.return %y, %f : tensor<2x4xf32>, tensor<6xf32>
}
"""


def fused() -> tuple[ModuleOp, WeightStore, Array]:
    store = WeightStore()
    array = whole(3, 4)
    ref = store.add("w", array)
    return module(FUSED.replace("HASH", ref.sha256.data)), store, array


def test_modules_with_fusions_and_weights() -> None:
    parsed, store, w = fused()
    x = whole(2, 3, seed=2)
    got = interpret(parsed, {"image": x}, store)
    np.testing.assert_array_equal(got["out"], x @ w)
    np.testing.assert_array_equal(got["flat"], -x.ravel())
    oracle = interpret(parsed, {"image": x}, store, float64=True)
    assert {array.dtype for array in oracle.values()} == {np.dtype(np.float64)}


def test_the_oracle_keeps_what_half_precision_loses() -> None:
    text = """func.func @main(%x: tensor<1xf32>) -> tensor<1xf32> {
      %0 = graph.cast %x : tensor<1xf32> -> tensor<1xf16>
      %1 = graph.cast %0 : tensor<1xf16> -> tensor<1xf32>
      func.return %1 : tensor<1xf32>
    }"""
    x = np.array([0.1], np.float64)
    assert interpret(module(text), {"input0": x.astype(np.float32)})["output0"] == np.float32(np.float16(0.1))
    assert interpret(module(text), {"input0": x}, float64=True)["output0"] == 0.1


def test_a_hook_runs_ops_of_other_dialects() -> None:
    text = """func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
      %1 = arith.addf %x, %x : tensor<2xf32>
      func.return %1 : tensor<2xf32>
    }"""
    x = np.ones(2, np.float32)
    with pytest.raises(UnsupportedOp, match="arith.addf: the graph interpreter does not know this op"):
        interpret(module(text), {"input0": x})
    double = lambda op, v: (v[0] + v[1],) if isinstance(op, arith.AddfOp) else None
    np.testing.assert_array_equal(interpret(module(text), {"input0": x}, run_op=double)["output0"], [2, 2])


def test_wrong_inputs_are_named() -> None:
    parsed, store, _ = fused()
    x = whole(2, 3)
    with pytest.raises(UsageError, match="there is no input 'picture'\n  hint: the inputs are image"):
        interpret(parsed, {"picture": x}, store)
    with pytest.raises(UsageError, match="input 'image' is missing"):
        interpret(parsed, {}, store)
    with pytest.raises(UsageError, match=r"image: the array has shape \[3, 2\], the network takes \[2, 3\]"):
        interpret(parsed, {"image": x.T}, store)
    with pytest.raises(UsageError, match="image: the array holds int64, the network takes float32"):
        interpret(parsed, {"image": x.astype(np.int64)}, store)


def test_missing_weights_are_named() -> None:
    parsed, store, _ = fused()
    with pytest.raises(
        ModelError, match="w: the value of a weight is needed and none was given\n  hint: give the weights: --weights"
    ):
        interpret(parsed, {"image": whole(2, 3)})
    other = WeightStore({"w": whole(3, 4, seed=9)})
    with pytest.raises(ModelError, match="the weight's sha256 in the weight store is"):
        interpret(parsed, {"image": whole(2, 3)}, other)
    with pytest.raises(ModelError, match="the module has no function @main"):
        interpret(module("func.func @other() { func.return }"), {}, store)


def test_types_of_results_are_right_for_rank_zero() -> None:
    scalar = create_ssa_value(TensorType(f32, []))
    for op in (graph.TransposeOp(scalar, []), graph.UnaryOp(scalar, kind="relu"), graph.ReshapeOp(scalar, [])):
        assert run_graph_op(op, [np.asarray(np.float32(2))])[0].shape == ()
    one = graph.BroadcastOp(scalar, dims=[], shape=[2, 2])
    np.testing.assert_array_equal(run_graph_op(one, [np.asarray(np.float32(3))])[0], np.full((2, 2), 3))
