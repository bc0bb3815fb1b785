"""Values that are there only in some branches: what a Switch by an unknown condition gives, until a Merge joins both sides to a graph.if."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Block, Region, SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.tensorflow.tensor_array import Item, Stored, TensorArray, stored
from stepwell.ir.locations import location_of

Guards = frozenset[tuple[SSAValue, bool]]
"""Conditions, and what each must be for a value to be there."""


@dataclass(frozen=True)
class Live:
    """An item and when it is there."""

    item: Item
    guards: Guards = frozenset()

    def only(self, condition: SSAValue, truth: bool) -> Live | None:
        """The same where a condition has a value too; nothing where it cannot have it."""
        return None if (condition, not truth) in self.guards else Live(self.item, self.guards | {(condition, truth)})


def together(lives: Iterable[Live]) -> Guards | None:
    """When all of them are there; None for never."""
    guards: Guards = frozenset().union(*(live.guards for live in lives))
    return None if any((condition, not truth) in guards for condition, truth in guards) else guards


def joined(build: GraphBuilder, first: Live, second: Live) -> Live:
    """Whichever of two is there: by the one condition that they differ in."""
    for condition, truth in sorted(first.guards, key=lambda guard: guard[1]):
        if (condition, not truth) not in second.guards:
            continue
        rest = (first.guards - {(condition, truth)}) | (second.guards - {(condition, not truth)})
        if any((other, not value) in rest for other, value in rest):
            continue
        yes, no = (first, second) if truth else (second, first)
        return Live(chosen(build, condition, yes.item, no.item), rest)
    raise Unsupported(
        "it merges values that may both be there: a branch's values come through Switches by one condition"
    )


def chosen(build: GraphBuilder, condition: SSAValue, yes: Item, no: Item) -> Item:
    """The item of the branch that a condition picks."""
    if yes is no:
        return yes
    if isinstance(yes, TensorArray) and isinstance(no, TensorArray) and len(yes.elements) == len(no.elements):
        return TensorArray(
            tuple(_element(build, condition, a, b) for a, b in zip(yes.elements, no.elements, strict=True))
        )
    left, right = flat(build, yes), flat(build, no)
    if isinstance(yes, SSAValue) != isinstance(no, SSAValue):
        raise Unsupported("one branch gives a tensor, the other an array of tensors")
    if left.type != right.type:
        raise Unsupported(f"its branches give {left.type} and {right.type}: both must have one type")
    op = graph.IfOp(build.reshape(condition, []), [left.type], _yielding(build, left), _yielding(build, right))
    return like(yes, build.emit(op))


def _element(build: GraphBuilder, condition: SSAValue, yes: SSAValue | None, no: SSAValue | None) -> SSAValue | None:
    if yes is None or no is None:
        if yes is no:
            return None
        raise Unsupported("one branch writes an element of a TensorArray, the other does not")
    made = chosen(build, condition, yes, no)
    assert isinstance(made, SSAValue)
    return made


def _yielding(build: GraphBuilder, value: SSAValue) -> Region:
    op = graph.YieldOp(value)
    op.location = location_of([build.node_name])
    return Region(Block([op]))


def flat(build: GraphBuilder, item: Item) -> SSAValue:
    """The one tensor that stands for an item where control flow carries it."""
    return item if isinstance(item, SSAValue) else stored(build, item).tensor


def like(item: Item, value: SSAValue) -> Item:
    """A tensor as the item that it stands for."""
    return value if isinstance(item, SSAValue) else Stored(value)


def same_type(found: SSAValue, wanted: Attribute) -> None:
    """Unsupported where a loop's value changes its type."""
    if found.type != wanted:
        assert isinstance(wanted, TensorType)
        raise Unsupported(
            f"a value that its loop carries changes from {wanted} to {found.type}: only loops whose values keep their types are taken"
        )
