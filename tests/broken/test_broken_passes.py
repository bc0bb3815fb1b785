"""Passes that are wrong on purpose, each as real compilers have been wrong, and each caught by `check_pass` on generated modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis.strategies import SearchStrategy
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, f16, f32
from xdsl.passes import ModulePass

from stepwell.dialects import graph
from stepwell.driver.semantics import assert_same_meaning
from stepwell.passes import Meaning, Rewriter, StepwellPass, rewrite
from stepwell.plugins.universe import find_pass
from stepwell.runtime.errors import ComparisonError
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs

Cases = SearchStrategy[GeneratedGraph]


def holds(pass_: ModulePass, cases: Cases, examples: int = 200) -> None:
    """`check_pass` on that many generated networks; the first failure is raised as it is."""

    @settings(max_examples=examples, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    @given(cases)
    def check(case: GeneratedGraph) -> None:
        check_pass(pass_, case.module, case.context())

    check()


def exact_on_whole_numbers(pass_: ModulePass, cases: Cases, examples: int = 200) -> None:
    """The same bits before and after the pass on networks that never round, whatever its declaration."""

    @settings(max_examples=examples, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    @given(cases)
    def check(case: GeneratedGraph) -> None:
        after = case.module.clone()
        pass_.apply(case.context(), after)
        assert_same_meaning(case.module, after, case.inputs(), weights=case.weights)

    check()


# --- the wrong passes


@dataclass(frozen=True)
class FuseWithoutResidual(StepwellPass):
    """Fuses epilogues as graph-fuse-epilogue does, and loses the residual of every chain on the way."""

    name = "broken-fuse-without-residual"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "exact"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        find_pass("graph-fuse-epilogue")().apply(ctx, op)
        for add in [inner for inner in op.walk() if isinstance(inner, graph.BinaryOp) and inner.kind == "add"]:
            parent = add.parent_op()
            if isinstance(parent, graph.FusionOp) and add.rhs in parent.body.block.args:
                add.result.replace_all_uses_with(add.lhs)
                add.detach()
                add.erase()


@rewrite("broken-negative", level="graph", meaning="exact")
def wrong_for_negative_inputs(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """abs becomes relu: right for every input that is not negative."""
    if op.kind == "abs":
        rewriter.replace(op, graph.UnaryOp(op.operand, kind="relu"))


@rewrite("broken-tap", level="graph", meaning="exact", recursive=False)
def forgets_second_consumers(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """relu in place: whoever else read the operand now reads the result."""
    if op.kind == "relu":
        op.operand.replace_uses_with_if(op.result, lambda use: use.operation is not op and _after(op, use.operation))


def _after(op: graph.UnaryOp, user: object) -> bool:
    following = op.next_op
    while following is not None:
        if following is user:
            return True
        following = following.next_op
    return False


@rewrite("broken-order", level="graph", meaning="exact", recursive=False)
def composes_in_the_wrong_order(op: graph.TransposeOp, rewriter: Rewriter) -> None:
    """Two transposes become one, first(second) in place of second(first): right where they commute, as all swaps of two dims do."""
    first = op.operand.owner
    if isinstance(first, graph.TransposeOp) and len(op.permutation) > 2:
        order = [op.permutation[dim] for dim in first.permutation]
        made = graph.TransposeOp(first.operand, order)
        if made.result.type == op.result.type:
            rewriter.replace(op, made)


@rewrite("broken-recipe", level="graph", meaning="reassociates", recursive=False)
def reshapes_where_it_should_transpose(op: graph.MatmulOp, rewriter: Rewriter) -> None:
    """A product takes its weight as [N, K], but the recipe reshapes: the type is right, the order of the values is not."""
    weight = op.b.owner
    if isinstance(weight, graph.WeightOp) and not op.transpose_b:
        shape = weight.ref.result_type().get_shape()
        turned = graph.WeightOp(weight.ref.then(graph.StepAttr("reshape", [shape[1], shape[0]])))
        rewriter.insert_before(op, turned)
        rewriter.replace(op, graph.MatmulOp(op.a, turned.result, transpose_b=True))


@rewrite("broken-reassociation", level="graph", meaning="exact")
def reassociates_but_says_exact(op: graph.BinaryOp, rewriter: Rewriter) -> None:
    """(a + b) + c becomes a + (b + c): another rounding."""
    inner = op.lhs.owner
    if op.kind == "add" and isinstance(inner, graph.BinaryOp) and inner.kind == "add" and op.rhs.owner is not inner:
        tail = graph.BinaryOp(inner.rhs, op.rhs, kind="add")
        rewriter.replace(op, [tail, graph.BinaryOp(inner.lhs, tail.result, kind="add")])


def rounding_pass(rtol: float) -> StepwellPass:
    """tanh in half precision, with a declared tolerance."""

    @rewrite("broken-rounding", level="graph", meaning="rounds", rtol=rtol, recursive=False, idempotent=False)
    def rounds_more_than_it_says(op: graph.UnaryOp, rewriter: Rewriter) -> None:
        """tanh(x) becomes f32(f16(tanh(x)))."""
        if op.kind == "tanh":
            made = graph.UnaryOp(op.operand, kind="tanh")
            narrow = graph.CastOp(made.result, f16)
            rewriter.replace(op, [made, narrow, graph.CastOp(narrow.result, f32)])

    return rounds_more_than_it_says()


BLOCKS = graphs(4, steps=("matmul", "conv"), shape=(2, 3, 4, 4))
SUMS = graphs(6, steps=("binary",), shape=(4, 4))
WRONG: list[tuple[StepwellPass, Cases]] = [
    (FuseWithoutResidual(), BLOCKS),
    (wrong_for_negative_inputs(), graphs(4, kinds=("abs", "tanh"), steps=("unary", "matmul"))),
    (forgets_second_consumers(), graphs(6, kinds=("relu",), steps=("unary", "matmul", "binary"))),
    (composes_in_the_wrong_order(), graphs(5, steps=("transpose",), shape=(3, 3, 3))),
    (reshapes_where_it_should_transpose(), BLOCKS),
    (reassociates_but_says_exact(), SUMS),
    (rounding_pass(1e-7), graphs(4, kinds=("tanh",), steps=("unary", "matmul"))),
]


@pytest.mark.parametrize("wrong, cases", WRONG, ids=lambda value: getattr(value, "name", ""))
def test_every_wrong_pass_is_caught(wrong: StepwellPass, cases: Cases) -> None:
    with pytest.raises(ComparisonError, match="output 'y"):
        holds(wrong, cases)


def test_whole_numbers_catch_dropped_values_without_any_tolerance() -> None:
    with pytest.raises(ComparisonError, match="elements differ"):
        exact_on_whole_numbers(FuseWithoutResidual(), graphs(4, steps=("matmul",), shape=(5, 4), integers=True))


def test_the_declaration_decides() -> None:
    """The same rounding under an honest tolerance, and the same reassociation on numbers that are never rounded, hold."""
    holds(rounding_pass(1e-2), graphs(4, kinds=("tanh",), steps=("unary", "matmul")), examples=25)
    whole = graphs(6, steps=("binary",), shape=(4, 4), integers=True)
    exact_on_whole_numbers(reassociates_but_says_exact(), whole, examples=25)


def test_the_right_pass_holds_where_the_wrong_one_falls() -> None:
    holds(find_pass("graph-fuse-epilogue")(), BLOCKS, examples=25)
