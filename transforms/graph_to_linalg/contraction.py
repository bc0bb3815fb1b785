"""Contractions as linalg: products, convolutions plain, grouped and depthwise."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    IntegerType,
    TensorType,
    f32,
    i32,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_binary, expand_cast
from stepwell.dialects.numpy_types import FLOATS8
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims, spatial_pads, window_maps
from stepwell.transforms.tensors import element_of, shape_of


def accumulator(element: Attribute, result: Attribute) -> Attribute:
    """Floats of 16 and 8 bits accumulate in f32 and narrow integers in i32; every other type in the result's."""
    if isinstance(element, IntegerType):
        return i32 if element.width.data < 32 else result
    return f32 if isinstance(element, Float16Type | BFloat16Type) or element in FLOATS8 else result


def multiply_add(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
    """Body of a contraction: accumulator + a * b in the accumulator's type."""
    a, b, total = scalars
    left, wide_a = expand_cast(a, total.type)
    right, wide_b = expand_cast(b, total.type)
    product, value = expand_binary("mul", wide_a, wide_b)
    added, result = expand_binary("add", total, value)
    return [*left, *right, *product, *added], result


def contract(
    build: LinalgBuilder,
    a: SSAValue,
    b: SSAValue,
    shape: Sequence[int],
    maps: Sequence[AffineMap],
    reductions: int,
    result: Attribute,
) -> SSAValue:
    """The contraction with `maps` of a, b and the result, in the accumulator's type, rounded once to `result`."""
    total = accumulator(element_of(a), result)
    value = build.generic([a, b], build.filled(shape, total, 0), maps, reductions, multiply_add)
    return value if total == result else build.elementwise([value], result, lambda s: expand_cast(s[0], result))


def convert_conv(op: graph.ConvOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.pad, then a contraction over (n, pixels, [g,] k | taps, c); grouped channels become a dim of their own."""
    x, f = operands
    last = op.layout == "channels_last"
    low, high = spatial_pads(op.pads, last)
    padded = build.pad(x, low, high, 0)
    spatial = len(op.strides)
    shape = shape_of(op.result)
    assert isinstance(op.result.type, TensorType)
    if op.groups > 1 and op.groups == shape_of(f)[0] and shape_of(f)[channel_of(op, spatial)] == 1:
        return _depthwise(op, padded, f, build)
    groups = [op.groups] if op.groups > 1 else []
    channel = channel_of(op, spatial)
    padded = build.reshape(padded, _split(shape_of(padded), channel, groups))
    f = build.reshape(f, _split(shape_of(f), 0, groups))
    split = _split(shape, channel, groups)
    g = len(groups)
    pixels, taps = range(1, 1 + spatial), range(2 + spatial + g, 2 + 2 * spatial + g)
    k, c = 1 + spatial + g, 2 + 2 * spatial + g
    group = dims(*([1 + spatial] if groups else []))
    window = window_maps(op.strides, op.dilations, taps.start)
    n, kk, cc = dims(0, k, c)
    if last:
        results = ([n, *window, *group, cc], [*group, kk, *dims(*taps), cc], [n, *dims(*pixels), *group, kk])
    else:
        results = ([n, *group, cc, *window], [*group, kk, cc, *dims(*taps)], [n, *group, kk, *dims(*pixels)])
    maps = [AffineMap(c + 1, 0, tuple(exprs)) for exprs in results]
    value = contract(build, padded, f, split, maps, spatial + 1, op.result.type.element_type)
    return build.reshape(value, shape)


def channel_of(op: graph.ConvOp, spatial: int) -> int:
    """The channel dim of the input and of the filter."""
    return spatial + 1 if op.layout == "channels_last" else 1


def _depthwise(op: graph.ConvOp, padded: SSAValue, f: SSAValue, build: LinalgBuilder) -> SSAValue:
    """One filter per channel: loops (n, pixels, c | taps), the channel in both factors and the result."""
    spatial, last = len(op.strides), op.layout == "channels_last"
    assert isinstance(op.result.type, TensorType)
    shape = op.result.type.get_shape()
    filters = build.reshape(f, [extent for dim, extent in enumerate(shape_of(f)) if dim != channel_of(op, spatial)])
    taps = range(2 + spatial, 2 + 2 * spatial)
    window, pixels = window_maps(op.strides, op.dilations, taps.start), dims(*range(1, 1 + spatial))
    n, c = dims(0, 1 + spatial)
    results = (
        [n, *window, c] if last else [n, c, *window],
        [c, *dims(*taps)],
        [n, *pixels, c] if last else [n, c, *pixels],
    )
    maps = [AffineMap(2 + 2 * spatial, 0, tuple(exprs)) for exprs in results]
    return contract(build, padded, filters, shape, maps, spatial, op.result.type.element_type)


def _split(shape: Sequence[int], dim: int, groups: Sequence[int]) -> list[int]:
    """`shape` with the groups of `dim` as a dim before it."""
    return [*shape[:dim], *groups, shape[dim] // prod(groups), *shape[dim + 1 :]]


def convert_matmul(op: graph.MatmulOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A contraction over (leading dims, m, n | k); a right operand of rank 2 serves every batch."""
    a, b = operands
    assert isinstance(op.result.type, TensorType)
    shape = op.result.type.get_shape()
    rank = len(shape)
    rows, n, k = dims(*range(rank - 1)), *dims(rank - 1, rank)
    batch = rows[: len(shape_of(b)) - 2]
    right = [*batch, n, k] if op.transpose_b else [*batch, k, n]
    maps = [AffineMap(rank + 1, 0, tuple(exprs)) for exprs in ([*rows, k], right, [*rows, n])]
    return contract(build, a, b, shape, maps, 1, op.result.type.element_type)
