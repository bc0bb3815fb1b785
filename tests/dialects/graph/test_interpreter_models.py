"""Interpolation, recurrences and attention against plain loops; counted extents, control flow, plugins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import FloatAttr, TensorType, f32, f64, i1, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.test_value import create_ssa_value

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import shape_of
from stepwell.dialects.graph.interpreter import interpret, run_graph_op
from stepwell.dialects.graph.plugins import register_plugin
from stepwell.dialects.numpy_types import Array, numpy_dtype, tensor_type_of
from stepwell.runtime.errors import ModelError
from stepwell.testing.strategies.network import close_network

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def run(op: type[Operation], *arrays: Array | None, **arguments: Any) -> tuple[Array, ...]:
    values = [None if array is None else create_ssa_value(tensor_type_of(array)) for array in arrays]
    made = op(*values, **arguments)
    made.verify()
    results = run_graph_op(made, [array for array in arrays if array is not None])
    for array, result in zip(results, made.results, strict=True):
        assert array.dtype == numpy_dtype(result.type)
    return results


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("rank, groups", [(1, 1), (2, 2), (3, 1)])
def test_the_transposed_convolution_is_the_adjoint(rank: int, groups: int, layout: str) -> None:
    plane, kernel, strides, dilations = [5, 6, 4][:rank], [3, 2, 2][:rank], [2, 3, 1][:rank], [1, 2, 1][:rank]
    pads = [*[1, 0, 1][:rank], *[0, 1, 0][:rank]]
    last = layout == "channels_last"
    place = lambda *shape: np.moveaxis(normal(*shape), 1, -1).copy() if last else normal(*shape)
    x, f = place(2, 2 * groups, *plane), place(3 * groups, 2, *kernel)
    window = {"strides": strides, "pads": pads, "dilations": dilations, "groups": groups, "layout": layout}
    (forward,) = run(graph.ConvOp, x, f, **window)
    y = normal(*forward.shape)
    (back,) = run(graph.ConvTransposeOp, y, f, extents=plane, **window)
    assert back.shape == x.shape
    np.testing.assert_allclose((forward * y).sum(dtype=np.float64), (x * back).sum(dtype=np.float64), rtol=1e-4)


def test_resize() -> None:
    x = np.array([[1, 2], [3, 4]], np.float32).reshape(1, 1, 2, 2)
    size: dict[str, Any] = {"extents": [4, 4], "scales": [2.0, 2.0]}
    linear = run(graph.ResizeOp, x, mode="linear", **size)[0][0, 0]
    weights = np.array([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(linear, weights @ x[0, 0] @ weights.T, rtol=1e-6)
    corners = run(graph.ResizeOp, x, mode="linear", coordinates="align_corners", **size)[0][0, 0]
    np.testing.assert_allclose(corners[0], np.linspace(1, 2, 4), rtol=1e-6)
    nearest = run(
        graph.ResizeOp, x.astype(np.int32), mode="nearest", coordinates="asymmetric", rounding="floor", **size
    )[0]
    np.testing.assert_array_equal(nearest[0, 0], np.kron(x[0, 0], np.ones((2, 2))))
    row = np.arange(8, dtype=np.float32).reshape(1, 1, 8)
    halved = run(graph.ResizeOp, row, mode="linear", extents=[4], scales=[0.5], antialias=True)[0]
    kernel = np.array([1, 3, 3, 1]) / 8
    np.testing.assert_allclose(halved[0, 0, 1:3], [kernel @ row[0, 0, 1:5], kernel @ row[0, 0, 3:7]], rtol=1e-6)
    for coordinates in graph.Coordinates:
        same = run(graph.ResizeOp, row, mode="cubic", extents=[8], scales=[1.0], coordinates=coordinates.value)[0]
        if coordinates != "tf_half_pixel_for_nn":
            np.testing.assert_allclose(same, row, atol=1e-6)


def test_sampling_the_centres_gives_the_elements() -> None:
    x = normal(1, 2, 3, 4)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4), indexing="ij")
    grid = np.stack([columns, rows], axis=-1)[None].astype(np.float32)
    for mode in ("nearest", "linear", "cubic"):
        np.testing.assert_allclose(run(graph.SampleOp, x, grid, mode=mode, align_corners=True)[0], x, atol=1e-5)
    far = np.full((1, 1, 1, 2), 3, np.float32)
    assert (run(graph.SampleOp, x, far, outside="zeros")[0] == 0).all()
    np.testing.assert_allclose(run(graph.SampleOp, x, far, outside="border")[0][0, :, 0, 0], x[0, :, -1, -1])
    np.testing.assert_allclose(
        run(graph.SampleOp, x, far, outside="reflect", align_corners=True)[0][0, :, 0, 0], x[0, :, 0, 0], atol=1e-6
    )


def test_region_pools() -> None:
    x = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
    box, batch = np.array([[0, 0, 3, 3]], np.float32), np.zeros(1, np.int64)
    most = run(graph.RoiPoolOp, x, box, batch, kind="max", extents=[2, 2])[0]
    np.testing.assert_array_equal(most[0, 0], [[9, 11], [25, 27]])
    aligned = run(
        graph.RoiPoolOp, x, np.array([[1, 1, 3, 3]], np.float32), batch, kind="align_average", extents=[1, 1], samples=2
    )[0]
    np.testing.assert_allclose(aligned[0, 0], [[18]])


def scalar_lstm(
    gates: Array, r: Array, b: Array, h: Array, c: Array, p: Array, length: int, reverse: bool
) -> tuple[Array, Array, Array]:
    """One row of an LSTM, as its definition says it."""
    steps, hidden = gates.shape[0], c.size
    out = np.zeros((steps, hidden))
    sigmoid = lambda v: 1 / (1 + math.exp(-v))
    for t in [t for t in (reversed(range(steps)) if reverse else range(steps)) if t < length]:
        pre = gates[t] + r @ h + b
        new_h, new_c = np.zeros(hidden), np.zeros(hidden)
        for j in range(hidden):
            i = sigmoid(pre[j] + p[j] * c[j])
            forget = sigmoid(pre[2 * hidden + j] + p[2 * hidden + j] * c[j])
            new_c[j] = forget * c[j] + i * math.tanh(pre[3 * hidden + j])
            new_h[j] = sigmoid(pre[hidden + j] + p[hidden + j] * new_c[j]) * math.tanh(new_c[j])
        h, c = new_h, new_c
        out[t] = h
    return out, h, c


@pytest.mark.parametrize("reverse", [False, True])
def test_lstm_is_its_definition(reverse: bool) -> None:
    gates, r, b, h, c, p = normal(4, 3, 20), normal(20, 5), normal(20), normal(3, 5), normal(3, 5), normal(15)
    lengths = np.array([4, 2, 0])
    sequence, last_h, last_c = run(graph.LstmOp, gates, r, b, h, c, lengths, p, reverse=reverse)
    for row in range(3):
        expected = scalar_lstm(gates[:, row], r, b, h[row], c[row], p, int(lengths[row]), reverse)
        for got, wanted in zip((sequence[:, row], last_h[row], last_c[row]), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_lstm_projects_and_couples_its_gates() -> None:
    gates, r, b, h, c, projection = (
        normal(1, 2, 12),
        normal(12, 2),
        normal(12),
        normal(2, 2),
        normal(2, 3),
        normal(2, 3),
    )
    sequence, last_h, last_c = run(graph.LstmOp, gates, r, b, h, c, None, None, projection, input_forget=True, clip=0.5)
    i, o, _, g = np.split(np.clip(gates[0] + h @ r.T + b, -0.5, 0.5), 4, axis=1)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    made = (1 - sigmoid(i)) * c + sigmoid(i) * np.tanh(g)
    np.testing.assert_allclose(last_c, made, rtol=1e-5)
    np.testing.assert_allclose(last_h, (sigmoid(o) * np.tanh(np.clip(made, -0.5, 0.5))) @ projection.T, rtol=1e-5)
    np.testing.assert_array_equal(sequence[0], last_h)


@pytest.mark.parametrize("before", [False, True])
def test_gru_and_rnn_are_their_definitions(before: bool) -> None:
    gates, r, b, h = normal(2, 3, 12), normal(12, 4), normal(12), normal(3, 4)
    sequence, last = run(graph.GruOp, gates, r, b, h, linear_before_reset=before)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    state, (rz, rr, rn), (bz, br, bn) = h, np.split(r, 3), np.split(b, 3)
    for t in range(2):
        gz, gr, gn = np.split(gates[t], 3, axis=1)
        z, reset = sigmoid(gz + state @ rz.T + bz), sigmoid(gr + state @ rr.T + br)
        inner = reset * (state @ rn.T + bn) if before else (reset * state) @ rn.T + bn
        state = (1 - z) * np.tanh(gn + inner) + z * state
        np.testing.assert_allclose(sequence[t], state, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(last, sequence[1])
    gates, r, b, h = normal(1, 3, 4), normal(4, 4), normal(4), normal(3, 4)
    made = run(graph.RnnOp, gates, r, b, h, activations=["affine"], alphas=[2.0], betas=[1.0])[1]
    np.testing.assert_allclose(made, 2 * (gates[0] + h @ r.T + b) + 1, rtol=1e-5, atol=1e-6)


def test_attention_sees_what_masks_and_windows_allow() -> None:
    q, k, v = normal(2, 4, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 6)
    mask, lengths = RNG.random((1, 4, 3, 5)) < 0.8, np.array([5, 3])
    options: dict[str, Any] = {"scale": 0.3, "softcap": 2.0, "causal": True, "offset": 1, "window": 3}
    (got,) = run(graph.AttentionOp, q, k, v, mask, lengths, **options)
    for b, h, i in np.ndindex(2, 4, 3):
        seen = [j for j in range(5) if j < lengths[b] and i + 1 - 3 < j <= i + 1 and mask[0, h, i, j]]
        scores = [2 * math.tanh(0.3 * float(q[b, h, i] @ k[b, h // 2, j]) / 2) for j in seen]
        shares = np.exp(scores) / np.exp(scores).sum() if seen else []
        expected = sum((s * v[b, h // 2, j] for s, j in zip(shares, seen, strict=True)), np.zeros(6))
        np.testing.assert_allclose(got[b, h, i], expected, rtol=1e-4, atol=1e-5)
    last = run(graph.AttentionOp, q, k, v, None, lengths, scale=1.0, causal=True, from_end=True)[0]
    alone = run(graph.AttentionOp, q[1:], k[1:, :, :3], v[1:, :, :3], scale=1.0, causal=True)[0]
    np.testing.assert_allclose(last[1:], alone, rtol=1e-5, atol=1e-6)


def test_linear_attention_carries_a_state() -> None:
    q, k, v, state, decay, beta = (
        normal(1, 2, 3, 4),
        normal(1, 1, 3, 4),
        normal(1, 1, 3, 5),
        normal(1, 1, 4, 5),
        normal(1, 1, 3, 1),
        normal(1, 1, 3, 1),
    )
    got, last = run(graph.LinearAttentionOp, q, k, v, state, decay, beta, rule="gated_delta", scale=0.5)
    s = state[0, 0].astype(np.float64)
    for t in range(3):
        s = s * math.exp(decay[0, 0, t, 0])
        s = s + np.outer(k[0, 0, t], beta[0, 0, t, 0] * (v[0, 0, t] - k[0, 0, t] @ s))
        for head in range(2):
            np.testing.assert_allclose(got[0, head, t], 0.5 * q[0, head, t] @ s, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last[0, 0], s, rtol=1e-5, atol=1e-5)


# --- whole modules: counted extents, branches, loops, plugins

Body = Callable[["Builder"], Sequence[SSAValue]]


class Builder:
    """A block that ops are appended to."""

    def __init__(self, types: Sequence[Attribute]) -> None:
        self.block = Block(arg_types=types)

    def __call__(self, op: Operation) -> SSAValue:
        self.block.add_op(op)
        return op.results[0]

    def region(self, types: Sequence[Attribute], body: Body) -> Region:
        """A region of this body."""
        inner = Builder(types)
        values = body(inner)
        inner.block.add_op(graph.YieldOp(*values))
        return Region(inner.block)


def run_module(inputs: Mapping[str, Array], build: Callable[[Builder], Sequence[SSAValue]]) -> list[Array]:
    made = Builder([tensor_type_of(array) for array in inputs.values()])
    module = close_network(made.block, build(made)).module
    return list(interpret(module, {f"x{i}": array for i, array in enumerate(inputs.values())}).values())


def test_counted_extents_have_their_true_count() -> None:
    x = np.array([3, -1, 2, -5, 4], np.float32)

    def build(b: Builder) -> list[SSAValue]:
        zeros = b(graph.ConstantOp(np.zeros(5, np.float32)))
        kept = b(
            graph.CompactOp(
                b.block.args[0], b(graph.CompareOp(b.block.args[0], zeros, kind="gt")), dim=0, symbol="kept"
            )
        )
        extent = shape_of(kept.type)[0]  # type: ignore[arg-type]
        rows = b(graph.BroadcastOp(kept, dims=[0], shape=[extent, 2]))
        flat = b(graph.ReshapeOp(rows, [extent * 2]))
        total = b(graph.ReduceOp(flat, kind="sum", dims=[0]))
        full = b(graph.FillTailOp(kept, b(graph.ConstantOp(np.float32(9))), dim=0))
        prefix = b(graph.PrefixOp(full, b(graph.ExtentOp(kept, dim=0)), dim=0, symbol="again"))
        joined = b(graph.ConcatOp([kept, prefix], dim=0, symbol="both"))
        return [kept, rows, total, full, joined]

    kept, rows, total, full, joined = run_module({"x": x}, build)
    assert kept.tolist() == [3, 2, 4] and rows.shape == (3, 2) and total == 18
    assert full.tolist() == [3, 2, 4, 9, 9] and joined.tolist() == [3, 2, 4, 3, 2, 4]


def test_distinct_elements_and_suppressed_boxes() -> None:
    x = np.array([2, 1, 1, 3, 4, 3], np.int64)
    values, first, inverse, counts = run(graph.UniqueOp, x, symbol="u")
    assert [a.tolist() for a in (values, first, inverse, counts)] == [
        [1, 2, 3, 4],
        [1, 0, 3, 4],
        [1, 0, 0, 2, 3, 2],
        [2, 1, 2, 1],
    ]
    values, first, inverse, counts = run(graph.UniqueOp, x, symbol="u", sorted=False)
    assert [a.tolist() for a in (values, first, inverse, counts)] == [
        [2, 1, 3, 4],
        [0, 1, 3, 4],
        [0, 1, 1, 2, 3, 2],
        [1, 2, 2, 1],
    ]
    rows = np.array([[1, 2], [0, 5], [1, 2]], np.float32)
    assert run(graph.UniqueOp, rows, dim=0, symbol="u")[0].tolist() == [[0, 5], [1, 2]]
    boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11], [1, 1, 0, 0]]], np.float32)
    scores = np.array([[[0.9, 0.75, 0.6, 0.95]]], np.float32)
    kept = run(graph.NonMaxSuppressionOp, boxes, scores, most=3, iou=0.5, score=0.1, symbol="n")[0]
    assert kept.tolist() == [[0, 0, 3], [0, 0, 2]]


@pytest.mark.parametrize("condition", [True, False])
def test_branches_see_the_values_around_them(condition: bool) -> None:
    x = np.array([1, 2], np.float32)

    def build(b: Builder) -> list[SSAValue]:
        c, value = b.block.args
        outer = b(graph.UnaryOp(value, kind="neg"))
        first = b.region([], lambda inner: [inner(graph.BinaryOp(outer, value, kind="sub"))])
        other = b.region([], lambda inner: [inner(graph.BinaryOp(outer, outer, kind="mul"))])
        return [b(graph.IfOp(c, [value.type], first, other))]

    (got,) = run_module({"c": np.array(condition), "x": x}, build)
    assert got.tolist() == ([-2, -4] if condition else [1, 4])


def doubling(value: SSAValue) -> Callable[[Builder], Sequence[SSAValue]]:
    """A loop's body: doubles what it carries, stacks it."""

    def body(b: Builder) -> Sequence[SSAValue]:
        twice = b(graph.BinaryOp(b.block.args[1], b.block.args[1], kind="add"))
        return [twice, twice]

    return body


