"""Ops whose number of results depends on data, together with what ends their counted dim: the first elements with a value behind them, or the count itself.
Of everything else that reads such a dim there is no code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from xdsl.dialects.builtin import TensorType, i32, i64
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.suppression import suppress
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter
from stepwell.transforms.tensors import shape_of

Counted = graph.CompactOp | graph.NonMaxSuppressionOp | graph.PrefixOp
"""Ops that count."""
Ending = graph.ExtentOp | graph.FillTailOp
"""Ops that have a counted dim and give none."""
Refs = Sequence[SSAValue]


@dataclass(frozen=True)
class Rows:
    """The elements of a counted tensor: what a kernel reads for them, the count in i64, and the element at indices below it."""

    operands: Sequence[Operand]
    count: Callable[[LoopWriter, Refs], SSAValue]
    element: Callable[[LoopWriter, Refs, Sequence[Index]], SSAValue]


def _prefix(op: graph.PrefixOp, phases: Phases) -> Rows:
    extent = shape_of(op.operand)[op.dim]

    def count(body: LoopWriter, refs: Refs) -> SSAValue:
        return body.binary("min", body.binary("max", body.load(refs[1], []), 0), extent)

    operands = [phases.given(op.operand), phases.given(op.count)]
    return Rows(operands, count, lambda body, refs, at: body.load(refs[0], at))


def _compact(op: graph.CompactOp, phases: Phases) -> Rows:
    """One run finds the places of the slices that are kept."""
    extent, dim = shape_of(op.operand)[op.dim], op.dim

    def find(body: LoopWriter, ins: Refs, outs: Refs, number: SSAValue) -> None:
        with body.loop(0, extent, body.index(0)) as loop:
            (found,) = loop.carried
            kept = body.load(ins[0], [loop.index])
            with body.when(kept):
                body.store(body.from_index(loop.index, i32), outs[0], [found])
            loop.next = [body.select(kept, body.index(body.add(found, 1)), found)]
        body.fill(outs[0], [], loop.results[0], extent, body.constant(-1, i32))
        body.store(body.from_index(loop.results[0]), outs[1], [])

    places = phases.kernel([phases.given(op.mask)], [TensorType(i32, [extent]), TensorType(i64, [])], 1, find)

    def element(body: LoopWriter, refs: Refs, at: Sequence[Index]) -> SSAValue:
        place = body.to_index(body.load(refs[1], [at[dim]]))
        return body.load(refs[0], [*at[:dim], place, *at[dim + 1 :]])

    return Rows([phases.given(op.operand), *places], lambda body, refs: body.load(refs[2], []), element)


def _suppressed(op: graph.NonMaxSuppressionOp, phases: Phases) -> Rows:
    """A row stands in the list of the batch and class in which its number falls."""
    lists = suppress(op, phases)
    batch, classes, _ = shape_of(op.scores)

    def through(body: LoopWriter, counts: SSAValue, row: SSAValue) -> list[SSAValue]:
        """All rows, the list of `row` and its place there."""
        zero = body.constant(0, i64)
        with body.loop(0, batch * classes, zero, body.index(0), zero) as loop:
            before, found, place = loop.carried
            total = body.binary("add", before, body.load(counts, body.unravel(loop.index, (batch, classes))))
            here = body.both(body.compare("ge", row, before), body.compare("lt", row, total))
            chosen = body.select(here, loop.index, found)
            loop.next = [total, chosen, body.select(here, body.binary("sub", row, before), place)]
        return loop.results

    def element(body: LoopWriter, refs: Refs, at: Sequence[Index]) -> SSAValue:
        _, number, place = through(body, refs[1], body.from_index(at[0]))
        which = body.unravel(number, (batch, classes))
        box = body.cast(body.load(refs[0], [*which, body.to_index(place)]), i64)
        column = body.index(at[1])
        named = body.select(body.compare_index("eq", column, 0), body.from_index(which[0]), body.from_index(which[1]))
        return body.select(body.compare_index("eq", column, 2), box, named)

    return Rows(lists, lambda body, refs: through(body, refs[1], body.constant(-1, i64))[0], element)


_ROWS: Mapping[type[Operation], Callable[[Any, Phases], Rows]] = {
    graph.CompactOp: _compact,
    graph.NonMaxSuppressionOp: _suppressed,
    graph.PrefixOp: _prefix,
}


def is_ended(value: SSAValue) -> bool:
    """Whether a counted tensor is read by nothing but ops that end its counted dim."""
    users = [use.operation for use in value.uses]
    return isinstance(value.owner, Counted) and bool(users) and all(isinstance(user, Ending) for user in users)


def write_fill_tail(op: graph.FillTailOp, phases: Phases) -> list[Operand]:
    """A run for each element, which reads what exists."""
    counted, type_ = op.operand.owner, op.result.type
    assert isinstance(counted, Counted) and isinstance(type_, TensorType)
    rows, shape = _ROWS[type(counted)](counted, phases), type_.get_shape()

    def write(body: LoopWriter, ins: Refs, outs: Refs, number: SSAValue) -> None:
        at, refs = body.unravel(number, shape), ins[1:]
        exists = body.compare("lt", body.from_index(at[op.dim]), rows.count(body, refs))
        with body.loop(0, body.select(exists, body.index(1), body.index(0)), body.load(ins[0], [])) as once:
            once.next = [rows.element(body, refs, at)]
        body.store(once.results[0], outs[0], at)

    return phases.kernel([phases.given(op.value), *rows.operands], [type_], prod(shape), write)


def write_extent(op: graph.ExtentOp, phases: Phases) -> list[Operand]:
    """One run, which stores the count, or the number that is known."""
    counted, type_ = op.operand.owner, op.result.type
    assert isinstance(type_, TensorType)
    rows = _ROWS[type(counted)](counted, phases) if isinstance(counted, Counted) and is_counted(op) else None

    def write(body: LoopWriter, ins: Refs, outs: Refs, number: SSAValue) -> None:
        known = body.constant(max(0, shape_of(op.operand)[op.dim]), i64)
        body.store(known if rows is None else rows.count(body, ins), outs[0], [])

    return phases.kernel([] if rows is None else rows.operands, [type_], 1, write)


def is_counted(op: graph.ExtentOp) -> bool:
    """Whether the extent is one that an op counts."""
    return shape_of(op.operand)[op.dim] < 0
