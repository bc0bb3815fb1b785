"""`#graph.values`: a few numbers in the text, exact for every element type, infinities and NaNs included."""

from __future__ import annotations

from math import isinf, isnan

import numpy as np
from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer

from stepwell.dialects.numpy_types import Array, is_float_dtype

MOST = 64
"""Most numbers that stand in the text; more belong into the weights."""


@irdl_attr_definition
class ValuesAttr(Data[tuple[str, ...]]):
    """Numbers in row-major order: `#graph.values<[0.5, -inf, nan]>`, or one number that every element has. Floats are written with the
    digits that give them back (`repr` of the float64 of the same value); a NaN loses its payload."""

    name = "graph.values"

    @classmethod
    def of(cls, array: Array) -> ValuesAttr:
        """The numbers of an array: one where all are the same bits."""
        flat = np.ascontiguousarray(array).reshape(-1)
        texts = [_text(flat[:1])] if _is_splat(flat) else [_text(flat[i : i + 1]) for i in range(flat.size)]
        return cls(tuple(texts))

    def array(self, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
        """The numbers as an array; ValueError when they do not fill the shape."""
        with np.errstate(all="ignore"):
            if is_float_dtype(dtype):
                held = np.asarray([float(text) for text in self.data], np.float64).astype(dtype)
            else:
                held = _integers([int(text) for text in self.data], dtype)
        return np.broadcast_to(held[0], shape) if held.size == 1 else held.reshape(shape)

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[str, ...]:
        with parser.in_angle_brackets():
            return parse_values(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(self.text())

    def text(self) -> str:
        """How the numbers are written: a list, or one alone."""
        return self.data[0] if len(self.data) == 1 else f"[{', '.join(self.data)}]"


def parse_values(parser: AttrParser) -> tuple[str, ...]:
    """Numbers in brackets, or one alone."""
    found = parser.parse_optional_comma_separated_list(parser.Delimiter.SQUARE, lambda: _parse_number(parser))
    return tuple(found) if found is not None else (_parse_number(parser),)


def _parse_number(parser: AttrParser) -> str:
    sign = "-" if parser.parse_optional_punctuation("-") else ""
    for word in ("inf", "nan"):
        if parser.parse_optional_keyword(word):
            return sign + word if word == "inf" else word
    number = parser.parse_number(allow_boolean=True)
    number = int(number) if isinstance(number, bool) else number
    text = _float_text(number) if isinstance(number, float) else str(number)
    return sign + text


def _float_text(number: float) -> str:
    """`repr` with a point, as MLIR wants it."""
    if isnan(number):
        return "nan"
    if isinf(number):
        return "inf" if number > 0 else "-inf"
    mantissa, letter, exponent = repr(number).partition("e")
    return (mantissa if "." in mantissa else mantissa + ".0") + letter + exponent


def _text(one: Array) -> str:
    if is_float_dtype(one.dtype):
        return _float_text(float(one.astype(np.float64)[0]))
    return str(int(one[0]))


def _is_splat(flat: Array) -> bool:
    if flat.size == 0:
        return False
    bits = flat.view(np.uint8).reshape(flat.size, -1)
    return bool((bits == bits[0]).all())


def _integers(numbers: list[int], dtype: np.dtype[np.generic]) -> Array:
    held = [dtype.type(number) if dtype.kind != "b" else np.bool_(number) for number in numbers]
    return np.array(held, dtype)
