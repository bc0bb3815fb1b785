"""Proposal (Faster R-CNN): boxes from anchors and offsets, the best of them without overlaps. The C++ layer, and py-faster-rcnn's Python layer."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.boxes import compacted, kept_boxes, rows_at
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import Unsupported, shape_of

LONGEST = 4096
"""Most characters of a Python layer's param_str."""
MOST_ANCHORS = 1 << 22
"""Most anchors of a layer: they are computed while importing."""


@dataclass(frozen=True)
class _Settings:
    """Defaults are those of py-faster-rcnn's test configuration."""

    feat_stride: int = 16
    base_size: int = 16
    min_size: int = 16
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    pre_nms_topn: int = 6000
    post_nms_topn: int = 300
    nms_thresh: float = 0.7


def proposal(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Proposal, with its parameters in proposal_param."""
    given, default = layer.proposal_param, _Settings()
    names = ("feat_stride", "base_size", "min_size", "pre_nms_topn", "post_nms_topn", "nms_thresh")
    settings = _Settings(
        ratios=tuple(given.ratio) or default.ratios,
        scales=tuple(given.scale) or default.scales,
        **{name: getattr(given, name) for name in names},
    )
    return _proposed(build, layer, bottoms, settings)


def foreign_code(layer: Message) -> str:
    """Why a Python layer cannot be taken: but for rpn.proposal_layer's ProposalLayer the file has only its name. Empty for that one."""
    module, name = layer.python_param.module, layer.python_param.layer
    if (module, name) == ("rpn.proposal_layer", "ProposalLayer"):
        return ""
    return (
        f"what it computes is Python code, {module or '?'}.{name or '?'}, which the file does not hold: take the network before it, "
        f"--outputs {','.join(layer.bottom)}"
    )


def python(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """A Python layer whose code is known: ProposalLayer."""
    if reason := foreign_code(layer):
        raise Unsupported(reason)
    return _proposed(build, layer, bottoms, _settings(layer.python_param.param_str))


def _settings(text: str) -> _Settings:
    """The parameters of the Python layer: `'feat_stride': 16`, perhaps `'scales': [8, 16, 32]`, with or without braces."""
    body = text.strip().removeprefix("{").removesuffix("}")
    try:
        held: Any = ast.literal_eval("{" + body + "}") if len(text) <= LONGEST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        held = None
    if not isinstance(held, dict) or set(held) - {"feat_stride", "scales", "ratios"}:
        raise Unsupported(f"param_str {text[:80]!r} is not understood: feat_stride, scales and ratios are")
    try:
        given: dict[str, Any] = {name: tuple(map(float, held[name])) for name in ("scales", "ratios") if name in held}
        return _Settings(feat_stride=int(held.get("feat_stride", 16)), **given)
    except (TypeError, ValueError, OverflowError):
        raise Unsupported(f"param_str {text[:80]!r}: feat_stride is a number, scales and ratios are lists") from None


def anchors(base: int, ratios: Sequence[float], scales: Sequence[float]) -> Array:
    """Boxes [ratios * scales, 4] around the first cell, by py-faster-rcnn's generate_anchors: widths and heights of a ratio are rounded, half to even."""
    found, centre = [], 0.5 * (base - 1)
    for ratio in ratios:
        width = np.round(np.sqrt(base * base / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half = np.array([width * scale - 1, height * scale - 1]) * 0.5
            found.append([*(centre - half), *(centre + half)])
    return np.asarray(found, np.float32)


def _proposed(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue], settings: _Settings) -> list[SSAValue]:
    """Boxes [n, 5] (image 0, x1, y1, x2, y2), n counted, at most post_nms_topn, from the best on; their scores [n, 1] as a second top."""
    cells, count = _check(bottoms, settings), len(settings.ratios) * len(settings.scales)
    every = [0, 2, 3, 1]
    scores = build.cut(bottoms[0], 1, count, 2 * count)
    scores = build.reshape(build.transpose(scores, every), [1, cells * count])
    offsets = build.reshape(build.transpose(bottoms[1], every), [cells * count, 4])
    image = build.reshape(bottoms[2], [3])
    size = build.emit(graph.ReverseOp(build.cut(image, 0, 0, 2), dims=[0]))
    first, second = _clipped(build, size, _moved(build, _all_anchors(build, bottoms[1], settings), offsets))

    extent = build.binary("add", build.binary("sub", second, first), build.number(1, first))
    least = build.binary("mul", build.cut(image, 0, 2, 3), build.number(settings.min_size, build.cut(image, 0, 2, 3)))
    large = build.emit(graph.CompareOp(extent, build.broadcast(least, shape_of(extent)), kind="ge"))
    large = build.reshape(build.emit(graph.ReduceOp(large, kind="and", dims=[1])), [1, cells * count])
    ranked = build.emit(graph.SelectOp(large, scores, build.number(-np.inf, scores)))
    most = min(settings.pre_nms_topn, cells * count)
    values, places = build.emit_all(graph.TopKOp(ranked, dim=1, k=most))
    boxes = build.reshape(build.emit(graph.ConcatOp([first, second], dim=1)), [1, cells * count, 4])
    chosen = rows_at(build, boxes, places)
    rows = build.reshape(chosen, [most, 4])

    # Areas count pixels: a box from 3 to 5 is 3 wide, so its far corner is moved by one.
    first, second = build.cut(rows, 1, 0, 2), build.cut(rows, 1, 2, 4)
    wide = build.emit(graph.ConcatOp([first, build.binary("add", second, build.number(1, second))], dim=1))
    lowest = float(np.finfo(np.float32).min)
    kept = kept_boxes(
        build, build.reshape(wide, [1, most, 4]), values, settings.nms_thresh, lowest, min(settings.post_nms_topn, most)
    )
    kept, symbol = build.reshape(kept, [most]), build.symbol()
    column = build.reshape(values, [most, 1])
    table = build.emit(graph.ConcatOp([build.zeros(column, [most, 1]), rows], dim=1))
    tops = [table, column][: max(1, len(layer.top))]
    return [compacted(build, top, kept, symbol) for top in tops]


def _check(bottoms: Sequence[SSAValue], settings: _Settings) -> int:
    """The number of cells."""
    scores, offsets, image = map(shape_of, bottoms)
    count = len(settings.ratios) * len(settings.scales)
    fits = len(scores) == len(offsets) == 4 and scores[:2] == (1, 2 * count) and offsets == (1, 4 * count, *scores[2:])
    if not fits or image not in ((1, 3), (3,)) or 0 in scores:
        raise Unsupported(
            f"scores {list(scores)}, offsets {list(offsets)} and image {list(image)} do not fit {count} anchors: one image, [1, {2 * count}, H, W], "
            f"[1, {4 * count}, H, W] and [1, 3]"
        )
    numbers = (*settings.ratios, *settings.scales, settings.base_size, settings.pre_nms_topn, settings.post_nms_topn)
    if not all(0 < number < np.inf for number in numbers):
        raise Unsupported("ratios, scales, base_size, pre_nms_topn and post_nms_topn must be positive")
    if scores[2] * scores[3] * count > MOST_ANCHORS:
        raise Unsupported(f"{scores[2]} by {scores[3]} cells have more than {MOST_ANCHORS} anchors")
    return scores[2] * scores[3]


def _all_anchors(build: CaffeBuilder, offsets: SSAValue, settings: _Settings) -> tuple[SSAValue, SSAValue]:
    """The corners [cells * anchors, 2] of every anchor at every cell."""
    rows, columns = shape_of(offsets)[2:]
    x, y = np.meshgrid(np.arange(columns) * settings.feat_stride, np.arange(rows) * settings.feat_stride)
    shifts = np.stack([x, y], axis=-1).reshape(-1, 1, 2).astype(np.float32)
    boxes = anchors(settings.base_size, settings.ratios, settings.scales)
    low, high = (
        build.weight(f"{build.node_name}.{name}", (shifts + part).reshape(-1, 2))
        for name, part in (("low", boxes[:, :2]), ("high", boxes[:, 2:]))
    )
    return low, high


def _moved(build: CaffeBuilder, corners: tuple[SSAValue, SSAValue], offsets: SSAValue) -> tuple[SSAValue, SSAValue]:
    """bbox_transform_inv: centres move by offset * extent, extents grow by exp(offset); an extent is the difference of corners plus one."""
    low, high = corners
    extent = build.binary("add", build.binary("sub", high, low), build.number(1, low))
    centre = build.binary("add", low, build.binary("mul", extent, build.number(0.5, extent)))
    centre = build.binary("add", build.binary("mul", build.cut(offsets, 1, 0, 2), extent), centre)
    grown = build.binary("mul", build.unary("exp", build.cut(offsets, 1, 2, 4)), extent)
    half = build.binary("mul", grown, build.number(0.5, grown))
    return build.binary("sub", centre, half), build.binary("add", centre, half)


def _clipped(build: CaffeBuilder, size: SSAValue, corners: tuple[SSAValue, SSAValue]) -> tuple[SSAValue, SSAValue]:
    """Corners inside of the image: 0 to width - 1 and height - 1."""
    last = build.binary("sub", size, build.number(1, size))
    first, second = (
        build.binary("max", build.binary("min", corner, build.along(last, 1, corner)), build.number(0, corner))
        for corner in corners
    )
    return first, second
