"""Integer division, remainders, shifts and conversions to integers that are defined for every operand: what machines trap on, and what LLVM calls
poison, never reaches an instruction. Vectors hold such operands in lanes that do not count."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import FixedBitwidthType, IntegerType, bf16, f16, f32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.graph.scalar_sequence import ScalarSequence, is_floating
from stepwell.dialects.numpy_types import is_unsigned


def width_of(type: Attribute) -> int:
    """The bits of a scalar type."""
    assert isinstance(type, FixedBitwidthType)
    return type.bitwidth


def select(s: ScalarSequence, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
    """a where the condition holds, b elsewhere."""
    return s.op(arith.SelectOp, condition, a, b, result=a.type)


def _harmless(s: ScalarSequence, b: SSAValue) -> SSAValue:
    """The divisor, 1 in the place of 0 and, of signed integers, of -1: the lowest number over -1 traps as a division by zero does."""
    one = s.constant(1, b)
    divisor = select(s, s.compare("eq", b, s.constant(0, b)), one, b)
    return divisor if s.is_unsigned(b) else select(s, s.compare("eq", b, s.constant(-1, b)), one, divisor)


def divide(s: ScalarSequence, a: SSAValue, b: SSAValue) -> SSAValue:
    """a / b toward zero, 0 where b is 0; a over -1 is -a, which wraps."""
    zero, divisor = s.constant(0, a), _harmless(s, b)
    quotient = s.op(arith.DivUIOp if s.is_unsigned(a) else arith.DivSIOp, a, divisor)
    if not s.is_unsigned(a):
        negative = s.op(arith.SubiOp, zero, a)
        quotient = select(s, s.compare("eq", b, s.constant(-1, b)), negative, quotient)
    return select(s, s.compare("eq", b, zero), zero, quotient)


def remainder(s: ScalarSequence, a: SSAValue, b: SSAValue) -> SSAValue:
    """What a / b toward zero leaves, 0 where b is 0."""
    return s.op(arith.RemUIOp if s.is_unsigned(a) else arith.RemSIOp, a, _harmless(s, b))


def shift(s: ScalarSequence, made: type[Operation], a: SSAValue, amount: SSAValue) -> SSAValue:
    """A shift; 0 where the amount is the width or more."""
    zero = s.constant(0, a)
    inside = arith.CmpiOp(amount, s.constant(width_of(a.type), amount), "ult")
    s.ops.append(inside)
    moved = s.op(made, a, select(s, inside.result, amount, zero))
    return select(s, inside.result, moved, zero)


def truth(s: ScalarSequence, x: SSAValue) -> SSAValue:
    """Whether x is not 0: of a float any bit but the sign, so that denormals count on machines that flush them."""
    if not is_floating(x.type):
        return s.compare("ne", x, s.constant(0, x))
    bits = s.op(arith.BitcastOp, x, result=IntegerType(width_of(x.type)))
    magnitude = s.op(arith.AndIOp, bits, s.constant((1 << (width_of(x.type) - 1)) - 1, bits))
    return s.compare("ne", magnitude, s.constant(0, bits))


def whole_number(s: ScalarSequence, x: SSAValue, to: IntegerType, unsigned: bool) -> SSAValue:
    """x toward zero, the nearest number of the type where it is beyond, 0 for NaN."""
    if x.type in (f16, bf16):
        x = s.op(arith.ExtFOp, x, result=f32)
    width = to.width.data
    least, most = (0, (1 << width) - 1) if unsigned else (-(1 << (width - 1)), (1 << (width - 1)) - 1)
    low, high, zero = s.constant(float(least), x), s.constant(float(most + 1), x), s.constant(0.0, x)
    above = select(s, s.compare("gt", x, low), x, zero)
    fits = select(s, s.compare("lt", x, high), above, zero)
    inside = s.op(arith.FPToUIOp if unsigned else arith.FPToSIOp, fits, result=to)
    lowest, highest = s.constant(least, inside), s.constant(_bits(most, to, width), inside)
    return select(s, s.compare("ge", x, high), highest, select(s, s.compare("le", x, low), lowest, inside))


def _bits(value: int, of: IntegerType, width: int) -> int:
    """The number as a constant of its type holds it: a signless one that stands for an unsigned one by its bits."""
    return value if is_unsigned(of) or value < 1 << (width - 1) else value - (1 << width)
