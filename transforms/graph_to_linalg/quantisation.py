"""Quantisation as linalg: maps of an element, its scale and its zero point."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerType, f32, f64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_cast
from stepwell.dialects.graph.ops_quantise import Quantising
from stepwell.dialects.numpy_types import is_unsigned
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder
from stepwell.transforms.graph_to_linalg.positions import Positions
from stepwell.transforms.tensors import element_of, shape_of

EXACT_BITS = 16
"""Integers of so many bits, and their differences, are exact in f32."""


def _wide(quantised: Attribute, floats: Sequence[Attribute]) -> Attribute:
    """The type that is computed in: f32 for narrow integers, else f64."""
    assert isinstance(quantised, IntegerType)
    return f64 if f64 in floats or quantised.width.data > EXACT_BITS else f32


def _parameter(s: Positions, op: Quantising, parameter: SSAValue) -> SSAValue:
    """The scale or zero point of the current element: one for each block of neighbours."""
    at = []
    for dim, size in zip(op.dims, op.block, strict=True):
        position = s.loop(dim)
        at.append(position if size == 1 else s.op(arith.DivUIOp, position, s.index(size)))
    return s.extract(parameter, at)


def _unsigned(value: SSAValue) -> bool:
    return is_unsigned(element_of(value))


def convert_quantize(op: graph.QuantizeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """saturate(round_even(x / scale) + zero), the quotient in f32, of f64 in f64."""
    x, scale, zero = operands
    element = element_of(zero)
    quotient_type = f64 if element_of(x) == f64 else f32
    wide = _wide(element, [element_of(x)])
    unsigned = _unsigned(op.zero)

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s = Positions()
        factor = s.take(expand_cast(_parameter(s, op, scale), quotient_type))
        quotient = s.op(arith.DivfOp, s.take(expand_cast(scalars[0], quotient_type)), factor)
        whole = s.take(expand_cast(s.op(math.RoundEvenOp, quotient), wide))
        shift = s.take(expand_cast(_parameter(s, op, zero), wide, unsigned=(unsigned, False)))
        moved = s.op(arith.AddfOp, whole, shift)
        return s, s.take(expand_cast(moved, element, unsigned=(False, unsigned)))

    return build.positioned([x], shape_of(x), element, body)


def convert_dequantize(op: graph.DequantizeOp, operands: Sequence[SSAValue], build: LinalgBuilder) -> SSAValue:
    """(x - zero) * scale, in f32 where that is exact for the difference."""
    x, scale, zero = operands
    element = element_of(op.result)
    wide = _wide(element_of(x), [element, element_of(scale)])
    unsigned = _unsigned(op.operand)

    def body(scalars: Sequence[SSAValue]) -> tuple[Positions, SSAValue]:
        s = Positions()
        value = s.take(expand_cast(scalars[0], wide, unsigned=(unsigned, False)))
        shift = s.take(expand_cast(_parameter(s, op, zero), wide, unsigned=(unsigned, False)))
        factor = s.take(expand_cast(_parameter(s, op, scale), wide))
        return s, s.take(expand_cast(s.op(arith.MulfOp, s.op(arith.SubfOp, value, shift), factor), element))

    return build.positioned([x], shape_of(x), element, body)
