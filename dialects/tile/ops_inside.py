"""Which elements of a tile exist: what a kernel asks before it folds a tile that reaches beyond the extents."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, IndexType, i1, i64
from xdsl.ir import SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import int_array, parse_tail, print_tail
from stepwell.dialects.tile.attributes import RefType, Residence, TileType
from stepwell.dialects.tile.ops_tiles import check_place, parse_slice, print_slice


@irdl_op_definition
class InsideOp(IRDLOperation):
    """A register tile of i1: whether each element of a tile that lies there is inside of the ref's extents: `%in = tile.inside %x[%i, %j] :
    !tile.tile<4x128xi1, regs>`. Nothing is read. Offsets and `dims` are as in `tile.load`; what a load gives outside is its fill, and a
    `tile.map` selects by this tile what a fold takes there in its place (-inf for a maximum)."""

    name = "tile.inside"

    source = operand_def(RefType)
    indices = var_operand_def(IndexType())
    dims = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(
        self, source: SSAValue, indices: Sequence[SSAValue], tile: TileType, dims: Sequence[int] | None = None
    ) -> None:
        chosen = list(range(len(indices))) if dims is None else dims
        super().__init__(operands=[source, indices], result_types=[tile], properties={"dims": int_array(chosen)})

    def get_dims(self) -> tuple[int, ...]:
        """The dim of the ref that each dim of the tile runs along."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def verify_(self) -> None:
        kind = self.result.type
        assert isinstance(kind, TileType)
        check_place("tile.inside", self.source.type, self.indices, self.get_dims(), kind)
        if kind.element_type != i1 or kind.home is not Residence.REGS:
            raise VerifyException(f"tile.inside makes a register tile of i1, not {kind}")

    @classmethod
    def parse(cls, parser: Parser) -> InsideOp:
        ref, indices, dims = parse_slice(parser)
        attributes, tile = parse_tail(parser, "tile.inside")
        op = cls(ref, indices, tile, dims)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_slice(printer, self.source, self.indices, self.get_dims())
        print_tail(printer, self)
