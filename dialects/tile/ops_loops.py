"""A kernel without tiles: whole tensors, computed element by element. What no tile form takes is lowered by it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence

from xdsl.dialects.builtin import FunctionType, StringAttr, SymbolNameConstraint, TensorType
from xdsl.ir import Attribute, Block, BlockArgument, Region
from xdsl.irdl import IRDLOperation, irdl_op_definition, prop_def, region_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._kernel_syntax import parse_arguments, parse_config, print_config, print_signature
from stepwell.dialects.tile._syntax import is_scalar
from stepwell.dialects.tile.config import ConfigAttr, violations
from stepwell.dialects.tile.kernel_rules import target_name_of
from stepwell.dialects.tile.ops_loop import YieldOp

BODY_DIALECTS = ("linalg", "tensor", "arith", "math")


class LoopsKernel(IRDLOperation, ABC):
    """What kernels without tiles share: whole operands of static shape, in row-major order, and blocks of so many elements."""

    sym_name = prop_def(SymbolNameConstraint())
    function_type = prop_def(FunctionType)
    config = prop_def(ConfigAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def verify_signature(self, title: str) -> None:
        """Raise where an operand has no static shape, nothing is written, or the config is not for loops."""
        for type_ in (*self.function_type.inputs, *self.function_type.outputs):
            if not isinstance(type_, TensorType) or not type_.has_static_shape():
                raise VerifyException(f"{title}: {type_} is no tensor of static shape")
        if not self.function_type.outputs.data:
            raise VerifyException(f"{title}: it has no output")
        if self.config.data.form != "loops":
            raise VerifyException(f"{title}: its config has form = {self.config.data.form}, loops is wanted")
        for reason in violations(self.config.data, target_name_of(self)):
            raise VerifyException(f"{title}: {reason}")


@irdl_op_definition
class LoopsOp(LoopsKernel):
    """A kernel over whole tensors of static shape: `tile.loops @y(%x: tensor<8x4xi1>) -> (tensor<4x8xi1>) config #tile.config<block =
    [1024], form = loops> { .. tile.yield %r }`. The body is what linalg says of a fusion: linalg.generic, linalg.fill, tensor.pad, reshapes. It is
    loops over the elements of each result, in blocks of the config's one extent; an element is computed with everything that it
    depends on, sums in row-major order. Any rank, element type, stride and extent, 0 included; unlike a `tile.kernel` it holds its extents."""

    name = "tile.loops"

    def __init__(
        self,
        name: str,
        inputs: Sequence[Attribute],
        outputs: Sequence[Attribute],
        config: ConfigAttr,
        body: Region | None = None,
    ) -> None:
        properties: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "function_type": FunctionType.from_lists(inputs, outputs),
            "config": config,
        }
        super().__init__(properties=properties, regions=[body or Region(Block(arg_types=inputs))])

    @property
    def inputs(self) -> tuple[BlockArgument, ...]:
        """The tensors that the kernel reads."""
        return tuple(self.body.block.args)

    @property
    def results_of_body(self) -> YieldOp:
        """The yield that ends the body."""
        last = self.body.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException(f"tile.loops @{self.sym_name.data}: the body ends in tile.yield")
        return last

    def verify_(self) -> None:
        title = f"tile.loops @{self.sym_name.data}"
        self.verify_signature(title)
        if [argument.type for argument in self.inputs] != list(self.function_type.inputs):
            raise VerifyException(f"{title}: the body's arguments are the inputs of the kernel's type")
        if [value.type for value in self.results_of_body.arguments] != list(self.function_type.outputs):
            raise VerifyException(f"{title}: the body yields the outputs of the kernel's type, one at least")
        for op in self.body.block.ops:
            if not is_scalar(op) and op.name.partition(".")[0] not in BODY_DIALECTS and op is not self.results_of_body:
                raise VerifyException(f"{title}: the body holds {', '.join(BODY_DIALECTS)}, not {op.name}")

    @classmethod
    def parse(cls, parser: Parser) -> LoopsOp:
        name = parser.parse_symbol_name()
        inputs = parse_arguments(parser)
        parser.parse_punctuation("->")
        outputs = parser.parse_comma_separated_list(Parser.Delimiter.PAREN, parser.parse_type)
        config, attributes = parse_config(parser)
        op = cls(name.data, [a.type for a in inputs], outputs, config, parser.parse_region(inputs))
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        print_signature(printer, self, self.inputs, self.function_type.outputs)
        print_config(printer, self)
