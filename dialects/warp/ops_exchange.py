"""What threads hand to one another: through registers between the lanes of a warp, through shared memory between warps."""

from __future__ import annotations

from typing import ClassVar, cast

from xdsl.dialects.builtin import I32, IntegerAttr, VectorType, bf16, f16, f32, f64, i8, i16, i32, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    VarConstraint,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect
from xdsl.utils.exceptions import VerifyException

LANES = 32
EXCHANGED = (f16, bf16, f32, f64, i8, i16, i32, i64)


def _check_elements(op: IRDLOperation, held: Attribute) -> None:
    element = cast(VectorType[Attribute], held).element_type
    if element not in EXCHANGED:
        raise VerifyException(
            f"{op.name}: cannot exchange elements of type {element}; use {', '.join(map(str, EXCHANGED))}"
        )


@irdl_op_definition
class ShuffleOp(IRDLOperation):
    """What the lane holds whose number differs from this one's in the bits `lanes`: `%r = warp.shuffle %v xor 16 : vector<2xf32>` (PTX ISA, shfl.sync, mode
    bfly). Every lane of the warp executes it."""

    name = "warp.shuffle"
    T: ClassVar = VarConstraint("T", base(VectorType))
    value = operand_def(T)
    lanes = prop_def(IntegerAttr[I32])
    result = result_def(T)
    assembly_format = "$value `xor` $lanes attr-dict `:` type($value)"

    def __init__(self, value: SSAValue, lanes: int) -> None:
        super().__init__(operands=[value], properties={"lanes": IntegerAttr(lanes, i32)}, result_types=[value.type])

    def verify_(self) -> None:
        _check_elements(self, self.value.type)
        if not 1 <= self.lanes.value.data < LANES:
            raise VerifyException(
                f"{self.name}: lanes differ in the bits 1 to {LANES - 1}, not {self.lanes.value.data}"
            )


@irdl_op_definition
class SharedStoreOp(IRDLOperation):
    """A vector to shared memory at `address`, in bytes from the block's shared memory on, a multiple of an element's: `warp.shared_store %v to [%address] :
    vector<2xf32>`."""

    name = "warp.shared_store"
    value = operand_def(base(VectorType))
    address = operand_def(I32)
    assembly_format = "$value `to` `[` $address `]` attr-dict `:` type($value)"
    traits = traits_def(MemoryWriteEffect())

    def __init__(self, value: SSAValue, address: SSAValue) -> None:
        super().__init__(operands=[value, address])

    def verify_(self) -> None:
        _check_elements(self, self.value.type)


@irdl_op_definition
class SharedLoadOp(IRDLOperation):
    """The mirror of `warp.shared_store`: `%v = warp.shared_load [%address] : vector<2xf32>`."""

    name = "warp.shared_load"
    address = operand_def(I32)
    result = result_def(base(VectorType))
    assembly_format = "`[` $address `]` attr-dict `:` type($result)"
    traits = traits_def(MemoryReadEffect())

    def __init__(self, address: SSAValue, of: VectorType) -> None:
        super().__init__(operands=[address], result_types=[of])

    def verify_(self) -> None:
        _check_elements(self, self.result.type)
