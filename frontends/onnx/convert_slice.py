"""Converters: parts of tensors, and tensors with borders; also where the places are computed while the network runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import EVALUATED_LIMIT
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.computed import element, from_end, spread, taken
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node


def slice(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Slice: bounds are attributes before opset 10; clamped as Python clamps them; negative steps reverse."""
    x = build.value(node, 0)
    shape = shape_of(x)
    if node.opset >= 10 and any(node.has_input(k) and build.maybe_constant(node, k) is None for k in range(1, 5)):
        return [_computed(node, build, x)]
    if node.opset < 10:
        starts, ends = list(node.integers("starts", ())), list(node.integers("ends", ()))
        axes, steps = list(node.integers("axes", tuple(range(len(starts))))), [1] * len(starts)
    else:
        starts, ends = (build.constant(node, k, what).reshape(-1).tolist() for k, what in ((1, "starts"), (2, "ends")))
        axes = build.constant(node, 3, "axes").reshape(-1).tolist() if node.has_input(3) else list(range(len(starts)))
        steps = build.constant(node, 4, "steps").reshape(-1).tolist() if node.has_input(4) else [1] * len(starts)
    begins, extents, strides = [0] * len(shape), list(shape), [1] * len(shape)
    reversed_dims = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        dim = dim_of(int(axis), len(shape))
        if step == 0:
            raise Unsupported("a step is 0")
        indices = range(shape[dim])[int(start) : int(end) : int(step)]
        first = min(indices) if len(indices) else 0
        begins[dim], extents[dim], strides[dim] = first, len(indices), abs(int(step))
        if step < 0:
            reversed_dims.append(dim)
    result = x
    if (begins, extents, strides) != ([0] * len(shape), list(shape), [1] * len(shape)):
        result = build.emit(graph.SliceOp(x, begins=begins, extents=extents, strides=strides))
    return [build.emit(graph.ReverseOp(result, dims=reversed_dims)) if reversed_dims else result]


def _axes(node: Node, build: GraphBuilder, index: int) -> SSAValue | None:
    return build.cast(build.value(node, index), i64) if node.has_input(index) else None


def _computed(node: Node, build: GraphBuilder, x: SSAValue) -> SSAValue:
    """A slice whose bounds are computed: as long as its result is declared, or as a body of a loop says by `i` and `i + n`."""
    shape, axes = shape_of(x), _axes(node, build, 3)
    extents = build.declared.get(node.outputs[0]) or _by_iteration(node, build, shape)
    if extents is None or len(extents) != len(shape):
        raise Unsupported(
            "its bounds are computed from the network's inputs: make starts, ends, axes and steps constants, or declare the shape of its result"
        )
    rank = len(shape)
    starts = spread(build, build.value(node, 1), axes, rank, 0)
    steps = spread(build, build.value(node, 4), axes, rank, 1) if node.has_input(4) else None
    known = build.array(axes) if axes is not None else np.arange(min(rank, shape_of(build.value(node, 1))[0]))
    for dim, extent in enumerate(extents):
        if known is not None and dim not in known % rank:
            continue
        begin = from_end(build, element(build, starts, dim), shape[dim])
        begin = build.binary("min", begin, build.number(shape[dim] - 1, begin))
        begin = build.binary("max", begin, build.number(0, begin))
        steps_along = build.emit(graph.IotaOp(i64, [extent], dim=0))
        if steps is not None:
            steps_along = build.binary("mul", steps_along, element(build, steps, dim))
        x = taken(build, x, build.binary("add", steps_along, begin), dim)
    return x


