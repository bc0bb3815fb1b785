"""Updates combined into slices that indices pick."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

from xdsl.dialects.builtin import TensorType, i1, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph_to_loops.order import wide_type
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import LoopWriter
from stepwell.transforms.tensors import shape_of

LOGIC = {"add": "or", "mul": "and"}
"""Sums and products of truth values."""


def write_scatter(op: graph.ScatterOp, phases: Phases) -> list[Operand]:
    """A run for each element of the result, which goes through all updates of its batch in order: each is combined where its indices are those of the
    element. So the order is always the same; the work is that of elements times updates."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element, indices = type_.get_shape(), type_.element_type, shape_of(op.indices)
    wide = element if op.combine == "none" else wide_type(element)
    kind = LOGIC.get(op.combine, op.combine) if element == i1 else op.combine
    picked = indices[op.batch : -1]

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape)
        batch, others = at[: op.batch], [at[dim] for dim in range(op.batch, len(at)) if dim not in op.dims]
        targets = [body.from_index(at[dim]) for dim in op.dims]
        with body.loop(0, prod(picked), body.cast(body.load(ins[0], at), wide)) as loop:
            place = [*batch, *body.unravel(loop.index, picked)]
            parts = [body.cast(body.load(ins[1], [*place, part]), i64) for part in range(len(targets))]
            same = [body.compare("eq", part, target) for part, target in zip(parts, targets, strict=True)]
            update = body.cast(body.load(ins[2], [*place, *others]), wide)
            (total,) = loop.carried
            made = update if kind == "none" else body.binary(kind, total, update)
            loop.next = [body.select(reduce(body.both, same, body.truth()), made, total)]
        body.store(body.cast(loop.results[0], element), outs[0], at)

    return phases.kernel(phases.operands, [type_], prod(shape), write)
