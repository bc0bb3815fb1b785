"""How the CPU lowering writes IR: 64-bit integer arithmetic, addresses, loops and branches at one insertion point, and the slots of the record.

Record of a launch (every slot is 8 bytes), for each ref of the kernel in order, inputs before outputs: a pointer (to the data; for a window
to its table of row pointers), its extents, and for a plain ref the element strides of all dims but the last, which is dense. One more slot at
the end: how many row tiles share a weight panel before the next panel is taken (the loop order that keeps them in cache).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from xdsl.dialects import arith, builtin, func, llvm, scf
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    FunctionType,
    IntegerAttr,
    StringAttr,
    UnitAttr,
    VectorType,
    i1,
    i8,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import llvm_extra, tile
from stepwell.dialects.evaluate import signless_constant
from stepwell.dialects.numpy_types import UNSIGNED
from stepwell.types.targets import Target

OpT = TypeVar("OpT", bound=Operation)
LoopBody = Callable[[SSAValue, list[SSAValue]], Sequence[SSAValue]]
POINTER = llvm.LLVMPointerType()


def slot_count(ref: tile.RefType) -> int:
    """Slots of one ref: pointer, extents, and the strides of a plain one."""
    return 1 + ref.rank + (ref.rank - 1 if ref.access.kind == "plain" else 0)


def chunk_width(columns: int) -> int:
    """Lanes of one vector of a row: 64 -> 64, 24 -> 8."""
    return columns & -columns


def memory_type(of: Attribute) -> Attribute:
    """How a scalar or vector lies in memory: an i1 takes a byte, which is 0 or 1 (LLVM would pack a vector of them into bits)."""
    if isinstance(of, VectorType):
        return VectorType(memory_type(of.element_type), of.get_shape())
    return i8 if of == i1 else of


class CpuEmitter:
    """Appends ops to the current block with the current location. `prelude` holds what dominates everything: constants and slots."""

    def __init__(self, record: SSAValue, location: builtin.LocationAttr) -> None:
        self.record, self.location, self.block = record, location, Block()
        self.prelude: list[Operation] = []
        self._cache: dict[object, SSAValue] = {}

    @contextmanager
    def at(self, op: Operation) -> Iterator[None]:
        """What is inserted meanwhile has the location of `op`, if it has one."""
        outer = self.location
        self.location = outer if isinstance(op.location, builtin.UnknownLoc) else op.location
        yield
        self.location = outer

    def insert(self, op: OpT) -> OpT:
        """Append `op`."""
        op.location = self.location
        self.block.add_op(op)
        return op

    def _once(self, key: object, make: Callable[[], Operation]) -> SSAValue:
        if key not in self._cache:
            op = make()
            op.location = self.location
            self.prelude.append(op)
            self._cache[key] = op.results[0]
        return self._cache[key]

    def integer(self, value: int) -> SSAValue:
        """An integer constant."""
        constant = self._once(value, lambda: arith.ConstantOp(IntegerAttr(value, i64)))
        constant.name_hint = f"c{value}"
        return constant

    def constant(self, attr: Attribute, of: Attribute) -> SSAValue:
        """A constant of a scalar or (splat or listed) vector type."""
        if (of.element_type if isinstance(of, VectorType) else of) in UNSIGNED:
            same = self.constant(*signless_constant(attr, of))
            return self._once((attr, of), lambda: builtin.UnrealizedConversionCastOp.get([same], [of]))
        return self._once((attr, of), lambda: arith.ConstantOp.create(properties={"value": attr}, result_types=[of]))

    def splat(self, attr: Attribute, of: VectorType) -> SSAValue:
        """A vector constant whose elements are the scalar attribute `attr`."""
        assert isinstance(attr, FloatAttr | IntegerAttr)
        return self.constant(DenseIntOrFPElementsAttr.from_list(cast(Any, of), [attr.value.data]), of)

    def slot(self, index: int, of: Attribute = i64) -> SSAValue:
        """Slot `index` of the record."""
        address = self._once(("address", index), lambda: llvm.GEPOp(self.record, [index], i64))

        def load() -> Operation:
            op = llvm.LoadOp(address, of, alignment=8)
            op.attributes["invariant"] = UnitAttr()
            return op

        return self._once(("slot", index, of), load)

    def scratch(self, count: int, element: Attribute, user: Operation | SSAValue) -> SSAValue:
        """Aligned memory of this call for `count` elements, of its own for each `user`."""
        one = self.integer(1)
        of = llvm.LLVMArrayType(builtin.IntAttr(count), memory_type(element))
        return self._once(("scratch", of, user), lambda: llvm.AllocaOp(one, of, alignment=64))

    def binary(self, op: Callable[..., Operation], a: SSAValue, b: SSAValue) -> SSAValue:
        """`op` of two values."""
        return self.insert(op(a, b)).results[0]

    def add(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a + b"""
        return self.binary(arith.AddiOp, a, b)

    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a * b"""
        return self.binary(arith.MuliOp, a, b)

    def minimum(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """The smaller, unsigned."""
        return self.binary(arith.MinUIOp, a, b)

    def ceil_div(self, a: SSAValue, b: int) -> SSAValue:
        """a / b rounded up."""
        return self.binary(arith.DivUIOp, self.add(a, self.integer(b - 1)), self.integer(b))

    def compare(self, predicate: str, a: SSAValue, b: SSAValue) -> SSAValue:
        """An i1 (or a vector of them)."""
        return self.insert(arith.CmpiOp(a, b, predicate)).result

    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue) -> SSAValue:
        """`a` if `condition`, else `b`."""
        return self.insert(arith.SelectOp(condition, a, b)).result

    def address(self, pointer: SSAValue, index: SSAValue | int, element: Attribute) -> SSAValue:
        """The address of element `index` of an array."""
        return self.insert(llvm.GEPOp.from_mixed_indices(pointer, [index], memory_type(element))).result

    def load(self, pointer: SSAValue, of: Attribute, alignment: int) -> SSAValue:
        """A scalar or vector from memory."""
        held = self.insert(llvm.LoadOp(pointer, memory_type(of), alignment=alignment)).dereferenced_value
        return self._from_memory(held, of)

    def masked_load(
        self, pointer: SSAValue, mask: SSAValue, fill: FloatAttr | IntegerAttr, of: VectorType, alignment: int
    ) -> SSAValue:
        """A vector from memory; elements whose mask is false are not read and are `fill`."""
        inside = memory_type(of)
        assert isinstance(inside, VectorType)
        value = IntegerAttr(int(fill.value.data != 0), i8) if of.element_type == i1 else fill
        held = self.insert(llvm_extra.MaskedLoadOp(pointer, mask, self.splat(value, inside), alignment)).res
        return self._from_memory(held, of)

    def store(self, value: SSAValue, pointer: SSAValue, alignment: int, mask: SSAValue | None = None) -> None:
        """A scalar or vector to memory, of a vector with a mask the elements whose mask is true."""
        held = self._to_memory(value)
        if mask is None:
            self.insert(llvm.StoreOp(held, pointer, alignment=alignment))
        else:
            self.insert(llvm_extra.MaskedStoreOp(held, pointer, mask, alignment))

    def _from_memory(self, held: SSAValue, of: Attribute) -> SSAValue:
        if held.type == of:
            return held
        zero = self.zero(held.type)
        return self.insert(llvm.ICmpOp(held, zero, IntegerAttr(llvm.ICmpPredicateFlag.NE.to_int(), i64))).res

    def _to_memory(self, value: SSAValue) -> SSAValue:
        of = memory_type(value.type)
        return value if value.type == of else self.insert(llvm.ZExtOp(value, of)).res

    def zero(self, of: Attribute) -> SSAValue:
        """An i8 zero or a vector of them."""
        return (
            self.splat(IntegerAttr(0, i8), of) if isinstance(of, VectorType) else self.constant(IntegerAttr(0, i8), of)
        )

    def loop(self, start: SSAValue, end: SSAValue, inits: Sequence[SSAValue], body: LoopBody) -> list[SSAValue]:
        """Count from `start` below `end` with carried values; `body` gets the counter and them and returns the next ones."""
        inner = Block(arg_types=[i64, *(v.type for v in inits)])
        outer, self.block = self.block, inner
        results = body(inner.args[0], list(inner.args[1:]))
        self.insert(scf.YieldOp(*results))
        self.block = outer
        return list(self.insert(scf.ForOp(start, end, self.integer(1), list(inits), Region(inner))).results)

    @contextmanager
    def when(self, condition: SSAValue) -> Iterator[None]:
        """What is inserted meanwhile is done where the condition holds."""
        outer, inner = self.block, Block()
        self.block = inner
        yield
        self.insert(scf.YieldOp())
        self.block = outer
        self.insert(scf.IfOp(condition, [], Region(inner), Region()))

    def branch(self, condition: SSAValue, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        """Do one of two things."""
        regions = []
        outer = self.block
        for do in (then, otherwise):
            self.block = Block()
            do()
            self.insert(scf.YieldOp())
            regions.append(Region(self.block))
        self.block = outer
        self.insert(scf.IfOp(condition, [], regions[0], regions[1]))

    def number(self, position: SSAValue) -> SSAValue:
        """A position of type index as an integer."""
        return self.insert(arith.IndexCastOp(position, i64)).result

    def choose(self, condition: SSAValue, then: Callable[[], SSAValue], otherwise: Callable[[], SSAValue]) -> SSAValue:
        """What one of two things gives."""
        regions, outer, made = [], self.block, []
        for do in (then, otherwise):
            self.block = Block()
            made.append(do())
            self.insert(scf.YieldOp(made[-1]))
            regions.append(Region(self.block))
        self.block = outer
        return self.insert(scf.IfOp(condition, [made[0].type], regions[0], regions[1])).results[0]


def kernel_function(
    kernel: tile.KernelOp | tile.LoopsKernel, target: Target, write: Callable[[CpuEmitter, SSAValue, SSAValue], None]
) -> func.FuncOp:
    """A function (record, first tile, last tile) whose body `write` emits."""
    block = Block(arg_types=[POINTER, i64, i64])
    for argument, name in zip(block.args, ("record", "first", "last"), strict=True):
        argument.name_hint = name
    emit = CpuEmitter(block.args[0], kernel.location)
    write(emit, block.args[1], block.args[2])
    emit.insert(func.ReturnOp())
    block.add_ops(emit.prelude)
    for op in list(emit.block.ops):
        op.detach()
        block.add_op(op)
    function = func.FuncOp(kernel.sym_name.data, FunctionType.from_lists([POINTER, i64, i64], []), Region(block))
    pairs = {
        "target-cpu": target.processor,
        "prefer-vector-width": str(8 * target.vector_bytes),
        "denormal-fp-math": "preserve-sign,preserve-sign",  # the runtime flushes: tests of bits are not tests of floats
    }
    listed = [ArrayAttr([StringAttr(key), StringAttr(value)]) for key, value in pairs.items()]
    passthrough = ArrayAttr([StringAttr("nounwind"), *listed])
    function.attributes |= {"stepwell.kernel": UnitAttr(), "passthrough": passthrough}
    function.location = kernel.location
    return function
