"""Caffe layers of detection networks that hang on shapes only (PriorBox), or pool from boxes (ROIPooling)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np
from google.protobuf.message import Message
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import Unsupported, shape_of

SAME_RATIO = 1e-6
"""Aspect ratios this near to each other are one."""
MOST_BOXES = 1 << 22
"""Most prior boxes of a layer: they are computed while importing."""


def prior_box(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """PriorBox (SSD): corners of boxes around every cell of the first bottom, over the extents of the image, and their variances:
    [1, 2, cells * boxes * 4]. A constant, since only shapes decide it."""
    parameters = layer.prior_box_param
    if not parameters.min_size or len(parameters.max_size) not in (0, len(parameters.min_size)):
        raise Unsupported("prior_box_param needs min_size, and max_size for none or all of them")
    rows, columns = shape_of(bottoms[0])[2:]
    height, width = _image(parameters, bottoms)
    total = rows * columns * len(parameters.min_size) * (2 + 2 * len(parameters.aspect_ratio))
    if not 0 < total <= MOST_BOXES:
        raise Unsupported(f"{rows} by {columns} cells have {total} boxes: 1 to {MOST_BOXES} are supported")
    if not all(0 < size < inf for size in (*parameters.min_size, *parameters.max_size, *parameters.aspect_ratio)):
        raise Unsupported("min_size, max_size and aspect_ratio must be positive")
    steps = _steps(parameters, (height / rows, width / columns))
    sizes = np.asarray(_sizes(parameters), np.float32)
    y, x = (
        (np.arange(n, dtype=np.float32) + np.float32(parameters.offset)) * np.float32(step)
        for n, step in zip((rows, columns), steps)
    )
    centres = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), -1)
    half = sizes[None, None] / np.float32(2)
    scale = np.asarray([width, height], np.float32)
    boxes = np.concatenate([(centres - half) / scale, (centres + half) / scale], -1).reshape(-1, 4)
    if parameters.clip:
        boxes = np.clip(boxes, 0, 1)
    result = np.stack([boxes.reshape(-1), np.tile(_variances(parameters), len(boxes))])[None]
    return [build.weight(f"{build.node_name}.boxes", result.astype(np.float32))]


def _image(parameters: Message, bottoms: Sequence[SSAValue]) -> tuple[int, int]:
    if parameters.img_size:
        return parameters.img_size, parameters.img_size
    if parameters.img_h and parameters.img_w:
        return parameters.img_h, parameters.img_w
    if len(bottoms) < 2:
        raise Unsupported("the second bottom, the image, is missing")
    height, width = shape_of(bottoms[1])[2:]
    return height, width


def _steps(parameters: Message, cells: tuple[float, float]) -> tuple[float, float]:
    """The distance of cells in pixels, down and across."""
    if parameters.step:
        return parameters.step, parameters.step
    return parameters.step_h or cells[0], parameters.step_w or cells[1]


def _sizes(parameters: Message) -> list[tuple[float, float]]:
    """Width and height of the boxes of one cell, in the order of the layer's output."""
    ratios = [1.0]
    for ratio in parameters.aspect_ratio:
        new = [ratio, 1 / ratio] if parameters.flip else [ratio]
        if all(abs(ratio - known) >= SAME_RATIO for known in ratios):
            ratios += new
    sizes = []
    for index, least in enumerate(parameters.min_size):
        sizes.append((least, least))
        if parameters.max_size:
            between = sqrt(least * parameters.max_size[index])
            sizes.append((between, between))
        sizes += [(least * sqrt(r), least / sqrt(r)) for r in ratios if abs(r - 1) >= SAME_RATIO]
    return sizes


def _variances(parameters: Message) -> Array:
    given = list(parameters.variance) or [0.1]
    if len(given) not in (1, 4):
        raise Unsupported(f"there are {len(given)} variances: one or four are needed")
    return np.asarray(given * (4 // len(given)), np.float32)


def roi_pooling(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ROIPooling (Fast R-CNN): the maxima of a grid over each box; rows of the second bottom are image, x1, y1, x2, y2."""
    x, rois = bottoms
    parameters = layer.roi_pooling_param
    rows = build.reshape(rois, [shape_of(rois)[0], 5])
    images = build.cast(build.reshape(build.cut(rows, 1, 0, 1), [shape_of(rois)[0]]), i64)
    size = [parameters.pooled_h, parameters.pooled_w]
    op = graph.RoiPoolOp(x, build.cut(rows, 1, 1, 5), images, kind="max", extents=size, scale=parameters.spatial_scale)
    return [build.emit(op)]
