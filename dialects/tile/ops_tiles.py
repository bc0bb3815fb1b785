"""Ops that make, move and repeat tiles: windowed loads and stores, fill, broadcast."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    I64,
    DenseArrayBase,
    FloatAttr,
    IndexType,
    IntegerAttr,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import (
    NUMBER,
    int_array,
    parse_count,
    parse_defined,
    parse_ints,
    parse_operands,
    parse_tail,
    print_count,
    print_ints,
    print_tail,
    scalar_attr,
)
from stepwell.dialects.tile.attributes import RefType, Residence, TileType
from stepwell.dialects.tile.layouts import SliceAttr


def check_slice(name: str, ref: Attribute, indices: Sequence[SSAValue], dims: Sequence[int], tile: Attribute) -> None:
    """Raise where a tile does not run along the dims of a ref, or holds other elements."""
    check_place(name, ref, indices, dims, tile)
    assert isinstance(ref, RefType) and isinstance(tile, TileType)
    if tile.element_type != ref.element_type:
        raise VerifyException(
            f"{name}: the ref holds {ref.element_type}, the tile {tile.element_type}: convert in a tile.map"
        )


def check_place(name: str, ref: Attribute, indices: Sequence[SSAValue], dims: Sequence[int], tile: Attribute) -> None:
    """Raise where a tile does not run along the dims of a ref."""
    assert isinstance(ref, RefType) and isinstance(tile, TileType)
    if len(indices) != ref.rank:
        raise VerifyException(f"{name}: a ref of rank {ref.rank} takes {ref.rank} offsets, here are {len(indices)}")
    if len(dims) != tile.rank or len(set(dims)) != len(dims) or not all(0 <= dim < ref.rank for dim in dims):
        raise VerifyException(
            f"{name}: dims {list(dims)} do not name one dim of the ref for each of the tile's {tile.rank}"
        )


def print_slice(printer: Printer, ref: SSAValue, indices: Sequence[SSAValue], dims: Sequence[int]) -> None:
    """`%x[%i, %k] dims = [1, 0]`; the dims are left out where they are all in order."""
    printer.print_ssa_value(ref)
    with printer.in_square_brackets():
        printer.print_list(indices, printer.print_ssa_value)
    if list(dims) != list(range(len(indices))):
        printer.print_string(" dims = ")
        print_ints(printer, dims)


def parse_slice(parser: Parser) -> tuple[SSAValue, list[SSAValue], list[int]]:
    """The inverse of `print_slice`: ref, offsets, dims."""
    ref = parse_defined(parser)
    indices = parse_operands(parser, Parser.Delimiter.SQUARE)
    dims = list(range(len(indices)))
    if parser.parse_optional_keyword("dims"):
        parser.parse_punctuation("=")
        dims = parse_ints(parser)
    return ref, indices, dims


def _check_access(name: str, access: IntegerAttr | None, tile: TileType) -> None:
    """`access` elements at once: a power of two that divides the tile's rows."""
    if access is None:
        return
    width = access.value.data
    if width < 1 or width & (width - 1) or tile.get_shape()[-1] % width:
        raise VerifyException(
            f"{name}: access {width} does not go into rows of {tile.get_shape()[-1]} elements: a power of two that divides them"
        )


@irdl_op_definition
class LoadOp(IRDLOperation):
    """A tile out of a ref, from the element offsets on. `dims` says which dim of the ref each dim of the tile runs
    along (a permutation transposes); along the others it has one element. What lies beyond the extent reads as `fill`,
    as does what a window's padding covers. `access` N: N contiguous elements are read at once."""

    name = "tile.load"

    source = operand_def(RefType)
    indices = var_operand_def(IndexType())
    dims = prop_def(DenseArrayBase.constr(i64))
    fill = prop_def(NUMBER)
    access = opt_prop_def(IntegerAttr[I64])
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[SSAValue],
        tile: TileType,
        dims: Sequence[int] | None = None,
        fill: float = 0.0,
    ) -> None:
        chosen = list(range(len(indices))) if dims is None else dims
        properties: dict[str, Attribute] = {"dims": int_array(chosen), "fill": scalar_attr(fill, tile.element_type)}
        super().__init__(operands=[source, indices], result_types=[tile], properties=properties)

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the ref that each dim of the tile runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        assert isinstance(self.source.type, RefType) and isinstance(self.result.type, TileType)
        check_slice("tile.load", self.source.type, self.indices, self.get_dims(), self.result.type)
        if self.fill.type != self.result.type.element_type:
            raise VerifyException(
                f"tile.load: fill is {self.fill.type}, the tile holds {self.result.type.element_type}"
            )
        _check_access("tile.load", self.access, self.result.type)
        home, access = self.result.type.home, self.source.type.access
        if (home is Residence.PACKED) != (access.panel > 0):
            raise VerifyException(
                f"tile.load: a {access} ref cannot be read as a {home.value} tile: packed tiles come from panels, packed<P>, and only they do"
            )

    @classmethod
    def parse(cls, parser: Parser) -> LoadOp:
        ref, indices, dims = parse_slice(parser)
        fill: Attribute | None = None
        if parser.parse_optional_keyword("fill"):
            parser.parse_punctuation("=")
            fill = parser.parse_attribute()
        access = parse_count(parser, "access")
        attributes, tile = parse_tail(parser, "tile.load")
        op = cls(ref, indices, tile, dims)
        op.access = None if access is None else IntegerAttr(access, i64)
        if fill is not None:
            op.properties["fill"] = fill
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_slice(printer, self.source, self.indices, self.get_dims())
        assert isinstance(self.result.type, TileType)
        if self.fill != scalar_attr(0, self.result.type.element_type):
            printer.print_string(" fill = ")
            printer.print_attribute(self.fill)
        print_count(printer, "access", self.access)
        print_tail(printer, self)


