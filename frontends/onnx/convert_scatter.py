"""Converters: values put where positions say, and sequences turned."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.convert_movement import dim_of
from stepwell.frontends.onnx.node import Node, held


def _parameters(node: Node, rank: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Strides, dilations and pads of a window of that rank."""
    strides, dilations = node.integers("strides", (1,) * rank), node.integers("dilations", (1,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    if [len(strides), len(dilations), len(pads)] != [rank, rank, 2 * rank]:
        raise Unsupported(f"strides, dilations or pads are not of {rank} dims")
    return strides, dilations, pads


def col2im(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """Col2Im: columns added up at the places they were taken from; the block's shape folds, or follows from what is declared."""
    x = build.value(node, 0)
    batch, rows, columns = shape_of(x)
    image, block = (build.maybe_constant(node, k) for k in (1, 2))
    declared = build.declared.get(node.outputs[0])
    if declared is None and image is None:
        image = build.constant(node, 1, "image_shape")
    extents = list(map(int, image.reshape(-1))) if image is not None else list(declared or ())[2:]
    rank = len(extents)
    strides, dilations, pads = _parameters(node, rank)
    if block is None and declared is not None:
        kernel = _block(extents, rows // declared[1], columns, (strides, dilations, pads))
    else:
        kernel = list(map(int, build.constant(node, 2, "block_shape").reshape(-1)))
    counts = [
        (extents[d] + pads[d] + pads[rank + d] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1
        for d in range(rank)
    ]
    if prod(counts) != columns or rows % prod(kernel):
        raise Unsupported(f"blocks {kernel} give {counts} places, and there are {columns} columns of {rows} rows")
    held(prod(kernel) * prod(counts), "columns")
    places = _places(extents, kernel, counts, (strides, dilations, pads))
    channels = rows // prod(kernel)
    updates = build.transpose(build.reshape(x, [batch, channels, prod(kernel) * columns]), [2, 0, 1])
    zeros = build.zeros(x, [prod(extents), batch, channels])
    indices = build.weight(build.part("places"), places.reshape(-1, 1))
    summed = build.emit(graph.ScatterOp(zeros, indices, updates, dims=[0], combine="add"))
    return [build.reshape(build.transpose(summed, [1, 2, 0]), [batch, channels, *extents])]


def _block(
    extents: Sequence[int], size: int, columns: int, parameters: tuple[Sequence[int], Sequence[int], Sequence[int]]
) -> list[int]:
    """The one block of `size` elements that gives so many columns; Unsupported where several do."""
    strides, dilations, pads = parameters
    rank = len(extents)
    found = []
    for kernel in _factors(held(size, "a block"), rank):
        spans = [extents[d] + pads[d] + pads[rank + d] - dilations[d] * (kernel[d] - 1) - 1 for d in range(rank)]
        if min(spans) >= 0 and prod(span // stride + 1 for span, stride in zip(spans, strides, strict=True)) == columns:
            found.append(kernel)
    if len(found) != 1:
        raise Unsupported(
            f"block_shape is computed from the network's inputs, and {len(found)} blocks fit: make it a constant"
        )
    return found[0]


def _factors(size: int, rank: int) -> list[list[int]]:
    if rank < 2:
        return [[size]] if rank else [[]]
    return [
        [first, *rest]
        for first in range(1, size + 1)
        if size % first == 0
        for rest in _factors(size // first, rank - 1)
    ]


def _places(
    extents: Sequence[int],
    kernel: Sequence[int],
    counts: Sequence[int],
    parameters: tuple[Sequence[int], Sequence[int], Sequence[int]],
) -> Array:
    """For each element of a block and each block its row-major place in the image; -1 in the padding."""
    strides, dilations, pads = parameters
    whole: Array = np.zeros((1, 1), np.int64)
    inside: Array = np.ones((1, 1), bool)
    for d, extent in enumerate(extents):
        at = np.arange(kernel[d])[:, None] * dilations[d] + np.arange(counts[d])[None] * strides[d] - pads[d]
        fits = (at >= 0) & (at < extent)
        whole = (whole[:, None, :, None] * extent + at[None, :, None, :]).reshape(len(whole) * kernel[d], -1)
        inside = (inside[:, None, :, None] & fits[None, :, None, :]).reshape(whole.shape)
    return np.where(inside, whole, -1)


def max_unpool(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """MaxUnpool: zeros, with each maximum at its row-major place in the whole tensor."""
    x, places = build.value(node, 0), build.value(node, 1)
    shape = shape_of(x)
    rank = len(shape) - 2
    kernel = node.integers("kernel_shape", ())
    strides, _, pads = _parameters(node, rank)
    if len(kernel) != rank:
        raise Unsupported(f"kernel_shape {list(kernel)} is not of {rank} dims")
    spatial = [(shape[2 + d] - 1) * strides[d] + kernel[d] - pads[d] - pads[rank + d] for d in range(rank)]
    usual = result = [*shape[:2], *spatial]
    if node.has_input(2):
        shapes = build.decided(node, 2)
        result = list(shapes[0]) if shapes else list(map(int, build.constant(node, 2, "output_shape").reshape(-1)))
    if len(result) != len(shape) or result[:2] != list(shape[:2]):
        raise Unsupported(f"output_shape {result} is not of {list(shape[:2])} planes")
    flat = build.zeros(x, [prod(usual)])
    count = prod(shape)
    indices = build.reshape(build.cast(places, i64), [count, 1])
    put = build.emit(graph.ScatterOp(flat, indices, build.reshape(x, [count]), dims=[0]))
    return [_laid(build, build.reshape(put, usual), result)]


def _laid(build: GraphBuilder, x: SSAValue, shape: Sequence[int]) -> SSAValue:
    """The corner of the first dims of another extent: cut, or zeros after it."""
    for dim, extent in enumerate(shape):
        x = build.cut(x, dim, 0, min(extent, shape_of(x)[dim]))
    high = [extent - now for extent, now in zip(shape, shape_of(x), strict=True)]
    if not any(high):
        return x
    zero = build.emit(graph.ConstantOp(0, build.element(x)))
    return build.emit(graph.PadOp(x, zero, low=[0] * len(high), high=high))


def tensor_scatter(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """TensorScatter: an update written into a cache along one dim, from each sample's own position on."""
    cache, update = build.value(node, 0), build.value(node, 1)
    shape, length = shape_of(cache), shape_of(update)
    mode = node.text("mode", "linear")
    dim = dim_of(node.integer("axis", -2), len(shape))
    if mode not in ("linear", "circular") or dim == 0:
        raise Unsupported(f"mode {mode!r} or axis {dim} is not supported")
    steps = build.emit(graph.IotaOp(i64, [shape[0], length[dim]], dim=1))
    if node.has_input(2):
        steps = build.binary("add", steps, build.along(build.cast(build.value(node, 2), i64), 0, steps))
    if mode == "circular":
        steps = build.binary("mod", steps, build.number(shape[dim], steps))
    front = [0, dim, *(d for d in range(1, len(shape)) if d != dim)]
    moved, updates = build.transpose(cache, front), build.transpose(update, front)
    indices = build.reshape(steps, [*shape_of(steps), 1])
    put = build.emit(graph.ScatterOp(moved, indices, updates, dims=[1], batch=1))
    return [build.transpose(put, [front.index(d) for d in range(len(shape))])]


def reverse_sequence(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """ReverseSequence: of each sample the first steps, as many as its length, backwards."""
    x = build.value(node, 0)
    rank = len(shape_of(x))
    batch, time = dim_of(node.integer("batch_axis", 1), rank), dim_of(node.integer("time_axis", 0), rank)
    if batch == time:
        raise Unsupported(f"batch_axis and time_axis are both {batch}")
    front = [batch, time, *(d for d in range(rank) if d not in (batch, time))]
    moved = build.transpose(x, front)
    samples, steps = shape_of(moved)[:2]
    own = build.emit(graph.IotaOp(i64, [samples, steps], dim=1))
    lengths = build.along(build.cast(build.value(node, 1), i64), 0, own)
    turned = build.binary("sub", build.binary("sub", lengths, own), build.number(1, own))
    inside = build.emit(graph.CompareOp(own, lengths, kind="lt"))
    places = build.emit(graph.SelectOp(inside, turned, own))
    taken = build.emit(graph.GatherOp(moved, build.reshape(places, [samples, steps, 1]), dims=[1], batch=1))
    return [build.transpose(taken, [front.index(d) for d in range(rank)])]
