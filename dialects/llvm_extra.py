"""What xDSL's llvm dialect lacks and the kernels need: `llvm_extra.<mnemonic>` means what LLVM's instruction of that name means.

extractelement, poison, comparisons and selects on vectors, address-space casts, conversions between floats and integers, masked
loads and stores of any element type, atomics and fences. Types are LLVM's (builtin scalars, rank-1 vectors, `!llvm.ptr`).
"""

from __future__ import annotations

from abc import ABC

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerAttr, IntegerType, StringAttr, VectorType, i1, i64
from xdsl.ir import Attribute, Dialect, Operation, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    VarConstraint,
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

ORDERINGS = ("monotonic", "acquire", "release", "acq_rel", "seq_cst")
ATOMIC_KINDS = ("xchg", "add", "sub", "and", "or", "xor", "max", "min", "umax", "umin", "fadd", "fmax", "fmin")
FLOAT_PREDICATES = ("oeq", "ogt", "oge", "olt", "ole", "one", "ord", "ueq", "ugt", "uge", "ult", "ule", "une", "uno")

_T = VarConstraint("T", AnyAttr())
_M = VarConstraint("M", base(VectorType))


def lanes_of(type_: Attribute) -> int | None:
    """The number of elements of a rank-1 vector type; None for anything else."""
    return type_.get_shape()[0] if isinstance(type_, VectorType) else None


def with_lanes(type_: Attribute, lanes: int | None) -> Attribute:
    """`type_` itself, or a vector of so many of it."""
    return type_ if lanes is None else VectorType(type_, [lanes])


@irdl_op_definition
class PoisonOp(IRDLOperation):
    """A value of any kind: the start of a chain of insertelement, the unused operand of a shuffle."""

    name = "llvm_extra.poison"
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "attr-dict `:` type($res)"

    def __init__(self, of: Attribute) -> None:
        super().__init__(result_types=[of])


@irdl_op_definition
class ExtractElementOp(IRDLOperation):
    """One element of a vector, by an integer of any width (i64 by convention)."""

    name = "llvm_extra.extractelement"
    vector = operand_def(VectorType)
    index = operand_def(IntegerType)
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "$vector `[` $index `:` type($index) `]` attr-dict `:` type($vector) `->` type($res)"

    def __init__(self, vector: SSAValue | Operation, index: SSAValue | Operation) -> None:
        of = SSAValue.get(vector).type
        super().__init__(operands=[vector, index], result_types=[of.element_type if isinstance(of, VectorType) else of])

    def verify_(self) -> None:
        of = self.vector.type
        if isinstance(of, VectorType) and of.element_type != self.res.type:
            raise VerifyException(
                f"{self.name}: the result is {self.res.type}, the vector holds {of.element_type}: give the result that type"
            )


@irdl_op_definition
class FCmpOp(IRDLOperation):
    """Compare floats, or vectors of floats elementwise; result i1 or a vector of i1."""

    name = "llvm_extra.fcmp"
    predicate = prop_def(StringAttr)
    lhs = operand_def(_T)
    rhs = operand_def(_T)
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "$predicate $lhs `,` $rhs attr-dict `:` type($lhs) `->` type($res)"

    def __init__(self, predicate: str, lhs: SSAValue | Operation, rhs: SSAValue | Operation) -> None:
        result = with_lanes(i1, lanes_of(SSAValue.get(lhs).type))
        super().__init__(operands=[lhs, rhs], properties={"predicate": StringAttr(predicate)}, result_types=[result])

    def verify_(self) -> None:
        if self.predicate.data not in FLOAT_PREDICATES:
            raise VerifyException(
                f"{self.name}: unknown predicate '{self.predicate.data}': use one of {', '.join(FLOAT_PREDICATES)}"
            )
        if self.res.type != with_lanes(i1, lanes_of(self.lhs.type)):
            raise VerifyException(f"{self.name}: the result must be i1 per element, not {self.res.type}")


@irdl_op_definition
class SelectOp(IRDLOperation):
    """`lhs` where `cond`, else `rhs`; the condition is one i1, or a vector of i1 as long as the operands."""

    name = "llvm_extra.select"
    cond = operand_def(base(IntegerType) | base(VectorType))
    lhs = operand_def(_T)
    rhs = operand_def(_T)
    res = result_def(_T)
    traits = traits_def(Pure())
    assembly_format = "$cond `,` $lhs `,` $rhs attr-dict `:` type($cond) `,` type($res)"

    def __init__(self, cond: SSAValue | Operation, lhs: SSAValue | Operation, rhs: SSAValue | Operation) -> None:
        super().__init__(operands=[cond, lhs, rhs], result_types=[SSAValue.get(lhs).type])

    def verify_(self) -> None:
        if self.cond.type not in (i1, with_lanes(i1, lanes_of(self.res.type))):
            raise VerifyException(
                f"{self.name}: the condition is {self.cond.type}: it must be i1, or i1 per element of {self.res.type}"
            )


class _CastOp(IRDLOperation, ABC):
    arg = operand_def()
    res = result_def()
    traits = traits_def(Pure())
    assembly_format = "$arg attr-dict `:` type($arg) `to` type($res)"

    def __init__(self, arg: SSAValue | Operation, to: Attribute) -> None:
        super().__init__(operands=[arg], result_types=[to])

    def verify_(self) -> None:
        if lanes_of(self.arg.type) != lanes_of(self.res.type):
            raise VerifyException(
                f"{self.name}: {self.arg.type} and {self.res.type} differ in length: cast to as many elements"
            )


