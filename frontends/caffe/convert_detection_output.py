"""DetectionOutput (SSD): boxes from offsets and prior boxes, suppression within each class, the best of each image."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from google.protobuf.message import Message
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.boxes import best_in_place, compacted, index_along, kept_boxes, rows_at
from stepwell.frontends.caffe.layer import CaffeBuilder, enum_name
from stepwell.frontends.emitter import Unsupported, shape_of

ROW = 7
"""Numbers of a detection: image, class, score, x1, y1, x2, y2."""


def detection_output(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """DetectionOutput of offsets, scores and prior boxes: [1, 1, n, 7], n counted, at most keep_top_k for each image. Rows stand by image, class and falling
    score; without any detection there is one row of -1 for each image, its number first, as in Caffe."""
    parameters = layer.detection_output_param
    _check(parameters, bottoms)
    images, priors, classes = shape_of(bottoms[0])[0], shape_of(bottoms[2])[2] // 4, parameters.num_classes
    labels = [label for label in range(classes) if label != parameters.background_label_id]
    located = 1 if parameters.share_location else classes
    offsets = build.reshape(bottoms[0], [images, priors, located, 4])
    boxes = build.transpose(_decoded(build, parameters, offsets, bottoms[2]), [0, 2, 1, 3])
    scores = build.transpose(build.reshape(bottoms[1], [images, priors, classes]), [0, 2, 1])
    scores = _without(build, scores, labels)
    boxes = boxes if located == 1 else _without(build, boxes, labels)

    most = _limit(parameters.nms_param, "top_k", priors)
    values, places = build.emit_all(graph.TopKOp(scores, dim=2, k=most))
    candidates = _at_places(build, boxes, places)
    lists = images * len(labels)
    kept = kept_boxes(
        build,
        build.reshape(candidates, [lists, most, 4]),
        build.reshape(values, [lists, most]),
        parameters.nms_param.nms_threshold,
        parameters.confidence_threshold if parameters.HasField("confidence_threshold") else None,
    )
    per_image = len(labels) * most
    table = build.reshape(_table(build, labels, values, candidates), [images, per_image, ROW])
    kept = build.reshape(kept, [images, per_image])
    limit = _limit(parameters, "keep_top_k", per_image)
    if limit < per_image:
        ordered, kept = best_in_place(build, build.reshape(values, [images, per_image]), kept, limit)
        table = rows_at(build, table, ordered)
    return [_detections(build, table, kept)]


def _check(parameters: Message, bottoms: Sequence[SSAValue]) -> None:
    offsets, scores, priors = map(shape_of, bottoms)
    classes, located = parameters.num_classes, 1 if parameters.share_location else parameters.num_classes
    boxes = priors[2] // 4 if len(priors) == 3 else 0
    images = offsets[0] if offsets else 0
    if not images or not boxes or priors != (1, 2, 4 * boxes):
        raise Unsupported(f"prior boxes of shape {list(priors)} for {images} images: [1, 2, 4 * boxes] is needed")
    if prod(offsets) != images * boxes * located * 4 or prod(scores) != images * boxes * classes:
        raise Unsupported(
            f"offsets {list(offsets)} and scores {list(scores)} do not fit {boxes} boxes of {classes} classes"
        )
    if not set(range(classes)) - {parameters.background_label_id}:
        raise Unsupported(f"num_classes is {classes}: there must be a class beside the background")
    nms = parameters.nms_param
    if nms.eta < 1 and nms.nms_threshold > 0.5:
        raise Unsupported(f"nms_param.eta is {nms.eta:g}: a threshold that falls from box to box is not supported")


def _limit(parameters: Message, name: str, most: int) -> int:
    """A bound that -1 or no value leaves open."""
    given = getattr(parameters, name) if parameters.HasField(name) else -1
    if given == 0:
        raise Unsupported(f"{name} is 0: nothing would be left")
    return min(given, most) if given > 0 else most


def _decoded(build: CaffeBuilder, parameters: Message, offsets: SSAValue, priors: SSAValue) -> SSAValue:
    """Boxes [images, priors, sets, 4] from offsets of that shape and priors [1, 2, priors * 4]: corners and variances."""
    count, shape = shape_of(priors)[2] // 4, shape_of(offsets)
    rows = build.reshape(priors, [2, count, 4])

    def prior(kind: int, begin: int) -> SSAValue:
        part = build.cut(build.cut(rows, 0, kind, kind + 1), 2, begin, begin + 2)
        return build.reshape(part, [count, 2])

    def spread(value: SSAValue) -> SSAValue:
        return build.emit(graph.BroadcastOp(value, dims=[1, 3], shape=[*shape[:3], 2]))

    low, high = build.cut(offsets, 3, 0, 2), build.cut(offsets, 3, 2, 4)
    if not parameters.variance_encoded_in_target:
        low, high = (build.binary("mul", spread(prior(1, b)), x) for b, x in ((0, low), (2, high)))
    first, second = prior(0, 0), prior(0, 2)
    size = spread(build.binary("sub", second, first))
    kind = enum_name(parameters, "code_type")
    if kind == "CENTER_SIZE":
        middle = build.binary("add", first, second)
        middle = spread(build.binary("div", middle, build.number(2, middle)))
        centre = build.binary("add", build.binary("mul", low, size), middle)
        extent = build.binary("mul", build.unary("exp", high), size)
        half = build.binary("div", extent, build.number(2, extent))
        corners = [build.binary("sub", centre, half), build.binary("add", centre, half)]
    else:
        if kind == "CORNER_SIZE":
            low, high = (build.binary("mul", x, size) for x in (low, high))
        corners = [build.binary("add", spread(first), low), build.binary("add", spread(second), high)]
    return build.emit(graph.ConcatOp(corners, dim=3))


def _without(build: CaffeBuilder, values: SSAValue, labels: Sequence[int]) -> SSAValue:
    """The slices of dim 1 for these labels: all, or all but one."""
    classes = shape_of(values)[1]
    if len(labels) == classes:
        return values
    gap = next(label for label in range(classes) if label not in labels)
    parts = [build.cut(values, 1, begin, end) for begin, end in ((0, gap), (gap + 1, classes)) if begin < end]
    return parts[0] if len(parts) == 1 else build.emit(graph.ConcatOp(parts, dim=1))


def _at_places(build: CaffeBuilder, boxes: SSAValue, places: SSAValue) -> SSAValue:
    """Boxes [images, classes, K, 4] at places [images, classes, K], of boxes [images, classes or 1, priors, 4]."""
    images, sets, priors, _ = shape_of(boxes)
    indices = build.reshape(places, [*shape_of(places), 1])
    if sets == shape_of(places)[1]:
        return build.emit(graph.GatherOp(boxes, indices, dims=[2], batch=2))
    return build.emit(graph.GatherOp(build.reshape(boxes, [images, priors, 4]), indices, dims=[1], batch=1))


def _table(build: CaffeBuilder, labels: Sequence[int], scores: SSAValue, boxes: SSAValue) -> SSAValue:
    """Rows [images, classes, K, 7]."""
    column = (*shape_of(scores), 1)
    image = index_along(build, scores, column, 0)
    names = build.weight(f"{build.node_name}.labels", np.asarray(labels, np.float32))
    label = build.emit(graph.BroadcastOp(names, dims=[1], shape=column))
    return build.emit(graph.ConcatOp([image, label, build.reshape(scores, column), boxes], dim=3))


def _detections(build: CaffeBuilder, table: SSAValue, kept: SSAValue) -> SSAValue:
    """[1, 1, n, 7]: the kept rows of [images, M, 7], or where there is none the rows that say so."""
    images, most, _ = shape_of(table)
    rows = images * most
    table, kept = build.reshape(table, [rows, ROW]), build.reshape(kept, [rows])
    found = build.emit(graph.ReduceOp(kept, kind="or", dims=[0]))
    number = index_along(build, table, (rows, 1), 0)
    empty = build.broadcast(build.number(-1, build.cut(table, 1, 0, 1)), [rows, ROW - 1])
    absent = build.emit(graph.ConcatOp([number, empty], dim=1))
    table = build.emit(graph.SelectOp(build.broadcast(found, [rows, ROW]), table, absent))
    index = build.emit(graph.IotaOp(i64, (rows,), dim=0))
    first = build.emit(graph.CompareOp(index, build.number(images, index), kind="lt"))
    shown = build.emit(graph.SelectOp(build.broadcast(found, [rows]), kept, first))
    counted = compacted(build, table, shown, build.symbol())
    return build.reshape(counted, [1, 1, *shape_of(counted)])
