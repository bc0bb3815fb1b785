"""Floats of 8 bits: LLVM has no such types, they are integers there, and become f32 by way of f16. Meaning: exact.

An e5m2 is the upper half of an f16. The bits of an e4m3, moved to those of an f16, are the number over 256, since the exponents' biases are 7 and 15;
its only NaN is all ones behind the sign (OCP 8-bit floating point specification)."""

from __future__ import annotations

import numpy as np
from xdsl.dialects import arith, llvm
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    Float8E4M3FNType,
    Float8E5M2Type,
    FloatAttr,
    IntegerAttr,
    VectorType,
    f16,
    f32,
    i8,
    i16,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.type import get_element_type_or_self

from stepwell.dialects import llvm_extra
from stepwell.dialects.numpy_types import FLOATS8, f8E4M3FN, numpy_dtype
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeTable

SIGN, REST, SHIFT, SCALE = 0x80, 0x7F, 7, 256.0


def _like(of: Attribute, element: Attribute) -> Attribute:
    """`element`, or a vector of it as long as `of`."""
    return VectorType(element, of.get_shape()) if isinstance(of, VectorType) else element


def _constant(conv: LLVMConversion, op: arith.ConstantOp) -> None:
    result, dtype = conv.type(op.result.type), numpy_dtype(get_element_type_or_self(op.result.type))
    value = op.value
    if isinstance(value, FloatAttr):
        bits = int(np.array(value.value.data).astype(dtype).view(np.int8))
        conv.bind(op.result, conv.insert(llvm.ConstantOp(IntegerAttr(bits, i64), result)))
        return
    assert isinstance(value, DenseIntOrFPElementsAttr) and isinstance(result, VectorType)
    listed = np.array(list(value.get_values()), np.float64).astype(dtype).view(np.int8).tolist()
    conv.bind(op.result, conv.insert(llvm.ConstantOp(DenseIntOrFPElementsAttr.from_list(result, listed), result)))


def _extend(conv: LLVMConversion, op: arith.ExtFOp) -> None:
    value, to = conv.value(op.operands[0]), conv.type(op.results[0].type)
    wide = _like(value.type, i16)
    bits: SSAValue = conv.insert(llvm.ZExtOp(value, wide)).res
    half, single = _like(value.type, f16), _like(value.type, f32)
    if get_element_type_or_self(op.operands[0].type) != f8E4M3FN:
        moved: SSAValue = conv.insert(llvm.ShlOp(bits, conv.constant(8, wide))).res
        found: SSAValue = conv.insert(llvm.FPExtOp(conv.insert(llvm.BitcastOp(moved, half)).result, single)).results[0]
    else:
        found = _e4m3(conv, bits, wide, half, single)
    conv.bind(op.results[0], found if found.type == to else conv.insert(llvm.FPExtOp(found, to)))


def _e4m3(conv: LLVMConversion, bits: SSAValue, wide: Attribute, half: Attribute, single: Attribute) -> SSAValue:
    sign = conv.insert(
        llvm.ShlOp(conv.insert(llvm.AndOp(bits, conv.constant(SIGN, wide))).res, conv.constant(8, wide))
    ).res
    rest = conv.insert(llvm.AndOp(bits, conv.constant(REST, wide))).res
    number = conv.insert(llvm.OrOp(sign, conv.insert(llvm.ShlOp(rest, conv.constant(SHIFT, wide))).res)).res
    small = conv.insert(llvm.FPExtOp(conv.insert(llvm.BitcastOp(number, half)).result, single))
    scaled = conv.insert(llvm.FMulOp(SSAValue.get(small), conv.constant(SCALE, single))).res
    equal = IntegerAttr(llvm.ICmpPredicateFlag.EQ.to_int(), i64)
    is_nan = conv.insert(llvm.ICmpOp(rest, conv.constant(REST, wide), equal)).res
    return conv.insert(llvm_extra.SelectOp(is_nan, conv.constant(float("nan"), single), scaled)).res


def _for_float8(make: Converter, otherwise: Converter, result: bool) -> Converter:
    """`make` for ops on these types, `otherwise` for the others."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        value = op.results[0] if result else op.operands[0]
        (make if get_element_type_or_self(value.type) in FLOATS8 else otherwise)(conv, op)

    return convert


def with_float8(converters: dict[type[Operation], Converter]) -> dict[type[Operation], Converter]:
    """The converters, with those of these types before them."""
    return {
        **converters,
        arith.ConstantOp: _for_float8(_constant, converters[arith.ConstantOp], True),
        arith.ExtFOp: _for_float8(_extend, converters[arith.ExtFOp], False),
    }


TYPES: TypeTable = {Float8E4M3FNType: lambda conv, of: i8, Float8E5M2Type: lambda conv, of: i8}
