"""The tensor cores (wgmma): descriptors of operands in shared memory, products in flight, waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import (
    I32,
    I64,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnitAttr,
    VectorType,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.hopper.attributes import PendingType
from stepwell.dialects.hopper.ops import INSTRUCTION_BYTES, check_warpgroup
from stepwell.dialects.hopper.ops_memory import constant_value
from stepwell.types.elements import operands_of
from stepwell.types.layouts import Swizzle

MAX_INSTRUCTIONS = 16
"""Of one k-tile: 256 elements of 16 bits."""


@irdl_op_definition
class DescriptorOp(IRDLOperation):
    """wgmma's shared-memory matrix descriptor for an operand tile at byte `offset`: rows of `swizzle` bytes, eight rows to a
    swizzle atom. Bits (PTX ISA, "Matrix descriptor format"): 0-13 address >> 4, 16-29 leading offset >> 4 (unused by swizzled K-major
    layouts: 1; of a transposed operand the bytes between its panels), 32-45 stride between eight-row groups >> 4, 62-63 swizzle mode. The address
    is absolute: base + offset."""

    name = "hopper.descriptor"
    offset = operand_def(I32)
    swizzle = prop_def(IntegerAttr[I32])
    leading = opt_prop_def(IntegerAttr[I32])
    result = result_def(I64)
    assembly_format = "$offset `swizzle` $swizzle (`leading` $leading^)? attr-dict"
    traits = traits_def(Pure())

    def __init__(self, offset: SSAValue, swizzle: int, leading: int = 0) -> None:
        properties = {"swizzle": IntegerAttr(swizzle, i32), "leading": IntegerAttr(leading, i32) if leading else None}
        super().__init__(operands=[offset], properties=properties, result_types=[i64])

    def high_bits(self) -> int:
        """The descriptor without its address."""
        layout = Swizzle(self.swizzle.value.data)
        leading = 16 if self.leading is None else self.leading.value.data
        return layout.mode << 62 | (layout.alignment >> 4) << 32 | (leading >> 4) << 16

    def verify_(self) -> None:
        swizzle, offset = self.swizzle.value.data, constant_value(self.offset)
        if swizzle not in (32, 64, 128):
            raise VerifyException(f"{self.name}: swizzle {swizzle}; give 32, 64 or 128 bytes")
        if self.leading is not None and not (
            0 < self.leading.value.data < 1 << 18 and self.leading.value.data % 16 == 0
        ):
            raise VerifyException(
                f"{self.name}: leading {self.leading.value.data}; give a multiple of 16 bytes below {1 << 18}"
            )
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
class WgmmaZeroOp(IRDLOperation):
    """An accumulator of zeros that is in no register yet: the one product that takes it, in the same block, writes its registers in place of adding to
    them: `%p = hopper.wgmma_zero : !hopper.pending<vector<32xf32>>` (PTX ISA, wgmma.mma_async, scale-d 0). No register is written while other
    products run, which would make the assembler wait for them."""

    name = "hopper.wgmma_zero"
    result = result_def(base(PendingType))
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, of: PendingType) -> None:
        super().__init__(result_types=[of])

    def verify_(self) -> None:
        _check_linear(self, self.result)
        for use in self.result.uses:
            if not isinstance(use.operation, _Product) or use.operation.parent is not self.parent:
                raise VerifyException(f"{self.name}: a product of the same block takes it, not {use.operation.name}")


Steps = DenseArrayBase[IntegerType]


class _Product(IRDLOperation):
    """What wgmma with A behind a descriptor and with A in registers share: the first operand is the accumulator."""

    element = prop_def(StringAttr)
    instructions = prop_def(IntegerAttr[I32])
    transpose_b = opt_prop_def(UnitAttr)
    steps_b = opt_prop_def(DenseArrayBase.constr(i32))
    result = result_def(base(PendingType))

    def construct(
        self,
        operands: Sequence[SSAValue],
        element: str,
        instructions: int,
        transpose_b: bool,
        **steps: Sequence[int] | None,
    ) -> None:
        """Construct with the accumulator's type as the result's; `steps` by the names of their properties."""
        properties: dict[str, Attribute | None] = {
            "element": StringAttr(element),
            "instructions": IntegerAttr(instructions, i32),
            "transpose_b": UnitAttr() if transpose_b else None,
            **{
                name: None if given is None else DenseArrayBase.from_list(i32, list(given))
                for name, given in steps.items()
            },
        }
        super().__init__(operands=operands, properties=properties, result_types=[operands[0].type])

    @property
    def columns(self) -> int:
        """n: columns of the accumulator."""
        return 2 * cast(PendingType, self.operands[0].type).vector.get_shape()[0]

    def moves_b(self) -> tuple[int, ...]:
        """Bytes from B's descriptor to what each instruction reads."""
        return moves(self.steps_b, self.instructions.value.data)

    def verify_product(self, *steps: Steps | None) -> None:
        """Types, shape and steps; VerifyException with what wgmma takes."""
        _check_linear(self, self.operands[0], self.result)
        if self.operands[0].type != self.result.type:
            raise VerifyException(f"{self.name}: the accumulator changes its type to {self.result.type}")
        total = str(self.operands[0].type.vector.element_type)
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
        count = self.instructions.value.data
        if not 1 <= count <= MAX_INSTRUCTIONS:
            raise VerifyException(f"{self.name}: {count} instructions; a k-tile is made of 1 to {MAX_INSTRUCTIONS}")
        for given in (*steps, self.steps_b):
            if given is None and count > 4:
                raise VerifyException(
                    f"{self.name}: {count} instructions; a row of a swizzle has 4 of 32 bytes: say where each begins"
                )
            if given is not None and (len(given) != count or any(step % 16 or step < 0 for step in given.get_values())):
                raise VerifyException(
                    f"{self.name}: steps {list(given.get_values())} are not {count} multiples of 16 bytes"
                )
        if self.transpose_b is not None and rows[self.element.data].bits != 16:
            raise VerifyException(
                f"{self.name}: {self.element.data} operands are K-major: wgmma transposes 16-bit elements"
            )
        check_warpgroup(self)


