"""Resize where scales, sizes or the region are computed while the network runs, and where a region is cut: each dim is a product with its weights.

The row of an output position has the kernel's values at the distances of all input positions, those before and behind the dim counted for its ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from xdsl.dialects.builtin import f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.computed import taken
from stepwell.frontends.onnx.node import held


@dataclass(frozen=True)
class Interpolation:
    """How positions are found and elements weighed: ONNX's attributes of Resize."""

    rule: str
    mode: str
    rounding: str
    cubic: float
    exclude_outside: bool
    antialias: bool


@dataclass(frozen=True)
class Dim:
    """One dim: its number, its extents, its scale, and begin and end of the region, all three tensor<f64>."""

    dim: int
    before: int
    after: int
    scale: SSAValue
    region: tuple[SSAValue, SSAValue] | None = None


class Arithmetic:
    """Operators on f64 values that a formula needs."""

    def __init__(self, build: GraphBuilder) -> None:
        self.build = build

    def number(self, value: float) -> SSAValue:
        """A constant."""
        return self.build.emit(graph.ConstantOp(value, f64))

    def __call__(self, kind: str, a: SSAValue | float, b: SSAValue | float) -> SSAValue:
        """A binary kind of values or numbers."""
        left, right = (x if isinstance(x, SSAValue) else self.number(x) for x in (a, b))
        return self.build.binary(kind, left, right)

    def pick(self, condition: SSAValue, a: SSAValue, b: SSAValue | float) -> SSAValue:
        """The first where the condition holds."""
        other = b if isinstance(b, SSAValue) else self.number(b)
        return self.build.emit(graph.SelectOp(*self.build.broadcast_all([condition, a, other])))

    def compare(self, kind: str, a: SSAValue, b: SSAValue | float) -> SSAValue:
        """A comparison."""
        other = b if isinstance(b, SSAValue) else self.number(b)
        return self.build.emit(graph.CompareOp(*self.build.broadcast_all([a, other]), kind=kind))


def resized(
    build: GraphBuilder, x: SSAValue, dims: Sequence[Dim], how: Interpolation, extrapolation: float
) -> SSAValue:
    """The tensor with these dims interpolated; outside of a region the extrapolation value."""
    element, outside = build.element(x), None
    made = x if how.mode == "nearest" else build.cast(x, f64)
    shape = list(shape_of(x))
    for dim in dims:
        shape[dim.dim] = dim.after
    for dim in dims:
        where = _where(Arithmetic(build), dim, how.rule)
        if dim.region is not None:
            math = Arithmetic(build)
            beyond = build.binary("or", math.compare("lt", where, 0.0), math.compare("gt", where, dim.before - 1.0))
            spread = build.emit(graph.BroadcastOp(beyond, dims=[dim.dim], shape=shape))
            outside = spread if outside is None else build.binary("or", outside, spread)
        made = (
            _nearest(build, made, dim, where, how.rounding)
            if how.mode == "nearest"
            else _weighed(build, made, dim, where, how)
        )
    made = build.cast(made, element)
    if outside is None:
        return made
    return build.emit(graph.SelectOp(outside, build.number(extrapolation, made), made))


def _where(math: Arithmetic, dim: Dim, rule: str) -> SSAValue:
    """The input position of each output position."""
    if rule not in RULES:
        raise Unsupported(f"coordinate_transformation_mode {rule!r} is none of {', '.join(RULES)}")
    steps = math.build.cast(math.build.emit(graph.IotaOp(i64, [dim.after], dim=0)), f64)
    return RULES[rule](math, steps, dim)


def _half_pixel(math: Arithmetic, i: SSAValue, dim: Dim) -> SSAValue:
    return math("sub", math("div", math("add", i, 0.5), dim.scale), 0.5)


def _align_corners(math: Arithmetic, i: SSAValue, dim: Dim) -> SSAValue:
    last = math("sub", math("mul", dim.scale, float(dim.before)), 1.0)
    found = math("div", math("mul", i, dim.before - 1.0), last)
    return math.pick(math.compare("ne", last, 0.0), found, 0.0)


def _symmetric(math: Arithmetic, i: SSAValue, dim: Dim) -> SSAValue:
    share = math("div", float(dim.after), math("mul", dim.scale, float(dim.before)))
    offset = math("mul", math("sub", 1.0, share), dim.before / 2)
    return math("add", _half_pixel(math, i, dim), offset)


def _pytorch(math: Arithmetic, i: SSAValue, dim: Dim) -> SSAValue:
    return _half_pixel(math, i, dim) if dim.after > 1 else math("mul", i, 0.0)


