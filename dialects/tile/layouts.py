"""Who holds which element of a tile: layouts of register tiles over threads, and of shared tiles over bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects.builtin import FixedBitwidthType, IntAttr
from xdsl.ir import Attribute, ParametrizedAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

SWIZZLES = (0, 32, 64, 128)
"""Widths in bytes of the hardware's shared-memory swizzles (PTX ISA, matrix descriptor format); 0 is none."""
WARPGROUP_ROWS = 64
WARP = 32
MOST_THREADS = 1024
"""Threads of a block (CUDA C++ Programming Guide, compute capabilities)."""


@irdl_attr_definition
class WgmmaAttr(ParametrizedAttribute):
    """`#tile.wgmma`: the accumulator fragment of wgmma: each warpgroup of the role holds 64 rows, a thread pairs of columns in two rows
    of its warp's 16 (PTX ISA, wgmma, layout of D)."""

    name = "tile.wgmma"


@irdl_attr_definition
class WgmmaAAttr(ParametrizedAttribute):
    """`#tile.wgmma_a`: the fragment of operand A of wgmma in registers (PTX ISA, wgmma, layout of A): for 16-bit elements it is `#tile.wgmma`
    with the columns in chunks of 16."""

    name = "tile.wgmma_a"


@irdl_attr_definition
class MmaSyncAttr(ParametrizedAttribute):
    """`#tile.mma_sync`: the accumulator fragment of mma.sync m16n8: warps along the rows, 16 each (PTX ISA, mma, layout of C and D)."""

    name = "tile.mma_sync"


@irdl_attr_definition
class ThreadsAttr(ParametrizedAttribute):
    """`#tile.threads<16x8, width 4>`: 8 threads side by side along a row, `width` contiguous elements each, and 16 such rows of threads; a tile that
    is larger is covered again along the row, then down: each thread holds the same number of elements, row after row."""

    name = "tile.threads"
    down: IntAttr
    across: IntAttr
    width: IntAttr

    def __init__(self, down: int, across: int, width: int) -> None:
        super().__init__(IntAttr(down), IntAttr(across), IntAttr(width))

    @property
    def threads(self) -> int:
        """How many threads hold a tile."""
        return self.down.data * self.across.data

    @property
    def covers(self) -> tuple[int, int]:
        """Rows and columns that the threads cover at once."""
        return self.down.data, self.across.data * self.width.data

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            extents = parser.parse_dimension_list()
            if len(extents) != 2:
                parser.raise_error("threads stand in rows: #tile.threads<16x8, width 4>")
            parser.parse_punctuation(",")
            parser.parse_keyword("width")
            width = parser.parse_integer(allow_boolean=False, allow_negative=False)
        return [*map(IntAttr, extents), IntAttr(width)]

    def print_parameters(self, printer: Printer) -> None:
        printer.print_string(f"<{self.down.data}x{self.across.data}, width {self.width.data}>")

    def verify(self) -> None:
        wrong = min(self.down.data, self.across.data) < 1 or self.threads > MOST_THREADS
        if wrong or not _is_whole(self.threads):
            raise VerifyException(
                f"{self.name}: {self.down.data}x{self.across.data} threads: a part of a warp, or whole warps up to {MOST_THREADS} threads"
            )
        if self.width.data not in (1, 2, 4, 8, 16):
            raise VerifyException(f"{self.name}: a width of 1, 2, 4, 8 or 16 elements, here {self.width.data}")


@irdl_attr_definition
class SliceAttr(ParametrizedAttribute):
    """`#tile.slice<0, #tile.wgmma>`: a tile that has lost dim 0 of tiles of the parent layout: each thread holds the elements that belong to
    its elements of the parent. What a reduction over that dim leaves and what a broadcast along it costs nothing from."""

    name = "tile.slice"
    dim: IntAttr
    parent: Attribute

    def __init__(self, dim: int, parent: Attribute) -> None:
        super().__init__(IntAttr(dim), parent)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            dim = parser.parse_integer(allow_boolean=False, allow_negative=False)
            parser.parse_punctuation(",")
            parent = parser.parse_attribute()
        return [IntAttr(dim), parent]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(f"{self.dim.data}, ")
            printer.print_attribute(self.parent)

    def verify(self) -> None:
        if not isinstance(self.parent, REGISTER_LAYOUTS):
            raise VerifyException(f"{self.name}: the parent is the layout of register tiles, not {self.parent}")