def moves(steps: Steps | None, count: int) -> tuple[int, ...]:
    """Bytes from an operand's descriptor to what each instruction reads: 32 bytes further along k each, where nothing else is said."""
    return (
        tuple(INSTRUCTION_BYTES * step for step in range(count))
        if steps is None
        else tuple(int(step) for step in steps.get_values())
    )


@irdl_op_definition
class WgmmaOp(_Product):
    """One k-tile on the tensor cores: acc[64, n] += A[64, k] * B[n, k]^T per warpgroup, asynchronously, in one committed group of
    `instructions` wgmma (each takes 32 bytes of k: 16 f16 or bf16, 32 of 8 bits, or 8 tf32 = f32 with the low 13 mantissa bits ignored).

    A and B are K-major tiles behind descriptors; instruction i reads them 32 * i bytes further along k (rows of swizzle =
    32 * instructions bytes, so a k-tile is one swizzle row), or at the bytes that `steps_a` and `steps_b` say. With `transpose_b` B is [k, n] in memory
    (16-bit elements). n = 2 * length of the accumulator vector. Products are exact, sums f32
    in unspecified order, or i32, which wrap. Starts with `wgmma.fence`. The slots may be overwritten only after a wait that covers this group."""

    name = "hopper.wgmma"
    accumulator = operand_def(base(PendingType))
    a = operand_def(I64)
    b = operand_def(I64)
    steps_a = opt_prop_def(DenseArrayBase.constr(i32))
    assembly_format = (
        "$accumulator `,` $a `,` $b $element `instructions` $instructions (`transpose_b` $transpose_b^)? (`steps_a` $steps_a^)? (`steps_b` $steps_b^)? "
        "attr-dict `:` type($accumulator) `->` type($result)"
    )

    def __init__(
        self,
        accumulator: SSAValue,
        a: SSAValue,
        b: SSAValue,
        element: str,
        instructions: int,
        *,
        transpose_b: bool = False,
        steps_a: Sequence[int] | None = None,
        steps_b: Sequence[int] | None = None,
    ) -> None:
        self.construct([accumulator, a, b], element, instructions, transpose_b, steps_a=steps_a, steps_b=steps_b)

    def moves_a(self) -> tuple[int, ...]:
        """Bytes from A's descriptor to what each instruction reads."""
        return moves(self.steps_a, self.instructions.value.data)

    def verify_(self) -> None:
        self.verify_product(self.steps_a)


