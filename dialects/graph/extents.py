"""Extents that are symbols: `#graph.extents` names the dims of a tensor type that stand as `?`, and `Extent` computes with them.

A symbol is an unknown number in [low, high], times a factor: after rows of 64 are flattened, "batch" is "batch" * 64. A *profile* symbol is
known to the host when it launches; a *counted* one is made by an op whose number of results depends on data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, Self

from xdsl.dialects.builtin import DYNAMIC_INDEX, TensorType
from xdsl.ir import Attribute, Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

Shape = tuple[int, ...]
"""Extents of a tensor: plain integers, and `Extent`s where they are symbols."""


class Extent(int):
    """A symbolic extent. As an integer it is its bound, `high * factor`, for which memory is planned; it equals only itself. A product or
    an exact quotient with a plain integer keeps the symbol; every other arithmetic is refused, so that no shape rule turns a
    symbol into a number unnoticed."""

    symbol: str
    factor: int
    low: int
    high: int
    counted: bool

    def __new__(cls, symbol: str, high: int, *, factor: int = 1, low: int = 0, counted: bool = True) -> Self:
        self = super().__new__(cls, high * factor)
        self.symbol, self.factor, self.low, self.high, self.counted = symbol, factor, low, high, counted
        return self

    @property
    def key(self) -> tuple[str, int, int, int, bool]:
        """What two equal extents share."""
        return self.symbol, self.factor, self.low, self.high, self.counted

    def scaled(self, factor: int) -> Extent:
        """The same symbol with another factor."""
        return Extent(self.symbol, self.high, factor=factor, low=self.low, counted=self.counted)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extent) and self.key == other.key

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return f'"{self.symbol}" {self.bounds}'

    @property
    def bounds(self) -> str:
        """What stands behind the symbol in the text."""
        return f"* {self.factor} in [{self.low}, {self.high}]" + (" counted" if self.counted else "")

    __repr__ = __str__

    def __mul__(self, other: Any) -> Any:
        return self._refuse() if isinstance(other, Extent) else self.scaled(self.factor * other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, Extent) or other < 1 or self.factor % other:
            self._refuse()
        return self.scaled(self.factor // other)

    def __mod__(self, other: Any) -> Any:
        if isinstance(other, Extent) or other < 1 or self.factor % other:
            self._refuse()
        return 0

    def _refuse(self, *_: object) -> NoReturn:
        raise VerifyException(f"the extent {self} is a symbol: this op needs an extent that is known here")

    __add__ = __radd__ = __sub__ = __rsub__ = __neg__ = __rfloordiv__ = __rmod__ = __divmod__ = _refuse
    __pow__ = __truediv__ = __rtruediv__ = _refuse


@irdl_attr_definition
class ExtentsAttr(Data[tuple[Extent, ...]]):
    """The symbols of a tensor type, one for each `?` in order: `tensor<?x4xf32, #graph.extents<["batch" * 1 in [1, 128]]>>`; `counted` stands
    behind the bounds of a symbol that an op counts on the device: `["kept" * 1 in [0, 300] counted]`."""

    name = "graph.extents"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Extent, ...]:
        with parser.in_angle_brackets():
            return tuple(parser.parse_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_extent(parser)))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets(), printer.in_square_brackets():
            printer.print_list(self.data, lambda extent: _print_extent(printer, extent))


def _print_extent(printer: Printer, extent: Extent) -> None:
    printer.print_string_literal(extent.symbol)
    printer.print_string(f" {extent.bounds}")


def _parse_extent(parser: AttrParser) -> Extent:
    symbol = parser.parse_str_literal()
    parser.parse_punctuation("*")
    factor = parser.parse_integer(allow_boolean=False, allow_negative=False)
    parser.parse_characters("in")
    low, high = parser.parse_comma_separated_list(
        parser.Delimiter.SQUARE, lambda: parser.parse_integer(allow_boolean=False, allow_negative=False)
    )
    if factor < 1 or low > high:
        parser.raise_error(f'symbol "{symbol}": a factor is 1 or more, and [{low}, {high}] must not be empty')
    counted = parser.parse_optional_keyword("counted") is not None
    return Extent(symbol, high, factor=factor, low=low, counted=counted)


def shape_of(type: TensorType[Attribute]) -> Shape:
    """The extents of a tensor type, symbols as `Extent`; VerifyException where a `?` has no name."""
    shape = type.get_shape()
    unknown = sum(extent == DYNAMIC_INDEX for extent in shape)
    named = type.encoding.data if isinstance(type.encoding, ExtentsAttr) else ()
    if unknown != len(named):
        raise VerifyException(
            f"the type {type} has {unknown} unknown extents and names {len(named)}: give shapes when importing, or name "
            "each in #graph.extents"
        )
    symbols = iter(named)
    return tuple(next(symbols) if extent == DYNAMIC_INDEX else extent for extent in shape)


def tensor_of(element: Attribute, shape: Sequence[int]) -> TensorType[Attribute]:
    """The tensor type of an element type and extents, which may be symbols."""
    symbols = tuple(extent for extent in shape if isinstance(extent, Extent))
    if not symbols:
        return TensorType(element, shape)
    plain = [DYNAMIC_INDEX if isinstance(extent, Extent) else extent for extent in shape]
    return TensorType(element, plain, ExtentsAttr(symbols))