def test_counted_loops_carry_and_stack() -> None:
    def build(b: Builder) -> list[SSAValue]:
        (x,) = b.block.args
        fixed = graph.LoopOp([x], b.region([TensorType(i64, []), x.type], doubling(x)), bound=3)
        b(fixed)
        trip = b(graph.ConstantOp(np.int64(2)))
        some = graph.LoopOp(
            [x], b.region([TensorType(i64, []), x.type], doubling(x)), trip=trip, bound=5, symbol="steps"
        )
        b(some)
        none = graph.LoopOp(
            [x],
            b.region([TensorType(i64, []), x.type], doubling(x)),
            trip=b(graph.ConstantOp(np.int64(0))),
            bound=5,
            symbol="none",
        )
        b(none)
        return [*fixed.results, *some.results, *none.results]

    x = np.array([1, 3], np.float32)
    last, stacked, some, steps, none, nothing = run_module({"x": x}, build)
    assert last.tolist() == [8, 24] and stacked.tolist() == [[2, 6], [4, 12], [8, 24]]
    assert some.tolist() == [4, 12] and steps.shape == (2, 2)
    assert none.tolist() == [1, 3] and nothing.shape == (0, 2)


@pytest.mark.parametrize("bound", [None, 3])
def test_while_loops_end_by_their_condition(bound: int | None) -> None:
    def build(b: Builder) -> list[SSAValue]:
        (x,) = b.block.args
        limit = b(graph.ConstantOp(np.float32(100)))

        def body(inner: Builder) -> Sequence[SSAValue]:
            twice = inner(graph.BinaryOp(inner.block.args[1], inner.block.args[1], kind="add"))
            return [inner(graph.CompareOp(twice, limit, kind="lt")), twice]

        go = b(graph.CompareOp(x, limit, kind="lt"))
        loop = graph.LoopOp([x], b.region([TensorType(i64, []), x.type], body), condition=go, bound=bound)
        return [b(loop)]

    x = np.array(1, np.float32)
    if bound is None:
        assert run_module({"x": x}, build)[0] == 128
        assert run_module({"x": np.array(500, np.float32)}, build)[0] == 500
    else:
        with pytest.raises(ModelError, match="the loop goes on after 3 iterations\n  hint: raise its bound"):
            run_module({"x": x}, build)


