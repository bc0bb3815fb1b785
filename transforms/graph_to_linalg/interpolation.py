"""Interpolation as linalg: reductions over neighbours whose places and weights are functions of the result's position.

Coordinates are computed in f64 as the interpreter does, so that every element has the same neighbours; sums are in f32, of f64 in f64. Kernels as in
`dialects.graph.interpreter_resize`: linear 1 - |d|, cubic by Keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import f64, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_cast
from stepwell.dialects.graph.ops_normalise import statistics_element
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims
from stepwell.transforms.graph_to_linalg.positions import Positions
from stepwell.transforms.tensors import element_of, shape_of

REACH = {"linear": 1, "cubic": 2}
"""Neighbours on each side."""


def affine(s: Positions, x: SSAValue, factor: float, offset: float) -> SSAValue:
    """x * factor + offset."""
    scaled = x if factor == 1 else s.op(arith.MulfOp, x, s.constant(factor, x))
    return scaled if offset == 0 else s.op(arith.AddfOp, scaled, s.constant(offset, scaled))


def _half_pixel(s: Positions, i: SSAValue, scale: float, before: int, after: int) -> SSAValue:
    return affine(s, _shifted_over(s, i, scale), 1, -0.5)


def _shifted_over(s: Positions, i: SSAValue, scale: float) -> SSAValue:
    """(i + 0.5) / scale"""
    moved = affine(s, i, 1, 0.5)
    return s.op(arith.DivfOp, moved, s.constant(scale, moved))


def _align_corners(s: Positions, i: SSAValue, scale: float, before: int, after: int) -> SSAValue:
    if scale * before == 1:
        return s.constant(0.0, i)
    product = s.op(arith.MulfOp, i, s.constant(before - 1, i))
    return s.op(arith.DivfOp, product, s.constant(scale * before - 1, i))


def _symmetric(s: Positions, i: SSAValue, scale: float, before: int, after: int) -> SSAValue:
    centre = before / 2 * (1 - after / (scale * before))
    moved = s.op(arith.AddfOp, s.constant(centre, i), _shifted_over(s, i, scale))
    return affine(s, moved, 1, -0.5)


COORDINATES: Mapping[str, Callable[[Positions, SSAValue, float, int, int], SSAValue]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": lambda s, i, scale, before, after: (
        _half_pixel(s, i, scale, before, after) if after > 1 else s.constant(0.0, i)
    ),
    "align_corners": _align_corners,
    "asymmetric": lambda s, i, scale, before, after: s.op(arith.DivfOp, i, s.constant(scale, i)),
    "tf_half_pixel_for_nn": lambda s, i, scale, before, after: _shifted_over(s, i, scale),
    "half_pixel_symmetric": _symmetric,
}
"""Where output position i lies in the input, in f64."""


def nearest(s: Positions, rounding: str, x: SSAValue) -> SSAValue:
    """The whole number next to x by ONNX's names of roundings."""
    match rounding:
        case "round_prefer_floor":
            return s.op(math.CeilOp, affine(s, x, 1, -0.5))
        case "round_prefer_ceil":
            return s.op(math.FloorOp, affine(s, x, 1, 0.5))
        case "floor":
            return s.op(math.FloorOp, x)
    return s.op(math.CeilOp, x)


def bounded(s: Positions, x: SSAValue, low: float, high: float) -> SSAValue:
    """x, which is no NaN, moved into [low, high]."""
    above = s.op(arith.SelectOp, s.compare("lt", x, s.constant(low, x)), s.constant(low, x), x, result=x.type)
    return s.op(arith.SelectOp, s.compare("gt", above, s.constant(high, x)), s.constant(high, x), above, result=x.type)


def whole(s: Positions, x: SSAValue) -> SSAValue:
    """A whole number in f64 as a position."""
    return s.as_index(s.op(arith.FPToSIOp, x, result=i64))


def kernel(s: Positions, mode: str, distance: SSAValue, cubic: float) -> SSAValue:
    """The weight of a neighbour at this distance."""
    d = s.op(math.AbsFOp, distance)
    one, zero = s.constant(1.0, d), s.constant(0.0, d)
    if mode == "linear":
        rest = s.op(arith.SubfOp, one, d)
        return s.op(arith.SelectOp, s.compare("gt", rest, zero), rest, zero, result=d.type)
    square = s.op(arith.MulfOp, d, d)
    near = affine(s, s.op(arith.MulfOp, affine(s, d, cubic + 2, -(cubic + 3)), square), 1, 1.0)
    inner = affine(s, s.op(arith.MulfOp, affine(s, d, cubic, -5 * cubic), d), 1, 8 * cubic)
    far = affine(s, s.op(arith.MulfOp, inner, d), 1, -4 * cubic)
    beyond = s.op(arith.SelectOp, s.compare("lt", d, s.constant(2.0, d)), far, zero, result=d.type)
    return s.op(arith.SelectOp, s.compare("le", d, one), near, beyond, result=d.type)


