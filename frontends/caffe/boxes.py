"""What converters of detection layers share: suppression of overlapping boxes as a mask, and the rows that a mask keeps."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import shape_of


def kept_boxes(
    build: CaffeBuilder, boxes: SSAValue, scores: SSAValue, iou: float, least: float | None, most: int | None = None
) -> SSAValue:
    """[B, K] of i1: true for the boxes [B, K, 4] (x1, y1, x2, y2) of each list that score above `least` (None: whatever they score) and overlap none that is
    better by more than `iou`, at most `most`. A box whose second corner lies before its first has no area: it overlaps nothing."""
    lists, count, _ = shape_of(boxes)
    first = build.cut(boxes, 2, 0, 2)
    second = build.binary("max", build.cut(boxes, 2, 2, 4), first)
    op = graph.NonMaxSuppressionOp(
        build.emit(graph.ConcatOp([first, second], dim=2)),
        build.reshape(scores, [lists, 1, count]),
        most=count if most is None else most,
        iou=iou,
        score=least,
        symbol=build.symbol(),
    )
    rows = build.emit(op)
    places = build.emit(graph.FillTailOp(rows, build.emit(graph.ConstantOp(-1, i64)), dim=0))
    none = build.truth(False, [lists, 1, count])
    mask = build.emit(graph.ScatterOp(none, places, build.truth(True, shape_of(places)[:1]), dims=[0, 1, 2]))
    return build.reshape(mask, [lists, count])


def best_in_place(build: CaffeBuilder, scores: SSAValue, kept: SSAValue, most: int) -> tuple[SSAValue, SSAValue]:
    """Positions [B, M] of the `most` best among the kept of each row of scores [B, K], in the order in which they stand there, and [B, M] of i1: which are
    kept; the others come last."""
    _, count = shape_of(scores)
    ranked = build.emit(graph.SelectOp(kept, scores, build.number(-np.inf, scores)))
    values, places = build.emit_all(graph.TopKOp(ranked, dim=1, k=most))
    valid = build.emit(graph.CompareOp(values, build.number(-np.inf, values), kind="gt"))
    known = build.emit(graph.SelectOp(valid, places, build.number(count, places)))
    ordered = build.emit(graph.TopKOp(known, dim=1, k=most, largest=False))
    return ordered, build.emit(graph.CompareOp(ordered, build.number(count, ordered), kind="lt"))


def rows_at(build: CaffeBuilder, table: SSAValue, places: SSAValue) -> SSAValue:
    """Rows [B, M, W] of a table [B, K, W] at places [B, M]."""
    indices = build.reshape(places, [*shape_of(places), 1])
    return build.emit(graph.GatherOp(table, indices, dims=[1], batch=1))


def index_along(build: CaffeBuilder, like: SSAValue, shape: tuple[int, ...], dim: int) -> SSAValue:
    """Each element's index along a dim, in the element type of `like`."""
    return build.emit(graph.IotaOp(build.element(like), shape, dim=dim))


def compacted(build: CaffeBuilder, table: SSAValue, mask: SSAValue, symbol: str) -> SSAValue:
    """The rows of a table whose mask is true; their count is `symbol`."""
    return build.emit(graph.CompactOp(table, mask, dim=0, symbol=symbol))
