"""Rings of shared-memory slots, and the ops that fill, read and free them.

A ring has one writer and any number of readers, each with a cursor of its own. A slot is free at first, full once all its elements have
come, and free again when every reader has released it. Slot numbers, parities, prologues and drains are not said: they follow."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import Self

from xdsl.dialects.builtin import I64, ArrayAttr, IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, ParametrizedAttribute, SSAValue, TypeAttribute
from xdsl.irdl import (
    IRDLOperation,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import parse_count, parse_defined, print_count
from stepwell.dialects.tile.attributes import Residence, TileType
from stepwell.dialects.tile.ops_loop import StandsIn


@irdl_attr_definition
class RingType(ParametrizedAttribute, TypeAttribute):
    """`!tile.ring<[..]>`: a ring as a value: the types of the tiles that one slot holds."""

    name = "tile.ring"
    elements: ArrayAttr[Attribute]

    def tiles(self) -> tuple[TileType, ...]:
        """The tiles of one slot."""
        return tuple(tile for tile in self.elements if isinstance(tile, TileType))

    def verify(self) -> None:
        tiles = self.tiles()
        if not tiles or len(tiles) != len(self.elements) or any(tile.home is not Residence.RING for tile in tiles):
            raise VerifyException(f"a slot of a ring holds ring tiles, one at least, not {self.elements}")


@irdl_op_definition
class RingOp(IRDLOperation):
    """Shared memory for `slots` times the tiles of one slot: `%ab = tile.ring slots 4 (128x64xf16 #tile.shared<128>, 64x64xf16 #tile.shared<128>)`.
    Slots are filled and read in turn. With `alternate` the copies of a reading role take slots in turn, each copy the slots of its own tiles;
    else every reading role reads every slot. `at`: byte offset in the block's shared memory; `barriers`: where the barriers of its slots lie,
    8 bytes each: `slots` of them for full, then `slots` for empty."""

    name = "tile.ring"

    slots = prop_def(IntegerAttr[I64])
    alternate = opt_prop_def(UnitAttr)
    at = opt_prop_def(IntegerAttr[I64])
    barriers = opt_prop_def(IntegerAttr[I64])
    ring = result_def(RingType)

    traits = traits_def(StandsIn("tile.kernel"))

    def __init__(
        self,
        slots: int,
        elements: Sequence[TileType],
        *,
        alternate: bool = False,
        at: int | None = None,
        barriers: int | None = None,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "slots": IntegerAttr(slots, i64),
            "alternate": UnitAttr() if alternate else None,
            "at": None if at is None else IntegerAttr(at, i64),
            "barriers": None if barriers is None else IntegerAttr(barriers, i64),
        }
        super().__init__(result_types=[RingType(ArrayAttr(elements))], properties=properties)

    @property
    def slot_count(self) -> int:
        """How many slots there are."""
        return self.slots.value.data

    @property
    def element_types(self) -> tuple[TileType, ...]:
        """The tiles of one slot."""
        assert isinstance(self.ring.type, RingType)
        return self.ring.type.tiles()

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot, its elements side by side."""
        return sum(tile.size_in_bytes for tile in self.element_types)

    def verify_(self) -> None:
        if self.slot_count < 1:
            raise VerifyException(f"tile.ring: {self.slot_count} slots: it has one at least")
        for name, value, unit in (("at", self.at, 16), ("barriers", self.barriers, 8)):
            if value is not None and (value.value.data < 0 or value.value.data % unit):
                raise VerifyException(f"tile.ring: {name} {value.value.data} is no multiple of {unit} bytes")
        if (self.at is None) != (self.barriers is None):
            raise VerifyException("tile.ring: slots and barriers are placed together, or neither is")

    @classmethod
    def parse(cls, parser: Parser) -> RingOp:
        slots = parse_count(parser, "slots")
        if slots is None:
            parser.raise_error("tile.ring says how many: slots N")
        elements = parser.parse_comma_separated_list(Parser.Delimiter.PAREN, lambda: _parse_element(parser))
        alternate = parser.parse_optional_keyword("alternate") is not None
        at, barriers = parse_count(parser, "at"), parse_count(parser, "barriers")
        op = cls(slots, elements, alternate=alternate, at=at, barriers=barriers)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(f" slots {self.slot_count} ")
        with printer.in_parens():
            printer.print_list(self.element_types, lambda tile: _print_element(printer, tile))
        if self.alternate is not None:
            printer.print_string(" alternate")
        print_count(printer, "at", self.at)
        print_count(printer, "barriers", self.barriers)
        printer.print_op_attributes(self.attributes)


