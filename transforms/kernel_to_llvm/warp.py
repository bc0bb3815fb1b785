"""Conversions of the warp dialect to the llvm dialect: kernels, identities, barriers, and one inline-asm op per fragment op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    DenseArrayBase,
    IntAttr,
    IntegerAttr,
    UnitAttr,
    VectorType,
    f32,
    i1,
    i8,
    i32,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.codegen import asm
from stepwell.dialects import hopper, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.kernel_to_llvm.base import shuffle, splat
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeConverter

SHARED_SYMBOL = "stepwell_shared"
"""The block's dynamic shared memory: one external array per module, aligned to 1024 bytes."""
TENSOR_MAP_BYTES = 128


def add(conv: LLVMConversion, a: SSAValue, b: SSAValue) -> SSAValue:
    """a + b"""
    return conv.insert(llvm.AddOp(a, b)).res


def multiply(conv: LLVMConversion, a: SSAValue, factor: SSAValue | int) -> SSAValue:
    """a * factor"""
    other = conv.constant(factor, a.type) if isinstance(factor, int) else factor
    return conv.insert(llvm.MulOp(a, other)).res


def shift_right(conv: LLVMConversion, a: SSAValue, bits: int) -> SSAValue:
    """a >> bits, unsigned"""
    return conv.insert(llvm.LShrOp(a, conv.constant(bits, a.type))).res


def bit_and(conv: LLVMConversion, a: SSAValue, mask: int) -> SSAValue:
    """a & mask"""
    return conv.insert(llvm.AndOp(a, conv.constant(mask, a.type))).res


def subtract(conv: LLVMConversion, a: SSAValue, b: SSAValue) -> SSAValue:
    """a - b"""
    return conv.insert(llvm.SubOp(a, b)).res


# --- kernels


def _kernel(conv: LLVMConversion, op: warp.KernelOp) -> None:
    """A `ptx_kernel` function; tensor maps are grid constants, shared memory is one external array of the module."""
    if op.shared.value.data and not any(isinstance(made, llvm.GlobalOp) for made in conv.top):
        array = llvm.LLVMArrayType(IntAttr(0), i8)
        conv.insert(llvm.GlobalOp(array, SHARED_SYMBOL, "external", addr_space=3, alignment=1024))
    attributes: dict[str, Attribute] = {
        "nvvm.kernel": UnitAttr(),
        "nvvm.maxntid": DenseArrayBase.from_list(i32, [op.threads.value.data]),
    }
    if op.min_blocks is not None:
        attributes["nvvm.minctasm"] = IntegerAttr(op.min_blocks.value.data, i32)
    conv.function(
        op.sym_name.data,
        op.body,
        argument_attributes=[_argument(argument.type) for argument in op.args],
        attributes=attributes,
    )


def _argument(of: Attribute) -> dict[str, Attribute]:
    if not isinstance(of, hopper.TensorMapType):
        return {}
    array = llvm.LLVMArrayType(IntAttr(TENSOR_MAP_BYTES), i8)
    return {"llvm.byval": array, "llvm.align": IntegerAttr(64, i64), "nvvm.grid_constant": UnitAttr()}


def _return(conv: LLVMConversion, op: warp.ReturnOp) -> None:
    conv.insert(llvm.ReturnOp())


# --- identities, barriers, launch order


def _register(name: str) -> Converter:
    def convert(conv: LLVMConversion, op: Operation) -> None:
        conv.bind(op.results[0], conv.intrinsic(f"llvm.nvvm.read.ptx.sreg.{name}", [], i32))

    return convert


def _barrier(conv: LLVMConversion, op: warp.BarrierOp) -> None:
    name = "llvm.nvvm.barrier.cta.sync.aligned.count"
    conv.effect(name, [conv.constant(op.id.value.data, i32), conv.constant(op.threads.value.data, i32)])