@irdl_attr_definition
class SharedAttr(ParametrizedAttribute):
    """`#tile.shared<128>`: rows of 128 bytes whose 16-byte chunks are exchanged by the hardware's 128-byte swizzle; wider tiles lie as panels of
    such rows, one panel after the other. `#tile.shared<none, leading
    16, stride 128>`: cores of 8 rows of 16 bytes, `leading` bytes from one to the next along k, `stride` bytes to the next eight rows
    (PTX ISA, matrix descriptor format); `#tile.shared<none>`: dense rows."""

    name = "tile.shared"
    swizzle: IntAttr
    leading: IntAttr
    stride: IntAttr

    def __init__(self, swizzle: int, leading: int = 0, stride: int = 0) -> None:
        super().__init__(IntAttr(swizzle), IntAttr(leading), IntAttr(stride))

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            plain = parser.parse_optional_keyword("none") is not None
            found = [0 if plain else parser.parse_integer(allow_boolean=False, allow_negative=False), 0, 0]
            if parser.parse_optional_punctuation(","):
                parser.parse_keyword("leading")
                found[1] = parser.parse_integer(allow_boolean=False, allow_negative=False)
                parser.parse_punctuation(",")
                parser.parse_keyword("stride")
                found[2] = parser.parse_integer(allow_boolean=False, allow_negative=False)
        return [IntAttr(value) for value in found]

    def print_parameters(self, printer: Printer) -> None:
        cores = (
            f", leading {self.leading.data}, stride {self.stride.data}" if self.leading.data or self.stride.data else ""
        )
        printer.print_string(f"<{self.swizzle.data or 'none'}{cores}>")

    def verify(self) -> None:
        if self.swizzle.data not in SWIZZLES:
            raise VerifyException(
                f"{self.name}: swizzle {self.swizzle.data} is none of the hardware's: none, 32, 64 or 128 bytes"
            )
        if self.leading.data % 16 or self.stride.data % 16:
            raise VerifyException(
                f"{self.name}: leading {self.leading.data} and stride {self.stride.data} are whole 16-byte chunks"
            )


REGISTER_LAYOUTS = (WgmmaAttr, WgmmaAAttr, MmaSyncAttr, ThreadsAttr, SliceAttr)
LAYOUTS = (*REGISTER_LAYOUTS, SharedAttr)


def misfits(layout: Attribute, shape: Sequence[int], element_type: Attribute) -> Iterator[str]:
    """Why a tile of this shape and element type cannot have the layout, one sentence per reason."""
    if isinstance(layout, WgmmaAttr | WgmmaAAttr):
        fits = len(shape) == 2 and shape[0] % WARPGROUP_ROWS == 0 and shape[1] % 8 == 0
        if not fits:
            yield f"#{layout.name} takes rows in whole {WARPGROUP_ROWS}s and columns in whole 8s, here are {list(shape)}"
    if isinstance(layout, MmaSyncAttr) and not (len(shape) == 2 and shape[0] % 16 == 0 and shape[1] % 8 == 0):
        yield f"#{layout.name} takes rows in whole 16s and columns in whole 8s, here are {list(shape)}"
    if isinstance(layout, ThreadsAttr):
        yield from _threads_misfits(layout, shape)
    if isinstance(layout, SliceAttr):
        yield from _slice_misfits(layout, shape)
    size = element_type.size if isinstance(element_type, FixedBitwidthType) else 1
    if isinstance(layout, SharedAttr) and layout.swizzle.data and shape[-1] * size % layout.swizzle.data:
        yield f"#{layout.name}: rows of {shape[-1] * size} bytes are not whole swizzles of {layout.swizzle.data}: choose k so that they are"


def _threads_misfits(layout: ThreadsAttr, shape: Sequence[int]) -> Iterator[str]:
    if len(shape) != 2:
        yield f"{layout} holds tiles of two dims, here are {list(shape)}"
        return
    rows, columns = layout.covers
    if shape[0] % rows or shape[1] % columns:
        yield f"{layout} covers {rows}x{columns} elements at once, tiles of {list(shape)} are not whole ones; {nearest_threads(layout, shape)} fits"


def nearest_threads(layout: ThreadsAttr, shape: Sequence[int]) -> ThreadsAttr:
    """The largest layout that is nowhere larger than this one and fits a tile of two dims."""
    width = next(w for w in (16, 8, 4, 2, 1) if w <= layout.width.data and shape[1] % w == 0)
    across = next(n for n in range(layout.across.data, 0, -1) if shape[1] // width % n == 0)
    down = next(n for n in range(layout.down.data, 0, -1) if shape[0] % n == 0 and _is_whole(n * across))
    return ThreadsAttr(down, across, width)


def _is_whole(threads: int) -> bool:
    return threads <= WARP or threads % WARP == 0


def _slice_misfits(layout: SliceAttr, shape: Sequence[int]) -> Iterator[str]:
    if layout.dim.data > len(shape):
        yield f"#{layout.name}: a tile of rank {len(shape)} has not lost dim {layout.dim.data}"
        return
    covers = covered_at_once(layout.parent)
    if covers is None or len(shape) != 1 or shape[0] == 1:
        return
    held = covers[1 - layout.dim.data]
    if shape[0] % held:
        yield f"{layout}: {list(shape)} are not whole groups of the {held} elements that the threads hold at once"


def covered_at_once(layout: Attribute) -> tuple[int, int] | None:
    """Rows and columns of the smallest tile of two dims in a layout of registers."""
    if isinstance(layout, ThreadsAttr):
        return layout.covers
    return (WARPGROUP_ROWS, 8) if isinstance(layout, WgmmaAttr | WgmmaAAttr) else None
