"""Transposed convolutions as linalg."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_binary, expand_cast
from stepwell.transforms.graph_to_linalg.contraction import accumulator
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims
from stepwell.transforms.graph_to_linalg.positions import Positions
from stepwell.transforms.tensors import element_of, shape_of


def convert_conv_transpose(op: graph.ConvTransposeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """A contraction over taps and channels, loops (n, pixels, g, k | taps, c): a tap counts where the input has an element at
    (pixel + pad - tap * dilation) / stride."""
    x, f = operands
    assert isinstance(op.result.type, TensorType)
    result, shape = op.result.type.element_type, shape_of(op.result)
    last, spatial, groups = op.layout == "channels_last", len(op.strides), op.groups
    channel = spatial + 1 if last else 1
    total = accumulator(element_of(x), result)
    source = _split(shape_of(x), channel, groups)
    x = build.reshape(x, source)
    f = build.reshape(f, _split(shape_of(f), 0, groups))
    n, g, k, c = 0, spatial + 1, spatial + 2, 2 * spatial + 3
    pixels, taps = range(1, 1 + spatial), range(spatial + 3, 2 * spatial + 3)
    filter = dims(g, c, *taps, k) if last else dims(g, c, k, *taps)
    out = dims(n, *pixels, g, k) if last else dims(n, g, k, *pixels)
    inputs = source[1 : 1 + spatial] if last else source[3:]

    def body(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        factor, sofar = scalars
        counts: SSAValue | None = None
        at: list[SSAValue] = []
        for d in range(spatial):
            found, hit = _input_position(s, op, d, s.loop(pixels[d]), s.loop(taps[d]), inputs[d])
            at.append(found)
            counts = hit if counts is None else s.op(arith.AndIOp, counts, hit)
        assert counts is not None
        place = [s.loop(n), *at, s.loop(g), s.loop(c)] if last else [s.loop(n), s.loop(g), s.loop(c), *at]
        value = s.take(expand_cast(s.extract(x, place), total))
        product = s.take(expand_binary("mul", value, s.take(expand_cast(factor, total))))
        added = s.take(expand_binary("add", sofar, product))
        return s.ops, s.op(arith.SelectOp, counts, added, sofar, result=total)

    split = _split(shape, channel, groups)
    init = build.filled(split, total, 0)
    if 0 in source:
        return build.filled(shape, result, 0)
    maps = [AffineMap(c + 1, 0, tuple(exprs)) for exprs in (filter, out)]
    made = build.reshape(build.generic([f], init, maps, spatial + 1, body), shape)
    return made if total == result else build.elementwise([made], result, lambda s: expand_cast(s[0], result))


def _split(shape: Sequence[int], dim: int, groups: int) -> list[int]:
    """`shape` with the groups of `dim` as a dim before it."""
    return [*shape[:dim], groups, shape[dim] // groups, *shape[dim + 1 :]]


def _input_position(
    s: Positions, op: graph.ConvTransposeOp, d: int, pixel: SSAValue, tap: SSAValue, extent: int
) -> tuple[SSAValue, SSAValue]:
    """Along spatial dim d: a position of the input, and whether the tap brings its element to the pixel."""
    stride = s.index(op.strides[d])
    moved = s.op(arith.AddiOp, pixel, s.index(op.pads[d]))
    reached = s.op(arith.SubiOp, moved, s.op(arith.MuliOp, tap, s.index(op.dilations[d])))
    zero = s.index(0)
    behind = s.op(arith.MaxSIOp, reached, zero)
    place = s.op(arith.DivUIOp, behind, stride)
    exact = s.add(arith.CmpiOp(s.op(arith.MuliOp, place, stride), reached, "eq"))
    inside = s.within(place, extent)
    return s.clamped(place, extent), s.op(arith.AndIOp, exact, inside)
