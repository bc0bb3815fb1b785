"""Normalisations with given statistics, and over neighbouring channels, as linalg."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import f64
from xdsl.ir import Operation, SSAValue
from xdsl.ir.affine import AffineExpr, AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_cast
from stepwell.dialects.graph.ops_normalise import statistics_element
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, dims
from stepwell.transforms.graph_to_linalg.positions import Positions
from stepwell.transforms.graph_to_linalg.reduction import mapped
from stepwell.transforms.tensors import element_of, shape_of


def convert_batch_norm(op: graph.BatchNormOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """(x - mean) * (scale / sqrt(variance + epsilon)) + bias in one generic, in f32 or, where an operand is, in f64."""
    shape, element = shape_of(op.result), element_of(op.result)
    wide = f64 if f64 in [element_of(value) for value in operands] else statistics_element(element)

    def body(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        x, scale, bias, mean, variance = (s.take(expand_cast(value, wide)) for value in scalars[:-1])
        root = s.op(math.SqrtOp, s.op(arith.AddfOp, variance, s.constant(op.epsilon, variance)))
        factor = s.op(arith.DivfOp, scale, root)
        moved = s.op(arith.MulfOp, s.op(arith.SubfOp, x, mean), factor)
        return s.ops, s.take(expand_cast(s.op(arith.AddfOp, moved, bias), element))

    along = [range(len(shape)), *([op.dim],) * 4]
    return mapped(build, shape, list(zip(operands, along, strict=True)), element, body)


def convert_lrn(op: graph.LrnOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """Squares summed over a window of channels, zeros outside, then x / (k + alpha / size * sum) ^ beta; 16-bit floats in f32."""
    (x,) = operands
    whole, element = shape_of(x), element_of(x)
    wide = statistics_element(element)
    last = op.layout == "channels_last"
    shape = whole if last else (whole[0], whole[1], prod(whole[2:]))
    x = build.reshape(x, shape)
    rank, channel = len(shape), len(shape) - 1 if last else 1
    low, high = ([n if dim == channel else 0 for dim in range(rank)] for n in ((op.size - 1) // 2, op.size // 2))
    window = [AffineExpr.dimension(d) for d in range(rank)]
    window[channel] = window[channel] + AffineExpr.dimension(rank)
    results = (window, dims(rank), dims(*range(rank)))

    def square(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        value = s.take(expand_cast(scalars[0], wide))
        return s.ops, s.op(arith.AddfOp, scalars[-1], s.op(arith.MulfOp, value, value))

    inputs = [build.pad(x, low, high, 0), build.empty([op.size], element)]
    maps = [AffineMap(rank + 1, 0, tuple(exprs)) for exprs in results]
    total = build.generic(inputs, build.filled(shape, wide, 0), maps, 1, square)

    def divide(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        s = Positions()
        value, squares = s.take(expand_cast(scalars[0], wide)), scalars[1]
        scaled = s.op(arith.MulfOp, squares, s.constant(op.alpha / op.size, squares))
        base = s.op(arith.AddfOp, scaled, s.constant(op.k, squares))
        return s.ops, s.take(expand_cast(s.op(arith.DivfOp, value, _power(s, base, op.beta)), element))

    return build.reshape(build.elementwise([x, total], element, divide), whole)


def _power(s: Positions, base: SSAValue, exponent: float) -> SSAValue:
    """A number that is not negative to a power: by square roots where the exponent is a quarter's multiple up to 1, else by logarithm."""
    quarters = 4 * exponent
    if quarters not in (1, 2, 3, 4):
        return s.op(math.ExpOp, s.op(arith.MulfOp, s.op(math.LogOp, base), s.constant(exponent, base)))
    if quarters == 4:
        return base
    root = s.op(math.SqrtOp, base)
    if quarters == 2:
        return root
    fourth = s.op(math.SqrtOp, root)
    return fourth if quarters == 1 else s.op(arith.MulfOp, root, fourth)
