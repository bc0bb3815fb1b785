"""Conversions of the hopper dialect to the llvm dialect: intrinsics where LLVM has them, else the asm table. Roles are branches by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import IntAttr, SymbolRefAttr, VectorType, i1, i8, i16, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen import asm
from stepwell.codegen.asm import Asm
from stepwell.dialects import hopper, llvm_extra
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeConverter
from stepwell.transforms.kernel_to_llvm.warp import SHARED_SYMBOL, add, bit_and, shift_right

SHARED = llvm.LLVMPointerType(IntAttr(3))
CLUSTER = llvm.LLVMPointerType(IntAttr(7))
GENERIC = llvm.LLVMPointerType()


def _base(conv: LLVMConversion) -> SSAValue:
    return conv.insert(llvm.AddressOfOp(SymbolRefAttr(SHARED_SYMBOL), SHARED)).result


def shared_pointer(conv: LLVMConversion, offset: SSAValue) -> SSAValue:
    """The pointer to a byte offset (already converted) of the block's shared memory."""
    made = llvm.GEPOp(_base(conv), [llvm.GEP_USE_SSA_VAL], i8, ssa_indices=[offset], result_type=SHARED)
    return conv.insert(made).result


def _asm(conv: LLVMConversion, block: Asm, operands: Sequence[SSAValue], result: Attribute | None = None) -> SSAValue:
    made = conv.asm(block.text, block.constraints, operands, result)
    return operands[0] if made is None else made


# --- mbarriers and fences


def _mbarrier_init(conv: LLVMConversion, op: hopper.MbarrierInitOp) -> None:
    barrier = shared_pointer(conv, conv.value(op.barrier))
    conv.effect("llvm.nvvm.mbarrier.init.shared", [barrier, conv.constant(op.count.value.data, i32)])


def _fence_barrier_init(conv: LLVMConversion, op: hopper.FenceBarrierInitOp) -> None:
    conv.asm(asm.FENCE_BARRIER_INIT.text, asm.FENCE_BARRIER_INIT.constraints, [])


def _expect(block: Asm) -> Converter:
    def convert(conv: LLVMConversion, op: hopper.ExpectBytesOp | hopper.ExpectMoreBytesOp) -> None:
        barrier = shared_pointer(conv, conv.value(op.barrier))
        _asm(conv, block, [barrier, conv.constant(op.bytes.value.data, i32)])

    return convert


def _arrive(conv: LLVMConversion, op: hopper.ArriveOp) -> None:
    barrier = shared_pointer(conv, conv.value(op.barrier))
    if op.pred is None:
        _asm(conv, asm.ARRIVE, [barrier])
        return
    _asm(conv, asm.ARRIVE_IF, [barrier, conv.value(op.pred)])


def _wait(conv: LLVMConversion, op: hopper.WaitOp) -> None:
    _asm(conv, asm.WAIT, [shared_pointer(conv, conv.value(op.barrier)), conv.value(op.parity)])


def _proxy_fence(conv: LLVMConversion, op: hopper.ProxyFenceOp) -> None:
    conv.effect("llvm.nvvm.fence.proxy.async.shared_cta")


# --- the copy engine


def _prefetch(conv: LLVMConversion, op: hopper.PrefetchTensorMapOp) -> None:
    conv.effect("llvm.nvvm.prefetch.tensormap.p0", [conv.value(op.map)])


def _load(
    conv: LLVMConversion, op: hopper.TmaLoadOp | hopper.TmaLoadIm2colOp, name: str, extra: Sequence[SSAValue]
) -> None:
    """Destination and barrier, map, coordinates, offsets; then no multicast, no cache hint, one block."""
    target = shared_pointer(conv, conv.value(op.destination))
    cluster = conv.insert(llvm_extra.AddrSpaceCastOp(target, CLUSTER)).res
    barrier = shared_pointer(conv, conv.value(op.barrier))
    tail = [conv.constant(0, kind) for kind in (i16, i64, i1, i1, i32)]
    coordinates = conv.values(op.coordinates)
    conv.effect(name, [cluster, barrier, conv.value(op.map), *coordinates, *extra, *tail])


def _tma_load(conv: LLVMConversion, op: hopper.TmaLoadOp) -> None:
    _load(conv, op, f"llvm.nvvm.cp.async.bulk.tensor.g2s.tile.{len(op.coordinates)}d", [])


def _tma_load_im2col(conv: LLVMConversion, op: hopper.TmaLoadIm2colOp) -> None:
    offsets = [conv.insert(llvm.TruncOp(value, i16)).res for value in conv.values(op.offsets)]
    _load(conv, op, f"llvm.nvvm.cp.async.bulk.tensor.g2s.im2col.{len(op.coordinates)}d", offsets)


# --- the tensor cores


def _set_max_registers(conv: LLVMConversion, op: hopper.SetMaxRegistersOp) -> None:
    name = f"llvm.nvvm.setmaxnreg.{op.direction.data}.sync.aligned.u32"
    conv.effect(name, [conv.constant(op.registers.value.data, i32)])


