"""What the expansions of functions are written with: scalar arith and math ops, inserted at one place."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import Float32Type, Float64Type, FloatAttr, IntegerAttr, IntegerType, f32
from xdsl.ir import Operation, SSAValue


class Scalars:
    """Inserts scalar ops on one float type, and on the integer of its width, through a builder and returns their results."""

    def __init__(self, build: Builder, of: Float32Type | Float64Type = f32) -> None:
        self.build, self.float, self.bits = build, of, IntegerType(of.bitwidth)

    def op(self, made: Operation) -> SSAValue:
        """Insert an op with one result."""
        return self.build.insert(made).results[0]

    def number(self, value: float) -> SSAValue:
        """A constant of the float type."""
        return self.op(arith.ConstantOp(FloatAttr(value, self.float)))

    def integer(self, value: int) -> SSAValue:
        """A constant of the integer type."""
        return self.op(arith.ConstantOp(IntegerAttr(value, self.bits)))

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a + b of two floats or integers."""
        return self.op((arith.AddfOp if a.type == self.float else arith.AddiOp)(a, b))

    def subtract(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a - b of two floats or integers."""
        return self.op((arith.SubfOp if a.type == self.float else arith.SubiOp)(a, b))

    def multiply(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a * b of two floats."""
        return self.op(arith.MulfOp(a, b))

    def divide(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a / b of two floats."""
        return self.op(arith.DivfOp(a, b))

    def to_bits(self, x: SSAValue) -> SSAValue:
        """The bits of a float."""
        return self.op(arith.BitcastOp(x, self.bits))

    def from_bits(self, bits: SSAValue) -> SSAValue:
        """The float with these bits."""
        return self.op(arith.BitcastOp(bits, self.float))

    def compare(self, a: SSAValue, predicate: str, b: SSAValue) -> SSAValue:
        """A comparison of two floats or integers."""
        return self.op((arith.CmpfOp if a.type == self.float else arith.CmpiOp)(a, b, predicate))

    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        """a where the condition holds, b elsewhere."""
        return self.op(arith.SelectOp(condition, a, b))

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """a * b + c, rounded once."""
        return self.op(math.FmaOp(a, b, c))

    def clamp(self, x: SSAValue, low: float, high: float) -> SSAValue:
        """x between two bounds; a NaN stays."""
        return self.op(arith.MinimumfOp(self.op(arith.MaximumfOp(x, self.number(low))), self.number(high)))

    def horner(self, coefficients: Sequence[float], x: SSAValue) -> SSAValue:
        """The polynomial with the coefficients of x^0, x^1, .."""
        total = self.number(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = self.fma(total, x, self.number(coefficient))
        return total
