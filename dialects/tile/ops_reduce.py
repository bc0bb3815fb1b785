"""Ops that fold, number and pass on register tiles: reductions along dims, element numbers, changes of layout."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, DenseArrayBase, IndexType, IntegerAttr, IntegerType, StringAttr, UnitAttr, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import int_array, parse_defined, parse_ints, parse_tail, print_ints, print_tail
from stepwell.dialects.tile.attributes import Residence, TileType
from stepwell.dialects.tile.layouts import SliceAttr

FOLDS = ("add", "mul", "max", "min", "and", "or")


@irdl_op_definition
class ReduceOp(IRDLOperation):
    """A register tile folded along dims by `add`, `mul`, `max` or `min` (a NaN wins, as in arith.maximumf; integers have signs), `and` or `or` (of integers): `tile.reduce max %u dims [1] init %m`.
    The result lacks those dims, and lies in a slice of the operand's layout; with `init` it is folded with that tile too. The order of sums is
    not said. `partial`: each thread folds its own elements only, so that the result counts as folded once `tile.reduce` without operand dims
    ends it, `tile.reduce add %l dims []`, which folds between threads."""

    name = "tile.reduce"

    source = operand_def(TileType)
    init = opt_operand_def(TileType)
    kind = prop_def(StringAttr)
    dims = prop_def(DenseArrayBase.constr(i64))
    partial = opt_prop_def(UnitAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(
        self, kind: str, source: SSAValue, dims: Sequence[int], init: SSAValue | None = None, *, partial: bool = False
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "kind": StringAttr(kind),
            "dims": int_array(dims),
            "partial": UnitAttr() if partial else None,
        }
        result = _folded(source.type, dims)
        super().__init__(operands=[source, init], result_types=[result], properties=properties)

    def get_dims(self) -> tuple[int, ...]:
        """The dims that are folded."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        source, dims = self.source.type, self.get_dims()
        assert isinstance(source, TileType)
        if self.kind.data not in FOLDS:
            raise VerifyException(f"tile.reduce: {self.kind.data} is no fold: {', '.join(FOLDS)}")
        if self.kind.data in ("and", "or") and not isinstance(source.element_type, IntegerType):
            raise VerifyException(f"tile.reduce: {self.kind.data} folds integers, not {source.element_type}")
        if (
            list(dims) != sorted(set(dims))
            or not all(0 <= dim < source.rank for dim in dims)
            or len(dims) >= source.rank
        ):
            raise VerifyException(
                f"tile.reduce: dims {list(dims)} are not increasing dims of {source}, one of them left"
            )
        if source.home is not Residence.REGS:
            raise VerifyException(f"tile.reduce folds register tiles, this one is {source.home.value}")
        if self.partial is not None and not dims:
            raise VerifyException("tile.reduce: what is folded between threads is whole afterwards, not partial")
        if self.result.type != _folded(source, dims):
            raise VerifyException(
                f"tile.reduce: {source} along dims {list(dims)} gives {_folded(source, dims)}, not {self.result.type}"
            )
        if self.init is not None and self.init.type != self.result.type:
            raise VerifyException(f"tile.reduce: init is {self.init.type}, the result {self.result.type}")

    @classmethod
    def parse(cls, parser: Parser) -> ReduceOp:
        kind = parser.parse_identifier("a fold")
        source = parse_defined(parser)
        parser.parse_keyword("dims")
        dims = parse_ints(parser)
        if not isinstance(source.type, TileType) or not all(0 <= dim < source.type.rank for dim in dims):
            parser.raise_error(f"dims {dims} are not dims of {source.type}")
        if len(set(dims)) >= source.type.rank:
            parser.raise_error(f"dims {dims} leave one dim of {source.type} at least")
        init = parse_defined(parser) if parser.parse_optional_keyword("init") else None
        op = cls(kind, source, dims, init, partial=parser.parse_optional_keyword("partial") is not None)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.kind.data} ")
        printer.print_ssa_value(self.source)
        printer.print_string(" dims ")
        print_ints(printer, self.get_dims())
        if self.init is not None:
            printer.print_string(" init ")
            printer.print_ssa_value(self.init)
        printer.print_string(" partial" if self.partial is not None else "")
        printer.print_op_attributes(self.attributes)


def _folded(source: Attribute, dims: Sequence[int]) -> TileType:
    """The type of a tile without some dims."""
    assert isinstance(source, TileType)
    shape = [extent for dim, extent in enumerate(source.get_shape()) if dim not in dims]
    if not source.has_layout or not dims:
        return TileType(shape, source.element_type, source.home, source.layout if source.has_layout else None)
    layout = source.layout
    for dim in reversed(dims):
        layout = SliceAttr(dim, layout)
    return TileType(shape, source.element_type, source.home, layout)


@irdl_op_definition
class IotaOp(IRDLOperation):
    """A register tile of integers that counts along one of its dims, from the offset on: `tile.iota 1 at %t : !tile.tile<128x64xi32, regs>` holds t + column."""

    name = "tile.iota"

    dim = prop_def(IntegerAttr[I64])
    offset = opt_operand_def(IndexType())
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, dim: int, tile: TileType, offset: SSAValue | None = None) -> None:
        super().__init__(operands=[offset], result_types=[tile], properties={"dim": IntegerAttr(dim, i64)})

    def verify_(self) -> None:
        kind = self.result.type
        assert isinstance(kind, TileType)
        if kind.home is not Residence.REGS or not isinstance(kind.element_type, IntegerType):
            raise VerifyException(f"tile.iota makes a register tile of integers, not {kind}")
        if not 0 <= self.dim.value.data < kind.rank:
            raise VerifyException(f"tile.iota: {kind} has no dim {self.dim.value.data}")

    @classmethod
    def parse(cls, parser: Parser) -> IotaOp:
        dim = parser.parse_integer(allow_boolean=False)
        offset = parse_defined(parser) if parser.parse_optional_keyword("at") else None
        attributes, kind = parse_tail(parser, "tile.iota")
        op = cls(dim, kind, offset)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.dim.value.data}")
        if self.offset is not None:
            printer.print_string(" at ")
            printer.print_ssa_value(self.offset)
        print_tail(printer, self)


@irdl_op_definition
class RelayoutOp(IRDLOperation):
    """The same register tile held by other threads, or in another order: `tile.relayout %p -> #tile.wgmma_a`. From `#tile.wgmma` to `#tile.wgmma_a` nothing moves
    for elements of 16 bits: a thread has what it needs already."""

    name = "tile.relayout"

    source = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, source: SSAValue, layout: Attribute) -> None:
        assert isinstance(source.type, TileType)
        super().__init__(operands=[source], result_types=[source.type.with_layout(layout)])

    def verify_(self) -> None:
        source, result = self.source.type, self.result.type
        assert isinstance(source, TileType) and isinstance(result, TileType)
        if not source.has_layout or source.home is not Residence.REGS:
            raise VerifyException(f"tile.relayout changes the layout of a register tile, {source} has none")
        if source.with_layout(result.layout) != result:
            raise VerifyException(f"tile.relayout changes the layout alone: {source} cannot become {result}")

    @classmethod
    def parse(cls, parser: Parser) -> RelayoutOp:
        source = parse_defined(parser)
        parser.parse_punctuation("->")
        op = cls(source, parser.parse_attribute())
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.source)
        printer.print_string(" -> ")
        assert isinstance(self.result.type, TileType)
        printer.print_attribute(self.result.type.layout)
        printer.print_op_attributes(self.attributes)
