"""Caffe layers that move data."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from google.protobuf.message import Message
from xdsl.dialects.builtin import i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder, axis_of
from stepwell.frontends.emitter import Unsupported, shape_of


def _axis(parameters: Message, old: str, rank: int) -> int:
    """`axis`, or its old spelling."""
    return axis_of(getattr(parameters, old) if parameters.HasField(old) else parameters.axis, rank)


def concat(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Concat along one dim."""
    dim = _axis(layer.concat_param, "concat_dim", len(shape_of(bottoms[0])))
    return [build.joined(bottoms, dim)]


def slice(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Slice along one dim: at slice_point, or into equal parts."""
    x, parameters, parts = bottoms[0], layer.slice_param, len(layer.top)
    dim = _axis(parameters, "slice_dim", len(shape_of(x)))
    extent = shape_of(x)[dim]
    points = list(parameters.slice_point)
    if not points:
        if not parts or extent % parts:
            raise Unsupported(f"extent {extent} is not divided by {parts} tops")
        points = [extent // parts * part for part in range(1, parts)]
    if len(points) != parts - 1 or sorted({0, *points, extent}) != [0, *points, extent]:
        raise Unsupported(f"slice points {points} do not cut extent {extent} into {parts} parts")
    bounds = [0, *points, extent]
    return [build.cut(x, dim, begin, end) for begin, end in pairwise(bounds)]


def flatten(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Flatten: the dims from `axis` to `end_axis` become one."""
    x, parameters = bottoms[0], layer.flatten_param
    shape = shape_of(x)
    first, last = axis_of(parameters.axis, len(shape)), axis_of(parameters.end_axis, len(shape))
    if last < first:
        raise Unsupported(f"end_axis {parameters.end_axis} lies before axis {parameters.axis}")
    return [build.reshape(x, [*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :]])]


