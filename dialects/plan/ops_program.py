"""The program: memory and steps of a whole network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects.builtin import (
    IntegerAttr,
    IntegerType,
    StringAttr,
    SymbolNameConstraint,
)
from xdsl.ir import Block, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.traits import IsolatedFromAbove, NoTerminator, SymbolOpInterface

from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp, number
from stepwell.dialects.plan.ops_memory import I64
from stepwell.dialects.plan.verify import verify_program


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A whole network: memory, then launches in order. `arena` and `constants` are the totals in bytes, absent until
    plan-assign-offsets has run. What the text shows is what the runtime allocates."""

    name = "plan.program"

    sym_name = prop_def(SymbolNameConstraint())
    arena = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    constants = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    body = region_def("single_block")

    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolOpInterface())
    assembly_format = "$sym_name (`arena` $arena^)? (`constants` $constants^)? attr-dict-with-keyword $body"

    def __init__(
        self, name: str, body: Region | Sequence[Operation], arena: int | None = None, constants: int | None = None
    ) -> None:
        region = body if isinstance(body, Region) else Region(Block(body))
        properties = {"sym_name": StringAttr(name), "arena": number(arena), "constants": number(constants)}
        super().__init__(properties=properties, regions=[region])

    @property
    def block(self) -> Block:
        """The only block."""
        return self.body.block

    def steps(self) -> Iterator[tuple[int, LaunchOp | CopyOp]]:
        """Launches and copies with their step numbers."""
        yield from enumerate(op for op in self.block.ops if isinstance(op, (LaunchOp, CopyOp)))

    def verify_(self) -> None:
        verify_program(self)