def test_values_that_nothing_reads_any_more_are_given_up() -> None:
    """Inside a branch too: what its region reads lives until it has run; nested regions' own values are not the block's."""
    x = np.arange(4, dtype=np.float32)

    def build(b: Builder) -> list[SSAValue]:
        c, value = b.block.args
        outer = b(graph.UnaryOp(value, kind="neg"))
        twice = b(graph.BinaryOp(outer, outer, kind="add"))

        def nested(inner: Builder) -> Sequence[SSAValue]:
            again = inner(graph.UnaryOp(outer, kind="neg"))
            deeper = inner.region([], lambda deep: [deep(graph.BinaryOp(again, twice, kind="add"))])
            other = inner.region([], lambda deep: [deep(graph.UnaryOp(outer, kind="abs"))])
            return [inner(graph.IfOp(c, [value.type], deeper, other))]

        b(graph.UnaryOp(value, kind="abs"))
        return [b(graph.IfOp(c, [value.type], b.region([], nested), b.region([], nested))), twice]

    made, twice = run_module({"c": np.array(True), "x": x}, build)
    assert made.tolist() == (-x).tolist() and twice.tolist() == (-2 * x).tolist()


class Scaled:
    """A plugin: its operand times a parameter."""

    namespace, name, version = "tests", "scaled", "1"

    def infer(self, operands: Sequence[Attribute], parameters: Mapping[str, Attribute]) -> Sequence[Attribute]:
        if "by" not in parameters:
            raise VerifyException("parameter by is missing")
        return list(operands)

    def reference(self, arrays: Sequence[Array], parameters: Mapping[str, Attribute]) -> Sequence[Array]:
        return [arrays[0] * parameters["by"].value.data]  # type: ignore[attr-defined]


