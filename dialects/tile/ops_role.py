"""Roles: what the warpgroups of a block do side by side."""

from __future__ import annotations

from xdsl.dialects.builtin import I64, FlatSymbolRefAttr, IntegerAttr, StringAttr, i64
from xdsl.ir import Attribute, Block, Operation, Region
from xdsl.irdl import IRDLOperation, irdl_op_definition, opt_prop_def, prop_def, region_def, traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import NoTerminator
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.tile.ops_loop import StandsIn


@irdl_op_definition
class RoleOp(IRDLOperation):
    """Warpgroups of the block that run the region, side by side with the other roles: `tile.role "load" warpgroups 1 registers 40 { .. }`.
    Roles share nothing but rings and turns. `registers`: the budget of each thread, given by all roles or by none. `copies` N: the role is
    played N times by so many warpgroups each; copy c takes every N-th tile of the block from the c-th on, and with `order @turn` the copies
    pass the named turns from one to the next. `barrier` N: the named barrier, 1 to 15, where its threads meet around a slot that they write, for copy c
    number N + c; behind these one for the turn of each copy."""

    name = "tile.role"

    label = prop_def(StringAttr)
    warpgroups = prop_def(IntegerAttr[I64])
    copies = opt_prop_def(IntegerAttr[I64])
    order = opt_prop_def(FlatSymbolRefAttr)
    registers = opt_prop_def(IntegerAttr[I64])
    barrier = opt_prop_def(IntegerAttr[I64])
    body = region_def("single_block")

    traits = traits_def(StandsIn("tile.kernel"), NoTerminator())
    assembly_format = "$label `warpgroups` $warpgroups (`copies` $copies^)? (`order` $order^)? (`registers` $registers^)? (`barrier` $barrier^)? attr-dict-with-keyword $body"

    def __init__(
        self,
        label: str,
        warpgroups: int,
        body: Region | None = None,
        *,
        copies: int | None = None,
        order: str | None = None,
        registers: int | None = None,
    ) -> None:
        properties: dict[str, Attribute | None] = {
            "label": StringAttr(label),
            "warpgroups": IntegerAttr(warpgroups, i64),
            "copies": None if copies is None else IntegerAttr(copies, i64),
            "order": None if order is None else FlatSymbolRefAttr(order),
            "registers": None if registers is None else IntegerAttr(registers, i64),
        }
        super().__init__(properties=properties, regions=[body or Region(Block())])

    @property
    def copy_count(self) -> int:
        """How many times the role is played at once."""
        return 1 if self.copies is None else self.copies.value.data

    @property
    def groups(self) -> int:
        """Warpgroups of the block that it takes, all copies together."""
        return self.warpgroups.value.data * self.copy_count

    def verify_(self) -> None:
        if self.warpgroups.value.data < 1 or self.copy_count < 1:
            raise VerifyException(f'tile.role "{self.label.data}": at least one warpgroup and one copy')
        if self.order is not None and self.copy_count < 2:
            raise VerifyException(f'tile.role "{self.label.data}": an order is among copies, here is one')
        if self.registers is not None and (self.registers.value.data % 8 or not 24 <= self.registers.value.data <= 240):
            raise VerifyException(
                f'tile.role "{self.label.data}": {self.registers.value.data} registers; budgets are multiples of 8 in 24 .. 240 (setmaxnreg)'
            )
        if self.barrier is not None and not 1 <= self.barrier.value.data <= 15:
            raise VerifyException(
                f'tile.role "{self.label.data}": barrier {self.barrier.value.data}; named barriers are 1 to 15, 0 is the block\'s'
            )


@irdl_op_definition
class TurnOp(IRDLOperation):
    """The copies of a role do what stands between `tile.turn begin @t` and `tile.turn end @t` one after the other: copy 0 first, then the next,
    and copy 0 again for its next tile. `begin` waits until it is this copy's turn."""

    name = "tile.turn"

    edge = prop_def(StringAttr)
    turn = prop_def(FlatSymbolRefAttr)

    def __init__(self, edge: str, turn: str) -> None:
        super().__init__(properties={"edge": StringAttr(edge), "turn": FlatSymbolRefAttr(turn)})

    @property
    def begins(self) -> bool:
        """Whether the turn begins here; it ends here otherwise."""
        return self.edge.data == "begin"

    def verify_(self) -> None:
        if self.edge.data not in ("begin", "end"):
            raise VerifyException(f"tile.turn: a turn begins or ends, here is {self.edge.data}")
        role = role_of(self)
        if self.parent is not None and (role is None or role.order != self.turn):
            raise VerifyException(f"tile.turn: {self.turn} is passed among the copies of a role with this order")

    @classmethod
    def parse(cls, parser: Parser) -> TurnOp:
        edge = parser.parse_identifier("begin or end")
        op = cls(edge, parser.parse_symbol_name().data)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.edge.data} ")
        printer.print_attribute(self.turn)
        printer.print_op_attributes(self.attributes)


def roles_in(body: Region) -> tuple[RoleOp, ...]:
    """The roles of a kernel with this body; none before they are split."""
    return tuple(op for op in body.block.ops if isinstance(op, RoleOp))


def role_of(op: Operation) -> RoleOp | None:
    """The role that an op stands in."""
    parent = op.parent_op()
    while parent is not None and not isinstance(parent, RoleOp):
        parent = parent.parent_op()
    return parent
