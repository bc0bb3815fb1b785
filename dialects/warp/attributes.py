"""Types and attributes of the `warp` dialect: global pointers and fragment layouts."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    IntAttr,
    StringAttr,
    VectorType,
    bf16,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
)
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import FLOATS8, INTEGERS, ui8, ui16, ui32
from stepwell.types.layouts import Fragment, LayoutError, blocked_fragment, wgmma_fragment


@irdl_attr_definition
class GlobalType(ParametrizedAttribute, TypeAttribute):
    """`!warp.global<f16>`: a 64-bit pointer to elements in global memory, 16-byte aligned. Offsets count elements."""

    name = "warp.global"
    element: Attribute


@irdl_attr_definition
class FragmentAttr(ParametrizedAttribute):
    """How a rows x cols tile lies in the registers of a group of threads; each thread holds one vector.

    `#warp.fragment<wgmma 64x32>` is the accumulator of wgmma over 128 threads. `#warp.fragment<blocked 32x64 threads 256 width 4>`
    gives a thread `width` contiguous columns in each of `rows per thread` rows; its vector is row after row. With `across N` only N threads
    stand side by side, and a thread has several such groups of columns in a row. The thread index is the thread's number in the block modulo `threads`."""

    name = "warp.fragment"
    kind: StringAttr
    rows: IntAttr
    cols: IntAttr
    threads: IntAttr
    width: IntAttr
    across: IntAttr

    @staticmethod
    def wgmma(cols: int) -> FragmentAttr:
        """The accumulator fragment of 64 x cols."""
        return FragmentAttr(StringAttr("wgmma"), IntAttr(64), IntAttr(cols), IntAttr(128), IntAttr(2), IntAttr(4))

    @staticmethod
    def blocked(rows: int, cols: int, threads: int, width: int, across: int | None = None) -> FragmentAttr:
        """`width` contiguous columns per thread and row, `across` threads side by side (as many as fill a row, unless it is said)."""
        numbers = (rows, cols, threads, width, max(1, cols // width) if across is None else across)
        return FragmentAttr(StringAttr("blocked"), *map(IntAttr, numbers))

    def fragment(self) -> Fragment:
        """The layout as a value (`stepwell.types.layouts`)."""
        if self.kind.data == "wgmma":
            return wgmma_fragment(self.cols.data)
        return blocked_fragment(self.rows.data, self.cols.data, self.threads.data, self.width.data, self.across.data)

    @property
    def registers(self) -> int:
        """Elements per thread."""
        return self.rows.data * self.cols.data // self.threads.data

    @property
    def rows_per_thread(self) -> int:
        """Distinct rows that a thread holds elements of."""
        if self.kind.data == "wgmma":
            return 2
        return self.rows.data * self.across.data // self.threads.data

    @property
    def columns_per_thread(self) -> int:
        """Distinct columns that a thread holds elements of."""
        return self.registers // self.rows_per_thread

    @property
    def row_step(self) -> int:
        """Rows between a thread's neighbouring rows."""
        return 8 if self.kind.data == "wgmma" else self.threads.data // self.across.data

    def vector(self, element: Attribute) -> VectorType:
        """The vector type that holds one thread's part."""
        return VectorType(element, [self.registers])

    def verify(self) -> None:
        if self.kind.data not in ("wgmma", "blocked"):
            raise VerifyException(f"fragment kind is wgmma or blocked, not {self.kind.data}")
        given = (self.rows.data, self.threads.data, self.width.data, self.across.data)
        if self.kind.data == "wgmma" and given != (64, 128, 2, 4):
            raise VerifyException("a wgmma fragment has 64 rows, 128 threads and width 2")
        try:
            self.fragment()
        except LayoutError as error:
            raise VerifyException(f"no such fragment: {error}") from error

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier("fragment kind")
            rows, cols = parser.parse_dimension_list()
            threads, width, across = 128, 2, 4
            if kind != "wgmma":
                parser.parse_keyword("threads")
                threads = parser.parse_integer()
                given = parser.parse_integer() if parser.parse_optional_keyword("across") else None
                parser.parse_keyword("width")
                width = parser.parse_integer()
                across = max(1, cols // max(1, width)) if given is None else given
        return [StringAttr(kind), *map(IntAttr, (rows, cols, threads, width, across))]

    def print_parameters(self, printer: Printer) -> None:
        text = f"{self.kind.data} {self.rows.data}x{self.cols.data}"
        if self.kind.data != "wgmma":
            whole = max(1, self.cols.data // self.width.data)
            across = f" across {self.across.data}" if self.across.data != whole else ""
            text += f" threads {self.threads.data}{across} width {self.width.data}"
        with printer.in_angle_brackets():
            printer.print_string(text)


MOVABLE = (f16, bf16, f32, i8, i16, i32, ui8, ui16, ui32, *FLOATS8)
"""Element types that fragments and gathers read and write."""
SCALARS = (f16, bf16, f32, f64, i1, *INTEGERS, *FLOATS8)
"""Element types that one thread reads and writes alone; an i1 takes a byte, which is 0 or 1."""
