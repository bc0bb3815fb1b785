"""Pools as linalg."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    i32,
)
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_binary, expand_cast
from stepwell.dialects.graph.ops_normalise import statistics_element
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims, lowest, spatial_pads, window_maps
from stepwell.transforms.tensors import element_of, shape_of


def convert_pool(op: graph.PoolOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """tensor.pad, then a reduction over the taps of a shape-only window operand; an average then divides by the
    elements inside. Sums of 16-bit floats are f32 until the end."""
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
    padded = build.pad(x, *spatial_pads([*op.pads[:spatial], *ends], last), identity)
    taps = range(spatial + 2, 2 * spatial + 2)
    n, c = dims(0, spatial + 1)
    window, outputs = window_maps(op.strides, op.dilations, taps.start), dims(*range(1, spatial + 1))
    results = [n, *window, c] if last else [n, c, *window]
    out = [n, *outputs, c] if last else [n, c, *outputs]
    loops = 2 * spatial + 2
    maps = [AffineMap(loops, 0, tuple(exprs)) for exprs in (results, dims(*taps), out)]
    total = element if op.kind == "max" else statistics_element(element)

    def combine(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        wide, value = expand_cast(s[0], total)
        ops, result = expand_binary("max" if op.kind == "max" else "add", s[2], value)
        return [*wide, *ops], result

    window_only = build.empty(op.kernel, element)
    value = build.generic([padded, window_only], build.filled(shape, total, identity), maps, spatial, combine)
    value = _divide_by_count(op, value, build) if op.kind == "average" else value
    return value if total == element else build.elementwise([value], element, lambda s: expand_cast(s[0], element))


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
