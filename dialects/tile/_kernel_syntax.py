"""Pieces of assembly that kernels of every kind share: name, operands with locations, config, attributes, body."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from xdsl.dialects.builtin import DictionaryAttr, StringAttr
from xdsl.ir import Attribute, BlockArgument, Region
from xdsl.parser import Parser
from xdsl.printer import Printer

from stepwell.dialects.tile.config import ConfigAttr


class Kernel(Protocol):
    """What is printed of a kernel."""

    attributes: dict[str, Attribute]

    @property
    def sym_name(self) -> StringAttr: ...
    @property
    def config(self) -> ConfigAttr: ...
    @property
    def body(self) -> Region: ...


def parse_arguments(parser: Parser) -> list[Parser.Argument]:
    """`(%x: type, ..)`, each with a location or without."""

    def one() -> Parser.Argument:
        argument = parser.parse_argument()
        argument.location = parser.parse_optional_location()
        return argument

    return parser.parse_comma_separated_list(Parser.Delimiter.PAREN, one)


def parse_config(parser: Parser) -> tuple[ConfigAttr, dict[str, Attribute]]:
    """`config #tile.config<..> attributes {..}`"""
    parser.parse_keyword("config")
    config = parser.parse_attribute()
    if not isinstance(config, ConfigAttr):
        parser.raise_error("the config of a kernel is a #tile.config<...>")
    attributes: DictionaryAttr | None = parser.parse_optional_attr_dict_with_keyword()
    return config, dict(attributes.data) if attributes is not None else {}


def print_signature(printer: Printer, kernel: Kernel, *sides: Iterable[BlockArgument | Attribute]) -> None:
    """The name, then arguments or types in parentheses, ` -> ` between them."""
    printer.print_string(" ")
    printer.print_symbol_name(kernel.sym_name.data)
    for number, side in enumerate(sides):
        printer.print_string(" -> " if number else "")
        with printer.in_parens():
            printer.print_list(list(side), lambda item: _print_item(printer, item))


def _print_item(printer: Printer, item: BlockArgument | Attribute) -> None:
    if isinstance(item, BlockArgument):
        printer.print_block_argument(item)
    else:
        printer.print_attribute(item)


def print_config(printer: Printer, kernel: Kernel) -> None:
    """The config, the attributes and the body."""
    printer.print_string(" config ")
    printer.print_attribute(kernel.config)
    printer.print_op_attributes(kernel.attributes, print_keyword=True)
    printer.print_string(" ")
    printer.print_region(kernel.body, print_entry_block_args=False)
