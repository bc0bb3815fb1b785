"""Non-maximum suppression with results of fixed extent, as TensorRT's EfficientNMS gives them."""

import numpy as np
from xdsl.dialects.builtin import i32, i64

import stepwell
from stepwell.dialects import graph


@stepwell.plugin("EfficientNMS", namespace="examples", types=("f32", "f64"))
def nms(
    boxes,
    scores,
    *,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
    max_output_boxes: int = 100,
    box_coding: int = 0,
):
    """Boxes [N, B, 4] (box_coding 0: two corners; 1: x, y, width, height around the centre) and scores [N, B, classes] give
    the number of detections [N, 1], their boxes as corners [N, max_output_boxes, 4], scores and classes [N, max_output_boxes]: the best of all classes, falling, zeros behind them."""
    if boxes.rank != 3 or scores.rank != 3 or boxes.shape[2] != 4 or boxes.shape[:2] != scores.shape[:2]:
        raise ValueError(f"boxes {boxes} and scores {scores}: they are [N, B, 4] and [N, B, classes]")
    if boxes.dtype != scores.dtype or max_output_boxes < 1 or box_coding not in (0, 1):
        raise ValueError("boxes and scores have one type, max_output_boxes is 1 or more, box_coding 0 or 1")
    found = (boxes.shape[0], max_output_boxes)
    counts, classes = boxes.like((boxes.shape[0], 1), "i32"), boxes.like(found, "i32")
    return counts, boxes.like((*found, 4)), scores.like(found), classes


@nms.reference
def nms_in_numpy(boxes, scores, *, score_threshold, iou_threshold, max_output_boxes, box_coding):
    """Class by class from the highest score down; then the best of all classes (of equal ones the lower class, then the earlier pick)."""
    corners = _corners(boxes, box_coding)
    images, most = len(boxes), max_output_boxes
    out = np.zeros((images, most, 4), boxes.dtype), np.zeros((images, most), scores.dtype)
    counts, classes = np.zeros((images, 1), np.int32), np.zeros((images, most), np.int32)
    for n in range(images):
        rows = [
            (float(scores[n, box, kind]), kind, box)
            for kind in range(scores.shape[2])
            for box in _kept(corners[n], scores[n, :, kind], score_threshold, iou_threshold, most)
        ]
        best = sorted(rows, key=lambda row: -row[0])[:most]
        counts[n] = len(best)
        for place, (score, kind, box) in enumerate(best):
            out[0][n, place], out[1][n, place], classes[n, place] = corners[n, box], score, kind
    return counts, *out, classes


def _corners(boxes, box_coding):
    if box_coding == 0:
        return boxes
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=2)


def _kept(corners, scores, score_threshold, iou_threshold, most):
    kept = []
    low, high = np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])
    for box in np.argsort(-scores, kind="stable"):
        if len(kept) == most or not scores[box] > score_threshold:
            break
        sides = np.minimum(high[box], high[kept]) - np.maximum(low[box], low[kept])
        inner = np.prod(np.maximum(sides, 0), axis=1)
        outer = np.prod(high[kept] - low[kept], axis=1) + np.prod(high[box] - low[box]) - inner
        if not np.any(inner > iou_threshold * outer):
            kept.append(int(box))
    return kept


@nms.graph
def nms_in_ops(build, boxes, scores, *, score_threshold, iou_threshold, max_output_boxes, box_coding):
    """graph.non_max_suppression gives rows (image, class, box); the best of each image are a top_k over the rows that are its own."""
    if box_coding == 1:
        centre, half = build.cut(boxes, 2, 0, 2), build.number(0.5, build.cut(boxes, 2, 0, 2))
        reach = build.binary("mul", build.cut(boxes, 2, 2, 4), half)
        boxes = build.emit(graph.ConcatOp([build.binary(kind, centre, reach) for kind in ("sub", "add")], dim=2))
    images, most = boxes.type.get_shape()[0], max_output_boxes
    by_class = build.transpose(scores, (0, 2, 1))
    limits = {"most": most, "iou": iou_threshold, "score": score_threshold}
    rows = build.emit(graph.NonMaxSuppressionOp(boxes, by_class, **limits, symbol=f"{build.node_name}.rows"))
    filled = build.emit(graph.FillTailOp(rows, build.emit(graph.ConstantOp(-1, i64)), dim=0))
    count = filled.type.get_shape()[0]
    if count == 0:
        wide, narrow = build.zeros(boxes, (images, most, 4)), build.zeros(scores, (images, most))
        return build.zeros(build.cast(narrow, i32), (images, 1)), wide, narrow, build.cast(narrow, i32)

    def column(k):
        return build.reshape(build.cut(filled, 1, k, k + 1), (count,))

    row_scores = build.emit(graph.GatherOp(by_class, filled, dims=[0, 1, 2]))
    owner = build.emit(graph.BroadcastOp(column(0), dims=[1], shape=(images, count)))
    own = build.emit(graph.CompareOp(owner, build.emit(graph.IotaOp(i64, (images, count), dim=0)), kind="eq"))
    spread = build.emit(graph.BroadcastOp(row_scores, dims=[1], shape=(images, count)))
    ranked = build.emit(graph.SelectOp(own, spread, build.number(-np.inf, spread)))
    if count < most:
        lowest = build.emit(graph.ConstantOp(-np.inf, build.element(ranked)))
        ranked = build.emit(graph.PadOp(ranked, lowest, low=[0, 0], high=[0, most - count]))
    values, places = build.emit_all(graph.TopKOp(ranked, dim=1, k=most))
    there = build.emit(graph.CompareOp(values, build.number(-np.inf, values), kind="gt"))
    picks = build.reshape(places, (images, most, 1))
    kinds, picked = (build.emit(graph.GatherOp(column(k), picks, dims=[0])) for k in (1, 2))
    chosen = build.emit(graph.GatherOp(boxes, build.reshape(picked, (images, most, 1)), batch=1, dims=[1]))
    wide = build.emit(graph.BroadcastOp(there, dims=[0, 1], shape=(images, most, 4)))
    counts = build.emit(graph.ReduceOp(build.cast(there, i32), kind="sum", dims=[1]))
    results = [(wide, chosen), (there, values), (there, build.cast(kinds, i32))]
    kept = [build.emit(graph.SelectOp(mask, x, build.number(0, x))) for mask, x in results]
    return build.reshape(counts, (images, 1)), *kept
