"""Branches and loops with small bodies, for `op_parameters`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from xdsl.dialects.builtin import TensorType, f32, i1, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import graph
from stepwell.testing.strategies.op_data import tensors
from stepwell.testing.strategies.parameters import OpParameters

CONDITION, COUNT = TensorType(i1, []), TensorType(i64, [])
KINDS = st.lists(st.sampled_from(["relu", "neg", "tanh", "abs"]), max_size=3)


def _chain(block: Block, value: SSAValue, kinds: Sequence[str]) -> SSAValue:
    """`value` through some unary ops at the end of a block."""
    for kind in kinds:
        op = graph.UnaryOp(value, kind=kind)
        block.add_op(op)
        value = op.result
    return value


def _branch(value: SSAValue, kinds: Sequence[str]) -> Region:
    block = Block()
    block.add_op(graph.YieldOp(_chain(block, value, kinds)))
    return Region(block)


@st.composite
def _if(draw: DrawFn) -> OpParameters:
    type, kinds, others = draw(tensors(st.just(f32))), draw(KINDS), draw(KINDS)

    def make(operands: Sequence[SSAValue]) -> Operation:
        condition, value = operands
        return graph.IfOp(condition, [value.type], _branch(value, kinds), _branch(value, others))

    return OpParameters(graph.IfOp, (CONDITION, type), make=make)


def _body(types: Sequence[Attribute], outer: SSAValue, kinds: Sequence[str], goes_on: bool, stacks: bool) -> Region:
    """Adds a value from outside, applies `kinds`; as a while loop it goes on while the iteration is even."""
    block = Block(arg_types=[COUNT, *types])
    iteration, carried = block.args
    added = graph.BinaryOp(carried, outer, kind="add")
    block.add_op(added)
    value = _chain(block, added.result, kinds)
    front: list[SSAValue] = []
    if goes_on:
        one = graph.ConstantOp(1, i64)
        odd = graph.BinaryOp(iteration, one, kind="and")
        even = graph.CompareOp(odd, one, kind="ne")
        block.add_ops([one, odd, even])
        front = [even.result]
    block.add_op(graph.YieldOp(*front, value, *([value] if stacks else [])))
    return Region(block)


@st.composite
def _loop(draw: DrawFn) -> OpParameters:
    type, kinds = draw(tensors(st.just(f32), 0, 2)), draw(KINDS)
    counted, goes_on, stacks = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    bound = 8 if counted or goes_on else draw(st.integers(0, 3))  # a trip count that is an input is at most 7

    def make(operands: Sequence[SSAValue]) -> Operation:
        carried, outer, *rest = operands
        controls = iter(rest)
        trip = next(controls) if counted else None
        condition = next(controls) if goes_on else None
        body = _body([carried.type], outer, kinds, goes_on, stacks)
        return graph.LoopOp([carried], body, trip=trip, condition=condition, bound=bound, symbol="steps")

    operands = (type, type, *([COUNT] if counted else []), *([CONDITION] if goes_on else []))
    return OpParameters(graph.LoopOp, operands, make=make)


CONTROL: Mapping[str, Callable[[], SearchStrategy[OpParameters]]] = {"graph.if": _if, "graph.loop": _loop}
"""Op -> its parameters."""
