"""The kernel: what it reads and writes, its schedule, its body."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import FunctionType, StringAttr, SymbolNameConstraint
from xdsl.ir import Attribute, Block, BlockArgument, Region
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsolatedFromAbove,
    NoTerminator,
    SymbolOpInterface,
)
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile._kernel_syntax import parse_arguments, parse_config, print_config, print_signature
from stepwell.dialects.tile.attributes import RefType
from stepwell.dialects.tile.config import ConfigAttr
from stepwell.dialects.tile.kernel_rules import check_kernel
from stepwell.dialects.tile.ops_loop import ForTilesOp
from stepwell.dialects.tile.ops_role import RoleOp, roles_in

ONE_WAVE = "tile.one_wave"
"""Attribute of a kernel of which every launch has at most as many tiles as the target has multiprocessors (plan-annotate-refs)."""


@irdl_op_definition
class KernelOp(IRDLOperation):
    """One kernel: input refs, output refs, its schedule and a body that computes every output element once. The body
    holds no extents. The verifier checks residences, the single write of each output, the predecessor wait, and the
    config against `stepwell.target`."""

    name = "tile.kernel"

    sym_name = prop_def(SymbolNameConstraint())
    function_type = prop_def(FunctionType)
    config = prop_def(ConfigAttr)
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), SymbolOpInterface(), NoTerminator())

    def __init__(
        self,
        name: str,
        inputs: Sequence[Attribute],
        outputs: Sequence[Attribute],
        config: ConfigAttr,
        body: Region | None = None,
    ) -> None:
        function_type = FunctionType.from_lists(inputs, outputs)
        properties: dict[str, Attribute] = {
            "sym_name": StringAttr(name),
            "function_type": function_type,
            "config": config,
        }
        region = body or Region(Block(arg_types=[*inputs, *outputs]))
        super().__init__(properties=properties, regions=[region])

    @property
    def inputs(self) -> tuple[BlockArgument, ...]:
        """The refs that the kernel reads."""
        return tuple(self.body.block.args[: len(self.function_type.inputs)])

    @property
    def outputs(self) -> tuple[BlockArgument, ...]:
        """The refs that the kernel writes."""
        return tuple(self.body.block.args[len(self.function_type.inputs) :])

    @property
    def grid(self) -> ForTilesOp:
        """The kernel's grid: its one `tile.for_tiles`; with roles each has one over the same tiles, and this is the last role's."""
        return next(op for op in reversed(list(self.body.walk())) if isinstance(op, ForTilesOp))

    @property
    def roles(self) -> tuple[RoleOp, ...]:
        """Its roles; none before they are split."""
        return roles_in(self.body)

    def window_fills(self) -> dict[int, Attribute]:
        """Position of each window ref among the inputs -> what loads from it read outside."""
        return {
            use.operation.operands[0].index: use.operation.fill
            for ref in self.inputs
            if isinstance(ref.type, RefType) and ref.type.access.kind == "window"
            for use in ref.uses
            if use.operation.name == "tile.load"
        }

    def verify_(self) -> None:
        types = (*self.function_type.inputs, *self.function_type.outputs)
        if tuple(self.body.block.arg_types) != types:
            raise VerifyException(
                "tile.kernel: the body's arguments are the inputs and then the outputs of the kernel's type"
            )
        check_kernel(self)

    @classmethod
    def parse(cls, parser: Parser) -> KernelOp:
        name = parser.parse_symbol_name()
        inputs = parse_arguments(parser)
        parser.parse_punctuation("->")
        outputs = parse_arguments(parser)
        config, attributes = parse_config(parser)
        region = parser.parse_region([*inputs, *outputs])
        op = cls(name.data, [a.type for a in inputs], [a.type for a in outputs], config, region)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        print_signature(printer, self, self.inputs, self.outputs)
        print_config(printer, self)