def _descriptor(conv: LLVMConversion, op: hopper.DescriptorOp) -> None:
    """((base + offset) & 0x3FFFF) >> 4, and the constant upper bits."""
    base = conv.insert(llvm.PtrToIntOp(_base(conv), i32)).output
    address = bit_and(conv, add(conv, base, conv.value(op.offset)), 0x3FFFF)
    low = conv.insert(llvm.ZExtOp(shift_right(conv, address, 4), i64)).res
    high = op.high_bits()
    conv.bind(op.result, conv.insert(llvm.OrOp(low, conv.constant(high - 2**64 if high >= 2**63 else high, i64))))


def _registers(of: Attribute) -> int:
    return cast(hopper.PendingType, of).vector.get_shape()[0]


def _total(of: Attribute) -> str:
    """The accumulators' type as the instructions call it."""
    return "s32" if cast(hopper.PendingType, of).vector.element_type == i32 else "f32"


def _wgmma_begin(conv: LLVMConversion, op: hopper.WgmmaBeginOp) -> None:
    block = asm.wgmma_begin(_registers(op.result.type), _total(op.result.type))
    conv.bind(op.result, _asm(conv, block, [conv.value(op.value)], conv.type(op.result.type)))


def _wgmma_zero(conv: LLVMConversion, op: hopper.WgmmaZeroOp) -> None:
    """No register: the product that takes it says so."""


def _accumulator(conv: LLVMConversion, op: hopper.WgmmaOp | hopper.WgmmaRegistersOp) -> list[SSAValue]:
    """The registers that a product adds to; none where it writes them."""
    return [] if isinstance(op.accumulator.owner, hopper.WgmmaZeroOp) else [conv.value(op.accumulator)]


def _wgmma(conv: LLVMConversion, op: hopper.WgmmaOp) -> None:
    turned, total = op.transpose_b is not None, _total(op.result.type)
    moves = op.moves_a(), op.moves_b()
    held = _accumulator(conv, op)
    block = asm.wgmma(_registers(op.result.type), op.element.data, *moves, total, transposed=turned, adds=bool(held))
    conv.bind(op.result, _asm(conv, block, [*held, *conv.values([op.a, op.b])], conv.type(op.result.type)))


def _wgmma_registers(conv: LLVMConversion, op: hopper.WgmmaRegistersOp) -> None:
    """A's pairs of 16-bit elements are registers of 32 bits."""
    turned = op.transpose_b is not None
    held, count = _accumulator(conv, op), _registers(op.result.type)
    block = asm.wgmma_registers(count, op.element.data, op.moves_b(), transposed=turned, adds=bool(held))
    pairs = VectorType(i32, [4 * op.instructions.value.data])
    a = conv.insert(llvm.BitcastOp(conv.value(op.a), pairs)).result
    conv.bind(op.result, _asm(conv, block, [*held, a, conv.value(op.b)], conv.type(op.result.type)))


def _wgmma_wait(conv: LLVMConversion, op: hopper.WgmmaWaitOp) -> None:
    """In flight: the registers are not touched. At the end they pass through, so that no use moves before the wait."""
    held, pending = conv.value(op.accumulator), op.pending.value.data
    if isinstance(op.result.type, hopper.PendingType):
        block = asm.wgmma_wait(0, pending)
        conv.asm(block.text, block.constraints, [])
        conv.bind(op.result, held)
        return
    block = asm.wgmma_wait(_registers(op.accumulator.type), pending, _total(op.accumulator.type))
    conv.bind(op.result, _asm(conv, block, [held], conv.type(op.result.type)))


def _pending_type(conv: LLVMConversion, of: hopper.PendingType) -> Attribute:
    vector: VectorType[Attribute] = of.vector
    return vector


TYPES: dict[type[Attribute], TypeConverter] = {
    hopper.TensorMapType: lambda conv, of: GENERIC,
    hopper.PendingType: _pending_type,
}
CONVERSIONS: dict[type[Operation], Converter] = {
    hopper.MbarrierInitOp: _mbarrier_init,
    hopper.FenceBarrierInitOp: _fence_barrier_init,
    hopper.ExpectBytesOp: _expect(asm.EXPECT_BYTES),
    hopper.ExpectMoreBytesOp: _expect(asm.EXPECT_MORE_BYTES),
    hopper.ArriveOp: _arrive,
    hopper.WaitOp: _wait,
    hopper.ProxyFenceOp: _proxy_fence,
    hopper.PrefetchTensorMapOp: _prefetch,
    hopper.TmaLoadOp: _tma_load,
    hopper.TmaLoadIm2colOp: _tma_load_im2col,
    hopper.SetMaxRegistersOp: _set_max_registers,
    hopper.DescriptorOp: _descriptor,
    hopper.WgmmaBeginOp: _wgmma_begin,
    hopper.WgmmaZeroOp: _wgmma_zero,
    hopper.WgmmaOp: _wgmma,
    hopper.WgmmaRegistersOp: _wgmma_registers,
    hopper.WgmmaWaitOp: _wgmma_wait,
}
