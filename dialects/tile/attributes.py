"""Types of the tile dialect: tiles (values with a residence), refs (kernel parameters without extents) and views
(windows of a tensor)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import ArrayAttr, IntAttr, NoneAttr
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, Data, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.layouts import REGISTER_LAYOUTS, SharedAttr, misfits

MAX_TILE_RANK = 4


class Residence(StrEnum):
    """Where a tile lives. regs: registers of the block's threads; ring: one stage of a shared-memory ring (CUDA);
    in_place: it is read where it lies in memory; packed: it is read from weight panels (CPU)."""

    REGS = "regs"
    RING = "ring"
    IN_PLACE = "in_place"
    PACKED = "packed"


@irdl_attr_definition
class ResidenceAttr(EnumAttribute[Residence]):
    """A residence as an attribute."""

    name = "tile.residence"


@dataclass(frozen=True)
class Access:
    """How a kernel may address a ref. plain: a dense row-major tensor; window: rows are pixels, the second dim is the
    filter tap, the host describes where each (row, tap) lies; packed: weights [N, T, K], K contiguous, or, with `panel`
    = P, stored as [N/P, T, K, P]. `align` bytes (4, 8 or 16): in every launch each row in memory, of a window each row of its image,
    begins at a multiple of so many bytes and is a multiple of them long; 0: nothing is known."""

    kind: str = "plain"
    panel: int = 0
    constant: bool = False
    align: int = 0

    def elements_at_once(self, size: int, most: int) -> int:
        """How many contiguous elements of `size` bytes a thread may access at once along a row, up to the power of two `most`."""
        return min(most, max(1, self.align // size))

    def __str__(self) -> str:
        return f"{self.kind}<{self.panel}>" if self.panel else self.kind


ACCESS_KINDS = ("plain", "window", "packed")
ALIGNMENTS = (4, 8, 16)
"""Bytes of one access that a ref may promise."""


@irdl_attr_definition
class AccessAttr(Data[Access]):
    """`#tile.access<packed<64>, constant>`: an access as an attribute; refs print it in their own brackets."""

    name = "tile.access"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Access:
        with parser.in_angle_brackets():
            return parse_access(parser)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            print_access(printer, self.data)


def parse_access(parser: AttrParser) -> Access:
    """`kind`, `packed<P>`, each perhaps followed by `, constant` and `, align N`."""
    kind = parser.parse_keyword_in(ACCESS_KINDS, " as the access of a ref")
    panel = 0
    if parser.parse_optional_punctuation("<"):
        panel = parser.parse_integer()
        parser.parse_punctuation(">")
    constant, align = False, 0
    if parser.parse_optional_punctuation(","):
        constant = parser.parse_optional_keyword("constant") is not None
        if not constant or parser.parse_optional_punctuation(","):
            parser.parse_keyword("align")
            align = parser.parse_integer(allow_boolean=False, allow_negative=False)
            if align not in ALIGNMENTS:
                parser.raise_error(f"align {align}: a ref is aligned to 4, 8 or 16 bytes")
    return Access(kind, panel, constant, align)


def print_access(printer: Printer, access: Access) -> None:
    """The inverse of `parse_access`."""
    align = f", align {access.align}" if access.align else ""
    printer.print_string(str(access) + (", constant" if access.constant else "") + align)


def _print_shape(printer: Printer, shape: Sequence[int], element_type: Attribute) -> None:
    printer.print_string("".join(f"{extent}x" for extent in shape))
    printer.print_attribute(element_type)


class _Shaped:
    """Plain integers out of the `shape` parameter."""

    shape: ArrayAttr[IntAttr]

    def get_shape(self) -> tuple[int, ...]:
        """The extents."""
        return tuple(extent.data for extent in self.shape)

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.shape)


def _shape_attr(shape: Sequence[int]) -> ArrayAttr[IntAttr]:
    return ArrayAttr(IntAttr(extent) for extent in shape)


@irdl_attr_definition
class TileType(_Shaped, ParametrizedAttribute, TypeAttribute):
    """`!tile.tile<128x64xf32, regs, #tile.wgmma>`: a block of elements as a value, up to four dims, living where its residence
    says; once layouts are assigned, with the layout over threads or bytes."""

    name = "tile.tile"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute
    residence: ResidenceAttr
    layout: Attribute

    def __init__(
        self,
        shape: Sequence[int],
        element_type: Attribute,
        residence: Residence = Residence.REGS,
        layout: Attribute | None = None,
    ) -> None:
        super().__init__(_shape_attr(shape), element_type, ResidenceAttr(residence), layout or NoneAttr())

    @property
    def home(self) -> Residence:
        """The residence as a plain value."""
        return self.residence.data

    @property
    def size_in_bytes(self) -> int:
        """Bytes of its elements, side by side."""
        return prod(self.get_shape()) * element_bytes(self.element_type)

    @property
    def has_layout(self) -> bool:
        """Whether a layout is assigned."""
        return not isinstance(self.layout, NoneAttr)

    @property
    def swizzle(self) -> int:
        """Bytes of the swizzle that it lies in in shared memory; 0 without."""
        return self.layout.swizzle.data if isinstance(self.layout, SharedAttr) else 0

    def with_layout(self, layout: Attribute) -> TileType:
        """The same tile with this layout."""
        return TileType(self.get_shape(), self.element_type, self.home, layout)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        layout: Attribute = NoneAttr()
        with parser.in_angle_brackets():
            shape, element_type = parser.parse_ranked_shape()
            parser.parse_punctuation(",")
            residence = parser.parse_str_enum(Residence)
            if parser.parse_optional_punctuation(","):
                layout = parser.parse_attribute()
        return [_shape_attr(shape), element_type, ResidenceAttr(residence), layout]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.get_shape(), self.element_type)
            printer.print_string(f", {self.home.value}")
            if self.has_layout:
                printer.print_string(", ")
                printer.print_attribute(self.layout)

    def verify(self) -> None:
        if not 1 <= self.rank <= MAX_TILE_RANK:
            raise VerifyException(f"a tile has 1 to {MAX_TILE_RANK} dims, this one has {self.rank}")
        if any(extent < 1 for extent in self.get_shape()):
            raise VerifyException(
                "the extents of a tile are static and at least 1: it is a value, not a view of a tensor"
            )
        if not self.has_layout:
            return
        wanted = {Residence.REGS: REGISTER_LAYOUTS, Residence.RING: (SharedAttr,)}.get(self.home, ())
        if not isinstance(self.layout, wanted):
            raise VerifyException(
                f"{self.layout} is no layout of a {self.home.value} tile: register tiles lie over threads, ring tiles in #tile.shared"
            )
        for reason in misfits(self.layout, self.get_shape(), self.element_type):
            raise VerifyException(reason)


@irdl_attr_definition
class RefType(ParametrizedAttribute, TypeAttribute):
    """`!tile.ref<3xf32, packed<64>, constant>`: a kernel parameter: rank and element type of a tensor, how it may be
    addressed, whether it is constant (weights may be read before the predecessor kernel has ended), and what every launch promises of
    it (`align`, written by plan-annotate-refs). The extents are known to the host only."""

    name = "tile.ref"

    rank_attr: IntAttr
    element_type: Attribute
    access_attr: AccessAttr

    def __init__(self, rank: int, element_type: Attribute, access: Access = Access()) -> None:
        super().__init__(IntAttr(rank), element_type, AccessAttr(access))

    @property
    def rank(self) -> int:
        """The number of dims of the logical tensor."""
        return self.rank_attr.data

    @property
    def access(self) -> Access:
        """How it may be addressed."""
        return self.access_attr.data

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element_type = parser.parse_ranked_shape()
            if len(shape) != 1:
                parser.raise_error("a ref has a rank and an element type and no extents, as in !tile.ref<3xf32, plain>")
            parser.parse_punctuation(",")
            access = parse_access(parser)
        return [IntAttr(shape[0]), element_type, AccessAttr(access)]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, [self.rank], self.element_type)
            printer.print_string(", ")
            print_access(printer, self.access)

    def verify(self) -> None:
        if self.rank < 1:
            raise VerifyException("a ref has at least one dim: reshape a scalar to one element")
        if self.access.panel and self.access.kind != "packed":
            raise VerifyException(f"only packed refs have panels, this one is {self.access.kind}")
        if self.access.kind in ("window", "packed") and self.rank != 3:
            logical = "[M, T, C]" if self.access.kind == "window" else "[N, T, K]"
            raise VerifyException(f"a {self.access.kind} ref is {logical}: its rank is 3, not {self.rank}")


@irdl_attr_definition
class ViewType(_Shaped, ParametrizedAttribute, TypeAttribute):
    """`!tile.view<8192x9x64xf32>`: what `tile.window` makes of a channels-last tensor: pixels x taps x channels, not
    materialised."""

    name = "tile.view"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute

    def __init__(self, shape: Sequence[int], element_type: Attribute) -> None:
        super().__init__(_shape_attr(shape), element_type)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element_type = parser.parse_ranked_shape()
        return [_shape_attr(shape), element_type]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.get_shape(), self.element_type)