def _meeting(mode: str) -> Converter:
    def convert(conv: LLVMConversion, op: warp.BarrierAtOp | warp.BarrierArriveOp) -> None:
        name = f"llvm.nvvm.barrier.cta.{mode}.aligned.count"
        conv.effect(name, [conv.value(op.id), conv.constant(op.threads.value.data, i32)])

    return convert


def _effect(name: str) -> Converter:
    def convert(conv: LLVMConversion, op: Operation) -> None:
        conv.effect(name)

    return convert


def _divide(conv: LLVMConversion, op: warp.DivideOp) -> None:
    """(n * mul) >> shift in 64 bits, unsigned."""
    n, mul, shift = conv.values([op.n, op.mul, op.shift])
    wide: Attribute = i64
    if isinstance(n.type, VectorType):
        lanes = n.type.get_shape()[0]
        mul, shift, wide = splat(conv, mul, lanes), splat(conv, shift, lanes), VectorType(i64, [lanes])
    product = multiply(conv, *(conv.insert(llvm.ZExtOp(v, wide)).res for v in (n, mul)))
    shifted = conv.insert(llvm.LShrOp(product, conv.insert(llvm.ZExtOp(shift, wide)).res)).res
    conv.bind(op.result, conv.insert(llvm.TruncOp(shifted, n.type)))


def _within(conv: LLVMConversion, op: warp.WithinOp) -> None:
    """One unsigned comparison per lane: negative numbers are large."""
    n = conv.value(op.n)
    bound = splat(conv, conv.value(op.bound), cast(VectorType[Attribute], n.type).get_shape()[0])
    below = IntegerAttr(llvm.ICmpPredicateFlag.ULT.to_int(), i64)
    conv.bind(op.result, conv.insert(llvm.ICmpOp(n, bound, below)))


# --- fragments


def _element(pointer: SSAValue) -> tuple[Attribute, int]:
    """The element type behind a global pointer, and its bits."""
    element = cast(warp.GlobalType, pointer.type).element
    return element, 8 * element_bytes(element)


def first_place(conv: LLVMConversion, op: Operation, layout: warp.FragmentAttr) -> tuple[SSAValue, SSAValue]:
    """Row and column of this thread's first element, from its number in the group of `layout.threads`."""
    thread = conv.intrinsic("llvm.nvvm.read.ptx.sreg.tid.x", [], i32)
    threads, width = layout.threads.data, layout.width.data
    kernel = op.parent_op()
    while not isinstance(kernel, warp.KernelOp):
        assert kernel is not None
        kernel = kernel.parent_op()
    if kernel.threads.value.data != threads:
        thread = conv.insert(llvm.URemOp(thread, conv.constant(threads, i32))).res
    if layout.kind.data == "wgmma":
        row = multiply(conv, shift_right(conv, thread, 5), 16)
        lane = bit_and(conv, thread, 31)
        return add(conv, row, shift_right(conv, lane, 2)), multiply(conv, bit_and(conv, lane, 3), 2)
    across = conv.constant(layout.across.data, i32)
    row = conv.insert(llvm.UDivOp(thread, across)).res
    column = conv.insert(llvm.URemOp(thread, across)).res
    return row, multiply(conv, column, width)


def element_address(conv: LLVMConversion, pointer: SSAValue, index: SSAValue) -> SSAValue:
    """The address of element `index` (i32) of a global pointer."""
    element, _ = _element(pointer)
    stored = i8 if element == i1 else conv.type(element)
    made = llvm.GEPOp(conv.value(pointer), [llvm.GEP_USE_SSA_VAL], stored, ssa_indices=[index], result_type=GLOBAL)
    return conv.insert(made).result


GLOBAL = llvm.LLVMPointerType(IntAttr(1))


