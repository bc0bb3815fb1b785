"""The body of a `tile.parallel` for one number, for both targets: the same loops, conditions and scalars, with indices in the target's type of index and
elements of operands at row-major numbers. Extents are constants of the code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from stepwell.dialects import tile

LoopBody = Callable[[SSAValue, list[SSAValue]], Sequence[SSAValue]]


class RunEmitter(Protocol):
    """What the walk writes with."""

    def at(self, op: Operation) -> AbstractContextManager[None]: ...
    def insert(self, op: Operation) -> Operation: ...
    def integer(self, value: int) -> SSAValue: ...
    def constant(self, attr: Attribute, of: Attribute) -> SSAValue: ...
    def add(self, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def mul(self, a: SSAValue, b: SSAValue) -> SSAValue: ...
    def loop(self, start: SSAValue, end: SSAValue, inits: Sequence[SSAValue], body: LoopBody) -> list[SSAValue]: ...
    def when(self, condition: SSAValue) -> AbstractContextManager[None]: ...


class Memory(Protocol):
    """Elements of the kernel's operands by row-major number."""

    def load(self, operand: BlockArgument, number: SSAValue) -> SSAValue: ...
    def store(self, value: SSAValue, operand: BlockArgument, number: SSAValue) -> None: ...


class Run:
    """Emits one run of the body: `write(number)`."""

    def __init__(self, emit: RunEmitter, memory: Memory, kernel: tile.ParallelOp) -> None:
        self.emit, self.memory, self.kernel = emit, memory, kernel
        self.values: dict[SSAValue, SSAValue] = {}

    def write(self, number: SSAValue) -> None:
        """The body for the run with this number."""
        self.values[self.kernel.index] = number
        self._block(self.kernel.body.block)

    def _block(self, block: Block) -> list[SSAValue]:
        """The ops of a block; what it yields."""
        for op in block.ops:
            with self.emit.at(op):
                if isinstance(op, scf.YieldOp):
                    return [self.values[value] for value in op.arguments]
                self.values.update(zip(op.results, self._op(op), strict=True))
        return []

    def _op(self, op: Operation) -> Sequence[SSAValue]:
        operands = [self.values.get(value, value) for value in op.operands]
        match op:
            case memref.LoadOp():
                assert isinstance(op.memref, BlockArgument)
                return [self.memory.load(op.memref, self._number(op, operands[1:]))]
            case memref.StoreOp():
                assert isinstance(op.memref, BlockArgument)
                self.memory.store(operands[0], op.memref, self._number(op, operands[2:]))
                return []
            case scf.ForOp():
                start, end, _, *inits = operands
                return self.emit.loop(start, end, inits, lambda index, carried: self._loop_body(op, index, carried))
            case scf.IfOp():
                with self.emit.when(operands[0]):
                    self._block(op.true_region.block)
                return []
            case arith.ConstantOp() if isinstance(op.result.type, IndexType):
                return [self.emit.integer(int(op.value.value.data))]  # type: ignore[union-attr]
            case arith.ConstantOp():
                return [self.emit.constant(op.value, op.result.type)]
            case arith.IndexCastOp():
                return [self._cast(operands[0], op.result.type)]
        return [self._scalar(op, operands)]

    def _loop_body(self, op: scf.ForOp, index: SSAValue, carried: list[SSAValue]) -> list[SSAValue]:
        self.values.update(zip(op.body.block.args, (index, *carried), strict=True))
        return self._block(op.body.block)

    def _number(self, op: memref.LoadOp | memref.StoreOp, indices: Sequence[SSAValue]) -> SSAValue:
        """The row-major number of an element."""
        type_: Any = op.memref.type
        number: SSAValue | None = None
        for index, extent in zip(indices, type_.get_shape(), strict=True):
            number = index if number is None else self.emit.add(self.emit.mul(number, self.emit.integer(extent)), index)
        return self.emit.integer(0) if number is None else number

    def _cast(self, value: SSAValue, of: Attribute) -> SSAValue:
        """An integer as an index, or an index as an integer: signed."""
        index = self.emit.integer(0).type
        target = index if isinstance(of, IndexType) else of
        if value.type == target:
            return value
        through = self.emit.insert(arith.IndexCastOp(value, IndexType())).results[0]
        return self.emit.insert(arith.IndexCastOp(through, target)).results[0]

    def _scalar(self, op: Operation, operands: Sequence[SSAValue]) -> SSAValue:
        """The op on the target's values; a result of type index gets the type that indices have there."""
        made = op.clone(dict(zip(op.operands, operands, strict=True)))
        if isinstance(op.results[0].type, IndexType):
            made.results[0]._type = self.emit.integer(0).type
        return self.emit.insert(made).results[0]
