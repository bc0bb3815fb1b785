"""The multi-box decoder of SSD (Liu et al. 2016): offsets that a network predicts for prior boxes become boxes."""

import numpy as np

import stepwell
from stepwell.dialects import graph

CODES = ("center_size", "corner")


@stepwell.plugin("MultiBoxDecoder", namespace="examples", types=("f32", "f64"))
def multibox(locations, priors, *, code_type: str = "center_size", clip: bool = False):
    """Offsets [N, boxes * 4] and priors [1, 2, boxes * 4] (corners x, y, x, y, then variances) give boxes [N, boxes, 4]."""
    if code_type not in CODES:
        raise ValueError(f"code_type {code_type!r} is none of {', '.join(CODES)}")
    if locations.rank != 2 or locations.shape[1] % 4 or priors.shape != (1, 2, locations.shape[1]):
        raise ValueError(f"offsets {locations} and priors {priors}: they are [N, boxes * 4] and [1, 2, boxes * 4]")
    return locations.like((locations.shape[0], locations.shape[1] // 4, 4))


@multibox.reference
def multibox_in_numpy(locations, priors, *, code_type, clip):
    """Corners and extents of the priors, moved and stretched by offsets times variances."""
    offsets = locations.reshape(len(locations), -1, 4) * priors[0, 1].reshape(-1, 4)
    low, high = np.split(priors[0, 0].reshape(-1, 4), 2, axis=1)
    if code_type == "corner":
        boxes = np.concatenate([low, high], axis=1) + offsets
    else:
        size = high - low
        centre = (low + high) / 2 + offsets[..., :2] * size
        half = np.exp(offsets[..., 2:]) * size / 2
        boxes = np.concatenate([centre - half, centre + half], axis=2)
    return (np.clip(boxes, 0, 1) if clip else boxes).astype(locations.dtype)


@multibox.graph
def multibox_in_ops(build, locations, priors, *, code_type, clip):
    """The same in slices, products and one exponential."""
    count, width = locations.type.get_shape()
    shape = (count, width // 4, 4)
    parts = [build.broadcast(build.reshape(build.cut(priors, 1, k, k + 1), shape[1:]), shape) for k in (0, 1)]
    corners, offsets = parts[0], build.binary("mul", build.reshape(locations, shape), parts[1])
    if code_type == "corner":
        boxes = build.binary("add", corners, offsets)
    else:
        low, high = build.cut(corners, 2, 0, 2), build.cut(corners, 2, 2, 4)
        move, stretch = build.cut(offsets, 2, 0, 2), build.cut(offsets, 2, 2, 4)
        size, half = build.binary("sub", high, low), build.number(0.5, low)
        middle = build.binary("mul", build.binary("add", low, high), half)
        centre = build.binary("add", middle, build.binary("mul", move, size))
        reach = build.binary("mul", build.binary("mul", build.unary("exp", stretch), size), half)
        ends = [build.binary(kind, centre, reach) for kind in ("sub", "add")]
        boxes = build.emit(graph.ConcatOp(ends, dim=2))
    if clip:
        boxes = build.binary("min", build.binary("max", boxes, build.number(0, boxes)), build.number(1, boxes))
    return boxes