def test_plugins_bring_shape_and_reference() -> None:
    register_plugin(Scaled())
    x = create_ssa_value(TensorType(f32, [2]))
    op = graph.CustomOp("scaled", [x], {"by": FloatAttr(3.0, f64)}, namespace="tests")
    op.verify()
    assert run_graph_op(op, [np.array([1, 2], np.float32)])[0].tolist() == [3, 6]
    with pytest.raises(VerifyException, match="parameter by is missing"):
        graph.CustomOp("scaled", [x], namespace="tests")
    with pytest.raises(VerifyException, match='plugin "other", version 1 of "tests", is not loaded'):
        graph.CustomOp("other", [x], namespace="tests")
    unknown = graph.CustomOp("other", [x], namespace="tests", result_types=[x.type])
    unknown.verify()
    with pytest.raises(ModelError, match='plugin "other", version 1, is not loaded'):
        run_graph_op(unknown, [np.zeros(2, np.float32)])
    with pytest.raises(ValueError, match='two plugins are called "scaled"'):
        register_plugin(Scaled())


def test_a_group_of_one_exchanges_nothing() -> None:
    x = normal(4)
    np.testing.assert_array_equal(run(graph.CollectiveOp, x, kind="all_reduce", combine="sum", group=[0])[0], x)
    with pytest.raises(ModelError, match="the group has 2 ranks, one is run"):
        run(graph.CollectiveOp, x, kind="all_gather", group=[0, 1])


def test_bounds_are_checked() -> None:
    mask = create_ssa_value(TensorType(i1, [3]))
    op = graph.CompactOp(create_ssa_value(TensorType(f32, [3])), mask, dim=0, symbol="n")
    again = graph.ExtentOp(op.result, dim=0)
    with pytest.raises(ModelError, match="4 rows do not fit the extent"):
        run_graph_op(again, [np.zeros(4, np.float32)])
