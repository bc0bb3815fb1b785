"""The rows of a block, one after the other: what a CPU kernel does after its products, or in place of them."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import I64, IndexType, IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, Block, BlockArgument, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import parse_count, parse_defined, parse_named_operands, print_named_operands
from stepwell.dialects.tile.attributes import TileType
from stepwell.dialects.tile.ops_loop import StandsIn


def row_type(value: SSAValue) -> TileType:
    """One row of a tile of rows: 6x64xf32 -> 1x64xf32."""
    assert isinstance(value.type, TileType)
    return TileType((1, *value.type.get_shape()[1:]), value.type.element_type, value.type.home)


@irdl_op_definition
class ForRowsOp(IRDLOperation):
    """The rows of a block, in order: the body runs once for each of `rows` rows from the offset `start` on, which is one of the block's.
    Its first argument is the offset of the row, the others are that row of each taken tile, as tiles of one row. What a row beyond the
    extent loads is the fill, what it stores is dropped. With `unrolled` the rows of a whole block are instructions of their own, straight from
    registers; without it, and in a block at the edge, they are a loop, and taken tiles go through memory."""

    name = "tile.for_rows"

    start = operand_def(IndexType())
    tiles = var_operand_def(TileType)
    rows = prop_def(IntegerAttr[I64])
    unrolled = opt_prop_def(UnitAttr)
    body = region_def("single_block")

    traits = traits_def(StandsIn("tile.for_tiles"), NoTerminator())

    def __init__(
        self,
        start: SSAValue,
        rows: int,
        tiles: Sequence[SSAValue] = (),
        *,
        unrolled: bool = False,
        body: Region | None = None,
    ) -> None:
        region = body or Region(Block(arg_types=[IndexType(), *(row_type(value) for value in tiles)]))
        properties: dict[str, Attribute | None] = {
            "rows": IntegerAttr(rows, i64),
            "unrolled": UnitAttr() if unrolled else None,
        }
        super().__init__(operands=[start, tiles], properties=properties, regions=[region])

    @property
    def count(self) -> int:
        """How many rows a block has."""
        return int(self.rows.value.data)

    @property
    def offset(self) -> BlockArgument:
        """The offset of the row, inside the body."""
        return self.body.block.args[0]

    @property
    def taken(self) -> tuple[BlockArgument, ...]:
        """The rows of the taken tiles, inside the body."""
        return tuple(self.body.block.args[1:])

    def verify_(self) -> None:
        if self.count < 1:
            raise VerifyException(f"tile.for_rows: a block has {self.count} rows: one at least")
        for value in self.tiles:
            assert isinstance(value.type, TileType)
            if value.type.rank != 2 or value.type.get_shape()[0] != self.count:
                raise VerifyException(f"tile.for_rows: {value.type} has not {self.count} rows")
        wanted = [IndexType(), *(row_type(value) for value in self.tiles)]
        if [arg.type for arg in self.body.block.args] != wanted:
            raise VerifyException("tile.for_rows: the body takes the offset of a row and one row of each tile")

    @classmethod
    def parse(cls, parser: Parser) -> ForRowsOp:
        with parser.in_parens():
            name = parser.parse_argument(expect_type=False).resolve(IndexType())
        parser.parse_keyword("of")
        start = parse_defined(parser)
        rows = parse_count(parser, "rows")
        if rows is None:
            parser.raise_error("tile.for_rows says how many rows a block has: rows 6")
        unrolled = parser.parse_optional_keyword("unrolled") is not None
        names: list[Parser.Argument] = []
        tiles: list[SSAValue] = []
        if parser.parse_optional_keyword("take"):
            names, tiles = parse_named_operands(parser, row_type)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        op = cls(start, rows, tiles, unrolled=unrolled, body=parser.parse_region([name, *names]))
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        with printer.in_parens():
            printer.print_ssa_value(self.offset)
        printer.print_string(" of ")
        printer.print_ssa_value(self.start)
        printer.print_string(f" rows {self.count}")
        if self.unrolled is not None:
            printer.print_string(" unrolled")
        if self.tiles:
            printer.print_string(" take ")
            print_named_operands(printer, self.taken, self.tiles)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)
