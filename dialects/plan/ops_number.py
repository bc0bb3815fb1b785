"""Ops that compute the numbers of a launch from the types of what it runs on: extents, strides, the geometry of windows, and arithmetic on them.

They are pure, and every one has a value while compiling (`number_of`): the plan file holds the values. In the text each number has a name and an origin, and a
pass may change it."""

from __future__ import annotations

from typing import ClassVar, Self

from xdsl.dialects.arith import ConstantOp as ArithConstantOp
from xdsl.dialects.builtin import IntegerAttr, IntegerType, i32, i64
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Operation, SpacedOpaqueSyntaxAttribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from stepwell.dialects.plan.attributes import BufferType, WindowType
from stepwell.dialects.plan.ops_memory import WindowOp, window_output
from stepwell.types.layouts import magic_number

I64 = IntegerType(64)
NUMBER = base(IntegerType)


def _verify_width(op: Operation) -> None:
    if op.results[0].type not in (i32, i64):
        raise VerifyException(f"{op.name}: a number of a launch is i32 or i64, here {op.results[0].type}")


def _verify_dim(op: Operation, dim: int, rank: int) -> None:
    if not 0 <= dim < rank:
        raise VerifyException(f"{op.name}: there is no dim {dim}: the rank is {rank}")


class _OfDimOp(IRDLOperation):
    """A number of one dim of the operand `source`."""

    dim = prop_def(IntegerAttr[IntegerType].constr(type=I64))
    result = result_def(NUMBER)

    traits = traits_def(Pure())
    assembly_format = "$source `[` $dim `]` attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, dim: int, of: Attribute) -> None:
        super().__init__(operands=[source], properties={"dim": IntegerAttr(dim, i64)}, result_types=[of])

    def verify_(self) -> None:
        kind = self.operands[0].type
        assert isinstance(kind, BufferType | WindowType)
        _verify_width(self)
        _verify_dim(self, self.dim.value.data, kind.get_num_dims())


@irdl_op_definition
class ExtentOp(_OfDimOp):
    """The extent of a dim of a buffer, or of a window (pixels, taps, channels)."""

    name = "plan.extent"

    source = operand_def(BufferType | WindowType)

    def value(self) -> int:
        """The number."""
        assert isinstance(self.source.type, BufferType | WindowType)
        return self.source.type.get_shape()[self.dim.value.data]


@irdl_op_definition
class StrideOp(_OfDimOp):
    """Elements from one element to the next along a dim of a buffer."""

    name = "plan.stride"

    source = operand_def(BufferType)

    def value(self) -> int:
        """The number."""
        assert isinstance(self.source.type, BufferType)
        return self.source.type.get_strides()[self.dim.value.data]


class WindowField(StrEnum):
    """A list of a window's numbers."""

    OUTPUT = "output"
    KERNEL = "kernel"
    STRIDES = "strides"
    PADS = "pads"
    DILATIONS = "dilations"


@irdl_attr_definition
class WindowFieldAttr(EnumAttribute[WindowField], SpacedOpaqueSyntaxAttribute):
    """`output`, `kernel`, `strides`, `pads` or `dilations`."""

    name = "plan.window_field"


@irdl_op_definition
class GeometryOp(IRDLOperation):
    """A number of a window: `output`, `kernel`, `strides` and `dilations` have one for each spatial dim, `pads` one for each beginning, then one for each end."""

    name = "plan.geometry"

    source = operand_def(WindowType)
    field = prop_def(WindowFieldAttr)
    dim = prop_def(IntegerAttr[IntegerType].constr(type=I64))
    result = result_def(NUMBER)

    traits = traits_def(Pure())
    assembly_format = "$source $field `[` $dim `]` attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, field: WindowField, dim: int, of: Attribute) -> None:
        properties = {"field": WindowFieldAttr(field), "dim": IntegerAttr(dim, i64)}
        super().__init__(operands=[source], properties=properties, result_types=[of])

    def verify_(self) -> None:
        _verify_width(self)
        if not isinstance(self.source.owner, WindowOp):
            raise VerifyException(f"{self.name}: the window must come from plan.window")
        _verify_dim(self, self.dim.value.data, len(self._numbers()))

    def _numbers(self) -> tuple[int, ...]:
        window = self.source.owner
        assert isinstance(window, WindowOp) and isinstance(window.source.type, BufferType)
        geometry = window.geometry()
        if self.field.data is WindowField.OUTPUT:
            return window_output(window.source.type.get_shape(), *geometry)
        return tuple(geometry._asdict()[self.field.data.value])

    def value(self) -> int:
        """The number."""
        return self._numbers()[self.dim.value.data]