def reshape(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Reshape of `num_axes` dims from `axis` on: 0 keeps an extent, one -1 is found from the others."""
    x, parameters = bottoms[0], layer.reshape_param
    shape, rank = shape_of(x), len(shape_of(x))
    first = parameters.axis if parameters.axis >= 0 else rank + 1 + parameters.axis
    end = rank if parameters.num_axes == -1 else first + parameters.num_axes
    if not 0 <= first <= end <= rank:
        raise Unsupported(f"axis {parameters.axis} and num_axes {parameters.num_axes} are outside {rank} dims")
    wanted = list(parameters.shape.dim)
    lost = any(extent == 0 and first + d >= rank for d, extent in enumerate(wanted))
    if lost or wanted.count(-1) > 1 or any(extent < -1 for extent in wanted):
        raise Unsupported(f"shape {wanted} is no shape for {list(shape)}")
    wanted = [shape[first + d] if extent == 0 else extent for d, extent in enumerate(wanted)]
    if -1 in wanted:
        rest = prod(extent for extent in wanted if extent != -1)
        total = prod(shape[first:end])
        if rest == 0 or total % rest:
            raise Unsupported(f"{list(shape)} cannot be reshaped to {wanted}")
        wanted[wanted.index(-1)] = total // rest
    return [build.reshape(x, [*shape[:first], *wanted, *shape[end:]])]


def permute(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Permute (SSD): dims in this order; those that are left out follow."""
    x, order = bottoms[0], list(layer.permute_param.order)
    rank = len(shape_of(x))
    if len(set(order)) != len(order) or any(d >= rank for d in order):
        raise Unsupported(f"order {order} is no permutation of {rank} dims")
    return [build.transpose(x, [*order, *(d for d in range(rank) if d not in order)])]


def crop(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Crop: the extents of the second bottom from `axis` on, cut out of the first at `offset`."""
    x, like = bottoms
    shape, parameters = shape_of(x), layer.crop_param
    axis = axis_of(parameters.axis, len(shape))
    offsets = list(parameters.offset) or [0]
    offsets = offsets * (len(shape) - axis) if len(offsets) == 1 else offsets
    if len(offsets) != len(shape) - axis or len(shape_of(like)) != len(shape):
        raise Unsupported(
            f"{len(offsets)} offsets for the dims from {axis} on of {list(shape)} and {list(shape_of(like))}"
        )
    begins = [0] * axis + offsets
    extents = [*shape[:axis], *shape_of(like)[axis:]]
    return [build.emit(graph.SliceOp(x, begins=begins, extents=extents))]


def tile(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Tile: copies along one dim."""
    x, parameters = bottoms[0], layer.tile_param
    dim = axis_of(parameters.axis, len(shape_of(x)))
    if parameters.tiles < 1:
        raise Unsupported(f"tiles is {parameters.tiles}: it must be positive")
    shape = shape_of(x)
    stretched = [*shape[:dim], parameters.tiles, *shape[dim:]]
    kept = [d if d < dim else d + 1 for d in range(len(shape))]
    copies = build.emit(graph.BroadcastOp(x, dims=kept, shape=stretched))
    return [build.reshape(copies, [*shape[:dim], parameters.tiles * shape[dim], *shape[dim + 1 :]])]


def shuffle_channel(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """ShuffleChannel: channels [groups, n] become [n, groups]."""
    x, groups = bottoms[0], layer.shuffle_channel_param.group
    shape = shape_of(x)
    if len(shape) < 2 or not groups or shape[1] % groups:
        raise Unsupported(f"{list(shape)} is not divided into {groups} groups of channels")
    split = build.reshape(x, [shape[0], groups, shape[1] // groups, *shape[2:]])
    swapped = build.transpose(split, [0, 2, 1, *range(3, len(shape) + 1)])
    return [build.reshape(swapped, shape)]


def upsample(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Upsample: every element repeated; with a second bottom (SegNet) put back where a maximum came from, zeros elsewhere."""
    x, parameters = bottoms[0], layer.upsample_param
    down, across = parameters.scale_h or parameters.scale, parameters.scale_w or parameters.scale
    if len(shape_of(x)) != 4 or min(down, across) < 1:
        raise Unsupported(f"the bottom has shape {list(shape_of(x))} and the scales are {down} and {across}")
    images, channels, rows, columns = shape_of(x)
    if len(bottoms) == 1:
        stretched = [images, channels, rows, down, columns, across]
        repeated = build.emit(graph.BroadcastOp(x, dims=[0, 1, 2, 4], shape=stretched))
        return [build.reshape(repeated, [images, channels, rows * down, columns * across])]
    height = parameters.upsample_h or rows * down - int(parameters.pad_out_h)
    width = parameters.upsample_w or columns * across - int(parameters.pad_out_w)
    zeros = build.zeros(x, [images, channels, height * width])
    positions = build.reshape(build.cast(bottoms[1], i64), [images, channels, rows * columns, 1])
    updates = build.reshape(x, [images, channels, rows * columns])
    placed = build.emit(graph.ScatterOp(zeros, positions, updates, dims=[2], batch=2))
    return [build.reshape(placed, [images, channels, height, width])]


def batch_reindex(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """BatchReindex: images of the first bottom by the whole numbers of the second."""
    x, order = bottoms
    indices = build.reshape(build.cast(order, i64), [prod(shape_of(order)), 1])
    return [build.emit(graph.GatherOp(x, indices, dims=[0]))]


def filter(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Filter: of every bottom but the last the images for which the last, one number each, is not 0; all tops have one counted extent."""
    if len(layer.top) != len(bottoms) - 1:
        raise Unsupported(f"it has {len(bottoms)} bottoms and {len(layer.top)} tops: a selector stands behind the rest")
    *kept, selector = bottoms
    if any(shape_of(x)[:1] != shape_of(selector)[:1] for x in kept) or prod(shape_of(selector)[1:]) != 1:
        raise Unsupported(f"the selector has shape {list(shape_of(selector))}: one number for each image is needed")
    numbers = build.reshape(selector, shape_of(selector)[:1])
    mask = build.emit(graph.CompareOp(numbers, build.number(0, numbers), kind="ne"))
    symbol = build.symbol("Filter", selector)
    return [build.emit(graph.CompactOp(x, mask, dim=0, symbol=symbol)) for x in kept]


def interp(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """Interp (DeepLab, PSPNet): linear interpolation with the corners aligned, to an extent that is given or follows from the factors."""
    x, parameters = bottoms[0], layer.interp_param
    begin, end = parameters.pad_beg, parameters.pad_end
    if begin > 0 or end > 0 or len(shape_of(x)) != 4:
        raise Unsupported("pads must not be positive, and the bottom must have four dims")
    for dim in (2, 3):
        x = build.cut(x, dim, -begin, shape_of(x)[dim] + end)
    if 0 in shape_of(x)[2:] or min(parameters.shrink_factor, parameters.zoom_factor) < 1:
        raise Unsupported(
            f"shape {list(shape_of(x))}, shrink_factor {parameters.shrink_factor} and zoom_factor {parameters.zoom_factor} must be positive"
        )
    wanted = [parameters.height, parameters.width]
    if len(bottoms) > 1:
        wanted = list(shape_of(bottoms[1])[2:])
    elif not all(wanted):
        shrunk = [(extent - 1) // parameters.shrink_factor + 1 for extent in shape_of(x)[2:]]
        wanted = [extent + (extent - 1) * (parameters.zoom_factor - 1) for extent in shrunk]
    scales = [after / before for after, before in zip(wanted, shape_of(x)[2:], strict=True)]
    return [build.emit(graph.ResizeOp(x, mode="linear", extents=wanted, scales=scales, coordinates="align_corners"))]
