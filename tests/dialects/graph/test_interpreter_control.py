"""Counted extents, control flow, plugins and exchange between ranks: whole modules in the interpreter."""

from __future__ import annotations

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
from stepwell.dialects.graph.ranks import interpret_ranks
from stepwell.dialects.numpy_types import Array, numpy_dtype, tensor_type_of
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.testing.strategies.network import close_network


def run(op: type[Operation], *arrays: Array | None, **arguments: Any) -> tuple[Array, ...]:
    values = [None if array is None else create_ssa_value(tensor_type_of(array)) for array in arrays]
    made = op(*values, **arguments)
    made.verify()
    results = run_graph_op(made, [array for array in arrays if array is not None])
    for array, result in zip(results, made.results, strict=True):
        assert array.dtype == numpy_dtype(result.type)
    return results


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

    def run(self, arrays: Sequence[Array], parameters: Mapping[str, Attribute]) -> Sequence[Array]:
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
    x = np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(run(graph.CollectiveOp, x, kind="all_reduce", combine="sum", group=[0])[0], x)
    with pytest.raises(ModelError, match="the group has 2 ranks, one is run"):
        run(graph.CollectiveOp, x, kind="all_gather", group=[0, 1])


@pytest.mark.parametrize("kind", list(graph.CollectiveKind))
def test_ranks_exchange_their_tensors(kind: graph.CollectiveKind) -> None:
    arrays = [np.arange(4, dtype=np.float32) + 10 * rank for rank in range(2)]
    combine = "sum" if kind.value in ("all_reduce", "reduce_scatter") else None
    made = Builder([tensor_type_of(arrays[0])])
    first = made(graph.CollectiveOp(made.block.args[0], kind=kind.value, combine=combine, group=[1, 0]))
    module = close_network(made.block, [first]).module
    results = [made["y0"].tolist() for made in interpret_ranks(module, [{"x0": array} for array in arrays])]
    assert (
        results
        == {
            "all_reduce": [[10, 12, 14, 16]] * 2,
            "all_gather": [[10, 11, 12, 13, 0, 1, 2, 3]] * 2,
            "reduce_scatter": [[14, 16], [10, 12]],
            "all_to_all": [[12, 13, 2, 3], [10, 11, 0, 1]],
        }[kind.value]
    )


def test_a_rank_that_never_comes_is_named() -> None:
    made = Builder([TensorType(i1, []), TensorType(f32, [2])])
    condition, x = made.block.args
    exchange = made.region([], lambda b: [b(graph.CollectiveOp(x, kind="all_reduce", combine="max", group=[0, 1]))])
    alone = made.region([], lambda b: [b(graph.UnaryOp(x, kind="neg"))])
    module = close_network(made.block, [made(graph.IfOp(condition, [x.type], exchange, alone))]).module
    inputs = [{"x0": np.array(rank == 0), "x1": np.zeros(2, np.float32)} for rank in range(2)]
    with pytest.raises(ModelError, match="rank 1 ended and never came to this exchange"):
        interpret_ranks(module, inputs)
    with pytest.raises(UsageError, match="the module names rank 1, inputs are given for 1 ranks"):
        interpret_ranks(module, inputs[:1])


def test_bounds_are_checked() -> None:
    mask = create_ssa_value(TensorType(i1, [3]))
    op = graph.CompactOp(create_ssa_value(TensorType(f32, [3])), mask, dim=0, symbol="n")
    again = graph.ExtentOp(op.result, dim=0)
    with pytest.raises(ModelError, match="4 rows do not fit the extent"):
        run_graph_op(again, [np.zeros(4, np.float32)])
