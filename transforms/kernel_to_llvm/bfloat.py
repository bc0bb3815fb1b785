"""bf16 on a CPU: an integer of 16 bits, the upper half of an f32. LLVM's `bfloat` is not used there: what a level of x86-64 lacks it brings from a
library that is not there. Meaning: exact."""

from __future__ import annotations

from xdsl.dialects import arith, llvm
from xdsl.dialects.builtin import (
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    VectorType,
    bf16,
    f32,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.utils.type import get_element_type_or_self

from stepwell.codegen.llvm_text_types import bfloat_bits
from stepwell.dialects import llvm_extra
from stepwell.transforms.kernel_to_llvm import arith as general
from stepwell.transforms.kernel_to_llvm.conversion import ConversionTable, LLVMConversion, TypeTable

QUIET_NAN, HALF_AN_ULP, HALF = 0x7FC0, 0x7FFF, 16


def _like(of: Attribute, element: Attribute) -> Attribute:
    """`element`, or a vector of it as long as `of`."""
    return VectorType(element, of.get_shape()) if isinstance(of, VectorType) else element


def _constant(conv: LLVMConversion, op: arith.ConstantOp) -> None:
    if get_element_type_or_self(op.result.type) != bf16:
        general.CONVERSIONS[arith.ConstantOp](conv, op)
        return
    result, value = conv.type(op.result.type), op.value
    if isinstance(value, FloatAttr):
        attr: Attribute = IntegerAttr(bfloat_bits(value.value.data), i64)
    else:
        assert isinstance(value, DenseIntOrFPElementsAttr) and isinstance(result, VectorType)
        attr = DenseIntOrFPElementsAttr.from_list(result, [_signed(bfloat_bits(float(v))) for v in value.get_values()])
    conv.bind(op.result, conv.insert(llvm.ConstantOp(attr, result)))


def _signed(bits: int) -> int:
    return bits - (1 << HALF) if bits >> (HALF - 1) else bits


def _extend(conv: LLVMConversion, op: arith.ExtFOp) -> None:
    """The bits are the upper half."""
    if get_element_type_or_self(op.operands[0].type) != bf16:
        general.CONVERSIONS[arith.ExtFOp](conv, op)
        return
    value = conv.value(op.operands[0])
    wide = _like(value.type, i32)
    bits = conv.insert(llvm.ShlOp(conv.insert(llvm.ZExtOp(value, wide)).res, conv.constant(HALF, wide))).res
    found: SSAValue = conv.insert(llvm.BitcastOp(bits, _like(value.type, f32))).result
    to = conv.type(op.results[0].type)
    conv.bind(op.results[0], found if found.type == to else conv.insert(llvm.FPExtOp(found, to)))


def _truncate(conv: LLVMConversion, op: arith.TruncFOp) -> None:
    """To nearest, ties to even; every NaN becomes the same one."""
    if get_element_type_or_self(op.results[0].type) != bf16:
        general.CONVERSIONS[arith.TruncFOp](conv, op)
        return
    value = conv.value(op.operands[0])
    if get_element_type_or_self(value.type) != f32:
        raise conv.error(f"{value.type} has no conversion to bf16", "run tile-expand-math")
    wide, half = _like(value.type, i32), _like(value.type, i16)
    bits: SSAValue = conv.insert(llvm.BitcastOp(value, wide)).result
    sixteen = conv.constant(HALF, wide)
    odd = conv.insert(llvm.AndOp(conv.insert(llvm.LShrOp(bits, sixteen)).res, conv.constant(1, wide))).res
    near = conv.insert(llvm.AddOp(conv.insert(llvm.AddOp(bits, conv.constant(HALF_AN_ULP, wide))).res, odd)).res
    upper = conv.insert(llvm.LShrOp(near, sixteen)).res
    is_nan = conv.insert(llvm_extra.FCmpOp("uno", value, value)).res
    kept = conv.insert(llvm_extra.SelectOp(is_nan, conv.constant(QUIET_NAN, wide), upper)).res
    conv.bind(op.results[0], conv.insert(llvm.TruncOp(kept, half)))


CONVERSIONS: ConversionTable = {
    arith.ConstantOp: _constant,
    arith.ExtFOp: _extend,
    arith.TruncFOp: _truncate,
}
TYPES: TypeTable = {BFloat16Type: lambda conv, of: i16}