@irdl_op_definition
class AddrSpaceCastOp(_CastOp):
    """The same address in another address space."""

    name = "llvm_extra.addrspacecast"


@irdl_op_definition
class FPToSIOp(_CastOp):
    """Float to signed integer, towards zero; poison when it does not fit."""

    name = "llvm_extra.fptosi"


@irdl_op_definition
class FPToUIOp(_CastOp):
    """Float to unsigned integer, towards zero; poison when it does not fit."""

    name = "llvm_extra.fptoui"


@irdl_op_definition
class UIToFPOp(_CastOp):
    """Unsigned integer to float, to nearest."""

    name = "llvm_extra.uitofp"


@irdl_op_definition
class MaskedLoadOp(IRDLOperation):
    """A vector from memory; where the mask is false nothing is read and `pass_thru` stands. Alignment in bytes."""

    name = "llvm_extra.masked_load"
    ptr = operand_def(llvm.LLVMPointerType)
    mask = operand_def(VectorType)
    pass_thru = operand_def(_M)
    alignment = prop_def(IntegerAttr[IntegerType])
    res = result_def(_M)
    assembly_format = (
        "$ptr `,` $mask `,` $pass_thru `align` $alignment attr-dict `:` type($ptr) `,` type($mask) `,` type($res)"
    )

    def __init__(self, ptr: SSAValue, mask: SSAValue, pass_thru: SSAValue, alignment: int) -> None:
        super().__init__(
            operands=[ptr, mask, pass_thru],
            properties={"alignment": IntegerAttr(alignment, i64)},
            result_types=[pass_thru.type],
        )

    def verify_(self) -> None:
        _verify_mask(self, self.mask.type, self.res.type)


@irdl_op_definition
class MaskedStoreOp(IRDLOperation):
    """A vector to memory where the mask is true. Alignment in bytes."""

    name = "llvm_extra.masked_store"
    value = operand_def(VectorType)
    ptr = operand_def(llvm.LLVMPointerType)
    mask = operand_def(VectorType)
    alignment = prop_def(IntegerAttr[IntegerType])
    assembly_format = (
        "$value `,` $ptr `,` $mask `align` $alignment attr-dict `:` type($value) `,` type($ptr) `,` type($mask)"
    )

    def __init__(self, value: SSAValue, ptr: SSAValue, mask: SSAValue, alignment: int) -> None:
        super().__init__(operands=[value, ptr, mask], properties={"alignment": IntegerAttr(alignment, i64)})

    def verify_(self) -> None:
        _verify_mask(self, self.mask.type, self.value.type)


def _verify_mask(op: Operation, mask: Attribute, value: Attribute) -> None:
    if mask != VectorType(i1, [lanes_of(value) or 0]):
        raise VerifyException(f"{op.name}: the mask is {mask}: it must hold one i1 per element of {value}")


def _verify_ordering(op: Operation, ordering: str) -> None:
    if ordering not in ORDERINGS:
        raise VerifyException(f"{op.name}: unknown ordering '{ordering}': use one of {', '.join(ORDERINGS)}")


@irdl_op_definition
class AtomicRMWOp(IRDLOperation):
    """Read, combine and write one memory location at once; the result is the old value. `scope`: LLVM's syncscope (absent: system)."""

    name = "llvm_extra.atomicrmw"
    kind = prop_def(StringAttr)
    ordering = prop_def(StringAttr)
    scope = opt_prop_def(StringAttr)
    ptr = operand_def(llvm.LLVMPointerType)
    value = operand_def(_T)
    res = result_def(_T)
    assembly_format = "$kind $ordering (`scope` $scope^)? $ptr `,` $value attr-dict `:` type($ptr) `,` type($value)"

    def __init__(self, kind: str, ptr: SSAValue, value: SSAValue, ordering: str, scope: str | None = None) -> None:
        properties: dict[str, Attribute | None] = {"kind": StringAttr(kind), "ordering": StringAttr(ordering)}
        properties["scope"] = None if scope is None else StringAttr(scope)
        super().__init__(operands=[ptr, value], properties=properties, result_types=[value.type])

    def verify_(self) -> None:
        _verify_ordering(self, self.ordering.data)
        if self.kind.data not in ATOMIC_KINDS:
            raise VerifyException(f"{self.name}: unknown kind '{self.kind.data}': use one of {', '.join(ATOMIC_KINDS)}")


@irdl_op_definition
class FenceOp(IRDLOperation):
    """Order the memory accesses before and after it. `scope`: LLVM's syncscope (absent: system)."""

    name = "llvm_extra.fence"
    ordering = prop_def(StringAttr)
    scope = opt_prop_def(StringAttr)
    assembly_format = "$ordering (`scope` $scope^)? attr-dict"

    def __init__(self, ordering: str, scope: str | None = None) -> None:
        super().__init__(
            properties={"ordering": StringAttr(ordering), "scope": None if scope is None else StringAttr(scope)}
        )

    def verify_(self) -> None:
        _verify_ordering(self, self.ordering.data)
        if self.ordering.data == "monotonic":
            raise VerifyException(
                f"{self.name}: a monotonic fence orders nothing: use acquire, release, acq_rel or seq_cst"
            )


_OPS: list[type[Operation]] = [
    PoisonOp, ExtractElementOp, FCmpOp, SelectOp, AddrSpaceCastOp, FPToSIOp, FPToUIOp, UIToFPOp, MaskedLoadOp, MaskedStoreOp, AtomicRMWOp, FenceOp,
]  # fmt: skip
DIALECT = Dialect("llvm_extra", _OPS, [])