class TwoNumbersOp(IRDLOperation):
    """A number from two: `%a, %b` or `%a, 128`."""

    left = operand_def(NUMBER)
    right = opt_operand_def(NUMBER)
    literal = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    result = result_def(NUMBER)

    traits = traits_def(Pure())
    LEAST: ClassVar[int | None] = None

    def __init__(self, left: SSAValue, right: SSAValue | int) -> None:
        literal = IntegerAttr(right, i64) if isinstance(right, int) else None
        operands = [left, None if isinstance(right, int) else right]
        super().__init__(operands=operands, properties={"literal": literal}, result_types=[left.type])

    def verify_(self) -> None:
        _verify_width(self)
        if (self.right is None) == (self.literal is None):
            raise VerifyException(f"{self.name}: takes two values, or a value and a number")
        if {value.type for value in self.operands} != {self.result.type}:
            raise VerifyException(f"{self.name}: operands and result are of one type")
        if self.LEAST is not None and self._second() < self.LEAST:
            raise VerifyException(f"{self.name}: divides by {self._second()}")

    @staticmethod
    def compute(a: int, b: int) -> int:
        """The arithmetic."""
        raise NotImplementedError

    def _second(self) -> int:
        if self.right is not None:
            return number_of(self.right)
        assert self.literal is not None
        return self.literal.value.data

    def value(self) -> int:
        """The number."""
        return type(self).compute(number_of(self.left), self._second())

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        left = parser.parse_unresolved_operand()
        parser.parse_punctuation(",")
        second = parser.parse_optional_unresolved_operand()
        literal = parser.parse_integer(allow_boolean=False, allow_negative=True) if second is None else 0
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        of = parser.parse_type()
        made = cls(parser.resolve_operand(left, of), literal if second is None else parser.resolve_operand(second, of))
        made.attributes |= attributes
        return made

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.left)
        printer.print_string(", ")
        if self.right is not None:
            printer.print_ssa_value(self.right)
        elif self.literal is not None:
            printer.print_string(str(self.literal.value.data))
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


@irdl_op_definition
class MultiplyOp(TwoNumbersOp):
    """a * b"""

    name = "plan.multiply"

    @staticmethod
    def compute(a: int, b: int) -> int:
        return a * b


@irdl_op_definition
class CeilDivOp(TwoNumbersOp):
    """a / b rounded up: how many blocks of b cover a."""

    name = "plan.ceil_div"
    LEAST: ClassVar[int | None] = 1

    @staticmethod
    def compute(a: int, b: int) -> int:
        return -(-a // b)


@irdl_op_definition
class FloorDivOp(TwoNumbersOp):
    """a / b rounded down."""

    name = "plan.floor_div"
    LEAST: ClassVar[int | None] = 1

    @staticmethod
    def compute(a: int, b: int) -> int:
        return a // b


@irdl_op_definition
class MinimumOp(TwoNumbersOp):
    """The smaller."""

    name = "plan.minimum"

    @staticmethod
    def compute(a: int, b: int) -> int:
        return min(a, b)


@irdl_op_definition
class MaximumOp(TwoNumbersOp):
    """The larger."""

    name = "plan.maximum"

    @staticmethod
    def compute(a: int, b: int) -> int:
        return max(a, b)


class MagicOp(IRDLOperation):
    """Half of what divides by a number without dividing: n / d = (n * multiplier) >> shift for every n below 2^31 (`types.layouts.magic_number`)."""

    divisor = operand_def(i32)
    result = result_def(i32)

    traits = traits_def(Pure())
    assembly_format = "$divisor attr-dict"
    PART: ClassVar[int]

    def __init__(self, divisor: SSAValue) -> None:
        super().__init__(operands=[divisor], result_types=[i32])

    def verify_(self) -> None:
        if not 1 <= number_of(self.divisor) < 2**31:
            raise VerifyException(f"{self.name}: cannot divide by {number_of(self.divisor)}")

    def value(self) -> int:
        """The number, as a signed one of 32 bits."""
        found = magic_number(number_of(self.divisor))[self.PART]
        return found - 2**32 if found >= 2**31 else found


@irdl_op_definition
class MagicMultiplierOp(MagicOp):
    """The multiplier of a division by a number that the kernel does not know."""

    name = "plan.magic_multiplier"
    PART: ClassVar[int] = 0


@irdl_op_definition
class MagicShiftOp(MagicOp):
    """The shift of a division by a number that the kernel does not know."""

    name = "plan.magic_shift"
    PART: ClassVar[int] = 1


NumberOp = (
    ExtentOp
    | StrideOp
    | GeometryOp
    | MultiplyOp
    | CeilDivOp
    | FloorDivOp
    | MinimumOp
    | MaximumOp
    | MagicMultiplierOp
    | MagicShiftOp
)
NUMBER_OPS: tuple[type[NumberOp], ...] = (
    ExtentOp,
    StrideOp,
    GeometryOp,
    MultiplyOp,
    CeilDivOp,
    FloorDivOp,
    MinimumOp,
    MaximumOp,
    MagicMultiplierOp,
    MagicShiftOp,
)


def number_of(value: SSAValue) -> int:
    """The value of a launch's number: of an `arith.constant` or an op of this file. Raises VerifyException for any other."""
    owner = value.owner
    if isinstance(owner, ArithConstantOp) and isinstance(owner.value, IntegerAttr):
        return int(owner.value.value.data)
    if isinstance(owner, NUMBER_OPS):
        return owner.value()
    named = owner.name if isinstance(owner, Operation) else "a block argument"
    raise VerifyException(f"a launch's number comes from {named}: plan arithmetic and arith.constant only")
