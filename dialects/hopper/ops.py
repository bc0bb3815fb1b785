"""Roles of warpgroups, and the tensor cores (wgmma)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from xdsl.dialects.builtin import I32, I64, IntegerAttr, StringAttr, VectorType, i32, i64
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.traits import HasAncestor, NoTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.hopper.attributes import PendingType
from stepwell.dialects.hopper.ops_memory import constant_value
from stepwell.dialects.warp import REGISTER_FILE, KernelOp
from stepwell.types.elements import operands_of
from stepwell.types.layouts import Swizzle

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


@irdl_op_definition
class DescriptorOp(IRDLOperation):
    """wgmma's shared-memory matrix descriptor for a K-major operand tile at byte `offset`: rows of `swizzle` bytes, eight rows to a
    swizzle atom. Bits (PTX ISA, "Matrix descriptor format"): 0-13 address >> 4, 16-29 leading offset >> 4 (unused by swizzled
    layouts: 1), 32-45 stride between eight-row groups >> 4, 62-63 swizzle mode. The address is absolute: base + offset."""

    name = "hopper.descriptor"
    offset = operand_def(I32)
    swizzle = prop_def(IntegerAttr[I32])
    result = result_def(I64)
    assembly_format = "$offset `swizzle` $swizzle attr-dict"
    traits = traits_def(Pure())

    def __init__(self, offset: SSAValue, swizzle: int) -> None:
        super().__init__(operands=[offset], properties={"swizzle": IntegerAttr(swizzle, i32)}, result_types=[i64])

    def high_bits(self) -> int:
        """The descriptor without its address."""
        layout = Swizzle(self.swizzle.value.data)
        return layout.mode << 62 | (layout.alignment >> 4) << 32 | 1 << 16

    def verify_(self) -> None:
        swizzle, offset = self.swizzle.value.data, constant_value(self.offset)
        if swizzle not in (32, 64, 128):
            raise VerifyException(f"{self.name}: swizzle {swizzle}; give 32, 64 or 128 bytes")
        if offset is not None and offset % Swizzle(swizzle).alignment:
            needed = Swizzle(swizzle).alignment
            raise VerifyException(f"{self.name}: offset {offset}; swizzle {swizzle} needs a multiple of {needed}")


def _check_linear(op: Operation, *values: SSAValue) -> None:
    """An accumulator in flight has one reader on each path: nobody may look at its registers before the wait."""
    for value in values:
        readers = [use.operation.parent for use in value.uses] if isinstance(value.type, PendingType) else []
        if len(readers) != len(set(readers)):
            raise VerifyException(f"{op.name}: an accumulator in flight is used more than once; wait for it first")


@irdl_op_definition
class WgmmaBeginOp(IRDLOperation):
    """Hand a fragment over to the tensor cores as the accumulator's first value. (An optimisation barrier: register writes stay
    before the first `wgmma.fence`.)"""

    name = "hopper.wgmma_begin"
    value = operand_def(base(VectorType))
    result = result_def(base(PendingType))
    assembly_format = "$value attr-dict `:` type($value) `->` type($result)"

    def __init__(self, value: SSAValue) -> None:
        super().__init__(operands=[value], result_types=[PendingType(cast(VectorType, value.type))])

    def verify_(self) -> None:
        _check_linear(self, self.result)
        if self.result.type.vector != self.value.type:
            raise VerifyException(
                f"{self.name}: {self.value.type} begins an accumulator of another type {self.result.type}"
            )


@irdl_op_definition
class WgmmaOp(IRDLOperation):
    """One k-tile on the tensor cores: acc[64, n] += A[64, k] * B[n, k]^T per warpgroup, asynchronously, in one committed group of
    `instructions` wgmma (each takes 32 bytes of k: 16 f16 or bf16, 32 of 8 bits, or 8 tf32 = f32 with the low 13 mantissa bits ignored).

    A and B are K-major tiles behind descriptors; instruction i reads them 32 * i bytes further along k (rows of swizzle =
    32 * instructions bytes, so a k-tile is one swizzle row). n = 2 * length of the accumulator vector. Products are exact, sums f32
    in unspecified order, or i32, which wrap. Starts with `wgmma.fence`. The slots may be overwritten only after a wait that covers this group."""

    name = "hopper.wgmma"
    accumulator = operand_def(base(PendingType))
    a = operand_def(I64)
    b = operand_def(I64)
    element = prop_def(StringAttr)
    instructions = prop_def(IntegerAttr[I32])
    result = result_def(base(PendingType))
    assembly_format = "$accumulator `,` $a `,` $b $element `instructions` $instructions attr-dict `:` type($accumulator) `->` type($result)"

    def __init__(self, accumulator: SSAValue, a: SSAValue, b: SSAValue, element: str, instructions: int) -> None:
        super().__init__(
            operands=[accumulator, a, b],
            properties={"element": StringAttr(element), "instructions": IntegerAttr(instructions, i32)},
            result_types=[accumulator.type],
        )

    @property
    def columns(self) -> int:
        """n: columns of the accumulator."""
        return 2 * cast(PendingType, self.accumulator.type).vector.get_shape()[0]

    def verify_(self) -> None:
        _check_linear(self, self.accumulator, self.result)
        if self.accumulator.type != self.result.type:
            raise VerifyException(f"{self.name}: the accumulator changes its type to {self.result.type}")
        total = str(self.accumulator.type.vector.element_type)
        rows = operands_of("wgmma")
        fitting = [name for name, row in rows.items() if (way := row.product("wgmma")) and total in way.accumulators]
        if self.element.data not in fitting:
            raise VerifyException(
                f"{self.name}: operands that are added in {total} are {', '.join(fitting) or 'none'}, not {self.element.data}"
            )
        if self.columns % 8 or not 8 <= self.columns <= 256:
            raise VerifyException(f"{self.name}: n = {self.columns}; wgmma takes multiples of 8 up to 256")
        if total == "i32" and self.columns % 16 and self.columns not in (8, 24):
            raise VerifyException(f"{self.name}: n = {self.columns}; whole numbers take 8, 24 or multiples of 16")
        if self.instructions.value.data not in (1, 2, 4):
            raise VerifyException(
                f"{self.name}: {self.instructions.value.data} instructions; a k-tile is 32, 64 or 128 bytes"
            )
        check_warpgroup(self)


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


@irdl_op_definition
class WgmmaWaitOp(IRDLOperation):
    """`wgmma.wait_group`: returns when at most `pending` of this warpgroup's committed groups are still running. With pending = 0 the
    result is the accumulator's value (a vector); otherwise it stays in flight."""

    name = "hopper.wgmma_wait"
    accumulator = operand_def(base(PendingType))
    pending = prop_def(IntegerAttr[I32])
    result = result_def(base(PendingType) | base(VectorType))
    assembly_format = "$accumulator `pending` $pending attr-dict `:` type($accumulator) `->` type($result)"

    def __init__(self, accumulator: SSAValue, pending: int) -> None:
        kind = cast(PendingType, accumulator.type)
        super().__init__(
            operands=[accumulator],
            properties={"pending": IntegerAttr(pending, i32)},
            result_types=[kind.vector if pending == 0 else kind],
        )

    def verify_(self) -> None:
        _check_linear(self, self.accumulator, self.result)
        kind, pending = cast(PendingType, self.accumulator.type), self.pending.value.data
        if not 0 <= pending <= 7:
            raise VerifyException(f"{self.name}: pending {pending}; give 0 to 7 groups")
        if self.result.type != (kind.vector if pending == 0 else kind):
            raise VerifyException(
                f"{self.name}: pending {pending} gives {kind.vector if pending == 0 else kind}, not {self.result.type}"
            )
        check_warpgroup(self)