@irdl_op_definition
class StoreOp(IRDLOperation):
    """Write a register tile into an output ref at the element offsets; what lies beyond the extent is dropped. `access` N: N contiguous
    elements are written at once."""

    name = "tile.store"

    tile = operand_def(TileType)
    target = operand_def(RefType)
    indices = var_operand_def(IndexType())
    dims = prop_def(DenseArrayBase.constr(i64))
    access = opt_prop_def(IntegerAttr[I64])

    def __init__(
        self, tile: SSAValue, target: SSAValue, indices: Sequence[SSAValue], dims: Sequence[int] | None = None
    ) -> None:
        chosen = list(range(len(indices))) if dims is None else dims
        super().__init__(operands=[tile, target, indices], properties={"dims": int_array(chosen)})

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the ref that each dim of the tile runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        assert isinstance(self.tile.type, TileType)
        check_slice("tile.store", self.target.type, self.indices, self.get_dims(), self.tile.type)
        _check_access("tile.store", self.access, self.tile.type)
        if self.tile.type.home is not Residence.REGS:
            raise VerifyException(f"tile.store writes register tiles, this one is {self.tile.type.home.value}")

    @classmethod
    def parse(cls, parser: Parser) -> StoreOp:
        tile = parse_defined(parser)
        parser.parse_punctuation(",")
        ref, indices, dims = parse_slice(parser)
        access = parse_count(parser, "access")
        op = cls(tile, ref, indices, dims)
        op.access = None if access is None else IntegerAttr(access, i64)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.tile)
        printer.print_string(", ")
        print_slice(printer, self.target, self.indices, self.get_dims())
        print_count(printer, "access", self.access)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class FillOp(IRDLOperation):
    """A register tile whose elements are all `value`."""

    name = "tile.fill"

    value = prop_def(NUMBER)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, value: float | FloatAttr | IntegerAttr, tile: TileType) -> None:
        attr = value if isinstance(value, FloatAttr | IntegerAttr) else scalar_attr(value, tile.element_type)
        super().__init__(result_types=[tile], properties={"value": attr})

    def verify_(self) -> None:
        assert isinstance(self.result.type, TileType)
        if self.value.type != self.result.type.element_type:
            raise VerifyException(
                f"tile.fill: the value is {self.value.type}, the tile holds {self.result.type.element_type}"
            )
        if self.result.type.home is not Residence.REGS:
            raise VerifyException(f"tile.fill makes a register tile, not a {self.result.type.home.value} one")

    @classmethod
    def parse(cls, parser: Parser) -> FillOp:
        value = parser.parse_attribute()
        if not isinstance(value, FloatAttr | IntegerAttr):
            parser.raise_error("tile.fill takes a number with its type and gives a !tile.tile")
        attributes, tile = parse_tail(parser, "tile.fill", "->")
        op = cls(value, tile)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_attribute(self.value)
        print_tail(printer, self, "->")


@irdl_op_definition
class BroadcastOp(IRDLOperation):
    """A register tile that repeats another one: `dims` are the dims of the result that the dims of the operand run
    along, increasing; an operand dim of extent 1 is repeated too."""

    name = "tile.broadcast"

    source = operand_def(TileType)
    dims = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, source: SSAValue, dims: Sequence[int], tile: TileType) -> None:
        super().__init__(operands=[source], result_types=[tile], properties={"dims": int_array(dims)})

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the result that each dim of the operand runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        source, result, dims = self.source.type, self.result.type, self.get_dims()
        assert isinstance(source, TileType) and isinstance(result, TileType)
        if (
            list(dims) != sorted(set(dims))
            or len(dims) != source.rank
            or any(not 0 <= dim < result.rank for dim in dims)
        ):
            raise VerifyException(
                f"tile.broadcast: dims {list(dims)} are not increasing dims of the result, one for each of {source.rank}"
            )
        extents = [result.get_shape()[dim] for dim in dims]
        if any(extent not in (1, along) for extent, along in zip(source.get_shape(), extents, strict=True)):
            raise VerifyException(
                f"tile.broadcast: the extents of {source} are not those of {result} along dims {list(dims)}"
            )
        if (
            source.element_type != result.element_type
            or source.home is not Residence.REGS
            or result.home is not Residence.REGS
        ):
            raise VerifyException("tile.broadcast repeats register tiles and does not convert")
        lost = [dim for dim in range(result.rank) if dim not in dims]
        if (
            source.has_layout
            and result.has_layout
            and len(lost) == 1
            and source.layout != SliceAttr(lost[0], result.layout)
        ):
            raise VerifyException(
                f"tile.broadcast: {source} is repeated into {result}: it lies in {SliceAttr(lost[0], result.layout)}"
            )

    @classmethod
    def parse(cls, parser: Parser) -> BroadcastOp:
        source = parse_defined(parser)
        parser.parse_keyword("dims")
        dims = parse_ints(parser)
        attributes, tile = parse_tail(parser, "tile.broadcast")
        op = cls(source, dims, tile)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        printer.print_string(" dims ")
        print_ints(printer, self.get_dims())
        print_tail(printer, self)
