"""Conversions of what threads hand to one another to the llvm dialect: shuffles of 32-bit registers, vectors in shared memory."""

from __future__ import annotations

from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntegerType, VectorType, f32, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import llvm_extra, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeConverter
from stepwell.transforms.kernel_to_llvm.hopper import shared_pointer

ALL_LANES, LAST_LANE = -1, 31
"""Every lane takes part; lanes are counted over the whole warp (PTX ISA, shfl.sync, operands membermask and c)."""


def _shuffle(conv: LLVMConversion, op: warp.ShuffleOp) -> None:
    """Element by element: a register of 32 bits each, two for 64 bits."""
    value, result = conv.value(op.value), conv.value(op.value)
    (count,) = cast(VectorType[Attribute], op.value.type).get_shape()
    for lane in range(count):
        place = conv.constant(lane)
        one = conv.insert(llvm_extra.ExtractElementOp(value, place)).res
        moved = _exchanged(conv, one, op.lanes.value.data)
        result = conv.insert(llvm.InsertElementOp(result, moved, place)).res
    conv.bind(op.result, result)


def _exchanged(conv: LLVMConversion, one: SSAValue, lanes: int) -> SSAValue:
    of = one.type
    if of in (f32, i32):
        return _register(conv, one, lanes)
    bits = 8 * element_bytes(of)
    integer = IntegerType(bits)
    whole = one if of == integer else conv.insert(llvm.BitcastOp(one, integer)).result
    if bits == 64:
        halves = (whole, conv.insert(llvm.LShrOp(whole, conv.constant(32, i64))).res)
        low, high = (_register(conv, conv.insert(llvm.TruncOp(half, i32)).res, lanes) for half in halves)
        wide = conv.insert(llvm.ShlOp(conv.insert(llvm.ZExtOp(high, i64)).res, conv.constant(32, i64))).res
        moved = conv.insert(llvm.OrOp(wide, conv.insert(llvm.ZExtOp(low, i64)).res)).res
    else:
        extended = conv.insert(llvm.ZExtOp(whole, i32)).res
        moved = conv.insert(llvm.TruncOp(_register(conv, extended, lanes), integer)).res
    return moved if of == integer else conv.insert(llvm.BitcastOp(moved, of)).result


def _register(conv: LLVMConversion, one: SSAValue, lanes: int) -> SSAValue:
    name = f"llvm.nvvm.shfl.sync.bfly.{one.type}"
    numbers = (conv.constant(ALL_LANES, i32), one, conv.constant(lanes, i32), conv.constant(LAST_LANE, i32))
    return conv.intrinsic(name, [*numbers], one.type)


def _shared_store(conv: LLVMConversion, op: warp.SharedStoreOp) -> None:
    value, place = conv.value(op.value), shared_pointer(conv, conv.value(op.address))
    conv.insert(llvm.StoreOp(value, place, alignment=_alignment(op.value.type)))


def _shared_load(conv: LLVMConversion, op: warp.SharedLoadOp) -> None:
    place = shared_pointer(conv, conv.value(op.address))
    made = llvm.LoadOp(place, conv.type(op.result.type), alignment=_alignment(op.result.type))
    conv.bind(op.result, conv.insert(made).results[0])


def _alignment(of: Attribute) -> int:
    return element_bytes(cast(VectorType[Attribute], of).element_type)


TYPES: dict[type[Attribute], TypeConverter] = {}
CONVERSIONS: dict[type[Operation], Converter] = {
    warp.ShuffleOp: _shuffle,
    warp.SharedStoreOp: _shared_store,
    warp.SharedLoadOp: _shared_load,
}