def _matrix_operands(conv: LLVMConversion, op: warp.FragmentLoadOp | warp.FragmentStoreOp) -> list[SSAValue]:
    """What the asm of a fragment needs: first address, bytes between rows, rows and columns left."""
    stride, rows, cols = conv.values([op.stride, op.rows, op.cols])
    row0, col0 = first_place(conv, op, op.layout)
    row, col = add(conv, conv.value(op.row), row0), add(conv, conv.value(op.col), col0)
    address = element_address(conv, op.pointer, add(conv, multiply(conv, row, stride), col))
    step = multiply(conv, stride, op.layout.row_step * _element(op.pointer)[1] // 8)
    wide = conv.insert(llvm.SExtOp(step, i64)).res
    return [address, wide, subtract(conv, rows, row), subtract(conv, cols, col)]


def _whole(
    conv: LLVMConversion, text: asm.Asm, operands: Sequence[SSAValue], element: Attribute, count: int
) -> SSAValue:
    """The first `count` elements of what asm gives in whole registers of 32 bits."""
    per_register = max(1, 32 // (8 * element_bytes(element)))
    padded = -(-count // per_register) * per_register
    loaded = conv.asm(text.text, text.constraints, operands, VectorType(conv.type(element), [padded]))
    assert loaded is not None
    return loaded if padded == count else shuffle(conv, loaded, loaded, list(range(count)))


def _fragment_load(conv: LLVMConversion, op: warp.FragmentLoadOp) -> None:
    element, bits = _element(op.pointer)
    text = asm.fragment_load(op.layout.fragment(), bits, op.access.value.data, floats=element == f32)
    conv.bind(op.result, _whole(conv, text, _matrix_operands(conv, op), element, op.layout.registers))


def _fragment_store(conv: LLVMConversion, op: warp.FragmentStoreOp) -> None:
    """Narrow elements that fill no register are handed over with more lanes, which are not stored."""
    (element, bits), value, count = _element(op.pointer), conv.value(op.value), op.layout.registers
    if count * bits % 32:
        value = shuffle(conv, value, value, [*range(count), *[count - 1] * (-count % (32 // bits))])
    text = asm.fragment_store(op.layout.fragment(), bits, op.access.value.data, floats=element == f32)
    conv.asm(text.text, text.constraints, [value, *_matrix_operands(conv, op)])


def _fragment_load_row(conv: LLVMConversion, op: warp.FragmentLoadRowOp) -> None:
    """The columns of the thread's first row."""
    fragment = op.layout.fragment()
    element, bits = _element(op.pointer)
    text = asm.fragment_load_row(fragment, bits, op.access.value.data, floats=element == f32)
    _, col0 = first_place(conv, op, op.layout)
    col = add(conv, conv.value(op.col), col0)
    operands = [element_address(conv, op.pointer, col), subtract(conv, conv.value(op.cols), col)]
    listed = asm.row_columns(fragment)
    loaded = _whole(conv, text, operands, element, len(listed))
    conv.bind(op.result, loaded)


def _fragment_index(conv: LLVMConversion, op: warp.FragmentIndexOp) -> None:
    row, col = first_place(conv, op, op.layout)
    rows = op.along.data == "rows"
    first, fragment, dim = row if rows else col, op.layout.fragment(), 0 if rows else 1
    places = [fragment.place(0, register)[dim] for register in fragment.lines(dim)]
    value: SSAValue = splat(conv, first, len(places))
    for lane, place in enumerate(places[1:], 1):
        moved = add(conv, first, conv.constant(place, i32))
        value = conv.insert(llvm.InsertElementOp(value, moved, conv.constant(lane))).res
    conv.bind(op.result, value)


def _spread(conv: LLVMConversion, op: warp.SpreadOp) -> None:
    value, dim = conv.value(op.value), 0 if op.along.data == "rows" else 1
    conv.bind(op.result, shuffle(conv, value, value, list(op.layout.fragment().line_of(dim))))


def _gather(conv: LLVMConversion, op: warp.GatherOp) -> None:
    """Narrow elements that leave a part of a register over: the last load is made more often."""
    pointer, offsets, mask, fill = conv.values(op.operands)
    (count,), width = cast(VectorType[Attribute], op.offsets.type).get_shape(), op.width.value.data
    element, bits = _element(op.pointer)
    more = -count % max(1, 32 // bits // width)
    if more:
        lanes = [*range(count), *[count - 1] * more]
        offsets, mask = (shuffle(conv, value, value, lanes) for value in (offsets, mask))
    loads = count + more
    text = asm.gather(loads, width, bits, floats=element == f32)
    wide = conv.insert(llvm.ZExtOp(mask, VectorType(i32, [loads]))).res
    filled = fill if bits == 32 else splat(conv, fill, 32 // bits)
    of = VectorType(conv.type(element), [loads * width])
    loaded = conv.asm(text.text, text.constraints, [pointer, offsets, wide, filled], of)
    assert loaded is not None
    conv.bind(op.result, shuffle(conv, loaded, loaded, list(range(count * width))) if more else loaded)


def _scatter(conv: LLVMConversion, op: warp.ScatterOp) -> None:
    """Elements that fill no whole registers are handed over with more lanes, which are not stored."""
    value, pointer, offsets, mask = conv.values(op.operands)
    (count,), width = cast(VectorType[Attribute], op.offsets.type).get_shape(), op.width.value.data
    (element, bits), held = _element(op.pointer), count * width
    if held * bits % 32:
        value = shuffle(conv, value, value, [*range(held), *[held - 1] * (-held % (32 // bits))])
    wide = conv.insert(llvm.ZExtOp(mask, VectorType(i32, [count]))).res
    text = asm.scatter(count, width, bits, floats=element == f32)
    conv.asm(text.text, text.constraints, [value, pointer, offsets, wide])


def _load_one(conv: LLVMConversion, op: warp.LoadOp) -> None:
    """A bool is a byte in memory."""
    element, address = op.result.type, element_address(conv, op.pointer, conv.value(op.index))
    stored = i8 if element == i1 else conv.type(element)
    loaded: SSAValue = conv.insert(llvm.LoadOp(address, stored, alignment=element_bytes(element))).results[0]
    if element == i1:
        other = IntegerAttr(llvm.ICmpPredicateFlag.NE.to_int(), i64)
        loaded = conv.insert(llvm.ICmpOp(loaded, conv.constant(0, i8), other)).res
    conv.bind(op.result, loaded)


def _store_one(conv: LLVMConversion, op: warp.StoreOp) -> None:
    """A bool is a byte in memory, 0 or 1."""
    element, value = op.value.type, conv.value(op.value)
    address = element_address(conv, op.pointer, conv.value(op.index))
    stored = conv.insert(llvm.ZExtOp(value, i8)).res if element == i1 else value
    conv.insert(llvm.StoreOp(stored, address, alignment=element_bytes(element)))


TYPES: dict[type[Attribute], TypeConverter] = {warp.GlobalType: lambda conv, of: GLOBAL}
CONVERSIONS: dict[type[Operation], Converter] = {
    warp.KernelOp: _kernel,
    warp.ReturnOp: _return,
    warp.ThreadIdOp: _register("tid.x"),
    warp.BlockIdOp: _register("ctaid.x"),
    warp.GridDimOp: _register("nctaid.x"),
    warp.BarrierOp: _barrier,
    warp.BarrierAtOp: _meeting("sync"),
    warp.BarrierArriveOp: _meeting("arrive"),
    warp.WaitPredecessorOp: _effect("llvm.nvvm.griddepcontrol.wait"),
    warp.LaunchDependentsOp: _effect("llvm.nvvm.griddepcontrol.launch.dependents"),
    warp.DivideOp: _divide,
    warp.WithinOp: _within,
    warp.FragmentLoadOp: _fragment_load,
    warp.FragmentLoadRowOp: _fragment_load_row,
    warp.FragmentStoreOp: _fragment_store,
    warp.FragmentIndexOp: _fragment_index,
    warp.SpreadOp: _spread,
    warp.GatherOp: _gather,
    warp.ScatterOp: _scatter,
    warp.LoadOp: _load_one,
    warp.StoreOp: _store_one,
}
