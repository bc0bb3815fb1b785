"""`ScalarSequence`: collects the arith and math ops that an elementwise kind expands to."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.numpy_types import is_unsigned

Expansion = tuple[list[Operation], SSAValue]
"""Ops to insert, in order, and the value that they compute."""

_INTEGER_PREDICATES = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_UNSIGNED_PREDICATES = {"eq": "eq", "ne": "ne", "lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge"}
_FLOAT_PREDICATES = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def is_floating(type: Attribute) -> bool:
    """True for every float type, also for those that are only stored."""
    return isinstance(type, AnyFloat)


class ScalarSequence:
    """Collects ops; each method appends one and returns its result. `unsigned` says that signless integers stand for unsigned ones."""

    def __init__(self, unsigned: bool = False) -> None:
        self.ops: list[Operation] = []
        self.unsigned = unsigned

    def is_unsigned(self, value: SSAValue) -> bool:
        """True where the integer `value` has no sign."""
        return self.unsigned or is_unsigned(value.type)

    def op(self, kind: type[Operation], *operands: SSAValue, result: Attribute | None = None) -> SSAValue:
        """Append an op whose result has the first operand's type, or `result`."""
        made = kind.create(operands=operands, result_types=[result or operands[0].type])
        self.ops.append(made)
        return made.results[0]

    def constant(self, value: float, like: SSAValue) -> SSAValue:
        """A number of the type of `like`."""
        type = like.type
        if isinstance(type, AnyFloat):
            number: Attribute = FloatAttr(float(value), type)
        else:
            assert isinstance(type, IntegerType)
            width = type.width.data
            number = IntegerAttr(int(value) % 2**width if is_unsigned(type) and width > 1 else int(value), type)
        made = arith.ConstantOp.create(properties={"value": number}, result_types=[type])
        self.ops.append(made)
        return made.results[0]

    def compare(self, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """A comparison of two scalars of one type; a NaN is unequal to everything. i1 counts as 0 and 1."""
        if is_floating(a.type):
            made: arith.CmpfOp | arith.CmpiOp = arith.CmpfOp(a, b, _FLOAT_PREDICATES[kind])
        else:
            predicates = _UNSIGNED_PREDICATES if self.is_unsigned(a) else _INTEGER_PREDICATES
            made = arith.CmpiOp(a, b, predicates[kind])
        self.ops.append(made)
        return made.result
