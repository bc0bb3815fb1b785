"""Roles of warpgroups, and the tensor cores (wgmma)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from xdsl.dialects.builtin import I32, IntegerAttr, StringAttr, i32
from xdsl.ir import Block, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.traits import HasAncestor, NoTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.warp import REGISTER_FILE, KernelOp

WARPGROUP = 128
"""Threads that execute a wgmma together."""
INSTRUCTION_BYTES = 32
"""Bytes of K that one wgmma instruction takes: 16 f16 or 8 tf32."""


@irdl_op_definition
class RoleOp(IRDLOperation):
    """Warpgroups `first` .. `first + warpgroups - 1` of the block run the region; all others pass by. Roles of a kernel do not
    overlap and stand at its top level. With `registers` every thread of the role first changes its register budget to that many
    (setmaxnreg); budgets are multiples of 8 in 24 .. 240, given by all roles or by none, and fit the register file together."""

    name = "hopper.role"
    label = prop_def(StringAttr)
    first = prop_def(IntegerAttr[I32])
    warpgroups = prop_def(IntegerAttr[I32])
    registers = opt_prop_def(IntegerAttr[I32])
    body = region_def("single_block")
    assembly_format = (
        "$label `warpgroups` $warpgroups `from` $first (`registers` $registers^)? attr-dict-with-keyword $body"
    )
    traits = traits_def(NoTerminator(), HasAncestor(KernelOp))

    def __init__(self, label: str, first: int, warpgroups: int, registers: int | None = None) -> None:
        super().__init__(
            properties={
                "label": StringAttr(label),
                "first": IntegerAttr(first, i32),
                "warpgroups": IntegerAttr(warpgroups, i32),
                "registers": None if registers is None else IntegerAttr(registers, i32),
            },
            regions=[Region(Block())],
        )

    @property
    def span(self) -> range:
        """The warpgroups of the block that play this role."""
        first = self.first.value.data
        return range(first, first + self.warpgroups.value.data)

    def verify_(self) -> None:
        kernel = self.parent_op()
        if not isinstance(kernel, KernelOp):
            raise VerifyException(f"{self.name}: roles stand directly in a warp.kernel")
        threads = kernel.threads.value.data
        if not self.span or self.span.start < 0 or self.span.stop * WARPGROUP > threads:
            raise VerifyException(f"{self.name}: warpgroups {self.span} of a block of {threads} threads")
        others = [op for op in _roles(kernel) if op is not self]
        if any(set(self.span) & set(op.span) for op in others):
            raise VerifyException(f"{self.name}: two roles share a warpgroup; their spans must be disjoint")
        if any((op.registers is None) != (self.registers is None) for op in others):
            raise VerifyException(f"{self.name}: give every role a register budget, or none")
        if self.registers is not None:
            self._verify_registers(threads, [self, *others])

    def _verify_registers(self, threads: int, roles: list[RoleOp]) -> None:
        budget = cast(IntegerAttr, self.registers).value.data
        if budget % 8 or not 24 <= budget <= 240:
            raise VerifyException(f"{self.name}: {budget} registers; setmaxnreg takes multiples of 8 in 24 .. 240")
        total = sum(len(op.span) * WARPGROUP * cast(IntegerAttr, op.registers).value.data for op in roles)
        if total > REGISTER_FILE:
            raise VerifyException(
                f"{self.name}: the roles want {total} registers, a multiprocessor has {REGISTER_FILE}"
            )
        if sum(len(op.span) for op in roles) * WARPGROUP != threads:
            raise VerifyException(f"{self.name}: with register budgets the roles must cover all {threads} threads")


@irdl_op_definition
class ElectOp(IRDLOperation):
    """One thread runs the region: the first of the enclosing role's first warpgroup, or of the block. The others pass by."""

    name = "hopper.elect"
    body = region_def("single_block")
    assembly_format = "attr-dict-with-keyword $body"
    traits = traits_def(NoTerminator(), HasAncestor(KernelOp))

    def __init__(self) -> None:
        super().__init__(regions=[Region(Block())])


@irdl_op_definition
class WarpgroupIdOp(IRDLOperation):
    """The number of this thread's warpgroup in the enclosing role, from 0 (outside roles: in the block)."""

    name = "hopper.warpgroup_id"
    result = result_def(I32)
    assembly_format = "attr-dict"
    traits = traits_def(Pure())

    def __init__(self) -> None:
        super().__init__(result_types=[i32])


@irdl_op_definition
class SetMaxRegistersOp(IRDLOperation):
    """`setmaxnreg`: what a role's budget becomes when roles are lowered to branches; every warp of a warpgroup executes it. Direction
    is "inc" (waits until registers are free) or "dec"."""

    name = "hopper.set_max_registers"
    direction = prop_def(StringAttr)
    registers = prop_def(IntegerAttr[I32])
    assembly_format = "$direction $registers attr-dict"

    def __init__(self, direction: str, registers: int) -> None:
        super().__init__(
            properties={"direction": StringAttr(direction), "registers": IntegerAttr(registers, i32)},
        )

    def verify_(self) -> None:
        if self.direction.data not in ("inc", "dec"):
            raise VerifyException(f'{self.name}: direction is "inc" or "dec", not "{self.direction.data}"')


def check_warpgroup(op: Operation) -> None:
    """The op runs in whole warpgroups: not under elect, and in a role or in a block of whole warpgroups."""
    for parent in _ancestors(op):
        if isinstance(parent, ElectOp):
            raise VerifyException(f"{op.name}: under hopper.elect one thread would run it; it takes whole warpgroups")
        if isinstance(parent, KernelOp) and parent.threads.value.data % WARPGROUP:
            threads = parent.threads.value.data
            raise VerifyException(f"{op.name}: a block of {threads} threads is not made of warpgroups of {WARPGROUP}")
        if isinstance(parent, KernelOp) and _roles(parent):
            raise VerifyException(
                f"{op.name}: stands outside the kernel's roles; move it into a role of whole warpgroups"
            )
        if isinstance(parent, RoleOp | KernelOp):
            return


def _roles(kernel: KernelOp) -> list[RoleOp]:
    return [op for block in kernel.body.blocks for op in block.ops if isinstance(op, RoleOp)]


def _ancestors(op: Operation) -> Iterator[Operation]:
    parent = op.parent_op()
    while parent is not None:
        yield parent
        parent = parent.parent_op()
