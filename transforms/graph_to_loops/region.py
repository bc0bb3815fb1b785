"""Patches of boxes: pooled cells and interpolated points. Coordinates are f64, as at the graph level, so that no box falls on another cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import TensorType, f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter_resize import MOST_SAMPLES
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter, Scalar
from stepwell.transforms.tensors import shape_of


@dataclass(frozen=True)
class _Box:
    """A box of one image and channel: `corner` and `far` in (row, column) order."""

    body: LoopWriter
    op: graph.RoiPoolOp
    image: SSAValue
    plane: tuple[Index, Index]
    corner: list[SSAValue]
    far: list[SSAValue]

    def pixel(self, row: Index, column: Index) -> SSAValue:
        """An element of the image in f64."""
        return self.body.cast(self.body.load(self.image, [*self.plane, row, column]), f64)

    def index(self, value: SSAValue) -> SSAValue:
        """A whole f64 as an index."""
        return self.body.to_index(self.body.cast(value, i64))


def _clamped(body: LoopWriter, value: SSAValue, low: Scalar, high: Scalar) -> SSAValue:
    return body.binary("min", body.binary("max", value, low), high)


def write_roi_pool(op: graph.RoiPoolOp, phases: Phases) -> list[Operand]:
    """A run for each value of the result."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element, (images, _, *extents) = type_.get_shape(), type_.element_type, shape_of(op.operand)

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape)
        x1, y1, x2, y2 = (body.cast(body.load(ins[1], [at[0], part]), f64) for part in range(4))
        image = body.binary("min", body.binary("max", body.load(ins[2], [at[0]]), 0), images - 1)
        box = _Box(body, op, ins[0], (body.to_index(image), at[1]), [y1, x1], [y2, x2])
        made = _cells(box, at[2:], extents) if op.kind == "max" else _points(box, at[2:], extents)
        finite = body.truth()
        for value in (x1, y1, x2, y2):
            nothing = body.binary("sub", value, value)  # not 0 where it is infinite or no number
            finite = body.both(finite, body.compare("eq", nothing, 0))
        body.store(body.cast(body.select(finite, made, float("nan")), element), outs[0], at)

    return phases.kernel(phases.operands, [type_], prod(shape), write)


def _cells(box: _Box, bin: Sequence[Index], extents: Sequence[int]) -> SSAValue:
    """The largest of the whole cells of a bin, 0 of none."""
    body, op = box.body, box.op
    ranges: list[tuple[SSAValue, SSAValue]] = []
    for d in range(2):
        start, end = (_rounded(body, body.binary("mul", v, op.scale)) for v in (box.corner[d], box.far[d]))
        size = body.binary("max", body.binary("add", body.binary("sub", end, start), 1), 1)
        step, position = body.binary("div", size, op.extents[d]), body.cast(body.from_index(bin[d]), f64)
        low = body.unary("floor", body.binary("mul", position, step))
        high = body.unary("ceil", body.binary("mul", body.binary("add", position, 1), step))
        both = (_clamped(body, body.binary("add", edge, start), 0, extents[d]) for edge in (low, high))
        first, last = (box.index(edge) for edge in both)
        ranges.append((first, last))
    (top, bottom), (left, right) = ranges
    with body.loop(top, bottom, body.constant(float("-inf"), f64)) as rows:
        with body.loop(left, right, rows.carried[0]) as columns:
            columns.next = [body.binary("max", columns.carried[0], box.pixel(rows.index, columns.index))]
        rows.next = columns.results
    some = body.both(body.compare_index("slt", top, bottom), body.compare_index("slt", left, right))
    return body.select(some, rows.results[0], 0)


def _rounded(body: LoopWriter, value: SSAValue) -> SSAValue:
    """To the nearest whole number, halves away from 0."""
    up = body.unary("floor", body.binary("add", body.unary("abs", value), 0.5))
    return body.select(body.compare("lt", value, 0), body.unary("neg", up), up)


def _points(box: _Box, bin: Sequence[Index], extents: Sequence[int]) -> SSAValue:
    """The mean of interpolated points of a bin, or the largest weighted neighbour of any."""
    body, op = box.body, box.op
    starts, steps, counts = list[SSAValue](), list[SSAValue](), list[SSAValue]()
    for d in range(2):
        low = body.binary("sub", body.binary("mul", box.corner[d], op.scale), op.offset)
        size = body.binary("mul", body.binary("sub", box.far[d], box.corner[d]), op.scale)
        step = body.binary("div", size if op.offset else body.binary("max", size, 1), op.extents[d])
        wanted = _clamped(body, body.unary("ceil", step), 1, MOST_SAMPLES)
        starts.append(low)
        steps.append(step)
        counts.append(body.constant(op.samples, f64) if op.samples else wanted)
    average = op.kind == "align_average"

    def point(d: int, number: SSAValue) -> list[tuple[SSAValue, SSAValue]]:
        """The two neighbours of a point along a dim, with their weights: none for a point more than one element outside."""
        share = body.binary("div", body.binary("add", body.cast(body.from_index(number), f64), 0.5), counts[d])
        place = body.binary("add", body.cast(body.from_index(bin[d]), f64), share)
        where = body.binary("add", starts[d], body.binary("mul", place, steps[d]))
        counted = body.both(body.compare("ge", where, -1), body.compare("le", where, extents[d]))
        inside = _clamped(body, where, 0, extents[d] - 1)
        first = body.unary("floor", inside)
        second = body.binary("min", body.binary("add", first, 1), extents[d] - 1)
        rest = body.binary("sub", inside, first)
        weights = body.binary("sub", 1, rest), rest
        pairs = zip((first, second), weights, strict=True)
        return [(box.index(neighbour), body.select(counted, weight, 0)) for neighbour, weight in pairs]

    start = body.constant(0.0 if average else float("-inf"), f64)
    with body.loop(0, box.index(counts[0]), start) as rows:
        lines = point(0, rows.index)
        with body.loop(0, box.index(counts[1]), rows.carried[0]) as columns:
            (total,) = columns.carried
            for column, across in point(1, columns.index):
                for row, down in lines:
                    part = body.binary("mul", box.pixel(row, column), body.binary("mul", down, across))
                    total = body.binary("add" if average else "max", total, part)
            columns.next = [total]
        rows.next = columns.results
    return body.binary("div", rows.results[0], body.binary("mul", *counts)) if average else rows.results[0]
