"""Converter: NonMaxSuppression; one op where its limits are constants, the loop that it stands for where they are computed."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import i1, i64
from xdsl.ir import Block, Region, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.checks import Tensor
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.bodies import COUNTER, at, ended
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node


def non_max_suppression(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """NonMaxSuppression: graph.non_max_suppression; with limits that are computed, all boxes in the order of their scores, each against those before it."""
    boxes, scores = build.value(node, 0), build.value(node, 1)
    center = node.integer("center_point_box", 0)
    if center not in (0, 1):
        raise Unsupported(f"center_point_box is {center}: it must be 0 or 1")
    limits = [build.maybe_constant(node, index) for index in (2, 3, 4)]
    if any(node.has_input(index) and limit is None for index, limit in zip((2, 3, 4), limits, strict=True)):
        return [_computed(node, build, boxes, scores, bool(center))]
    most, iou, score = (None if limit is None else limit.reshape(-1)[0] for limit in limits)
    op = graph.NonMaxSuppressionOp(
        boxes,
        scores,
        most=max(0, int(most)) if most is not None else 0,
        iou=float(iou) if iou is not None else 0.0,
        score=None if score is None else float(score),
        center=bool(center),
        symbol=build.symbol(),
    )
    return build.counted(op)


def _limit(node: Node, build: GraphBuilder, index: int, kept: SSAValue, default: float) -> SSAValue:
    element = i64 if index == 2 else build.element(kept)
    if not node.has_input(index):
        return build.broadcast(build.emit(graph.ConstantOp(default, element)), shape_of(kept))
    return build.scalar(node, index, element, shape_of(kept))


def _computed(node: Node, build: GraphBuilder, boxes: SSAValue, scores: SSAValue, center: bool) -> SSAValue:
    """A loop over ranks: the box of a rank is kept unless a kept one of a lower rank overlaps it, its score is too low, or enough are kept."""
    batch, classes, count = shape_of(scores)
    order = build.emit_all(graph.TopKOp(scores, dim=2, k=count, largest=True))
    ranked, places = order[0], order[1]
    sides = build.emit(graph.GatherOp(boxes, build.reshape(places, [batch, classes, count, 1]), dims=[1], batch=1))
    overlaps = _overlaps(build, sides, center)
    close = build.emit(graph.CompareOp(overlaps, _limit(node, build, 3, overlaps, 0.0), kind="gt"))
    allowed = build.emit(graph.CompareOp(ranked, _limit(node, build, 4, ranked, -np.inf), kind="gt"))
    allowed = allowed if node.has_input(4) else build.number_of(True, i1, ranked)
    kept = _kept(build, close, allowed)
    before = build.emit(graph.CumulativeOp(build.cast(kept, i64), kind="sum", dim=2))
    within = build.emit(graph.CompareOp(before, _limit(node, build, 2, before, 0), kind="le"))
    chosen = build.reshape(build.binary("and", kept, within), [batch * classes * count])
    owners = [build.emit(graph.IotaOp(i64, [batch, classes, count], dim=dim)) for dim in (0, 1)]
    columns = [build.reshape(part, [batch * classes * count, 1]) for part in (*owners, places)]
    rows = build.emit(graph.ConcatOp(columns, dim=1))
    return build.counted(graph.CompactOp(rows, chosen, dim=0, symbol=build.symbol()))[0]


def _kept(build: GraphBuilder, close: SSAValue, allowed: SSAValue) -> SSAValue:
    """Which are kept, [B, C, N], from which are close, [B, C, N, N], and which may be."""
    batch, classes, count = shape_of(allowed)
    truth = Tensor(i1, (batch, classes, count)).type
    rows, turns = build.transpose(close, [2, 0, 1, 3]), build.transpose(allowed, [2, 0, 1])
    block = Block(arg_types=[COUNTER, truth])
    with build.into(block):
        rank, kept = block.args
        hidden = build.emit(graph.ReduceOp(build.binary("and", at(build, rows, rank), kept), kind="or", dims=[2]))
        takes = build.binary("and", at(build, turns, rank), build.unary("not", hidden))
        here = build.emit(graph.IotaOp(i64, [batch, classes, count], dim=2))
        own = build.emit(graph.CompareOp(here, build.broadcast(rank, shape_of(here)), kind="eq"))
        more = build.binary("and", own, build.along(takes, 0, own))
        result = build.binary("or", kept, more)
    start = build.broadcast(build.emit(graph.ConstantOp(False, i1)), [batch, classes, count])
    return build.emit(graph.LoopOp([start], ended(build, Region(block), [result]), bound=count))


def _overlaps(build: GraphBuilder, boxes: SSAValue, center: bool) -> SSAValue:
    """Intersection over union of each box with each, [B, C, N, N]; 0 where there is no area."""
    *front, count, _ = shape_of(boxes)
    parts = [build.reshape(build.cut(boxes, 3, k, k + 1), [*front, count]) for k in range(4)]
    ends = [_between(build, parts, axis, center) for axis in (0, 1)]
    shape = [*front, count, count]

    def pair(kind: str, value: SSAValue) -> SSAValue:
        rows, columns = (build.emit(graph.BroadcastOp(value, dims=[0, 1, dim], shape=shape)) for dim in (2, 3))
        return build.emit(graph.BinaryOp(rows, columns, kind=kind))

    sides = [build.binary("sub", pair("min", high), pair("max", low)) for low, high in ends]
    inner = build.binary("mul", *(build.binary("max", side, build.number(0, side)) for side in sides))
    area = build.binary("mul", *(build.binary("sub", high, low) for low, high in ends))
    whole = build.binary("sub", pair("add", area), inner)
    zero = build.number(0, inner)
    real = build.binary("and", *(build.emit(graph.CompareOp(part, zero, kind="gt")) for part in (inner, whole)))
    return build.emit(graph.SelectOp(real, build.binary("div", inner, whole), zero))


def _between(build: GraphBuilder, parts: list[SSAValue], axis: int, center: bool) -> tuple[SSAValue, SSAValue]:
    """Low and high end of the boxes along an axis."""
    first, second = parts[axis], parts[axis + 2]
    if not center:
        return build.binary("min", first, second), build.binary("max", first, second)
    half = build.binary("mul", second, build.number(0.5, second))
    return build.binary("sub", first, half), build.binary("add", first, half)
