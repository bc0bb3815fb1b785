"""Converters: interpolation to other extents, at given coordinates, and inside boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from math import floor

from xdsl.dialects.builtin import f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.computed_resize import Dim, Interpolation, resized
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def _target(node: Node, build: GraphBuilder, shape: Sequence[int]) -> tuple[list[int], list[float]]:
    """Extents and scales of all dims, from `sizes` or `scales`, of all dims or of `axes`."""
    axes = [dim_of(axis, len(shape)) for axis in node.integers("axes", tuple(range(len(shape))))]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    extents, scales = list(shape), [1.0] * len(shape)
    if node.has_input(3) and policy == "stretch" and (declared := build.decided(node, 3)):
        return list(declared[0]), [after / before for after, before in zip(declared[0], shape, strict=True)]
    if node.has_input(3):
        sizes = [int(size) for size in build.constant(node, 3, "sizes").reshape(-1)]
        ratios = [size / shape[d] for size, d in zip(sizes, axes, strict=True)]
        if policy in ("not_larger", "not_smaller"):
            ratio = (min if policy == "not_larger" else max)(ratios)
            ratios, sizes = [ratio] * len(axes), [floor(shape[d] * ratio + 0.5) for d in axes]
        elif policy != "stretch":
            raise Unsupported(f"keep_aspect_ratio_policy {policy!r} is unknown")
    elif node.opset < 7:
        ratios = [*[1.0] * (len(shape) - 2), node.number("height_scale", 0.0), node.number("width_scale", 0.0)]
        sizes = [floor(shape[d] * ratio) for ratio, d in zip(ratios, axes, strict=True)]
    else:
        index = 1 if node.opset < 11 else 2
        given = node.value("scales") if node.has("scales") else build.constant(node, index, "scales").reshape(-1)
        ratios = [float(scale) for scale in given]
        sizes = [floor(shape[d] * ratio) for ratio, d in zip(ratios, axes, strict=True)]
    for d, size, ratio in zip(axes, sizes, ratios, strict=True):
        extents[d], scales[d] = size, ratio
    return extents, scales


def resize(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Resize, and Upsample: dims that are resized become spatial ones."""
    x = build.value(node, 0)
    shape = shape_of(x)
    old = node.opset < 11 or node.op_type == "Upsample"
    rule = node.text("coordinate_transformation_mode", "asymmetric" if old else "half_pixel")
    how = Interpolation(
        rule,
        node.text("mode", "nearest"),
        node.text("nearest_mode", "floor" if old else "round_prefer_floor"),
        node.number("cubic_coeff_a", -0.75),
        bool(node.integer("exclude_outside", 0)),
        bool(node.integer("antialias", 0)),
    )
    places = (1,) if old else (2, 3)
    unknown = [k for k in places if node.has_input(k) and build.maybe_constant(node, k) is None]
    stretched = unknown == [3] and node.text("keep_aspect_ratio_policy", "stretch") == "stretch"
    if rule == "tf_crop_and_resize" or (unknown and not (stretched and node.outputs[0] in build.declared)):
        return [_computed(node, build, x, how, old)]
    extents, scales = _target(node, build, shape)
    node.ignore("extrapolation_value")
    batched = len(shape) >= 3 and extents[:2] == list(shape[:2]) and scales[:2] == [1.0, 1.0]
    first = 2 if batched else 0
    op = graph.ResizeOp(
        x if batched else build.reshape(x, [1, 1, *shape]),
        mode=how.mode,
        extents=extents[first:],
        scales=scales[first:],
        coordinates=rule,
        rounding=how.rounding,
        cubic=how.cubic,
        exclude_outside=how.exclude_outside,
        antialias=how.antialias,
    )
    return [build.reshape(build.emit(op), extents)]


def _computed(node: Node, build: GraphBuilder, x: SSAValue, how: Interpolation, old: bool) -> SSAValue:
    """Scales, sizes or the region are computed: the extents are those that are declared."""
    shape, declared = shape_of(x), build.declared.get(node.outputs[0])
    if declared is None or len(declared) != len(shape):
        given = [k for k in (1, 2, 3) if node.has_input(k) and not (k == 1 and not old)]
        if any(build.maybe_constant(node, k) is None for k in given):
            raise Unsupported(
                "scales or sizes are computed from the network's inputs: make them constants, or declare the shape of the result"
            )
        declared = tuple(_target(node, build, shape)[0])
    axes = [dim_of(axis, len(shape)) for axis in node.integers("axes", tuple(range(len(shape))))]
    scales = _scales(node, build, shape, axes, old)
    regions = _regions(node, build, len(axes)) if how.rule == "tf_crop_and_resize" else [None] * len(axes)
    dims = [
        Dim(dim, shape[dim], declared[dim], scale, region)
        for dim, scale, region in zip(axes, scales, regions, strict=True)
    ]
    return resized(build, x, dims, how, node.number("extrapolation_value", 0.0))


