"""Conversions of stmatrix and of the copy engine's stores to the llvm dialect."""

from __future__ import annotations

from xdsl.dialects import llvm
from xdsl.dialects.builtin import i1, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen import asm
from stepwell.dialects import hopper
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeConverter
from stepwell.transforms.kernel_to_llvm.hopper import shared_pointer
from stepwell.transforms.kernel_to_llvm.warp import add, bit_and, multiply, shift_right


def _fragment_to_shared(conv: LLVMConversion, op: hopper.FragmentToSharedOp) -> None:
    addresses = _addresses(conv, op, op.destination)
    block = asm.store_matrices(op.columns, len(addresses), op.panel.value.data)
    conv.asm(block.text, block.constraints, [conv.value(op.value), *addresses])


def _fragment_from_shared(conv: LLVMConversion, op: hopper.FragmentFromSharedOp) -> None:
    addresses = _addresses(conv, op, op.source)
    block = asm.load_matrices(op.columns, len(addresses), op.panel.value.data)
    loaded = conv.asm(block.text, block.constraints, addresses, conv.type(op.result.type))
    assert loaded is not None
    conv.bind(op.result, loaded)


def _addresses(
    conv: LLVMConversion, op: hopper.FragmentToSharedOp | hopper.FragmentFromSharedOp, offset: SSAValue
) -> list[SSAValue]:
    """Lane l of a warp gives the address of row l % 16, columns 8 (l / 16) .. + 7 of each 16 columns (PTX ISA, stmatrix and ldmatrix .x4)."""
    swizzle = op.swizzle.value.data
    thread = conv.intrinsic("llvm.nvvm.read.ptx.sreg.tid.x", [], i32)
    warp, lane = bit_and(conv, shift_right(conv, thread, 5), 3), bit_and(conv, thread, 31)
    row = add(conv, multiply(conv, warp, 16), bit_and(conv, lane, 15))
    line = multiply(conv, row, swizzle)
    exchanged = bit_and(conv, shift_right(conv, line, 7), swizzle // 16 - 1)
    place = shared_pointer(conv, add(conv, conv.value(offset), line))
    start = conv.insert(llvm.PtrToIntOp(place, i32)).output
    half = shift_right(conv, lane, 4)
    return [
        add(conv, start, multiply(conv, _exclusive_or(conv, add(conv, half, conv.constant(2 * j, i32)), exchanged), 16))
        for j in range(swizzle // 32)
    ]


def _exclusive_or(conv: LLVMConversion, a: SSAValue, b: SSAValue) -> SSAValue:
    return conv.insert(llvm.XOrOp(a, b)).res


def _tma_store(conv: LLVMConversion, op: hopper.TmaStoreOp) -> None:
    """Source, map, coordinates; no cache hint."""
    source, coordinates = shared_pointer(conv, conv.value(op.source)), conv.values(op.coordinates)
    name = f"llvm.nvvm.cp.async.bulk.tensor.s2g.tile.{len(coordinates)}d"
    conv.effect(name, [source, conv.value(op.map), *coordinates, conv.constant(0, i64), conv.constant(0, i1)])


def _bulk_commit(conv: LLVMConversion, op: hopper.BulkCommitOp) -> None:
    conv.effect("llvm.nvvm.cp.async.bulk.commit.group")


def _bulk_wait(conv: LLVMConversion, op: hopper.BulkWaitOp) -> None:
    conv.effect("llvm.nvvm.cp.async.bulk.wait.group.read", [conv.constant(op.pending.value.data, i32)])


TYPES: dict[type[Attribute], TypeConverter] = {}
CONVERSIONS: dict[type[Operation], Converter] = {
    hopper.FragmentToSharedOp: _fragment_to_shared,
    hopper.FragmentFromSharedOp: _fragment_from_shared,
    hopper.TmaStoreOp: _tma_store,
    hopper.BulkCommitOp: _bulk_commit,
    hopper.BulkWaitOp: _bulk_wait,
}
