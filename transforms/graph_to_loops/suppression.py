"""Boxes that overlap no better box."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, f64, i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter
from stepwell.transforms.tensors import shape_of


def suppress(op: graph.NonMaxSuppressionOp, phases: Phases) -> list[Operand]:
    """The kept boxes of each batch and class [B, C, K] and their number [B, C]. A run for each list takes box after box in falling order of the score
    and keeps it unless one that is kept overlaps it; the next box is looked for among all, so no order is stored. In f64, as at the graph level."""
    batch, classes, count = shape_of(op.scores)
    most = min(op.most, count)

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        which = body.unravel(number, (batch, classes))
        kept = outs[0]

        def score(box: Index) -> SSAValue:
            return body.cast(body.load(ins[1], [*which, box]), f64)

        zero, none = body.index(0), body.constant(0, f64)
        going = body.constant(int(most > 0), body.truth().type)
        with body.loop(0, count, zero, going, body.falsehood(), none, zero) as boxes:
            found, active, begun, last_score, last = boxes.carried
            start = body.falsehood(), none, zero
            with body.loop(0, body.select(active, body.index(count), zero), *start) as search:
                some, best, place = search.carried
                mine = score(search.index)
                later = body.either(_before(body, last_score, mine), body.compare_index("ugt", search.index, last))
                behind = body.both(body.no(_before(body, mine, last_score)), later)
                open_ = body.either(body.no(begun), behind)
                taken = body.both(open_, body.either(body.no(some), _before(body, mine, best)))
                pairs = (mine, best), (search.index, place)
                search.next = [body.either(some, taken), *(body.select(taken, new, old) for new, old in pairs)]
            some, best, box = search.results
            good = some if op.score is None else body.both(some, body.compare("gt", best, op.score))
            mine_corners = _corners(body, op, ins[0], which[0], box)
            with body.loop(0, body.select(good, found, zero), body.falsehood()) as others:
                other = body.to_index(body.load(kept, [*which, others.index]))
                overlap = _overlap(body, mine_corners, _corners(body, op, ins[0], which[0], other))
                others.next = [body.either(others.carried[0], body.compare("gt", overlap, op.iou))]
            keep = body.both(good, body.no(others.results[0]))
            with body.when(keep):
                body.store(body.from_index(box, i32), kept, [*which, found])
            now = body.select(keep, body.index(body.add(found, 1)), found)
            goes_on = body.both(good, body.compare_index("ult", now, most))
            boxes.next = [now, goes_on, body.truth(), best, box]
        body.fill(kept, which, boxes.results[0], most, body.constant(-1, i32))
        body.store(body.from_index(boxes.results[0]), outs[1], which)

    types = [TensorType(i32, [batch, classes, most]), TensorType(i64, [batch, classes])]
    operands = [phases.given(op.boxes), phases.given(op.scores)]
    return phases.kernel(operands, types, batch * classes, write)


def _before(body: LoopWriter, a: SSAValue, b: SSAValue) -> SSAValue:
    """Whether score `a` comes before `b`: it is larger, or `b` alone is no number."""
    lone = body.both(body.compare("ne", b, b), body.compare("eq", a, a))
    return body.either(body.compare("gt", a, b), lone)


def _corners(
    body: LoopWriter, op: graph.NonMaxSuppressionOp, boxes: SSAValue, image: Index, box: Index
) -> list[SSAValue]:
    """Low and high corner of a box: y, x, y, x."""
    a, b, c, d = (body.cast(body.load(boxes, [image, box, part]), f64) for part in range(4))
    if op.center:
        half = [body.binary("div", side, 2) for side in (d, c)]
        middle = [b, a]
        ends = [[body.binary(kind, m, h) for m, h in zip(middle, half, strict=True)] for kind in ("sub", "add")]
        return [*ends[0], *ends[1]]
    return [body.binary(kind, *pair) for kind in ("min", "max") for pair in ((a, c), (b, d))]


def _area(body: LoopWriter, box: Sequence[SSAValue]) -> SSAValue:
    height, width = (body.binary("sub", box[2 + d], box[d]) for d in range(2))
    return body.binary("mul", height, width)


def _overlap(body: LoopWriter, box: Sequence[SSAValue], other: Sequence[SSAValue]) -> SSAValue:
    """Intersection over union; 0 where there is no area."""
    sides: list[SSAValue] = []
    for d in range(2):
        low, high = body.binary("max", box[d], other[d]), body.binary("min", box[2 + d], other[2 + d])
        sides.append(body.binary("max", body.binary("sub", high, low), 0))
    inner = body.binary("mul", *sides)
    both = body.binary("sub", body.binary("add", _area(body, other), _area(body, box)), inner)
    some = body.both(body.compare("gt", inner, 0), body.compare("gt", both, 0))
    return body.select(some, body.binary("div", inner, body.select(some, both, 1)), 0)