def _elements(build: GraphBuilder, vector: SSAValue, count: int, what: str) -> list[SSAValue]:
    """The elements of a vector as tensor<f64>."""
    if shape_of(vector) != (count,):
        raise Unsupported(f"{what} have shape {list(shape_of(vector))}: {count} are needed")
    whole = build.cast(vector, f64)
    return [build.reshape(build.cut(whole, 0, k, k + 1), []) for k in range(count)]


def _scales(node: Node, build: GraphBuilder, shape: Sequence[int], axes: Sequence[int], old: bool) -> list[SSAValue]:
    if old or not node.has_input(3):
        return _elements(build, build.value(node, 1 if old else 2), len(axes), "scales")
    sizes = _elements(build, build.value(node, 3), len(axes), "sizes")
    ratios = [
        build.binary("div", size, build.emit(graph.ConstantOp(float(shape[dim]), f64)))
        for size, dim in zip(sizes, axes, strict=True)
    ]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return ratios
    if policy not in ("not_larger", "not_smaller"):
        raise Unsupported(f"keep_aspect_ratio_policy {policy!r} is unknown")
    one = reduce(partial(build.binary, "min" if policy == "not_larger" else "max"), ratios)
    return [one] * len(axes)


def _regions(node: Node, build: GraphBuilder, count: int) -> list[tuple[SSAValue, SSAValue]]:
    if not node.has_input(1):
        raise Unsupported("input 1 (roi) is missing: tf_crop_and_resize cuts it out")
    ends = _elements(build, build.value(node, 1), 2 * count, "roi")
    return list(zip(ends[:count], ends[count:], strict=True))


MODES = {"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest", "linear": "linear", "cubic": "cubic"}
OUTSIDE = {"zeros": "zeros", "border": "border", "reflection": "reflect"}


def grid_sample(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """GridSample."""
    mode, outside = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    if mode not in MODES or outside not in OUTSIDE:
        raise Unsupported(f"mode {mode!r} or padding_mode {outside!r} is unknown")
    corners = bool(node.integer("align_corners", 0))
    x, grid = build.value(node, 0), build.value(node, 1)
    return [build.emit(graph.SampleOp(x, grid, mode=MODES[mode], outside=OUTSIDE[outside], align_corners=corners))]


def roi_align(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """RoiAlign: before opset 16 without the shift by half a pixel."""
    mode = node.text("mode", "avg")
    rule = node.text("coordinate_transformation_mode", "half_pixel" if node.opset >= 16 else "output_half_pixel")
    if mode not in ("avg", "max") or rule not in ("half_pixel", "output_half_pixel"):
        raise Unsupported(f"mode {mode!r} or coordinate_transformation_mode {rule!r} is unknown")
    if mode == "max":
        raise Unsupported("mode max: ONNX takes the maximum of weighted neighbours, not of samples")
    op = graph.RoiPoolOp(
        build.value(node, 0),
        build.value(node, 1),
        build.cast(build.value(node, 2), i64),
        kind="align_average",
        extents=[node.integer("output_height", 1), node.integer("output_width", 1)],
        scale=node.number("spatial_scale", 1.0),
        samples=node.integer("sampling_ratio", 0),
        offset=0.5 if rule == "half_pixel" else 0.0,
    )
    return [build.emit(op)]


def max_roi_pool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MaxRoiPool: rows of batch, x1, y1, x2, y2; corners rounded, bins to whole elements."""
    x, boxes = build.value(node, 0), build.value(node, 1)
    extents = node.integers("pooled_shape", ())
    if len(extents) != 2 or len(shape_of(boxes)) != 2 or shape_of(boxes)[1] != 5:
        raise Unsupported(
            f"pooled_shape {list(extents)} or rois {list(shape_of(boxes))}: they must be [h, w] and [rows, 5]"
        )
    rows = shape_of(boxes)[0]
    batch = build.cast(build.reshape(build.cut(boxes, 1, 0, 1), [rows]), i64)
    op = graph.RoiPoolOp(
        x, build.cut(boxes, 1, 1, 5), batch, kind="max", extents=extents, scale=node.number("spatial_scale", 1.0)
    )
    return [build.emit(op)]