def convert_resize(op: graph.ResizeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """nearest: a copy from computed places; else along one dim after the other a reduction over neighbours, divided by the sum of their
    weights where that is not 1 by itself."""
    (x,) = operands
    first = 1 if op.layout == "channels_last" else 2
    element = element_of(x)
    moving = [d for d in range(len(op.extents)) if _moves(op, d, shape_of(x)[first + d])]
    if not all(shape_of(op.result)):
        return build.empty(shape_of(op.result), element)
    if op.mode == "nearest":
        return _resize_nearest(op, x, {first + d: d for d in moving}, build)
    scaled = op.exclude_outside or op.antialias  # the weights that are left may nearly cancel
    wide = f64 if scaled else statistics_element(element)
    value = x if wide == element else build.elementwise([x], wide, lambda s: expand_cast(s[0], wide))
    for d in moving:
        value = _resize_dim(op, value, first + d, d, build)
    return value if wide == element else build.elementwise([value], element, lambda s: expand_cast(s[0], element))


def _moves(op: graph.ResizeOp, d: int, before: int) -> bool:
    return op.extents[d] != before or op.scales[d] != 1.0 or op.coordinates == "tf_half_pixel_for_nn"


def _coordinate(s: Positions, op: graph.ResizeOp, d: int, loop: int, before: int) -> SSAValue:
    return COORDINATES[op.coordinates](s, s.as_number(s.loop(loop), f64), op.scales[d], before, op.extents[d])


def _resize_nearest(op: graph.ResizeOp, x: SSAValue, moving: Mapping[int, int], build: LinalgBuilder) -> SSAValue:
    source = shape_of(x)

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s = Positions()
        at = []
        for dim, before in enumerate(source):
            if dim not in moving:
                at.append(s.loop(dim))
                continue
            where = nearest(s, op.rounding, _coordinate(s, op, moving[dim], dim, before))
            at.append(whole(s, bounded(s, where, 0, before - 1)))
        return s, s.extract(x, at)

    return build.positioned([], shape_of(op.result), element_of(x), body)


def _resize_dim(op: graph.ResizeOp, x: SSAValue, dim: int, d: int, build: LinalgBuilder) -> SSAValue:
    """One dim: a sum over its neighbours, and another of their weights where it may differ from 1."""
    source, wide = shape_of(x), element_of(x)
    shape = (*source[:dim], op.extents[d], *source[dim + 1 :])
    shrink = min(op.scales[d], 1.0) if op.antialias else 1.0
    taps = 2 * ceil(REACH[op.mode] / shrink)
    rank = len(shape)

    def weighed(s: Positions, dim_loop: int, tap_loop: int) -> tuple[SSAValue, SSAValue]:
        """Place and weight of a neighbour."""
        where = _coordinate(s, op, d, dim_loop, source[dim])
        tap = affine(s, s.as_number(s.loop(tap_loop), f64), 1, 1 - taps // 2)
        place = s.op(arith.AddfOp, s.op(math.FloorOp, where), tap)
        distance = affine(s, s.op(arith.SubfOp, place, where), shrink, 0)
        weight = s.take(expand_cast(kernel(s, op.mode, distance, op.cubic), wide))
        if op.exclude_outside:
            inside = s.compare("eq", bounded(s, place, 0, source[dim] - 1), place)
            weight = s.op(arith.SelectOp, inside, weight, s.constant(0.0, weight), result=wide)
        return whole(s, bounded(s, place, 0, source[dim] - 1)), weight

    def term(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        place, weight = weighed(s, dim, rank)
        at = [place if loop == dim else s.loop(loop) for loop in range(rank)]
        return s.ops, s.op(arith.AddfOp, scalars[-1], s.op(arith.MulfOp, s.extract(x, at), weight))

    def total(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        return s.ops, s.op(arith.AddfOp, scalars[-1], weighed(s, 0, 1)[1])

    value = _over_taps(build, shape, [taps], wide, term)
    if not (op.exclude_outside or op.antialias):
        return value
    sums = _over_taps(build, [op.extents[d]], [taps], wide, total)
    maps = [AffineMap.identity(rank), AffineMap(rank, 0, tuple(dims(dim))), AffineMap.identity(rank)]

    def divide(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        made = arith.DivfOp(scalars[0], scalars[1])
        return [made], made.result

    return build.generic([value, sums], build.empty(shape, wide), maps, 0, divide)


def _over_taps(
    build: LinalgBuilder,
    shape: Sequence[int],
    taps: Sequence[int],
    wide: Attribute,
    body: Callable[[Sequence[SSAValue]], tuple[list[Operation], SSAValue]],
) -> SSAValue:
    """A sum over the last loops, whose extents a shape-only operand gives."""
    rank, loops = len(shape), len(shape) + len(taps)
    maps = [AffineMap(loops, 0, tuple(dims(*range(rank, loops)))), AffineMap(loops, 0, tuple(dims(*range(rank))))]
    return build.generic([build.empty(taps, wide)], build.filled(shape, wide, 0), maps, len(taps), body)


def _denormal(s: Positions, op: graph.SampleOp, coordinate: SSAValue, extent: int) -> SSAValue:
    """From [-1, 1] to positions; outside ones moved in as `border` and `reflect` say."""
    if op.align_corners:
        position = affine(s, affine(s, coordinate, 1, 1.0), 0.5, 0)
        position, low, high = affine(s, position, extent - 1, 0), 0.0, extent - 1.0
    else:
        scaled = affine(s, affine(s, coordinate, 1, 1.0), extent, -1.0)
        position, low, high = affine(s, scaled, 0.5, 0), -0.5, extent - 0.5
    if op.mode == "nearest":
        position = s.op(math.RoundEvenOp, position)
    if op.outside == "zeros":
        return position
    outside = s.op(
        arith.OrIOp,
        s.compare("lt", position, s.constant(low, position)),
        s.compare("gt", position, s.constant(high, position)),
    )
    moved = bounded(s, position, 0, extent - 1) if op.outside == "border" else _reflected(s, position, low, high)
    return s.op(arith.SelectOp, outside, moved, position, result=position.type)


def _reflected(s: Positions, x: SSAValue, low: float, high: float) -> SSAValue:
    """A coordinate mirrored at `low` and `high` until it lies between."""
    span = high - low
    if span == 0:
        return s.constant(low, x)
    moved = affine(s, x, 1, -low)
    turns = s.op(math.FloorOp, s.op(arith.DivfOp, moved, s.constant(2 * span, x)))
    steps = s.op(arith.SubfOp, moved, affine(s, turns, 2 * span, 0))
    back = affine(s, steps, -1, 2 * span)
    return affine(
        s, s.op(arith.SelectOp, s.compare("gt", steps, s.constant(span, x)), back, steps, result=x.type), 1, low
    )


def _sample_dim(
    s: Positions, op: graph.SampleOp, grid: SSAValue, d: int, extent: int, tap: SSAValue, wide: Attribute
) -> tuple[SSAValue, SSAValue, SSAValue]:
    """Along spatial dim d: the place of a neighbour, its weight, and whether it counts."""
    spatial = len(shape_of(op.operand)) - 2
    rank = 2 + spatial
    at = [s.loop(0), *(s.loop(loop) for loop in range(2, rank)), s.index(spatial - 1 - d)]
    where = _denormal(s, op, s.take(expand_cast(s.extract(grid, at), f64)), extent)
    if op.mode == "nearest":
        place, weight = s.op(math.RoundEvenOp, where), s.take(expand_cast(s.constant(1.0, where), wide))
    else:
        number = affine(s, s.as_number(tap, f64), 1, 0 if op.mode == "linear" else -1)
        place = s.op(arith.AddfOp, s.op(math.FloorOp, where), number)
        distance = s.op(arith.SubfOp, place, where)
        weight = s.take(expand_cast(kernel(s, op.mode, distance, -0.75), wide))
    last = s.constant(extent - 1, place)
    inside = s.op(arith.AndIOp, s.compare("ge", place, s.constant(0, place)), s.compare("le", place, last))
    counts = inside
    if op.outside != "zeros":
        counts = s.compare("eq", s.index(0), s.index(0))
    if op.outside == "reflect":
        bounds = (0.0, extent - 1.0) if op.align_corners else (-0.5, extent - 0.5)
        place = s.op(arith.SelectOp, inside, place, _reflected(s, place, *bounds), result=f64)
    number = s.op(arith.SelectOp, s.compare("eq", place, place), place, s.constant(0, place), result=f64)
    return whole(s, bounded(s, number, 0, extent - 1)), weight, counts


def convert_sample(op: graph.SampleOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A reduction over the neighbours of every dim together; one without weight is not looked at, whatever it is."""
    x, grid = operands
    source, shape, element = shape_of(x), shape_of(op.result), element_of(x)
    wide = statistics_element(element)
    spatial, rank = len(source) - 2, len(source)
    taps = {"nearest": 1, "linear": 2, "cubic": 4}[op.mode]
    if 0 in source:
        return build.filled(shape, element, 0)

    def body(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        found = [_sample_dim(s, op, grid, d, source[2 + d], s.loop(rank + d), wide) for d in range(spatial)]
        _, weight, counts = found[0]
        for _, other, inside in found[1:]:
            weight, counts = s.op(arith.MulfOp, weight, other), s.op(arith.AndIOp, counts, inside)
        counts = s.op(arith.AndIOp, counts, s.compare("ne", weight, s.constant(0.0, weight)))
        value = s.take(expand_cast(s.extract(x, [s.loop(0), s.loop(1), *(place for place, _, _ in found)]), wide))
        zero = s.constant(0.0, value)
        held = s.op(arith.SelectOp, counts, value, zero, result=wide)
        return s.ops, s.op(arith.AddfOp, scalars[-1], s.op(arith.MulfOp, held, weight))

    made = _over_taps(build, shape, [taps] * spatial, wide, body)
    return made if wide == element else build.elementwise([made], element, lambda s: expand_cast(s[0], element))
