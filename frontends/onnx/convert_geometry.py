"""Converters: grids of positions, and convolutions at positions that are computed."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node, held


def affine_grid(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """AffineGrid: the positions of a result, from -1 to 1, by an affine map each; the size folds, or is declared."""
    theta = build.value(node, 0)
    if shapes := build.decided(node, 1):
        batch, spatial = shapes[0][0], list(shapes[0][1:-1])
    else:
        size = [int(extent) for extent in build.constant(node, 1, "size").reshape(-1)]
        batch, spatial = size[0], size[2:]
    rank = len(spatial)
    if rank not in (2, 3) or shape_of(theta) != (batch, rank, rank + 1):
        raise Unsupported(
            f"theta has shape {list(shape_of(theta))}: for {batch} grids of {rank} dims it must be {[batch, rank, rank + 1]}"
        )
    corners = node.integer("align_corners", 0)
    held(prod(spatial) * (rank + 1), "a grid")
    lines = [_line(extent, bool(corners)) for extent in spatial]
    points = np.meshgrid(*lines, indexing="ij")[::-1]
    base = np.stack([*points, np.ones(spatial)], axis=-1).reshape(prod(spatial), rank + 1)
    flat = build.literal(base.astype(numpy_dtype(build.element(theta))))
    moved = build.emit(graph.MatmulOp(build.broadcast(flat, [batch, *base.shape]), build.transpose(theta, [0, 2, 1])))
    return [build.reshape(moved, [batch, *spatial, rank])]


def _line(extent: int, corners: bool) -> Array:
    """Positions from -1 to 1: of the ends, or of the middles of equal cells."""
    steps = np.arange(extent, dtype=np.float64)
    if corners:
        return 2 * steps / (extent - 1) - 1 if extent > 1 else steps - 1
    return (2 * steps + 1) / max(1, extent) - 1


def deform_conv(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """DeformConv (Dai et al., 2017; Zhu et al., 2018): every tap sampled where its offset says, zeros outside, times its mask; then one product for each group."""
    x, filter, offsets = (build.value(node, k) for k in range(3))
    batch, channels, *spatial = shape_of(x)
    count, share, *kernel = shape_of(filter)
    result = list(shape_of(offsets)[2:])
    groups, parts, taps, rank = node.integer("group", 1), node.integer("offset_group", 1), prod(kernel), len(spatial)
    ones = (1,) * rank
    strides, dilations, pads = (
        node.integers("strides", ones),
        node.integers("dilations", ones),
        node.integers("pads", (0,) * (2 * rank)),
    )
    if list(node.integers("kernel_shape", kernel)) != kernel or [len(strides), len(dilations), len(pads)] != [
        rank,
        rank,
        2 * rank,
    ]:
        raise Unsupported(f"kernel_shape, strides, dilations or pads do not fit the filter {list(shape_of(filter))}")
    spans = [spatial[d] + pads[d] + pads[rank + d] - dilations[d] * (kernel[d] - 1) - 1 for d in range(rank)]
    usual = [span // stride + 1 for span, stride in zip(spans, strides, strict=True)]
    if groups < 1 or parts < 1 or channels % parts or share * groups != channels or count % groups:
        raise Unsupported(f"{groups} groups and {parts} groups of offsets do not divide {channels} channels to {count}")
    if usual != result or shape_of(offsets)[1] != parts * taps * rank:
        raise Unsupported(
            f"offsets have shape {list(shape_of(offsets))}: they must be {[batch, parts * taps * rank, *usual]}"
        )
    places = build.reshape(offsets, [batch * parts, *kernel, rank, *result])
    columns = [
        _positions(build, places, d, spatial[d], (strides[d], dilations[d], pads[d])) for d in reversed(range(rank))
    ]
    grid = build.joined(columns, len(shape_of(columns[0])) - 1)
    grid = build.reshape(grid, [batch * parts, taps * result[0], *result[1:], rank])
    split = build.reshape(x, [batch * parts, channels // parts, *spatial])
    sampled = build.emit(graph.SampleOp(split, grid, mode="linear", outside="zeros", align_corners=False))
    area = prod(result)
    sampled = build.reshape(sampled, [batch, parts, channels // parts, taps, area])
    if node.has_input(4):
        mask = build.reshape(build.value(node, 4), [batch, parts, 1, taps, area])
        sampled = build.binary("mul", sampled, mask)
    data = build.reshape(sampled, [batch, groups, share * taps, area])
    rows = build.broadcast(
        build.reshape(filter, [groups, count // groups, share * taps]), [batch, groups, count // groups, share * taps]
    )
    made = build.reshape(build.emit(graph.MatmulOp(rows, data)), [batch, count, *result])
    return [build.binary("add", made, build.along(build.value(node, 3), 1, made)) if node.has_input(3) else made]


def _positions(build: GraphBuilder, places: SSAValue, dim: int, extent: int, parameters: Sequence[int]) -> SSAValue:
    """[.., 1]: where each tap of each result reads along a dim, from -1 to 1 over the cells of the operand."""
    stride, dilation, pad = parameters
    rank = (len(shape_of(places)) - 2) // 2
    offset = build.cut(places, 1 + rank, dim, dim + 1)
    shape = [e for d, e in enumerate(shape_of(places)) if d != 1 + rank]
    offset = build.reshape(offset, shape)
    own, tap = (build.emit(graph.IotaOp(i64, shape, dim=d)) for d in (1 + rank + dim, 1 + dim))
    steps = build.binary(
        "add",
        build.binary("mul", own, build.number(stride, own)),
        build.binary("mul", tap, build.number(dilation, tap)),
    )
    at = build.binary(
        "add", build.cast(build.binary("sub", steps, build.number(pad, steps)), build.element(offset)), offset
    )
    scaled = build.binary(
        "div",
        build.binary("add", build.binary("mul", at, build.number(2, at)), build.number(1, at)),
        build.number(extent, at),
    )
    return build.reshape(build.binary("sub", scaled, build.number(1, scaled)), [*shape, 1])
