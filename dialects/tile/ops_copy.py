"""Copies between memory and rings: fetches and drains."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, DenseArrayBase, Float32Type, IndexType, IntegerAttr, StringAttr, UnitAttr, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import int_array, parse_defined, parse_tail, print_tail
from stepwell.dialects.tile.attributes import RefType, Residence, TileType
from stepwell.dialects.tile.ops_ring import AcquireOp, AwaitOp, RingType
from stepwell.dialects.tile.ops_tiles import check_slice, parse_slice, print_slice

VIAS = ("tma", "tma_im2col", "cp_async", "direct")
"""The copy engine with a tiled or an im2col map; asynchronous copies by threads; loads and stores by threads."""


@irdl_op_definition
class FetchOp(IRDLOperation):
    """Bring a tile of a ref into element `#e` of the ring's next slot, counted for each element apart: `tile.fetch %x[%i, %t, %k] dims =
    [0, 2] to %ab#0 via tma`. It waits until the slot is free and returns before the tile is there. Offsets and `dims` are those of
    tile.load; what lies outside reads as 0. `as tf32`: f32 elements are rounded to 10 bits after the point on the way, to nearest even.
    `rest`: does nothing as often as the element was fetched ahead by other fetches, which brought just these tiles."""

    name = "tile.fetch"

    source = operand_def(RefType)
    indices = var_operand_def(IndexType())
    ring = operand_def(RingType)
    dims = prop_def(DenseArrayBase.constr(i64))
    element = prop_def(IntegerAttr[I64])
    via = prop_def(StringAttr)
    as_type = opt_prop_def(StringAttr)
    rest = opt_prop_def(UnitAttr)

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[SSAValue],
        ring: SSAValue,
        element: int,
        via: str,
        *,
        dims: Sequence[int] | None = None,
        as_type: str | None = None,
        rest: bool = False,
    ) -> None:
        chosen = list(range(len(indices))) if dims is None else dims
        properties: dict[str, Attribute | None] = {
            "dims": int_array(chosen),
            "element": IntegerAttr(element, i64),
            "via": StringAttr(via),
            "as_type": None if as_type is None else StringAttr(as_type),
            "rest": UnitAttr() if rest else None,
        }
        super().__init__(operands=[source, indices, ring], properties=properties)

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the ref that each dim of the tile runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    @property
    def number(self) -> int:
        """Which element of a slot it fills."""
        return self.element.value.data

    @property
    def tile_type(self) -> TileType:
        """What it brings."""
        assert isinstance(self.ring.type, RingType)
        return self.ring.type.tiles()[self.number]

    def verify_(self) -> None:
        assert isinstance(self.ring.type, RingType) and isinstance(self.source.type, RefType)
        if not 0 <= self.number < len(self.ring.type.tiles()):
            raise VerifyException(
                f"tile.fetch: a slot has {len(self.ring.type.tiles())} elements, there is no #{self.number}"
            )
        check_slice("tile.fetch", self.source.type, self.indices, self.get_dims(), self.tile_type)
        if self.via.data not in VIAS:
            raise VerifyException(f"tile.fetch: via {self.via.data} is no way to copy: {', '.join(VIAS)}")
        if (self.via.data == "tma_im2col") != (self.source.type.access.kind == "window") and self.via.data.startswith(
            "tma"
        ):
            raise VerifyException(
                f"tile.fetch: via {self.via.data} does not fit a {self.source.type.access.kind} ref: tma_im2col is for windows, tma for the rest"
            )
        if self.as_type is not None and (
            self.as_type.data != "tf32" or not isinstance(self.tile_type.element_type, Float32Type)
        ):
            raise VerifyException(
                f"tile.fetch: f32 elements are fetched as tf32, not {self.tile_type.element_type} as {self.as_type.data}"
            )

    @classmethod
    def parse(cls, parser: Parser) -> FetchOp:
        source, indices, dims = parse_slice(parser)
        parser.parse_keyword("to")
        ring, element = _parse_element(parser)
        parser.parse_keyword("via")
        via = parser.parse_identifier("a way to copy")
        as_type = parser.parse_identifier("a type") if parser.parse_optional_keyword("as") else None
        rest = parser.parse_optional_keyword("rest") is not None
        op = cls(source, indices, ring, element, via, dims=dims, as_type=as_type, rest=rest)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_slice(printer, self.source, self.indices, self.get_dims())
        printer.print_string(" to ")
        printer.print_ssa_value(self.ring)
        printer.print_string(f"#{self.number} via {self.via.data}")
        if self.as_type is not None:
            printer.print_string(f" as {self.as_type.data}")
        if self.rest is not None:
            printer.print_string(" rest")
        printer.print_op_attributes(self.attributes)


def _parse_element(parser: Parser) -> tuple[SSAValue, int]:
    """`%ab#1`: a ring has one value, so the number after it is that of an element."""
    operand = parser.parse_unresolved_operand()
    values = parser.ssa_values.get(operand.operand_name, ())
    if not values or not isinstance(values[0].type, RingType):
        parser.raise_error(f"%{operand.operand_name} is no ring that is defined above this op", operand.span)
    return values[0], operand.index


@irdl_op_definition
class DrainOp(IRDLOperation):
    """Store an acquired and written tile of a ring into an output ref at the element offsets, `via tma` or `direct`; what lies beyond the
    extent is dropped. It returns before the tile is read; the slot is free again once it is: `tile.drain %s to %y[%i, %j] via tma`."""

    name = "tile.drain"

    tile = operand_def(TileType)
    target = operand_def(RefType)
    indices = var_operand_def(IndexType())
    dims = prop_def(DenseArrayBase.constr(i64))
    via = prop_def(StringAttr)

    def __init__(
        self, tile: SSAValue, target: SSAValue, indices: Sequence[SSAValue], via: str, dims: Sequence[int] | None = None
    ) -> None:
        chosen = list(range(len(indices))) if dims is None else dims
        super().__init__(
            operands=[tile, target, indices], properties={"dims": int_array(chosen), "via": StringAttr(via)}
        )

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the ref that each dim of the tile runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        assert isinstance(self.tile.type, TileType)
        check_slice("tile.drain", self.target.type, self.indices, self.get_dims(), self.tile.type)
        if not isinstance(self.tile.owner, AcquireOp):
            raise VerifyException("tile.drain: what is drained is a tile that tile.acquire gave")
        if self.via.data not in ("tma", "direct"):
            raise VerifyException(f"tile.drain: via {self.via.data} is no way to store: tma, direct")

    @classmethod
    def parse(cls, parser: Parser) -> DrainOp:
        tile = parse_defined(parser)
        parser.parse_keyword("to")
        ref, indices, dims = parse_slice(parser)
        parser.parse_keyword("via")
        op = cls(tile, ref, indices, parser.parse_identifier("a way to store"), dims)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.tile)
        printer.print_string(" to ")
        print_slice(printer, self.target, self.indices, self.get_dims())
        printer.print_string(f" via {self.via.data}")
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class ReadOp(IRDLOperation):
    """Bring an awaited tile of a ring into registers: `%r = tile.read %slot : !tile.tile<128x64xf16, regs, #tile.wgmma>`; the slot may be released
    after it."""

    name = "tile.read"

    source = operand_def(TileType)
    result = result_def(TileType)

    def __init__(self, source: SSAValue, tile: TileType) -> None:
        super().__init__(operands=[source], result_types=[tile])

    def verify_(self) -> None:
        source, result = self.source.type, self.result.type
        assert isinstance(source, TileType) and isinstance(result, TileType)
        if not isinstance(self.source.owner, AwaitOp) or result.home is not Residence.REGS:
            raise VerifyException("tile.read: a tile that tile.await gave comes into registers")
        if (source.get_shape(), source.element_type) != (result.get_shape(), result.element_type):
            raise VerifyException(f"tile.read: {source} does not become {result}: convert in a tile.map")

    @classmethod
    def parse(cls, parser: Parser) -> ReadOp:
        source = parse_defined(parser)
        attributes, tile = parse_tail(parser, "tile.read")
        op = cls(source, tile)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        print_tail(printer, self)
