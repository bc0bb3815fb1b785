"""TensorFlow operators on boxes: what overlaps is suppressed, regions are cropped and resized."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import f32, i32, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.convert_counted import compact
from stepwell.frontends.tensorflow.formula import Formula
from stepwell.frontends.tensorflow.node import Converter, Node, Values, extents_of, needs

MOST_SOFT = 1 << 12
"""Most boxes that are kept while others are weighed down."""


def non_max_suppression(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """NonMaxSuppression and its versions 2 to 5: the boxes that overlap no better one, from the best; V4 their number, V5 their scores too."""
    version = int(node.op[-1]) if node.op[-1].isdecimal() else 1
    needs(inputs, {1: 3, 2: 4, 3: 5, 4: 5, 5: 6}[version])
    boxes, scores = inputs[0], inputs[1]
    if len(shape_of(boxes)) != 2 or shape_of(boxes)[1] != 4 or shape_of(scores) != shape_of(boxes)[:1]:
        raise Unsupported(
            f"boxes {list(shape_of(boxes))} and scores {list(shape_of(scores))}: [N, 4] and [N] are needed"
        )
    given = (*(build.constant_array(value, "a limit").reshape(-1)[0].item() for value in inputs[2:]),)
    most, iou = int(given[0]), float(given[1]) if version > 1 else node.number("iou_threshold", 0.5)
    if most < 0 or not 0 <= iou <= 1:
        raise Unsupported(f"max_output_size is {most} and iou_threshold {iou}: 0 or more, 0 to 1")
    score = float(given[2]) if version > 2 and given[2] != -np.inf else None
    if version == 5 and given[3] != 0:
        kept, found = _softly(build, boxes, scores, most, iou, -np.inf if score is None else score, float(given[3]))
        picked = [build.cast(kept, i32), found]
    else:
        batch = [build.reshape(boxes, [1, *shape_of(boxes)]), build.reshape(scores, [1, 1, *shape_of(scores)])]
        op = graph.NonMaxSuppressionOp(*batch, most=most, iou=iou, score=score, symbol=build.symbol())
        column = build.cut(build.counted(op)[0], 1, 2, 3)
        kept = build.reshape(column, shape_of(column)[:1])
        picked = [build.cast(kept, i32)]
        if version == 5:
            picked.append(build.emit(graph.GatherOp(scores, column, dims=[0])))
    if version < 4:
        return picked
    valid = build.cast(build.emit(graph.ExtentOp(kept, dim=0)), i32)
    if node.flag("pad_to_max_output_size"):
        picked = [_padded(build, value, most) for value in picked]
    return [*picked, valid]


def _padded(build: GraphBuilder, value: SSAValue, extent: int) -> SSAValue:
    """A vector with zeros behind it."""
    zero = build.zeros(value, [])
    full = build.emit(graph.FillTailOp(value, zero, dim=0)) if isinstance(shape_of(value)[0], graph.Extent) else value
    missing = extent - shape_of(full)[0]
    return build.emit(graph.PadOp(full, zero, low=[0], high=[missing])) if missing else full


def _softly(
    build: GraphBuilder, boxes: SSAValue, scores: SSAValue, most: int, iou: float, score: float, sigma: float
) -> tuple[SSAValue, SSAValue]:
    """Positions and scores of the boxes kept one after the other, each the best of what is left; the others' scores are multiplied by
    exp(-overlap^2 / (2 sigma)), by 0 where the overlap is above `iou` (Bodla et al., 2017)."""
    count, rounds = shape_of(scores)[0], min(most, shape_of(scores)[0])
    if rounds > MOST_SOFT or not sigma > 0:
        raise Unsupported(f"{rounds} boxes are to be kept with soft_nms_sigma {sigma}: at most {MOST_SOFT}, above 0")
    edges = [_edge(build, boxes, low, high) for low, high in ((0, 2), (1, 3))]
    (top, bottom), (left, right) = edges
    areas = (bottom - top) * (right - left)
    places = Formula(build, build.emit(graph.IotaOp(i64, [count], dim=0)))

    def here(row: Formula, at: SSAValue) -> Formula:
        picked = build.emit(graph.GatherOp(row.value, build.reshape(at, [1, 1]), dims=[0]))
        return Formula(build, build.broadcast(picked, [count]))

    def body(_: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        left_over = Formula(build, carried[0])
        best = build.emit(graph.ArgReduceOp(carried[0], kind="max", dim=0))
        height = bottom.binary("min", here(bottom, best)) - top.binary("max", here(top, best))
        width = right.binary("min", here(right, best)) - left.binary("max", here(left, best))
        shared = height.binary("max", 0) * width.binary("max", 0)
        union = areas + here(areas, best) - shared
        real = areas.compare("gt", 0) & here(areas, best).compare("gt", 0)
        overlap = real.select(shared / real.select(union, 1), 0)
        weight = overlap.compare("le", iou).select((overlap * overlap * (-0.5 / sigma)).unary("exp"), 0)
        mine = places.compare("eq", Formula(build, build.broadcast(best, [count])))
        gone = mine | left_over.compare("eq", -np.inf)
        weighed = gone.select(-np.inf, left_over * weight)
        found = build.reshape(build.emit(graph.GatherOp(carried[0], build.reshape(best, [1, 1]), dims=[0])), [])
        return [weighed.value, best, found]

    start = Formula(build, scores)
    start = start.compare("gt", score).select(start, -np.inf)
    if not rounds:
        rows = build.emit(graph.IotaOp(i64, [0], dim=0))
        return rows, build.cut(scores, 0, 0, 0)
    _, rows, found = build.loop([start.value], body, bound=rounds)
    mask = Formula(build, found).compare("gt", score).value
    return compact(build, rows, mask, mask), compact(build, found, mask, mask)


def _edge(build: GraphBuilder, boxes: SSAValue, low: int, high: int) -> tuple[Formula, Formula]:
    """The smaller and the larger of two columns."""
    count = shape_of(boxes)[0]
    first, second = (
        Formula(build, build.reshape(build.cut(boxes, 1, column, column + 1), [count])) for column in (low, high)
    )
    return first.binary("min", second), first.binary("max", second)


def crop_and_resize(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """CropAndResize: boxes [y1, x1, y2, x2] in units of the image's last row and column, each resampled by the nearest pixel or between four; outside of the image
    there is the extrapolation value."""
    needs(inputs, 4)
    image, boxes, which, extents = *inputs[:3], extents_of(build, inputs[3], "the crop size")
    shape, count = shape_of(image), shape_of(boxes)[0]
    if (
        len(shape) != 4
        or shape_of(boxes)[1:] != (4,)
        or shape_of(which) != (count,)
        or len(extents) != 2
        or min(extents) < 1
    ):
        raise Unsupported(f"image {list(shape)}, boxes {list(shape_of(boxes))}, crop size {list(extents)} do not fit")
    method = node.word("method", "bilinear")
    if method not in ("bilinear", "nearest"):
        raise Unsupported(f"method {method!r} is not bilinear or nearest")
    grid = [count, *extents]
    along = [_places(build, boxes, side, shape[1 + side], grid) for side in (0, 1)]
    batch = build.cast(build.emit(graph.BroadcastOp(which, dims=[0], shape=grid)), i64)
    wide = [*grid, shape[3]]

    def pixels(rows: Formula, columns: Formula) -> Formula:
        index = [
            build.reshape(value, [*grid, 1])
            for value in (batch, build.cast(rows.value, i64), build.cast(columns.value, i64))
        ]
        picked = build.emit(graph.GatherOp(image, build.joined(index, 3), dims=[0, 1, 2]))
        return Formula(build, build.cast(picked, f32))

    def spread(value: Formula) -> Formula:
        return Formula(build, build.emit(graph.BroadcastOp(value.value, dims=[0, 1, 2], shape=wide)))

    rows, columns = along
    if method == "nearest":
        found = pixels(*(_rounded(at) for at in along))
    else:
        (top, bottom), (left, right) = ((at.unary("floor"), at.unary("ceil")) for at in along)
        y, x = spread(rows - top), spread(columns - left)
        upper = pixels(top, left) + (pixels(top, right) - pixels(top, left)) * x
        lower = pixels(bottom, left) + (pixels(bottom, right) - pixels(bottom, left)) * x
        found = upper + (lower - upper) * y
    inside = rows.compare("ge", 0) & rows.compare("le", shape[1] - 1) & columns.compare("ge", 0)
    inside = spread(inside & columns.compare("le", shape[2] - 1))
    return [inside.select(found, node.number("extrapolation_value", 0.0)).value]


def _rounded(x: Formula) -> Formula:
    """To the nearest, halves up."""
    low = x.unary("floor")
    return (x - low).compare("ge", 0.5).select(low + 1, low)


def _places(build: GraphBuilder, boxes: SSAValue, side: int, extent: int, grid: list[int]) -> Formula:
    """The coordinate along the height (side 0) or the width of each element of the crops."""
    first, last = (
        Formula(
            build,
            build.emit(
                graph.BroadcastOp(build.reshape(build.cut(boxes, 1, at, at + 1), grid[:1]), dims=[0], shape=grid)
            ),
        )
        for at in (side, side + 2)
    )
    if grid[1 + side] == 1:
        return (first + last) * (0.5 * (extent - 1))
    index = Formula(build, build.emit(graph.IotaOp(f32, grid, dim=1 + side)))
    return first * (extent - 1) + index * ((last - first) * (extent - 1) / (grid[1 + side] - 1))


CONVERTERS: dict[str, Converter] = {
    "CropAndResize": crop_and_resize,
    **{f"NonMaxSuppression{version}": non_max_suppression for version in ("", "V2", "V3", "V4", "V5")},
}
"""Operators by name."""