def _parse_element(parser: Parser) -> TileType:
    shape, element_type = parser.parse_ranked_shape()
    tile = TileType(shape, element_type, Residence.RING)
    layout = parser.parse_optional_attribute()
    return tile if layout is None else tile.with_layout(layout)


def _print_element(printer: Printer, tile: TileType) -> None:
    printer.print_string("".join(f"{extent}x" for extent in tile.get_shape()))
    printer.print_attribute(tile.element_type)
    if tile.has_layout:
        printer.print_string(" ")
        printer.print_attribute(tile.layout)


class _RingUser(IRDLOperation, ABC):
    """An op that is written with its ring alone: `tile.publish %stage`."""

    ring = operand_def(RingType)

    def __init__(self, ring: SSAValue, tiles: Sequence[Sequence[TileType]] = ()) -> None:
        super().__init__(operands=[ring], result_types=tiles)

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        op = cls(parse_ring(parser))
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.ring)
        printer.print_op_attributes(self.attributes)


class _SlotOp(_RingUser, ABC):
    """An op that waits for the next slot of a ring and gives its tiles."""

    tiles = var_result_def(TileType)

    def __init__(self, ring: SSAValue) -> None:
        assert isinstance(ring.type, RingType)
        super().__init__(ring, [ring.type.tiles()])

    def verify_(self) -> None:
        assert isinstance(self.ring.type, RingType)
        if tuple(self.result_types) != self.ring.type.tiles():
            raise VerifyException(f"{self.name}: the results are the tiles of a slot, {self.ring.type}")


@irdl_op_definition
class AwaitOp(_SlotOp):
    """Wait until this reader's next slot of the ring is full, and move its cursor on: `%a, %b = tile.await %ab`. The results are the
    tiles of the slot, which may be read until it is released."""

    name = "tile.await"


@irdl_op_definition
class ReleaseOp(IRDLOperation):
    """This reader is done with all slots that it has awaited and not released, but the newest `behind` N (none of them without it):
    `tile.release %ab behind 1`. Products still in flight that read a released slot are waited for: they are those that began before the
    newest N awaits. Releasing all where nothing is held is an error."""

    name = "tile.release"

    ring = operand_def(RingType)
    behind = opt_prop_def(IntegerAttr[I64])

    def __init__(self, ring: SSAValue, behind: int = 0) -> None:
        super().__init__(operands=[ring], properties={"behind": IntegerAttr(behind, i64) if behind else None})

    @property
    def kept(self) -> int:
        """How many of the newest awaited slots stay held."""
        return 0 if self.behind is None else self.behind.value.data

    def verify_(self) -> None:
        if self.behind is not None and self.kept < 1:
            raise VerifyException("tile.release: behind 1 or more; without it everything is released")

    @classmethod
    def parse(cls, parser: Parser) -> ReleaseOp:
        op = cls(parse_ring(parser), parse_count(parser, "behind") or 0)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.ring)
        print_count(printer, "behind", self.behind)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class AcquireOp(_SlotOp):
    """Wait until the writer's next slot of the ring is free, and move its cursor on: `%s = tile.acquire %stage`. The results are the tiles
    of the slot, to be written, then published to the ring's readers or drained to memory."""

    name = "tile.acquire"


@irdl_op_definition
class WriteOp(IRDLOperation):
    """Write a register tile into an acquired tile of the same shape and element type: `tile.write %o, %s`."""

    name = "tile.write"

    tile = operand_def(TileType)
    target = operand_def(TileType)

    def __init__(self, tile: SSAValue, target: SSAValue) -> None:
        super().__init__(operands=[tile, target])

    def verify_(self) -> None:
        tile, target = self.tile.type, self.target.type
        assert isinstance(tile, TileType) and isinstance(target, TileType)
        if tile.home is not Residence.REGS or not isinstance(self.target.owner, AcquireOp):
            raise VerifyException("tile.write: a register tile is written into a tile that tile.acquire gave")
        if (tile.get_shape(), tile.element_type) != (target.get_shape(), target.element_type):
            raise VerifyException(f"tile.write: {tile} is not what {target} holds: convert in a tile.map")

    @classmethod
    def parse(cls, parser: Parser) -> WriteOp:
        tile = parse_defined(parser)
        parser.parse_punctuation(",")
        op = cls(tile, parse_defined(parser))
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class PublishOp(_RingUser):
    """The slots of the ring that the writer has acquired and written are full: its readers may await them."""

    name = "tile.publish"


def parse_ring(parser: Parser) -> SSAValue:
    """A ring that is defined above."""
    value = parse_defined(parser)
    if not isinstance(value.type, RingType):
        parser.raise_error(f"a ring is wanted, this is {value.type}")
    return value
