"""Inside a kernel: its grid, its loops, and the wait for the kernel before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.dialects.builtin import I64, DenseArrayBase, IndexType, IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsTerminator,
    NoTerminator,
    OpTrait,
    SingleBlockImplicitTerminator,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._syntax import (
    WHOLE,
    extents_text,
    int_array,
    parse_count,
    parse_defined,
    parse_extents,
    parse_ints,
    parse_named_operands,
    parse_operands,
    print_count,
    print_ints,
    print_named_operands,
)
from stepwell.dialects.tile.attributes import RefType


@dataclass(frozen=True)
class StandsIn(OpTrait):
    """The op stands directly in an op of one of these names: as xDSL's `HasParent`, for parents whose classes are made after the op's."""

    parents: tuple[str, ...]

    def __init__(self, *parents: str) -> None:
        object.__setattr__(self, "parents", parents)

    def verify(self, op: Operation) -> None:
        parent = op.parent_op()
        if parent is not None and parent.name not in self.parents:
            wanted = " or ".join(f"'{name}'" for name in self.parents)
            raise VerifyException(f"'{op.name}' expects parent op {wanted}")


@irdl_op_definition
class WaitPredecessorOp(IRDLOperation):
    """Wait until the kernel before this one has ended and its writes are visible. Before it only constant refs may be
    read; every kernel has exactly one, or one in each role that touches other data (programmatic dependent launch:
    completion is not transitive otherwise). On the CPU the barrier between kernels is the wait."""

    name = "tile.wait_predecessor"

    traits = traits_def(StandsIn("tile.kernel", "tile.role"))
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class ForTilesOp(IRDLOperation):
    """The grid: run the body once for every block of the output, in parallel. The arguments are the element offsets of
    the block, one per dim of the output; blocks at the edge reach beyond the extent (loads give the fill there, stores
    are dropped). A dim with `*` is not cut: every block has all of it, its offset is 0, and the body goes along it in loops, or by a tile that is
    at least as long; such a grid may also be that of an input. In a role it runs over the tiles that fall to this block, one after the other; with `first` N over the first
    N of them."""

    name = "tile.for_tiles"

    output = operand_def(RefType)
    block = prop_def(DenseArrayBase.constr(i64))
    first = opt_prop_def(IntegerAttr[I64])
    body = region_def("single_block")

    traits = traits_def(StandsIn("tile.kernel", "tile.role"), NoTerminator())

    def __init__(
        self, output: SSAValue, block: Sequence[int], body: Region | None = None, first: int | None = None
    ) -> None:
        region = body or Region(Block(arg_types=[IndexType()] * len(block)))
        properties = {"block": int_array(block), "first": None if first is None else IntegerAttr(first, i64)}
        super().__init__(operands=[output], properties=properties, regions=[region])

    def get_block(self) -> tuple[int, ...]:
        """The extents of a block."""
        return tuple(int(extent) for extent in self.block.get_values())

    def offsets(self, extents: Sequence[int]) -> list[range]:
        """Where the blocks begin along each dim of an output of these extents: along a whole dim at 0, also where it is empty."""
        pairs = zip(extents, self.get_block(), strict=True)
        return [range(1) if block == WHOLE else range(0, extent, block) for extent, block in pairs]

    def verify_(self) -> None:
        assert isinstance(self.output.type, RefType)
        if not len(self.get_block()) == len(self.body.block.args) == self.output.type.rank:
            raise VerifyException(
                f"tile.for_tiles: the output has {self.output.type.rank} dims, there are {len(self.get_block())} block extents and "
                f"{len(self.body.block.args)} offsets"
            )
        if min(self.get_block()) < WHOLE:
            raise VerifyException(f"tile.for_tiles: block {extents_text(self.get_block())} has a negative extent")
        if any(arg.type != IndexType() for arg in self.body.block.args):
            raise VerifyException("tile.for_tiles: offsets have the type index")
        parent = self.parent_op()
        counted = parent is None or parent.name == "tile.role"
        if self.first is not None and (self.first.value.data < 1 or not counted):
            raise VerifyException("tile.for_tiles: the first tiles of a block are one at least, and counted in a role")

    @classmethod
    def parse(cls, parser: Parser) -> ForTilesOp:
        names = _parse_index_names(parser)
        parser.parse_keyword("of")
        output = parse_defined(parser)
        parser.parse_keyword("block")
        block = parse_extents(parser)
        first = parse_count(parser, "first")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        op = cls(output, block, parser.parse_region(names), first)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        _print_index_names(printer, self.body.block.args)
        printer.print_string(" of ")
        printer.print_ssa_value(self.output)
        printer.print_string(f" block {extents_text(self.get_block())}")
        print_count(printer, "first", self.first)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False)


def _parse_index_names(parser: Parser) -> list[Parser.Argument]:
    return parser.parse_comma_separated_list(
        Parser.Delimiter.PAREN, lambda: parser.parse_argument(expect_type=False).resolve(IndexType())
    )


def _print_index_names(printer: Printer, names: Sequence[SSAValue]) -> None:
    printer.print_string(" ")
    with printer.in_parens():
        printer.print_list(names, printer.print_ssa_value)


@irdl_op_definition
class YieldOp(IRDLOperation):
    """End of a loop body (tiles for the next iteration) or of a map (the scalar)."""

    name = "tile.yield"

    arguments = var_operand_def()

    traits = traits_def(IsTerminator())

    def __init__(self, *arguments: SSAValue) -> None:
        super().__init__(operands=[arguments])

    @classmethod
    def parse(cls, parser: Parser) -> YieldOp:
        first = parser.parse_optional_unresolved_operand()
        if first is None:
            return cls()
        values = [parser.ssa_values[first.operand_name][first.index]]
        if parser.parse_optional_punctuation(","):
            values += parse_operands(parser)
        return cls(*values)

    def print(self, printer: Printer) -> None:
        if self.arguments:
            printer.print_string(" ")
            printer.print_list(self.arguments, printer.print_ssa_value)


@irdl_op_definition
class ForOp(IRDLOperation):
    """A sequential loop nest over some dims of a ref: the offsets run from 0 below the extent in steps, the last dim
    fastest. Tiles are carried from iteration to iteration; the results are what the last one yields (the initial values
    when an extent is 0). With `first` N only the first N iterations run. A loop over one dim may be limited to `range [LOW, end)` or
    `range [LOW, %i + N)`, never beyond the extent, and run in `reverse`."""

    name = "tile.for"

    over = operand_def(RefType)
    inits = var_operand_def()
    bound = opt_operand_def(IndexType())
    dims = prop_def(DenseArrayBase.constr(i64))
    steps = prop_def(DenseArrayBase.constr(i64))
    first = opt_prop_def(IntegerAttr[I64])
    low = opt_prop_def(IntegerAttr[I64])
    beyond = opt_prop_def(IntegerAttr[I64])
    reverse = opt_prop_def(UnitAttr)
    body = region_def("single_block")
    carried = var_result_def()

    traits = traits_def(SingleBlockImplicitTerminator(YieldOp))
    irdl_options = (AttrSizedOperandSegments(as_property=True),)

    def __init__(
        self,
        over: SSAValue,
        dims: Sequence[int],
        steps: Sequence[int],
        inits: Sequence[SSAValue] = (),
        body: Region | None = None,
        first: int | None = None,
        *,
        low: int = 0,
        bound: tuple[SSAValue, int] | None = None,
        reverse: bool = False,
    ) -> None:
        types = [value.type for value in inits]
        region = body or Region(Block(arg_types=[*([IndexType()] * len(dims)), *types]))
        properties: dict[str, Attribute | None] = {
            "dims": int_array(dims),
            "steps": int_array(steps),
            "first": None if first is None else IntegerAttr(first, i64),
            "low": IntegerAttr(low, i64) if low else None,
            "beyond": None if bound is None else IntegerAttr(bound[1], i64),
            "reverse": UnitAttr() if reverse else None,
        }
        limit = [] if bound is None else [bound[0]]
        super().__init__(operands=[over, inits, limit], result_types=[types], properties=properties, regions=[region])

    def get_dims(self) -> tuple[int, ...]:
        """The dims of the ref that are looped over."""
        return tuple(int(dim) for dim in self.dims.get_values())

    def get_steps(self) -> tuple[int, ...]:
        """Elements per iteration of each looped dim."""
        return tuple(int(step) for step in self.steps.get_values())

    @property
    def is_limited(self) -> bool:
        """Whether it runs over a range, or backwards."""
        return any(held is not None for held in (self.bound, self.low, self.reverse))

    def ranges(self, extents: Sequence[int], bound: int | None) -> list[range]:
        """The offsets of each dim, for extents and a value of the bound."""
        dims, steps = self.get_dims(), self.get_steps()
        low = 0 if self.low is None else self.low.value.data
        high = [extents[dim] for dim in dims]
        if bound is not None and self.beyond is not None:
            high = [min(high[0], bound + self.beyond.value.data)]
        found = [range(low, end, step) for end, step in zip(high, steps, strict=True)]
        return [run[::-1] for run in found] if self.reverse is not None else found

    @property
    def offsets(self) -> tuple[BlockArgument, ...]:
        """The index arguments of the body."""
        return tuple(self.body.block.args[: len(self.get_dims())])

    @property
    def iter_args(self) -> tuple[BlockArgument, ...]:
        """The carried tiles inside the body."""
        return tuple(self.body.block.args[len(self.get_dims()) :])

    def verify_(self) -> None:
        assert isinstance(self.over.type, RefType)
        dims, steps = self.get_dims(), self.get_steps()
        if len(dims) != len(steps) or not dims or min(steps) < 1:
            raise VerifyException("tile.for: one positive step per looped dim is needed")
        if len(set(dims)) != len(dims) or not all(0 <= dim < self.over.type.rank for dim in dims):
            raise VerifyException(
                f"tile.for: dims {list(dims)} are not distinct dims of a ref of rank {self.over.type.rank}"
            )
        if self.first is not None and self.first.value.data < 1:
            raise VerifyException("tile.for: the first iterations are one at least")
        if self.is_limited and (len(dims) != 1 or (self.low is not None and self.low.value.data < 0)):
            raise VerifyException("tile.for: a range is from 0 or more on, along the one dim that is looped over")
        if (self.bound is None) != (self.beyond is None):
            raise VerifyException("tile.for: a bound is an offset and a number beyond it, as in %i + 128")
        carried = [value.type for value in self.inits]
        if [arg.type for arg in self.body.block.args] != [IndexType()] * len(dims) + carried:
            raise VerifyException("tile.for: the body takes the offsets and then the carried tiles")
        last = self.body.block.last_op
        if not isinstance(last, YieldOp) or [value.type for value in last.arguments] != carried:
            raise VerifyException("tile.for: the body yields the carried tiles, with the same types")
        if [result.type for result in self.carried] != carried:
            raise VerifyException("tile.for: the results are the carried tiles, with the same types")

    @classmethod
    def parse(cls, parser: Parser) -> ForOp:
        names = _parse_index_names(parser)
        parser.parse_keyword("of")
        over = parse_defined(parser)
        parser.parse_keyword("dims")
        dims = parse_ints(parser)
        parser.parse_keyword("step")
        steps = parse_ints(parser)
        low, bound = _parse_range(parser)
        reverse = parser.parse_optional_keyword("reverse") is not None
        first = parse_count(parser, "first")
        carried: list[Parser.Argument] = []
        inits: list[SSAValue] = []
        if parser.parse_optional_keyword("iter"):
            carried, inits = parse_named_operands(parser, lambda value: value.type)
            parser.parse_punctuation("->")
            types = parser.parse_comma_separated_list(Parser.Delimiter.NONE, parser.parse_type)
            if types != [value.type for value in inits]:
                parser.raise_error("the result types of tile.for are those of the carried tiles")
        attributes = parser.parse_optional_attr_dict_with_keyword()
        body = parser.parse_region([*names, *carried])
        if not inits and not isinstance(body.block.last_op, YieldOp):
            body.block.add_op(YieldOp())
        op = cls(over, dims, steps, inits, body, first, low=low, bound=bound, reverse=reverse)
        if attributes is not None:
            op.attributes |= attributes.data
        return op

    def print(self, printer: Printer) -> None:
        _print_index_names(printer, self.offsets)
        printer.print_string(" of ")
        printer.print_ssa_value(self.over)
        printer.print_string(" dims ")
        print_ints(printer, self.get_dims())
        printer.print_string(" step ")
        print_ints(printer, self.get_steps())
        _print_range(printer, self)
        print_count(printer, "first", self.first)
        if self.inits:
            printer.print_string(" iter ")
            print_named_operands(printer, self.iter_args, self.inits)
            printer.print_string(" -> ")
            printer.print_list(self.inits.types, printer.print_attribute)
        printer.print_op_attributes(self.attributes, print_keyword=True)
        printer.print_string(" ")
        printer.print_region(self.body, print_entry_block_args=False, print_block_terminators=bool(self.inits))


def _parse_range(parser: Parser) -> tuple[int, tuple[SSAValue, int] | None]:
    """`range [128, end)`, `range [0, %i + 128)`, or nothing: low, and the bound with what lies beyond it."""
    if parser.parse_optional_keyword("range") is None:
        return 0, None
    parser.parse_punctuation("[")
    low = parser.parse_integer(allow_boolean=False)
    parser.parse_punctuation(",")
    bound: tuple[SSAValue, int] | None = None
    if parser.parse_optional_keyword("end") is None:
        value = parse_defined(parser)
        parser.parse_punctuation("+")
        bound = (value, parser.parse_integer(allow_boolean=False))
    parser.parse_punctuation(")")
    return low, bound


def _print_range(printer: Printer, op: ForOp) -> None:
    low = 0 if op.low is None else op.low.value.data
    if op.bound is not None and op.beyond is not None:
        printer.print_string(f" range [{low}, ")
        printer.print_ssa_value(op.bound)
        printer.print_string(f" + {op.beyond.value.data})")
    elif low:
        printer.print_string(f" range [{low}, end)")
    printer.print_string(" reverse" if op.reverse is not None else "")
