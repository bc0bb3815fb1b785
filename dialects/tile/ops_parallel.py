"""A kernel of plain loops: scf, memref and scalars over whole operands, sequential inside, one thread for each element of a range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import (
    I64,
    FunctionType,
    IndexType,
    IntegerAttr,
    MemRefType,
    NoneAttr,
    StringAttr,
    TensorType,
    i64,
)
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue
from xdsl.irdl import irdl_op_definition, prop_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._kernel_syntax import parse_arguments, parse_config, print_config, print_signature
from stepwell.dialects.tile._syntax import is_scalar
from stepwell.dialects.tile.config import ConfigAttr
from stepwell.dialects.tile.ops_loops import LoopsKernel

BODY = (memref.LoadOp, memref.StoreOp, scf.ForOp, scf.IfOp, scf.YieldOp)
SCALARS = ("arith", "math")


@irdl_op_definition
class ParallelOp(LoopsKernel):
    """A kernel of plain loops over whole operands of static shape:

    `tile.parallel @scan(%x: memref<3x4xf32>) -> (%y: memref<3x4xf32>) for %n below 3 config #tile.config<block = [256], form = loops> { .. }`

    The body runs once for each %n, in any order, side by side, in blocks of the config's one extent. It holds memref.load and memref.store, scf.for in
    steps of 1, scf.if without results and without else, arith and math; indices are of type index, below 2**31. It stores to outputs only, each
    element exactly once, and reads of them what the same %n has stored. State that does not fit into what loops carry is an output that nothing reads."""

    name = "tile.parallel"

    count = prop_def(IntegerAttr[I64])

    def __init__(
        self,
        name: str,
        inputs: Sequence[TensorType],
        outputs: Sequence[TensorType],
        count: int,
        config: ConfigAttr,
        body: Region | None = None,
    ) -> None:
        properties: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "function_type": FunctionType.from_lists(inputs, outputs),
            "count": IntegerAttr(count, i64),
            "config": config,
        }
        types = [memory_of(type_) for type_ in (*inputs, *outputs)]
        super().__init__(properties=properties, regions=[body or Region(Block(arg_types=[*types, IndexType()]))])

    @property
    def threads(self) -> int:
        """How many times the body runs."""
        return self.count.value.data

    @property
    def operand_count(self) -> int:
        """How many operands the kernel reads."""
        return len(self.function_type.inputs)

    @property
    def inputs(self) -> tuple[BlockArgument, ...]:
        """The operands that the kernel reads."""
        return tuple(self.body.block.args[: self.operand_count])

    @property
    def outputs(self) -> tuple[BlockArgument, ...]:
        """What the kernel writes."""
        return tuple(self.body.block.args[self.operand_count : -1])

    @property
    def index(self) -> BlockArgument:
        """The number of the run."""
        return self.body.block.args[-1]

    def verify_(self) -> None:
        title = f"tile.parallel @{self.sym_name.data}"
        self.verify_signature(title)
        types = [*self.function_type.inputs, *self.function_type.outputs]
        wanted = [*(memory_of(type_) for type_ in types if isinstance(type_, TensorType)), IndexType()]
        if [argument.type for argument in self.body.block.args] != wanted:
            raise VerifyException(f"{title}: the body's arguments are the operands of the kernel's type and an index")
        if self.threads < 0:
            raise VerifyException(f"{title}: it runs {self.threads} times")
        for op in self.body.walk():
            for reason in self._misplaced(op):
                raise VerifyException(f"{title}: {reason}")

    def _misplaced(self, op: Operation) -> Iterator[str]:
        """Why an op does not stand in the body."""
        if not isinstance(op, BODY) and not is_scalar(op):
            listed = ", ".join(kind.name for kind in BODY if kind is not scf.YieldOp)
            yield f"the body holds {', '.join(SCALARS)}, {listed}, not {op.name}"
        if isinstance(op, memref.LoadOp) and op.memref not in (*self.inputs, *self.outputs):
            yield "memref.load reads an operand of the kernel"
        if isinstance(op, memref.StoreOp) and op.memref not in self.outputs:
            yield "memref.store writes an output of the kernel"
        if isinstance(op, scf.IfOp) and (op.results or op.false_region.blocks):
            yield "scf.if has no results and no else: choose values by arith.select"
        if isinstance(op, scf.ForOp) and (not isinstance(op.lb.type, IndexType) or constant_of(op.step) != 1):
            yield "scf.for counts indices in steps of a constant 1"

    @classmethod
    def parse(cls, parser: Parser) -> ParallelOp:
        name = parser.parse_symbol_name()
        inputs = parse_arguments(parser)
        parser.parse_punctuation("->")
        outputs = parse_arguments(parser)
        parser.parse_keyword("for")
        index = parser.parse_argument(expect_type=False).resolve(IndexType())
        parser.parse_keyword("below")
        count = parser.parse_integer(allow_boolean=False)
        config, attributes = parse_config(parser)
        read, written = ([_tensor_of(parser, argument.type) for argument in side] for side in (inputs, outputs))
        op = cls(name.data, read, written, count, config, parser.parse_region([*inputs, *outputs, index]))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        print_signature(printer, self, self.inputs, self.outputs)
        printer.print_string(" for ")
        printer.print_ssa_value(self.index)
        printer.print_string(f" below {self.threads}")
        print_config(printer, self)


def memory_of(type_: TensorType) -> MemRefType:
    """A tensor as memory, row-major."""
    return MemRefType(type_.element_type, type_.get_shape())


def constant_of(value: SSAValue) -> int | None:
    """The integer that a value always is."""
    constant = value.owner.value if isinstance(value.owner, arith.ConstantOp) else None
    return constant.value.data if isinstance(constant, IntegerAttr) else None


def _tensor_of(parser: Parser, type_: Attribute) -> TensorType:
    if not isinstance(type_, MemRefType) or not type_.has_static_shape() or not isinstance(type_.layout, NoneAttr):
        parser.raise_error(f"{type_}: an operand of tile.parallel is a memref of static shape, row-major")
    return TensorType(type_.element_type, type_.get_shape())
