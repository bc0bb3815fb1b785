"""Scalar ops of a `tile.map` as the same ops on vectors, for both targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.dialects import arith, llvm
from xdsl.dialects.builtin import IntegerAttr, VectorType, i64
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import llvm_extra

_CASTS: dict[type[Operation], Callable[..., Operation]] = {
    arith.SIToFPOp: llvm.SIToFPOp, arith.UIToFPOp: llvm_extra.UIToFPOp, arith.FPToSIOp: llvm_extra.FPToSIOp,
    arith.FPToUIOp: llvm_extra.FPToUIOp, arith.BitcastOp: llvm.BitcastOp, arith.ExtSIOp: llvm.SExtOp,
    arith.ExtUIOp: llvm.ZExtOp, arith.TruncIOp: llvm.TruncOp,
}  # fmt: skip


def vectorised(op: Operation, operands: Sequence[SSAValue], width: int) -> Operation:
    """The same scalar arith or math op on vectors. xDSL's comparisons, select and integer conversions are for scalars: LLVM's take their place."""
    result = VectorType(op.results[0].type, [width])
    if isinstance(op, arith.SelectOp):
        return llvm_extra.SelectOp(*operands)
    if isinstance(op, arith.CmpiOp):
        return llvm.ICmpOp(operands[0], operands[1], IntegerAttr(op.predicate.value.data, i64))
    if isinstance(op, arith.CmpfOp):
        predicate = llvm.FCmpPredicateFlag.from_int(op.predicate.value.data)
        return llvm_extra.FCmpOp(str(predicate), operands[0], operands[1])
    if make := _CASTS.get(type(op)):
        return make(operands[0], result)
    return type(op).create(
        operands=operands, result_types=[result], properties=dict(op.properties), attributes=dict(op.attributes)
    )
