"""Passes that call what they insert after ops elsewhere in the network are caught by `check_pass`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint

from stepwell.dialects import graph
from stepwell.dialects.weights import WeightStore
from stepwell.passes import Meaning, Rewriter, StepwellPass, location_of, names_of, rewrite
from stepwell.plugins.universe import find_pass
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies.network import close_network


def forked() -> ModuleOp:
    """stem -> left1 -> left2 and stem -> right1 -> right2, added in join; then top."""
    block = Block(arg_types=[TensorType(f32, [2, 4])])

    def emit(op: Operation, name: str) -> SSAValue:
        op.location = location_of([name])
        block.add_op(op)
        return op.results[0]

    stem = emit(graph.UnaryOp(block.args[0], kind="relu"), "stem")
    left, right = stem, stem
    for i in (1, 2):
        left = emit(graph.UnaryOp(left, kind="relu"), f"left{i}")
        right = emit(graph.UnaryOp(right, kind="relu"), f"right{i}")
    top = emit(graph.UnaryOp(emit(graph.BinaryOp(left, right, kind="add"), "join"), kind="relu"), "top")
    return close_network(block, [top], WeightStore()).module


@dataclass(frozen=True)
class InsertsUnderOneName(StepwellPass):
    """Puts two negations, which are nothing, before every op called in `where`, and calls them after the op that it met first."""

    name = "broken-first-name"
    level: ClassVar[str] = "graph"
    meaning: ClassVar[Meaning] = "exact"
    idempotent: ClassVar[bool] = False
    where: tuple[str, ...] = ()
    called: str = ""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for found in [inner for inner in op.walk() if set(names_of(inner)) & set(self.where)]:
            first = graph.UnaryOp(found.operands[0], kind="neg")
            second = graph.UnaryOp(first.result, kind="neg")
            found.operands[0] = second.result
            for made in (first, second):
                made.location = location_of([self.called or names_of(found)[0]])
                assert found.parent is not None
                found.parent.insert_op_before(made, found)


@pytest.mark.parametrize(
    ("where", "called"),
    [("left2", "stem"), ("top", "left1"), ("left2", "right1"), ("left1", "right2"), ("join", "stem"), ("left1", "top")],
)
def test_names_of_ops_elsewhere_are_caught(where: str, called: str) -> None:
    with pytest.raises(AssertionError, match=rf"source names of ops elsewhere: graph.unary \({called}\)"):
        check_pass(InsertsUnderOneName((where,), called), forked())


def test_own_names_and_those_of_neighbours_hold() -> None:
    (report,) = check_pass(InsertsUnderOneName(("left2", "top")), forked())
    assert report.changed and "source names in place" in report.properties
    for where, called in (("left2", "left1"), ("join", "left2"), ("left1", "stem")):
        check_pass(InsertsUnderOneName((where,), called), forked())


FIRST: list[str] = []


@rewrite("broken-listener", level="graph", meaning="exact", recursive=False, idempotent=False)
def names_after_the_first_match(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """As xDSL's rewriter does with listeners that are never taken off: every insertion is called after the op matched first."""
    FIRST[:] = FIRST or list(names_of(op))
    made = [graph.UnaryOp(op.operand, kind="neg")]
    made.append(graph.UnaryOp(made[0].result, kind="neg"))
    for new in made:
        new.location = location_of(FIRST)
    rewriter.xdsl.insert(made, InsertPoint.before(op))
    rewriter.replace(op, graph.UnaryOp(made[-1].result, kind=op.kind))


def test_the_first_matched_ops_name_on_every_insertion_is_caught() -> None:
    FIRST.clear()
    with pytest.raises(AssertionError, match=r"source names of ops elsewhere: graph.unary \(stem\)"):
        check_pass(names_after_the_first_match(), forked())


def test_passes_that_move_and_merge_ops_hold() -> None:
    for name in ("graph-assign-layout", "graph-fuse-single", "graph-fuse-epilogue", "graph-remove-dead"):
        check_pass(find_pass(name)(), forked())
