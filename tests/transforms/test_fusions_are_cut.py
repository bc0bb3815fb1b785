"""Fusions with several reductions, maps between them and results of different shapes: whatever stands in one becomes kernels that are right, on both
targets, and no kernel of loops holds one reduction behind another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from xdsl.dialects.builtin import ModuleOp, TensorType, f16, f32, f64, i32
from xdsl.dialects.linalg.ops import GenericOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

import stepwell
from stepwell.dialects import graph, tile
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import location_of
from stepwell.testing.strategies import GeneratedGraph
from stepwell.testing.strategies.network import close_network
from stepwell.transforms.linalg import _split
from stepwell.transforms.linalg._roles import reduction_loops

TARGETS = ("sm_90a", "x86-64-v3")
MOST = 512
Make = Callable[[DrawFn, SSAValue, "Body"], Operation]


def shape_of(value: SSAValue) -> tuple[int, ...]:
    assert isinstance(value.type, TensorType)
    return value.type.get_shape()


class Body:
    """The block of a fusion while ops are drawn."""

    def __init__(self, element: Attribute, shape: tuple[int, ...]) -> None:
        self.element = element
        self.block = Block(arg_types=[TensorType(element, shape)])
        self.values: list[SSAValue] = list(self.block.args)

    def input(self, shape: tuple[int, ...]) -> SSAValue:
        return self.block.insert_arg(TensorType(self.element, shape), len(self.block.args))

    def add(self, op: Operation) -> SSAValue:
        op.location = location_of([f"n{len(self.values)}"])
        self.block.add_op(op)
        self.values.append(op.results[0])
        return self.values[-1]


def repeated(draw: DrawFn, value: SSAValue, body: Body, like: tuple[int, ...]) -> SSAValue | None:
    """`value` in the shape of another one, along dims of the same extents; None where there are none."""
    dims, start = [], 0
    for extent in shape_of(value):
        found = next((d for d in range(start, len(like)) if like[d] == extent), None)
        if found is None:
            return None
        dims.append(found)
        start = found + 1
    return value if shape_of(value) == like else body.add(graph.BroadcastOp(value, dims=dims, shape=like))


def step(draw: DrawFn, body: Body) -> None:
    """One more op on values of the body."""
    value = draw(st.sampled_from(body.values))
    shape = shape_of(value)
    kind = draw(st.sampled_from(["reduce", "reduce", "unary", "binary", "binary", "transpose", "matmul"]))
    if kind == "reduce" and shape:
        dims = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1, max_size=2))
        body.add(graph.ReduceOp(value, kind=draw(st.sampled_from(["sum", "max"])), dims=sorted(dims)))
    elif kind == "binary":
        other = repeated(draw, draw(st.sampled_from(body.values)), body, shape)
        operand = other if other is not None else body.input(shape)
        body.add(graph.BinaryOp(value, operand, kind=draw(st.sampled_from(["add", "max", "sub"]))))
    elif kind == "transpose" and len(shape) > 1:
        body.add(graph.TransposeOp(value, tuple(reversed(range(len(shape))))))
    elif kind == "matmul" and len(shape) == 2:
        body.add(graph.MatmulOp(value, body.input((shape[1], draw(st.sampled_from([1, 3, 8, 16]))))))
    else:
        body.add(graph.UnaryOp(value, kind="relu"))


@st.composite
def fusions(draw: DrawFn) -> GeneratedGraph:
    """One fusion of two to six ops on whole numbers, with one or two results."""
    element = draw(st.sampled_from([f32, f32, f16, f64, i32]))
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 8, 9, 17]), min_size=1, max_size=3)))
    body = Body(element, shape)
    for _ in range(draw(st.integers(2, 6))):
        step(draw, body)
    used = {operand for op in body.block.ops for operand in op.operands}
    results = [value for value in body.values[1:] if value not in used][-2:]
    results += [value for value in body.values[1:-1] if value in used][: draw(st.integers(0, 1))]
    return network_of(body, results)


def network_of(body: Body, results: list[SSAValue]) -> GeneratedGraph:
    """A network of the fusion alone."""
    outer = Block(arg_types=[argument.type for argument in body.block.args])
    body.block.add_op(graph.YieldOp(*results))
    fusion = graph.FusionOp("f", list(outer.args), [value.type for value in results], Region(body.block))
    fusion.location = location_of(["f"])
    outer.add_op(fusion)
    return close_network(outer, list(fusion.outputs))


def whole_numbers(case: GeneratedGraph) -> dict[str, np.ndarray[Any, Any]]:
    """Small ones, so that sums of sums are exact in f16."""
    return {name: (np.round(array.astype("f8")) % 3 - 1).astype(array.dtype) for name, array in case.inputs().items()}


def nested(module: ModuleOp) -> list[str]:
    """Kernels of loops in which a reduction reads another."""
    found = []
    for kernel in (op for op in module.walk() if isinstance(op, tile.LoopsOp)):
        behind: set[SSAValue] = set()
        for op in kernel.body.block.ops:
            reads = any(operand in behind for operand in op.operands)
            reduces = isinstance(op, GenericOp) and bool(reduction_loops(op))
            if reads and reduces:
                found.append(kernel.sym_name.data)
            behind |= set(op.results) if reads or reduces else set()
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_any_fusion_becomes_kernels_that_are_right(target: str) -> None:
    cut = []

    @settings(max_examples=max(5, settings().max_examples // 4), phases=[Phase.explicit, Phase.generate])
    @given(fusions())
    @example(chained())
    @example(folded(i32))
    def check(case: GeneratedGraph) -> None:
        module = keep_weights(case.module, case.weights)
        inputs = whole_numbers(case)
        wanted = stepwell.interpret(module, inputs)
        for level in ("linalg", "tile"):
            lowered = stepwell.lower(module, level, target=target)
            assert not nested(lowered)
            same(stepwell.interpret(lowered, inputs), wanted)
        cut.append(sum(isinstance(op, tile.ApplyOp) for op in lowered.walk()) > 1)
        plan = stepwell.compile_plan(module, target=target)
        same(run_plan(plan, inputs).outputs if target == "sm_90a" else stepwell.Engine(plan).run(inputs), wanted)

    check()
    assert any(cut)


def same(found: Any, wanted: dict[str, np.ndarray[Any, Any]]) -> None:
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def chained() -> GeneratedGraph:
    """A maximum of sums, over different dims."""
    body = Body(f32, (3, 4, 5))
    inner = body.add(graph.ReduceOp(body.values[0], kind="sum", dims=[2]))
    return network_of(body, [body.add(graph.ReduceOp(inner, kind="max", dims=[0]))])


def folded(element: Attribute) -> GeneratedGraph:
    """The sum of a row, on every element of it: the executors keep the type of narrow integers."""
    body = Body(element, (3, 2))
    total = body.add(graph.ReduceOp(body.values[0], kind="sum", dims=[1]))
    repeated = body.add(graph.BroadcastOp(total, dims=[0], shape=(3, 2)))
    return network_of(body, [body.add(graph.BinaryOp(body.values[0], repeated, kind="add"))])


def test_loops_over_nested_reductions_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fusions left whole, an element of the outer sum computes the inner one again."""
    module = chained().module
    assert not nested(stepwell.lower(module, "tile", target="sm_90a"))
    monkeypatch.setattr(_split, "MOST_WORK", 0)
    assert nested(stepwell.lower(module, "tile", target="sm_90a")) == ["f"]
