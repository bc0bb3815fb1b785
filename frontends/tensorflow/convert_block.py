"""TensorFlow operators that move blocks of an image between its extents, its channels and the batch."""

from __future__ import annotations

from math import prod

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node, Values, needs


def _regrouped(build: GraphBuilder, x: SSAValue, shape: list[int], order: list[int], end: list[int]) -> SSAValue:
    return build.reshape(build.transpose(build.reshape(x, shape), order), end)


def space_to_depth(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SpaceToDepth, NHWC and NCHW."""
    needs(inputs, 1)
    block, first = node.integer("block_size"), _first(node)
    n, h, w, c = _image(inputs[0], first)
    if block < 1 or h % block or w % block:
        raise Unsupported(f"block_size {block} does not divide {h} x {w}")
    hb, wb = h // block, w // block
    if first:
        split = [n, c, hb, block, wb, block]
        return [_regrouped(build, inputs[0], split, [0, 3, 5, 1, 2, 4], [n, c * block * block, hb, wb])]
    split = [n, hb, block, wb, block, c]
    return [_regrouped(build, inputs[0], split, [0, 1, 3, 2, 4, 5], [n, hb, wb, c * block * block])]


def depth_to_space(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """DepthToSpace, NHWC and NCHW."""
    needs(inputs, 1)
    block, first = node.integer("block_size"), _first(node)
    n, h, w, c = _image(inputs[0], first)
    if block < 1 or c % (block * block):
        raise Unsupported(f"block_size {block} does not divide {c} channels")
    left = c // (block * block)
    if first:
        split = [n, block, block, left, h, w]
        return [_regrouped(build, inputs[0], split, [0, 3, 4, 1, 5, 2], [n, left, h * block, w * block])]
    split = [n, h, w, block, block, left]
    return [_regrouped(build, inputs[0], split, [0, 1, 3, 2, 4, 5], [n, h * block, w * block, left])]


def _first(node: Node) -> bool:
    format = node.word("data_format", "NHWC")
    if format not in ("NHWC", "NCHW"):
        raise Unsupported(f"data_format {format} is not supported: NHWC or NCHW")
    return format == "NCHW"


def _image(x: SSAValue, first: bool) -> tuple[int, int, int, int]:
    """Batch, height, width, channels."""
    extents = shape_of(x)
    if len(extents) != 4:
        raise Unsupported(f"its input has shape {list(extents)}: rank 4 is needed")
    n, a, b, c = extents
    return (n, b, c, a) if first else (n, a, b, c)


def space_to_batch(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """SpaceToBatchND: padded, and the positions within blocks moved to the batch."""
    needs(inputs, 3)
    x, blocks = inputs[0], list(build.integers(inputs[1], "the block shape"))
    pads = build.constant_array(inputs[2], "the paddings").reshape(-1, 2).tolist()
    m, rest = len(blocks), len(shape_of(x)) - 1 - len(blocks)
    low, high = [0, *(p[0] for p in pads), *[0] * rest], [0, *(p[1] for p in pads), *[0] * rest]
    if any(low) or any(high):
        x = build.emit(graph.PadOp(x, build.zeros(x, []), low=low, high=high))
    n, *spatial = shape_of(x)
    depth, spatial = spatial[m:], spatial[:m]
    if len(spatial) != m or any(b < 1 or e % b for e, b in zip(spatial, blocks, strict=True)):
        raise Unsupported(f"blocks {blocks} do not divide {spatial}")
    outer = [e // b for e, b in zip(spatial, blocks, strict=True)]
    pairs = [extent for pair in zip(outer, blocks, strict=True) for extent in pair]
    tail = range(2 * m + 1, 2 * m + 1 + len(depth))
    order = [*range(2, 2 * m + 1, 2), 0, *range(1, 2 * m, 2), *tail]
    return [_regrouped(build, x, [n, *pairs, *depth], order, [n * prod(blocks), *outer, *depth])]


def batch_to_space(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """BatchToSpaceND: the reverse, and then cropped."""
    needs(inputs, 3)
    x, blocks = inputs[0], list(build.integers(inputs[1], "the block shape"))
    crops = build.constant_array(inputs[2], "the crops").reshape(-1, 2).tolist()
    n, *spatial = shape_of(x)
    m = len(blocks)
    depth, spatial = spatial[m:], spatial[:m]
    if len(spatial) != m or prod(blocks) < 1 or n % prod(blocks):
        raise Unsupported(f"blocks {blocks} do not divide a batch of {n}")
    order = [m, *(d for pair in zip(range(m + 1, 2 * m + 1), range(m), strict=True) for d in pair)]
    order += range(2 * m + 1, 2 * m + 1 + len(depth))
    grown = [e * b for e, b in zip(spatial, blocks, strict=True)]
    batch = n // prod(blocks)
    made = _regrouped(build, x, [*blocks, batch, *spatial, *depth], order, [batch, *grown, *depth])
    for d, (low, high) in enumerate(crops):
        made = build.cut(made, d + 1, low, grown[d] - high)
    return [made]
