"""Ops that compute on tiles: the matrix product and the elementwise map."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, IntegerType
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure, SingleBlockImplicitTerminator
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import parse_named_operands, parse_operands, print_named_operands
from stepwell.dialects.tile.attributes import Residence, TileType
from stepwell.dialects.tile.ops_loop import YieldOp

_ACCUMULATORS: tuple[tuple[type[Attribute], type[Attribute]], ...] = (
    (Float16Type, Float32Type),
    (BFloat16Type, Float32Type),
    (Float32Type, Float32Type),
    (IntegerType, IntegerType),
)


@irdl_op_definition
class MmaOp(IRDLOperation):
    """c + a * b^T with a [M, K], b [N, K] and c [M, N]: products of the operands' elements, exact in the accumulator's
    type for 16-bit floats, are added in the accumulator's type in an order that the target chooses. The operands are
    never register tiles."""

    name = "tile.mma"

    a = operand_def(TileType)
    b = operand_def(TileType)
    c = operand_def(TileType)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(self, a: SSAValue, b: SSAValue, c: SSAValue) -> None:
        super().__init__(operands=[a, b, c], result_types=[c.type])

    def verify_(self) -> None:
        a, b, c = (value.type for value in self.operands)
        assert isinstance(a, TileType) and isinstance(b, TileType) and isinstance(c, TileType)
        if (
            not a.rank == b.rank == c.rank == 2
            or a.get_shape()[1] != b.get_shape()[1]
            or c.get_shape() != (a.get_shape()[0], b.get_shape()[0])
        ):
            raise VerifyException(f"tile.mma takes a [M, K], b [N, K] and c [M, N], here are {a}, {b} and {c}")
        for operand in (a, b):
            if operand.home is Residence.REGS:
                raise VerifyException(
                    "tile.mma: operands are read from ring, in_place or packed tiles, never from regs: load them with that residence"
                )
        if c.home is not Residence.REGS or self.result.type != c:
            raise VerifyException("tile.mma: the accumulator and the result are the same kind of register tile")
        pair = (type(a.element_type), type(c.element_type))
        if a.element_type != b.element_type or pair not in _ACCUMULATORS:
            raise VerifyException(
                f"tile.mma: {a.element_type} by {b.element_type} into {c.element_type}: operands have one type, floats accumulate in f32"
            )

    @classmethod
    def parse(cls, parser: Parser) -> MmaOp:
        values = parse_operands(parser)
        if len(values) != 3:
            parser.raise_error("tile.mma takes a, b and the accumulator")
        op = cls(*values)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class MapOp(IRDLOperation):
    """A register tile computed element by element: the body gets one element of each operand (register tiles of the
    result's shape) and yields one; it holds arith and math ops on scalars."""

    name = "tile.map"

    inputs = var_operand_def(TileType)
    body = region_def("single_block")
    result = result_def(TileType)

    traits = traits_def(Pure(), SingleBlockImplicitTerminator(YieldOp))

    def __init__(self, inputs: Sequence[SSAValue], tile: TileType, body: Region | None = None) -> None:
        region = body or Region(Block(arg_types=[_element(value) for value in inputs]))
        super().__init__(operands=[inputs], result_types=[tile], regions=[region])

    def verify_(self) -> None:
        assert isinstance(self.result.type, TileType)
        for value in (*self.inputs, self.result):
            assert isinstance(value.type, TileType)
            if value.type.home is not Residence.REGS or value.type.get_shape() != self.result.type.get_shape():
                raise VerifyException(
                    f"tile.map: operands and result are register tiles of one shape, here are {value.type} and {self.result.type}"
                )
        if [arg.type for arg in self.body.block.args] != [_element(value) for value in self.inputs]:
            raise VerifyException("tile.map: the body takes one element of each operand")
        last = self.body.block.last_op
        if not isinstance(last, YieldOp) or [value.type for value in last.arguments] != [self.result.type.element_type]:
            raise VerifyException(f"tile.map: the body yields one {self.result.type.element_type}")
        for op in self.body.block.ops:
            if op.name.partition(".")[0] not in ("arith", "math") and op is not last:
                raise VerifyException(f"tile.map: the body holds arith and math ops on scalars, not {op.name}")

    @classmethod
    def parse(cls, parser: Parser) -> MapOp:
        arguments, inputs = parse_named_operands(parser, _element)
        attributes = parser.parse_optional_attr_dict_with_keyword()
        region = parser.parse_region(arguments)
        parser.parse_punctuation(":")
        tile = parser.parse_type()
        if not isinstance(tile, TileType):
            parser.raise_error("tile.map gives a !tile.tile")
        op = cls(inputs, tile, region)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_named_operands(printer, self.body.block.args, self.inputs)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


def _element(value: SSAValue) -> Attribute:
    return value.type.element_type if isinstance(value.type, TileType) else value.type
