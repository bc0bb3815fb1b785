"""Ops that compute on tiles: the matrix product and the elementwise map."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import I64, IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import Pure, SingleBlockImplicitTerminator
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import row_of
from stepwell.dialects.tile._syntax import (
    is_scalar,
    parse_count,
    parse_named_operands,
    parse_operands,
    print_count,
    print_named_operands,
)
from stepwell.dialects.tile.attributes import Residence, TileType
from stepwell.dialects.tile.layouts import WgmmaAAttr
from stepwell.dialects.tile.ops_loop import ForOp, YieldOp
from stepwell.types.elements import element


def accumulator_of(operand: Attribute) -> str:
    """The element type that products of `operand` are added in, the widest that any instruction offers; empty where nothing multiplies it."""
    row = row_of(operand)
    ways = row.products if row is not None else ()
    return max((name for way in ways for name in way.accumulators), key=lambda name: element(name).bits, default="")


@irdl_op_definition
class MmaOp(IRDLOperation):
    """c + a * b^T with a [M, K], b [N, K] and c [M, N]: products of the operands' elements, exact in the accumulator's
    type for 16-bit floats, are added in the accumulator's type in an order that the target chooses. The operands are
    not register tiles, but for a in `#tile.wgmma_a`; before layouts are assigned they may be computed in registers. With `transpose_b` b is [K, N]. With `async` the product may still run afterwards: its result is
    in flight until `tile.finish`, and its operands must stay as they are until then (`in_flight`)."""

    name = "tile.mma"

    a = operand_def(TileType)
    b = operand_def(TileType)
    c = operand_def(TileType)
    is_async = opt_prop_def(UnitAttr, prop_name="async")
    transpose_b = opt_prop_def(UnitAttr)
    result = result_def(TileType)

    traits = traits_def(Pure())

    def __init__(
        self, a: SSAValue, b: SSAValue, c: SSAValue, *, is_async: bool = False, transpose_b: bool = False
    ) -> None:
        properties = {
            "async": UnitAttr() if is_async else None,
            "transpose_b": UnitAttr() if transpose_b else None,
        }
        super().__init__(operands=[a, b, c], result_types=[c.type], properties=properties)

    def verify_(self) -> None:
        a, b, c = (value.type for value in self.operands)
        assert isinstance(a, TileType) and isinstance(b, TileType) and isinstance(c, TileType)
        if not a.rank == b.rank == c.rank == 2 or not self._extents_agree(a, b, c):
            wanted = "b [K, N]" if self.transpose_b is not None else "b [N, K]"
            raise VerifyException(f"tile.mma takes a [M, K], {wanted} and c [M, N], here are {a}, {b} and {c}")
        for operand in (a, b):
            in_fragment = operand is a and isinstance(a.layout, WgmmaAAttr)
            if operand.home is Residence.REGS and operand.has_layout and not in_fragment:
                raise VerifyException(
                    f"tile.mma: operands are read from ring, in_place or packed tiles, a from #tile.wgmma_a too, never from {operand.layout}: load them with that residence"
                )
        if c.home is not Residence.REGS or self.result.type != c:
            raise VerifyException("tile.mma: the accumulator and the result are the same kind of register tile")
        total = accumulator_of(a.element_type)
        if a.element_type != b.element_type or str(c.element_type) != total:
            raise VerifyException(
                f"tile.mma: {a.element_type} by {b.element_type} into {c.element_type}: operands have one type, "
                + (f"and {a.element_type} is added in {total}" if total else f"and nothing multiplies {a.element_type}")
            )

        _check_flight(self)

    def _extents_agree(self, a: TileType, b: TileType, c: TileType) -> bool:
        n, k = b.get_shape() if self.transpose_b is None else b.get_shape()[::-1]
        return a.get_shape()[1] == k and c.get_shape() == (a.get_shape()[0], n)

    @classmethod
    def parse(cls, parser: Parser) -> MmaOp:
        values = parse_operands(parser)
        if len(values) != 3:
            parser.raise_error("tile.mma takes a, b and the accumulator")
        transpose_b = parser.parse_optional_keyword("transpose_b") is not None
        is_async = parser.parse_optional_keyword("async") is not None
        op = cls(*values, is_async=is_async, transpose_b=transpose_b)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_list(self.operands, printer.print_ssa_value)
        printer.print_string(" transpose_b" if self.transpose_b is not None else "")
        printer.print_string(" async" if self.is_async is not None else "")
        printer.print_op_attributes(self.attributes)


@irdl_op_definition
class FinishOp(IRDLOperation):
    """Wait until an accumulator in flight is there: `%p = tile.finish %acc`. Later products may go on."""

    name = "tile.finish"

    accumulator = operand_def(TileType)
    result = result_def(TileType)

    def __init__(self, accumulator: SSAValue) -> None:
        super().__init__(operands=[accumulator], result_types=[accumulator.type])

    def verify_(self) -> None:
        if not in_flight(self.accumulator):
            raise VerifyException(
                "tile.finish: nothing is in flight here: it takes what a tile.mma async gives, or a loop that yields it"
            )
        if self.result.type != self.accumulator.type:
            raise VerifyException(f"tile.finish: {self.accumulator.type} ends as itself, not as {self.result.type}")

    @classmethod
    def parse(cls, parser: Parser) -> FinishOp:
        op = cls(parse_operands(parser)[0])
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        printer.print_ssa_value(self.accumulator)
        printer.print_op_attributes(self.attributes)


def in_flight(value: SSAValue) -> bool:
    """Whether an asynchronous product may still be writing `value`: the result of one, or what a loop carries that yields one."""
    owner = value.owner
    if isinstance(owner, MmaOp):
        return owner.is_async is not None
    loop = owner.parent_op() if isinstance(owner, Block) else owner
    if not isinstance(loop, ForOp) or not isinstance(loop.body.block.last_op, YieldOp):
        return False
    held = loop.iter_args if isinstance(owner, Block) else loop.carried
    number = next((n for n, other in enumerate(held) if other is value), None)
    if number is None or number >= len(loop.body.block.last_op.arguments):
        return False
    yielded = loop.body.block.last_op.arguments[number].owner
    return isinstance(yielded, MmaOp) and yielded.is_async is not None


def _check_flight(product: MmaOp) -> None:
    """Nobody looks at an accumulator in flight: one asynchronous product after it, a yield, or its end."""
    if product.is_async is None:
        if in_flight(product.c):
            raise VerifyException(
                "tile.mma: its accumulator is in flight: make it async too, or put tile.finish between"
            )
        return
    held = [product.result]
    for use in product.result.uses:
        loop = use.operation.parent_op()
        if isinstance(use.operation, YieldOp) and isinstance(loop, ForOp):
            held += [loop.carried[use.index], loop.iter_args[use.index]]
    for value in held:
        if value.uses.get_length() > 1:
            raise VerifyException("tile.mma: an accumulator in flight is used more than once: finish it first")
        for use in value.uses:
            follows = isinstance(use.operation, MmaOp) and use.index == 2
            if not follows and not isinstance(use.operation, YieldOp | FinishOp):
                raise VerifyException(
                    f"tile.mma: {use.operation.name} looks at an accumulator in flight: put tile.finish between"
                )


@irdl_op_definition
class MapOp(IRDLOperation):
    """A register tile computed element by element: the body gets one element of each operand (register tiles of the
    result's shape) and yields one; it holds arith and math ops on scalars. With `parts N` a thread takes its elements in N parts, one after
    the other, which keeps the temporaries of a long body out of each other's way: `tile.map (%a = %v) parts 4 { .. }`."""

    name = "tile.map"

    inputs = var_operand_def(TileType)
    parts = opt_prop_def(IntegerAttr[I64])
    body = region_def("single_block")
    result = result_def(TileType)

    traits = traits_def(Pure(), SingleBlockImplicitTerminator(YieldOp))

    def __init__(self, inputs: Sequence[SSAValue], tile: TileType, body: Region | None = None, parts: int = 1) -> None:
        region = body or Region(Block(arg_types=[_element(value) for value in inputs]))
        properties = {"parts": IntegerAttr(parts, i64) if parts > 1 else None}
        super().__init__(operands=[inputs], result_types=[tile], properties=properties, regions=[region])

    @property
    def part_count(self) -> int:
        """In how many parts a thread takes its elements."""
        return 1 if self.parts is None else self.parts.value.data

    def verify_(self) -> None:
        assert isinstance(self.result.type, TileType)
        count, elements = self.part_count, prod(self.result.type.get_shape())
        if count < 1 or elements % count:
            raise VerifyException(f"tile.map: {elements} elements do not go in {count} equal parts")
        for value in (*self.inputs, self.result):
            assert isinstance(value.type, TileType)
            if value.type.home is not Residence.REGS or value.type.get_shape() != self.result.type.get_shape():
                raise VerifyException(
                    f"tile.map: operands and result are register tiles of one shape, here are {value.type} and {self.result.type}"
                )
        layouts = {value.type.layout for value in (*self.inputs, self.result) if isinstance(value.type, TileType)}
        if len(layouts) > 1:
            held = ", ".join(sorted(map(str, layouts)))
            raise VerifyException(
                f"tile.map: operands and result lie in one layout, here are {held}: put tile.relayout before"
            )
        if [arg.type for arg in self.body.block.args] != [_element(value) for value in self.inputs]:
            raise VerifyException("tile.map: the body takes one element of each operand")
        last = self.body.block.last_op
        if not isinstance(last, YieldOp) or [value.type for value in last.arguments] != [self.result.type.element_type]:
            raise VerifyException(f"tile.map: the body yields one {self.result.type.element_type}")
        for op in self.body.block.ops:
            if not is_scalar(op) and op is not last:
                raise VerifyException(f"tile.map: the body holds arith and math ops on scalars, not {op.name}")

    @classmethod
    def parse(cls, parser: Parser) -> MapOp:
        arguments, inputs = parse_named_operands(parser, _element)
        parts = parse_count(parser, "parts") or 1
        attributes = parser.parse_optional_attr_dict_with_keyword()
        region = parser.parse_region(arguments)
        parser.parse_punctuation(":")
        tile = parser.parse_type()
        if not isinstance(tile, TileType):
            parser.raise_error("tile.map gives a !tile.tile")
        op = cls(inputs, tile, region, parts)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        print_named_operands(printer, self.body.block.args, self.inputs)
        print_count(printer, "parts", self.parts)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)


def _element(value: SSAValue) -> Attribute:
    return value.type.element_type if isinstance(value.type, TileType) else value.type
