"""Pieces of assembly that several tile ops share. A tile op names its operands without types: they are defined
above."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    UnrealizedConversionCastOp,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import AttrConstraint, base
from xdsl.parser import BaseParser, Parser
from xdsl.printer import Printer

from stepwell.dialects.tile.attributes import TileType

NUMBER: AttrConstraint[FloatAttr | IntegerAttr] = base(FloatAttr) | base(IntegerAttr)
"""A typed scalar as a property."""


def parse_defined(parser: Parser) -> SSAValue:
    """An operand that is already defined, so that its type is known."""
    operand = parser.parse_unresolved_operand()
    values = parser.ssa_values.get(operand.operand_name, ())
    if operand.index >= len(values):
        parser.raise_error(f"%{operand.operand_name} is not defined above this op", operand.span)
    return values[operand.index]


def parse_operands(parser: Parser, delimiter: Parser.Delimiter = Parser.Delimiter.NONE) -> list[SSAValue]:
    """Comma separated operands, each defined above."""
    return parser.parse_comma_separated_list(delimiter, lambda: parse_defined(parser))


def parse_ints(parser: Parser) -> list[int]:
    """`[1, -2]`"""
    return parser.parse_comma_separated_list(
        Parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False, allow_negative=True)
    )


def print_ints(printer: Printer, values: Iterable[int]) -> None:
    """`[1, -2]`"""
    printer.print_string("[" + ", ".join(str(value) for value in values) + "]")


WHOLE = 0
"""A block's extent along a dim that it takes whole; `*` in text."""


def parse_extents(parser: BaseParser) -> list[int]:
    """`[4, *]`: the extents of a block."""

    def extent() -> int:
        if parser.parse_optional_punctuation("*") is not None:
            return WHOLE
        extent = parser.parse_integer(allow_boolean=False, allow_negative=True)
        return (
            extent if extent else parser.raise_error("an extent of a block is 0: write * for a dim that no block cuts")
        )

    return parser.parse_comma_separated_list(BaseParser.Delimiter.SQUARE, extent)


def extents_text(extents: Iterable[int]) -> str:
    """The inverse of `parse_extents`."""
    return "[" + ", ".join("*" if extent == WHOLE else str(extent) for extent in extents) + "]"


def parse_count(parser: Parser, keyword: str) -> int | None:
    """`keyword 4`, or nothing."""
    if parser.parse_optional_keyword(keyword) is None:
        return None
    return parser.parse_integer(allow_boolean=False, allow_negative=True)


def print_count(printer: Printer, keyword: str, value: IntegerAttr | None) -> None:
    """The inverse of `parse_count`."""
    if value is not None:
        printer.print_string(f" {keyword} {value.value.data}")


def int_array(values: Iterable[int]) -> DenseArrayBase:
    """A property of integers."""
    return DenseArrayBase.from_list(i64, list(values))


def scalar_attr(value: float, element_type: Attribute) -> FloatAttr | IntegerAttr:
    """`value` as an attribute of an element type."""
    if isinstance(element_type, IntegerType):
        return IntegerAttr(int(value), element_type)
    assert isinstance(element_type, AnyFloat)
    return FloatAttr(float(value), element_type)


def parse_tail(parser: Parser, title: str, sign: str = ":") -> tuple[dict[str, Attribute], TileType]:
    """`{attributes} : !tile.tile<..>`: the end of an op that gives a tile."""
    attributes = parser.parse_optional_attr_dict()
    parser.parse_punctuation(sign)  # type: ignore[arg-type]
    tile = parser.parse_type()
    if not isinstance(tile, TileType):
        parser.raise_error(f"{title} gives a !tile.tile")
    return attributes, tile


def print_tail(printer: Printer, op: Operation, sign: str = ":") -> None:
    """The inverse of `parse_tail`, for an op with one result."""
    printer.print_op_attributes(op.attributes)
    printer.print_string(f" {sign} ")
    printer.print_attribute(op.results[0].type)


def print_named_operands(printer: Printer, names: Sequence[SSAValue], operands: Sequence[SSAValue]) -> None:
    """`%a = %x, %b = %y`: block arguments and what they stand for."""

    def pair(entry: tuple[SSAValue, SSAValue]) -> None:
        printer.print_ssa_value(entry[0])
        printer.print_string(" = ")
        printer.print_ssa_value(entry[1])

    with printer.in_parens():
        printer.print_list(list(zip(names, operands, strict=True)), pair)


def parse_named_operands(
    parser: Parser, type_of: Callable[[SSAValue], Attribute]
) -> tuple[list[Parser.Argument], list[SSAValue]]:
    """`(%a = %x, %b = %y)`; an argument's type follows from its operand."""
    arguments: list[Parser.Argument] = []
    operands: list[SSAValue] = []

    def pair() -> None:
        argument = parser.parse_argument(expect_type=False)
        parser.parse_punctuation("=")
        operand = parse_defined(parser)
        arguments.append(argument.resolve(type_of(operand)))
        operands.append(operand)

    parser.parse_comma_separated_list(Parser.Delimiter.PAREN, pair)
    return arguments, operands


def is_scalar(op: Operation) -> bool:
    """Whether an op computes with scalars: arith, math, and the cast that takes or gives an integer its sign."""
    return op.name.partition(".")[0] in ("arith", "math") or isinstance(op, UnrealizedConversionCastOp)
