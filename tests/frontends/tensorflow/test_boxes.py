"""Crops, boxes weighed down softly, and the bicubic resize of TensorFlow 1, against loops in Python."""

from __future__ import annotations

from math import ceil, exp, floor
from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import run_operator

from stepwell.runtime.errors import ModelError

RNG = np.random.default_rng(31)


def _overlap(a: Any, b: Any) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (a, b)]
    return shared / (sum(areas) - shared) if min(areas) > 0 else 0.0


def _softly(
    boxes: Any, scores: Any, most: int, iou: float, score: float, sigma: float
) -> tuple[list[int], list[float]]:
    left, kept, values = dict(enumerate(map(float, scores))), list[int](), list[float]()
    while left and len(kept) < most:
        best = max(left, key=lambda box: (left[box], -box))
        if not left[best] > score:
            break
        kept.append(best)
        values.append(left.pop(best))
        for other in left:
            shared = _overlap(boxes[best], boxes[other])
            left[other] *= exp(-0.5 / sigma * shared**2) if shared <= iou else 0
    return kept, values


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize(
    ("count", "most", "score"), [(0, 3, 0.1), (1, 3, 0.1), (20, 6, 0.2), (20, 0, 0.2), (20, 30, -np.inf), (20, 5, 9.0)]
)
def test_soft_suppression(count: int, most: int, score: float, pad: bool) -> None:
    corners = RNG.uniform(0, 1, (count, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + RNG.uniform(0.2, 1, (count, 2)).astype(np.float32)], 1)
    scores = RNG.uniform(0.05, 1, count).astype(np.float32)
    flipped = boxes[:, [2, 1, 0, 3]]
    limits = [np.int32(most), np.float32(0.8), np.float32(score), np.float32(0.5)]
    rows, values = _softly(boxes, scores, most, 0.8, score, 0.5)
    wanted: list[Any] = [np.array(rows, np.int32), np.array(values, np.float32), np.int32(len(rows))]
    if pad:
        wanted[:2] = [np.pad(entry, (0, most - len(rows))) for entry in wanted[:2]]
    for output, expected in enumerate(wanted):
        got = run_operator(
            "NonMaxSuppressionV5", [flipped, scores, *limits], fed=2, output=output, pad_to_max_output_size=pad
        )
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        assert np.allclose(got.astype(float), expected, atol=1e-6)


def test_sigma_must_be_positive() -> None:
    limits = [np.int32(2), np.float32(0.5), np.float32(0), np.float32(-1)]
    with pytest.raises(ModelError, match=r"soft_nms_sigma -1.0"):
        run_operator("NonMaxSuppressionV5", [np.zeros((3, 4), np.float32), np.zeros(3, np.float32), *limits], fed=2)


def _cropped(image: Any, boxes: Any, which: Any, size: tuple[int, int], method: str, outside: float) -> Any:
    result = np.full((len(boxes), *size, image.shape[3]), outside, np.float32)
    for n, box in enumerate(boxes):
        at = []
        for side in (0, 1):
            last, steps = np.float32(image.shape[1 + side] - 1), np.float32(size[side] - 1)
            first, end = box[side], box[side + 2]
            rises = [np.float32(k) * ((end - first) * last / steps) for k in range(size[side])] if steps else []
            at.append([first * last + rise for rise in rises] or [np.float32(0.5) * (first + end) * last])
        for i, j in np.ndindex(*size):
            y, x = at[0][i], at[1][j]
            if not (0 <= y <= image.shape[1] - 1 and 0 <= x <= image.shape[2] - 1):
                continue
            picture = image[which[n]].astype(float)
            if method == "nearest":
                result[n, i, j] = picture[floor(y + 0.5), floor(x + 0.5)]
                continue
            upper = picture[floor(y), floor(x)] * (1 - x + floor(x)) + picture[floor(y), ceil(x)] * (x - floor(x))
            lower = picture[ceil(y), floor(x)] * (1 - x + floor(x)) + picture[ceil(y), ceil(x)] * (x - floor(x))
            result[n, i, j] = upper * (1 - y + floor(y)) + lower * (y - floor(y))
    return result


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("method", ["bilinear", "nearest"])
@pytest.mark.parametrize("size", [(3, 4), (1, 2), (1, 1), (7, 7)])
def test_crops(size: tuple[int, int], method: str, dtype: str) -> None:
    """Also boxes that are turned around or leave the image."""
    image = RNG.uniform(0, 255, (2, 5, 6, 3)).astype(dtype)
    boxes = np.array([[0.1, 0.2, 0.8, 0.9], [0.9, 0.1, 0.2, 0.7], [-0.3, 0.2, 0.6, 1.4]], np.float32)
    which = np.array([1, 0, 1], np.int32)
    inputs = [image, boxes, which, np.array(size, np.int32)]
    got = run_operator("CropAndResize", inputs, fed=3, method=method, extrapolation_value=-2.0)
    assert got.dtype == np.float32
    assert np.allclose(got, _cropped(image, boxes, which, size, method, -2.0), atol=1e-3)


def test_no_crops() -> None:
    inputs = [
        np.ones((1, 4, 4, 2), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int32),
        np.array([2, 3], np.int32),
    ]
    assert run_operator("CropAndResize", inputs, fed=3).shape == (0, 2, 3, 2)
    with pytest.raises(ModelError, match="do not fit"):
        run_operator("CropAndResize", [inputs[0], inputs[1][:, :3], *inputs[2:]], fed=3)


def _cubic(x: float, a: float = -0.75) -> float:
    x = abs(x)
    return ((a + 2) * x - (a + 3)) * x * x + 1 if x <= 1 else ((a * x - 5 * a) * x + 8 * a) * x - 4 * a


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("size", [(9, 8), (2, 3), (1, 1), (5, 4)])
def test_bicubic_of_corners_of_pixels(size: tuple[int, int], corners: bool) -> None:
    x = RNG.standard_normal((2, 5, 4, 3)).astype(np.float32)
    lines = []
    for before, after in ((5, size[0]), (4, size[1])):
        scale = np.float32((before - 1) / (after - 1) if corners and after > 1 else before / after)
        line = np.zeros((after, before))
        for k in range(after):
            at = float(np.float32(k) * scale)
            step = round((at - floor(at)) * 1024) / 1024
            for tap in range(-1, 3):
                line[k, min(max(floor(at) + tap, 0), before - 1)] += _cubic(tap - step)
        lines.append(line)
    got = run_operator("ResizeBicubic", [x, np.array(size, np.int32)], align_corners=corners)
    assert np.allclose(got, np.einsum("ah,nhwc,bw->nabc", lines[0], x, lines[1]), atol=1e-5)