def _by_iteration(node: Node, build: GraphBuilder, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The extents of x[.., i + a : i + b, ..], i being the iteration of a loop."""
    if node.has_input(4) and not (build.maybe_constant(node, 4) == 1).all():  # type: ignore[union-attr]
        return None
    axes = build.maybe_constant(node, 3) if node.has_input(3) else np.zeros(1, np.int64)
    (first, start), (last, end) = (_from_base(build, build.value(node, k)) for k in (1, 2))
    counter = isinstance(first, BlockArgument) and first.index == 0 and first.block.parent_op() is None
    if axes is None or axes.size != 1 or first is not last or not counter or not 0 <= start <= end:
        return None
    dim = dim_of(int(axes.item()), len(shape))
    return (*shape[:dim], end - start, *shape[dim + 1 :])


def _from_base(build: GraphBuilder, value: SSAValue) -> tuple[SSAValue, int]:
    """One integer as a value and what is added to it."""
    offset = 0
    while True:
        op = value.owner
        if isinstance(op, graph.ReshapeOp | graph.CastOp):
            value = op.operand
        elif isinstance(op, graph.BinaryOp) and op.kind == "add" and (known := _constant_operand(build, op)):
            value, more = known
            offset += more
        else:
            return value, offset


def _constant_operand(build: GraphBuilder, op: graph.BinaryOp) -> tuple[SSAValue, int] | None:
    """The operand that is not known, and the other's value."""
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        array = build.array(other)
        if array is not None and array.size == 1:
            return value, int(array.item())
    return None


def pad(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Pad with a constant, or with elements of the operand by position; negative pads cut. Pads are attributes before opset 11."""
    mode = node.text("mode", "constant")
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise Unsupported(f"mode {mode!r} is unknown: constant, edge, reflect and wrap are supported")
    x = build.value(node, 0)
    rank = len(shape_of(x))
    if node.opset >= 11 and any(node.has_input(k) and build.maybe_constant(node, k) is None for k in (1, 3)):
        return [_computed_pad(node, build, x, mode)]
    if node.opset < 11:
        pads, value = (
            list(node.integers("paddings" if node.opset < 2 else "pads", ())),
            build.emit(graph.ConstantOp(node.number("value", 0.0), build.element(x))),
        )
    else:
        pads = [int(width) for width in build.constant(node, 1, "pads").reshape(-1)]
        value = build.value(node, 2) if node.has_input(2) else build.emit(graph.ConstantOp(0, build.element(x)))
    axes = list(range(rank))
    if node.has_input(3):
        axes = [dim_of(int(axis), rank) for axis in build.constant(node, 3, "axes").reshape(-1)]
    if len(pads) != 2 * len(axes):
        raise Unsupported(f"{len(pads)} pads for {len(axes)} dims")
    low, high = [0] * rank, [0] * rank
    for position, dim in enumerate(axes):
        low[dim], high[dim] = pads[position], pads[len(axes) + position]
    for dim in range(rank):
        x = build.cut(x, dim, max(0, -low[dim]), shape_of(x)[dim] - max(0, -high[dim]))
    if mode != "constant":
        return [_padded_by_position(build, x, low, high, mode)]
    widths = [max(0, width) for width in low], [max(0, width) for width in high]
    if not any((*widths[0], *widths[1])):
        return [x]
    return [build.emit(graph.PadOp(x, build.reshape(value, []), low=widths[0], high=widths[1]))]


def _padded_by_position(build: GraphBuilder, x: SSAValue, low: list[int], high: list[int], mode: str) -> SSAValue:
    """Each dim gathered by where its positions come from."""
    for dim, extent in enumerate(shape_of(x)):
        begin, end = max(0, low[dim]), max(0, high[dim])
        if not begin and not end:
            continue
        if begin + end + extent > EVALUATED_LIMIT:
            raise Unsupported(
                f"mode {mode!r} makes dim {dim} {begin + end + extent} long, {EVALUATED_LIMIT} are supported"
            )
        if extent == 0:
            raise Unsupported(f"dim {dim} has no elements that mode {mode!r} could repeat")
        positions = np.pad(np.arange(extent), (begin, end), mode=mode)  # type: ignore[call-overload]
        x = taken(build, x, build.weight(f"{build.node_name}.positions{dim}", positions.astype(np.int64)), dim)
    return x


def _computed_pad(node: Node, build: GraphBuilder, x: SSAValue, mode: str) -> SSAValue:
    """A border whose widths are computed, about a result whose shape is declared: each element from the place that it comes from."""
    shape, result = shape_of(x), build.declared.get(node.outputs[0])
    if result is None or len(result) != len(shape):
        raise Unsupported(
            "pads (input 1) are computed from the network's inputs: make them a constant, or declare the shape of the result"
        )
    if mode not in ("constant", "edge", "reflect", "wrap"):
        raise Unsupported(f"mode {mode!r} is none of constant, edge, reflect, wrap")
    pads, axes = build.value(node, 1), _axes(node, build, 3)
    low = spread(build, build.cut(pads, 0, 0, shape_of(pads)[0] // 2), axes, len(shape), 0)
    inside = None
    for dim, (extent, whole) in enumerate(zip(shape, result, strict=True)):
        places = build.binary("sub", build.emit(graph.IotaOp(i64, [whole], dim=0)), element(build, low, dim))
        x = taken(build, x, _turned(build, places, extent, mode), dim)
        if mode == "constant":
            part = _between(build, places, extent)
            part = build.emit(graph.BroadcastOp(part, dims=[dim], shape=result))
            inside = part if inside is None else build.binary("and", inside, part)
    if inside is None:
        return x
    value = build.value(node, 2) if node.has_input(2) else build.emit(graph.ConstantOp(0, build.element(x)))
    return build.emit(graph.SelectOp(inside, x, build.broadcast(build.reshape(value, []), result)))


def _between(build: GraphBuilder, places: SSAValue, extent: int) -> SSAValue:
    after = build.emit(graph.CompareOp(places, build.number(0, places), kind="ge"))
    before = build.emit(graph.CompareOp(places, build.number(extent, places), kind="lt"))
    return build.binary("and", after, before)


def _turned(build: GraphBuilder, places: SSAValue, extent: int, mode: str) -> SSAValue:
    """Places outside of the extent as those inside that they repeat; clamping is left to what takes them."""
    if mode == "wrap":
        return build.binary("mod", places, build.number(max(1, extent), places))
    if mode != "reflect":
        return places
    period = build.number(max(1, 2 * (extent - 1)), places)
    inner = build.binary("mod", places, period)
    return build.binary("min", inner, build.binary("sub", period, inner))


def center_crop_pad(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """CenterCropPad: the middle of each dim that is too long, zeros around each that is too short; the extents fold, or are declared."""
    x = build.value(node, 0)
    rank = len(shape_of(x))
    axes = [dim_of(axis, rank) for axis in node.integers("axes", tuple(range(rank)))]
    if shapes := build.decided(node, 1):
        wanted = [shapes[0][dim] for dim in axes]
    else:
        wanted = [int(extent) for extent in build.constant(node, 1, "shape").reshape(-1)]
    if len(wanted) != len(axes) or min(wanted, default=0) < 0:
        raise Unsupported(f"shape {wanted} does not fit axes {axes}")
    low, high = [0] * rank, [0] * rank
    for dim, extent in zip(axes, wanted, strict=True):
        now = shape_of(x)[dim]
        begin = max(0, now - extent) // 2
        x = build.cut(x, dim, begin, begin + min(extent, now))
        low[dim] = max(0, extent - now) // 2
        high[dim] = max(0, extent - now) - low[dim]
    if not any((*low, *high)):
        return [x]
    return [build.emit(graph.PadOp(x, build.emit(graph.ConstantOp(0, build.element(x))), low=low, high=high))]
