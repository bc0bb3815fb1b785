"""Arithmetic on bf16, for which no machine here has instructions: it is done in f32 and rounded, as the dialects define it."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, bf16, f32, f64
from xdsl.ir import Operation, SSAValue

from stepwell.transforms.tile._scalars import Scalars

UNTOUCHED = (arith.ConstantOp, arith.ExtFOp, arith.TruncFOp, arith.SelectOp, arith.BitcastOp)
"""What moves bits, and the conversions that everything else is brought to."""


def computes(op: Operation) -> bool:
    """Whether an arith or math op takes or makes a bf16."""
    if not op.name.startswith(("arith.", "math.")) or isinstance(op, UNTOUCHED):
        return False
    return any(value.type == bf16 for value in (*op.operands, *op.results))


def widened(op: Operation, s: Scalars) -> SSAValue:
    """The result of `op` through f32: one rounding for + - * / and square roots of bf16, whose exact results f32 rounds innocuously (24 >= 2 * 8 + 2
    bits: Figueroa, "When is double rounding innocuous?", 1995). Whole numbers of more than 16 bits go through f64."""
    (operand, *_), made = op.operands, op.results[0].type
    wide = f64 if isinstance(operand.type, IntegerType) and operand.type.width.data > 16 else f32
    operands = [s.op(arith.ExtFOp(value, f32)) if value.type == bf16 else value for value in op.operands]
    result = wide if made == bf16 else made
    clone = type(op).create(
        operands=operands, result_types=[result], properties=dict(op.properties), attributes=dict(op.attributes)
    )
    value = s.op(clone)
    return s.op(arith.TruncFOp(value, bf16)) if made == bf16 else value