@irdl_op_definition
class WgmmaRegistersOp(_Product):
    """`hopper.wgmma` with A in registers: a vector of 16-bit elements as wgmma's accumulator holds them, 8 for each of `instructions` (PTX ISA, "Register fragments for
    wgmma.mma_async.m64nNk16": two neighbouring accumulator columns make a register of A). The registers may be used again only after a wait that covers this group."""

    name = "hopper.wgmma_registers"
    accumulator = operand_def(base(PendingType))
    a = operand_def(base(VectorType))
    b = operand_def(I64)
    assembly_format = (
        "$accumulator `,` $a `,` $b $element `instructions` $instructions (`transpose_b` $transpose_b^)? (`steps_b` $steps_b^)? "
        "attr-dict `:` type($accumulator) `,` type($a) `->` type($result)"
    )

    def __init__(
        self,
        accumulator: SSAValue,
        a: SSAValue,
        b: SSAValue,
        element: str,
        instructions: int,
        *,
        transpose_b: bool = False,
        steps_b: Sequence[int] | None = None,
    ) -> None:
        self.construct([accumulator, a, b], element, instructions, transpose_b, steps_b=steps_b)

    def verify_(self) -> None:
        held = cast(VectorType, self.a.type)
        wanted = 8 * self.instructions.value.data
        if (
            str(held.element_type) != self.element.data
            or operands_of("wgmma")[self.element.data].bits != 16
            or held.get_shape() != (wanted,)
        ):
            raise VerifyException(
                f"{self.name}: A is {held}: {self.instructions.value.data} instructions take vector<{wanted}xf16> or bf16 of their element"
            )
        self.verify_product()


@irdl_op_definition
class WgmmaWaitOp(IRDLOperation):
    """`wgmma.wait_group`: returns when at most `pending` of this warpgroup's committed groups are still running. The result is the accumulator's
    value (a vector) where at least `pending` groups began after its own; with pending over 0 it may also stay in flight."""

    name = "hopper.wgmma_wait"
    accumulator = operand_def(base(PendingType))
    pending = prop_def(IntegerAttr[I32])
    result = result_def(base(PendingType) | base(VectorType))
    assembly_format = "$accumulator `pending` $pending attr-dict `:` type($accumulator) `->` type($result)"

    def __init__(self, accumulator: SSAValue, pending: int, *, ends: bool = False) -> None:
        kind = cast(PendingType, accumulator.type)
        super().__init__(
            operands=[accumulator],
            properties={"pending": IntegerAttr(pending, i32)},
            result_types=[kind.vector if ends or pending == 0 else kind],
        )

    def verify_(self) -> None:
        _check_linear(self, self.accumulator, self.result)
        kind, pending = cast(PendingType, self.accumulator.type), self.pending.value.data
        if not 0 <= pending <= 7:
            raise VerifyException(f"{self.name}: pending {pending}; give 0 to 7 groups")
        later = self._later()
        if self.result.type != kind.vector and (pending == 0 or self.result.type != kind):
            raise VerifyException(
                f"{self.name}: pending {pending} gives {kind.vector if pending == 0 else kind}, not {self.result.type}"
            )
        if self.result.type == kind.vector and pending > later:
            raise VerifyException(
                f"{self.name}: pending {pending} hands out an accumulator that may still be written: {later} products begin after its own"
            )
        check_warpgroup(self)

    def _later(self) -> int:
        """Products of this block that begin after the accumulator's, before the wait."""
        count = 0
        op = self.prev_op
        while op is not None and op is not self.accumulator.owner:
            count += isinstance(op, WgmmaOp | WgmmaRegistersOp)
            op = op.prev_op
        return count
