"""How each graph op becomes linalg: one function per op, from the op and its operands to the value of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    Float16Type,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    TensorType,
    f32,
    i32,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineExpr, AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand, expand_binary, expand_cast
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims, element_of, lowest, shape_of

Operands = Sequence[SSAValue]


def _accumulator(element: Attribute, result: Attribute) -> Attribute:
    """16-bit floats accumulate in f32 and narrow integers in i32; every other type in the result's."""
    if isinstance(element, IntegerType):
        return i32 if element.width.data < 32 else result
    return f32 if isinstance(element, Float16Type | BFloat16Type) else result


def multiply_add(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
    """Body of a contraction: accumulator + a * b in the accumulator's type."""
    a, b, total = scalars
    left, wide_a = expand_cast(a, total.type)
    right, wide_b = expand_cast(b, total.type)
    product, value = expand_binary("mul", wide_a, wide_b)
    added, result = expand_binary("add", total, value)
    return [*left, *right, *product, *added], result


def _contract(
    build: LinalgBuilder,
    a: SSAValue,
    b: SSAValue,
    shape: Sequence[int],
    maps: Sequence[AffineMap],
    reductions: int,
    result: Attribute,
) -> SSAValue:
    """The contraction with `maps` of a, b and the result, in the accumulator's type, rounded once to `result`."""
    total = _accumulator(element_of(a), result)
    value = build.generic([a, b], build.filled(shape, total, 0), maps, reductions, multiply_add)
    return value if total == result else build.elementwise([value], result, lambda s: expand_cast(s[0], result))


def _window_maps(op: graph.ConvOp | graph.PoolOp, spatial: int, first_tap: int) -> list[AffineExpr]:
    """Input coordinate of each spatial dim: loop 1 + d strides over outputs, loop first_tap + d over taps."""
    return [
        AffineExpr.dimension(1 + d) * op.strides[d] + AffineExpr.dimension(first_tap + d) * op.dilations[d]
        for d in range(spatial)
    ]


def _spatial_pads(pads: Sequence[int], last: bool) -> tuple[list[int], list[int]]:
    """Low and high pads of every dim of the input."""
    spatial = len(pads) // 2
    before, after = ([0], [0]) if last else ([0, 0], [])
    return [*before, *pads[:spatial], *after], [*before, *pads[spatial:], *after]


def convert_conv(op: graph.ConvOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """tensor.pad, then a contraction over (n, pixels, [g,] k | taps, c); grouped channels become a dim of their own."""
    x, f = operands
    last = op.layout == "channels_last"
    low, high = _spatial_pads(op.pads, last)
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
    window = _window_maps(op, spatial, taps.start)
    n, kk, cc = dims(0, k, c)
    if last:
        results = ([n, *window, *group, cc], [*group, kk, *dims(*taps), cc], [n, *dims(*pixels), *group, kk])
    else:
        results = ([n, *group, cc, *window], [*group, kk, cc, *dims(*taps)], [n, *group, kk, *dims(*pixels)])
    maps = [AffineMap(c + 1, 0, tuple(exprs)) for exprs in results]
    value = _contract(build, padded, f, split, maps, spatial + 1, op.result.type.element_type)
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
    window, pixels = _window_maps(op, spatial, taps.start), dims(*range(1, 1 + spatial))
    n, c = dims(0, 1 + spatial)
    results = (
        [n, *window, c] if last else [n, c, *window],
        [c, *dims(*taps)],
        [n, *pixels, c] if last else [n, c, *pixels],
    )
    maps = [AffineMap(2 + 2 * spatial, 0, tuple(exprs)) for exprs in results]
    return _contract(build, padded, filters, shape, maps, spatial, op.result.type.element_type)


def _split(shape: Sequence[int], dim: int, groups: Sequence[int]) -> list[int]:
    """`shape` with the groups of `dim` as a dim before it."""
    return [*shape[:dim], *groups, shape[dim] // prod(groups), *shape[dim + 1 :]]


def convert_matmul(op: graph.MatmulOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """A contraction over (leading dims, m, n | k); a right operand of rank 2 serves every batch."""
    a, b = operands
    assert isinstance(op.result.type, TensorType)
    shape = op.result.type.get_shape()
    rank = len(shape)
    rows, n, k = dims(*range(rank - 1)), *dims(rank - 1, rank)
    batch = rows[: len(shape_of(b)) - 2]
    right = [*batch, n, k] if op.transpose_b else [*batch, k, n]
    maps = [AffineMap(rank + 1, 0, tuple(exprs)) for exprs in ([*rows, k], right, [*rows, n])]
    return _contract(build, a, b, shape, maps, 1, op.result.type.element_type)


def convert_pool(op: graph.PoolOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """tensor.pad, then a reduction over the taps of a shape-only window operand; an average then divides by the
    elements inside."""
    (x,) = operands
    last = op.layout == "channels_last"
    shape, element, spatial = shape_of(op.result), element_of(x), len(op.kernel)
    pixels = shape[1:-1] if last else shape[2:]
    inputs = shape_of(x)[1:-1] if last else shape_of(x)[2:]
    needed = [
        (pixels[d] - 1) * op.strides[d] + (op.kernel[d] - 1) * op.dilations[d] + 1 - inputs[d] - op.pads[d]
        for d in range(spatial)
    ]
    ends = [max(op.pads[spatial + d], needed[d]) for d in range(spatial)]
    identity = lowest(element) if op.kind == "max" else 0
    padded = build.pad(x, *_spatial_pads([*op.pads[:spatial], *ends], last), identity)
    taps = range(spatial + 2, 2 * spatial + 2)
    n, c = dims(0, spatial + 1)
    window, outputs = _window_maps(op, spatial, taps.start), dims(*range(1, spatial + 1))
    results = [n, *window, c] if last else [n, c, *window]
    out = [n, *outputs, c] if last else [n, c, *outputs]
    loops = 2 * spatial + 2
    maps = [AffineMap(loops, 0, tuple(exprs)) for exprs in (results, dims(*taps), out)]
    combine = "max" if op.kind == "max" else "add"
    value = build.generic(
        [padded, build.empty(op.kernel, element)],
        build.filled(shape, element, identity),
        maps,
        spatial,
        lambda s: expand_binary(combine, s[2], s[0]),
    )
    return _divide_by_count(op, value, build) if op.kind == "average" else value


def _divide_by_count(op: graph.PoolOp, value: SSAValue, build: LinalgBuilder) -> SSAValue:
    """The sum over the number of elements that count: a constant where no window is cut off."""
    element = element_of(value)
    counts = [_counts(op, d) for d in range(len(op.kernel))]
    if all(len(set(count)) == 1 for count in counts):
        number = prod(count[0] for count in counts)
        return build.elementwise([value], element, lambda s: _divide_by_constant(s[0], number))
    return build.elementwise([value], element, lambda s: _divide_by_index(op, s[0]))


def _counts(op: graph.PoolOp, d: int) -> list[int]:
    """For each output position along spatial dim d, how many taps count."""
    low, high = _counted_range(op, d)
    steps = [o * op.strides[d] - op.pads[d] for o in range(_extent(op.result, op.layout, d))]
    return [sum(low <= start + tap * op.dilations[d] < high for tap in range(op.kernel[d])) for start in steps]


def _counted_range(op: graph.PoolOp, d: int) -> tuple[int, int]:
    """Input coordinates that count: the input's, or with count_include_pad the padded input's."""
    extent = _extent(op.input, op.layout, d)
    if not op.count_include_pad:
        return 0, extent
    return -op.pads[d], extent + op.pads[len(op.kernel) + d]


def _extent(value: SSAValue, layout: str, d: int) -> int:
    return shape_of(value)[1 + d if layout == "channels_last" else 2 + d]


def _divide_by_constant(value: SSAValue, number: int) -> tuple[list[Operation], SSAValue]:
    assert isinstance(value.type, AnyFloat)
    constant = arith.ConstantOp(FloatAttr(float(number), value.type))
    ops, result = expand_binary("div", value, constant.result)
    return [constant, *ops], result


def _divide_by_index(op: graph.PoolOp, value: SSAValue) -> tuple[list[Operation], SSAValue]:
    """Count of taps inside, from the position: per dim ceil((high - start)/dilation) capped by the kernel, less those
    below low."""
    ops: list[Operation] = []

    def add(made: Operation) -> SSAValue:
        ops.append(made)
        return made.results[0]

    def index(number: int) -> SSAValue:
        return add(arith.ConstantOp(IntegerAttr(number, IndexType())))

    total = index(1)
    for d in range(len(op.kernel)):
        low, high = _counted_range(op, d)
        position = add(linalg.IndexOp(1 + d if op.layout == "channels_last" else 2 + d))
        scaled = add(arith.MuliOp(position, index(op.strides[d])))
        start = add(arith.SubiOp(scaled, index(op.pads[d])))
        dilation, kernel, zero = index(op.dilations[d]), index(op.kernel[d]), index(0)
        bounds = []
        for limit in (low, high):
            distance = add(arith.SubiOp(index(limit + op.dilations[d] - 1), start))
            taps = add(arith.DivUIOp(add(arith.MaxSIOp(distance, zero)), dilation))
            bounds.append(add(arith.MinSIOp(taps, kernel)))
        total = add(arith.MuliOp(total, add(arith.SubiOp(bounds[1], bounds[0]))))
    whole = add(arith.IndexCastOp(total, i32))
    assert isinstance(value.type, AnyFloat)
    divisor = add(arith.SIToFPOp(whole, value.type))
    divided, result = expand_binary("div", value, divisor)
    return [*ops, *divided], result


def convert_elementwise(
    op: graph.UnaryOp | graph.BinaryOp | graph.CastOp, operands: Operands, build: LinalgBuilder
) -> SSAValue:
    """A generic with identity maps; a cast that changes nothing disappears."""
    element = element_of(op.result)
    if isinstance(op, graph.CastOp) and element == element_of(operands[0]):
        return operands[0]
    return build.elementwise(operands, element, lambda s: expand(op, s[:-1]))


def convert_broadcast(op: graph.BroadcastOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a projected map."""
    shape = shape_of(op.result)
    maps = [AffineMap(len(shape), 0, tuple(dims(*op.dims))), AffineMap.identity(len(shape))]
    return build.generic(operands, build.empty(shape, element_of(op.result)), maps, 0, lambda s: ([], s[0]))


def convert_transpose(op: graph.TransposeOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """A generic that yields its input through a permuted map: input dim permutation[i] is loop i."""
    shape = shape_of(op.result)
    loops = sorted(range(len(shape)), key=lambda i: op.permutation[i])
    maps = [AffineMap(len(shape), 0, tuple(dims(*loops))), AffineMap.identity(len(shape))]
    return build.generic(operands, build.empty(shape, element_of(op.result)), maps, 0, lambda s: ([], s[0]))


def convert_reshape(op: graph.ReshapeOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """tensor.collapse_shape and tensor.expand_shape."""
    return build.reshape(operands[0], shape_of(op.result))


Conversion = Callable[[Any, Operands, LinalgBuilder], SSAValue]
CONVERSIONS: Mapping[type[Operation], Conversion] = {
    graph.ConvOp: convert_conv,
    graph.MatmulOp: convert_matmul,
    graph.PoolOp: convert_pool,
    graph.UnaryOp: convert_elementwise,
    graph.BinaryOp: convert_elementwise,
    graph.CastOp: convert_elementwise,
    graph.BroadcastOp: convert_broadcast,
    graph.TransposeOp: convert_transpose,
    graph.ReshapeOp: convert_reshape,
}
"""Which function converts which op. An op that is missing here has no structured form and a lowering of its own."""
