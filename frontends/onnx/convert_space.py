"""Converters: exchanges of space and depth."""

from __future__ import annotations

from xdsl.ir import SSAValue

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node


def depth_to_space(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """DepthToSpace, depth-column-row or column-row-depth."""
    x, block = build.value(node, 0), node.integer("blocksize", 1)
    n, c, h, w = _four(x)
    if block < 1 or c % (block * block):
        raise Unsupported(f"{c} channels are not divided by blocks of {block}")
    mode = node.text("mode", "DCR")
    inner = c // (block * block)
    if mode == "DCR":
        parts = build.transpose(build.reshape(x, [n, block, block, inner, h, w]), [0, 3, 4, 1, 5, 2])
    elif mode == "CRD":
        parts = build.transpose(build.reshape(x, [n, inner, block, block, h, w]), [0, 1, 4, 2, 5, 3])
    else:
        raise Unsupported(f"mode {mode!r} is neither DCR nor CRD")
    return [build.reshape(parts, [n, inner, h * block, w * block])]


def space_to_depth(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """SpaceToDepth: blocks of pixels become channels, before (DCR) or behind (CRD) those that there are."""
    orders = {"DCR": [0, 3, 5, 1, 2, 4], "CRD": [0, 1, 3, 5, 2, 4]}
    mode = node.text("mode", "DCR")
    if mode not in orders:
        raise Unsupported(f"mode {mode!r} is neither DCR nor CRD")
    x, block = build.value(node, 0), node.integer("blocksize", 1)
    n, c, h, w = _four(x)
    if block < 1 or h % block or w % block:
        raise Unsupported(f"{h} x {w} is not divided by blocks of {block}")
    parts = build.reshape(x, [n, c, h // block, block, w // block, block])
    return [build.reshape(build.transpose(parts, orders[mode]), [n, c * block * block, h // block, w // block])]


def _four(x: SSAValue) -> tuple[int, int, int, int]:
    if len(shape_of(x)) != 4:
        raise Unsupported(f"the input has shape {list(shape_of(x))}: four dims are needed")
    n, c, h, w = shape_of(x)
    return n, c, h, w