def _region(math: Arithmetic, i: SSAValue, dim: Dim) -> SSAValue:
    if dim.region is None:
        raise Unsupported("input 1 (roi) is missing: tf_crop_and_resize cuts it out")
    begin, end = dim.region
    span = math("mul", math("sub", end, begin), dim.before - 1.0)
    last = math("sub", math("mul", dim.scale, float(dim.before)), 1.0)
    middle = math("div", span, 2.0)
    found = math.pick(math.compare("ne", last, 0.0), math("div", math("mul", i, span), last), middle)
    return math("add", found, math("mul", begin, dim.before - 1.0))


RULES: Mapping[str, Callable[[Arithmetic, SSAValue, Dim], SSAValue]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch,
    "align_corners": _align_corners,
    "asymmetric": lambda math, i, dim: math("div", i, dim.scale),
    "tf_half_pixel_for_nn": lambda math, i, dim: math("div", math("add", i, 0.5), dim.scale),
    "half_pixel_symmetric": _symmetric,
    "tf_crop_and_resize": _region,
}
"""Where an output position lies, by coordinate_transformation_mode."""
ROUNDINGS = {
    "round_prefer_floor": ("ceil", -0.5),
    "round_prefer_ceil": ("floor", 0.5),
    "floor": ("floor", 0.0),
    "ceil": ("ceil", 0.0),
}


def _nearest(build: GraphBuilder, x: SSAValue, dim: Dim, where: SSAValue, rounding: str) -> SSAValue:
    if rounding not in ROUNDINGS:
        raise Unsupported(f"nearest_mode {rounding!r} is none of {', '.join(ROUNDINGS)}")
    kind, shift = ROUNDINGS[rounding]
    math = Arithmetic(build)
    place = build.unary(kind, math("add", where, shift))
    place = math("max", math("min", place, dim.before - 1.0), 0.0)
    return taken(build, x, build.cast(place, i64), dim.dim)


def _weighed(build: GraphBuilder, x: SSAValue, dim: Dim, where: SSAValue, how: Interpolation) -> SSAValue:
    """The product of a dim with the weights of its positions."""
    if how.mode not in ("linear", "cubic"):
        raise Unsupported(f"mode {how.mode!r} is none of nearest, linear, cubic")
    math = Arithmetic(build)
    reach = 1 if how.mode == "linear" else 2
    border = 3 + (ceil(reach * dim.before / max(1, dim.after)) + 1 if how.antialias else reach)
    held((dim.before + 2 * border) * max(dim.before, dim.after), f"weights of dim {dim.dim}")
    places = np.arange(-border, dim.before + border, dtype=np.float64)
    where = math("max", math("min", where, dim.before + 1.0), -2.0)
    grid = [dim.after, len(places)]
    far = math(
        "sub",
        build.emit(graph.BroadcastOp(build.literal(places), dims=[1], shape=grid)),
        build.emit(graph.BroadcastOp(where, dims=[0], shape=grid)),
    )
    far = build.unary("abs", math("mul", far, math("min", dim.scale, 1.0)) if how.antialias else far)
    weights = _linear(math, far) if how.mode == "linear" else _cubic(math, far, how.cubic)
    inside = (places >= 0) & (places < dim.before)
    if how.exclude_outside:
        weights = math("mul", weights, build.literal(inside.astype(np.float64)))
    ends = np.eye(dim.before)[np.clip(places, 0, dim.before - 1).astype(np.int64)]
    folded = build.emit(graph.MatmulOp(weights, build.literal(ends)))
    total = build.emit(graph.ReduceOp(folded, kind="sum", dims=[1]))
    shares = build.binary("div", folded, build.along(total, 0, folded))
    rank = len(shape_of(x))
    order = [*(d for d in range(rank) if d != dim.dim), dim.dim]
    made = build.emit(graph.MatmulOp(build.transpose(x, order), shares, transpose_b=True))
    return build.transpose(made, [order.index(d) for d in range(rank)])


def _linear(math: Arithmetic, far: SSAValue) -> SSAValue:
    return math("max", math("sub", 1.0, far), 0.0)


def _cubic(math: Arithmetic, d: SSAValue, a: float) -> SSAValue:
    """Keys' cubic convolution, 0 from 2 on."""
    near = math("add", math("mul", math("mul", math("sub", math("mul", d, a + 2), a + 3), d), d), 1.0)
    far = math("sub", math("mul", math("add", math("mul", math("sub", math("mul", d, a), 5 * a), d), 8 * a), d), 4 * a)
    return math.pick(math.compare("le", d, 1.0), near, math.pick(math.compare("lt", d, 2.0), far, 0.0))
