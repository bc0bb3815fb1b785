"""How a writer says the body of a `tile.parallel`: arithmetic on indices, elements of operands, loops and conditions, in the order in which they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from xdsl.dialects import arith, memref, scf
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IndexType, IntegerAttr, IntegerType, i1, i64
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.graph.elementwise import Expansion, expand_binary, expand_cast, expand_compare, expand_unary

OpT = TypeVar("OpT", bound=Operation)
Index = SSAValue | int
"""An index: a value, or a number that is known."""
Scalar = SSAValue | float
"""A value, or a number of another value's type."""


class Loop:
    """One `scf.for` in the making: its index and what it carries; `next` is what the next iteration gets, `results` are there after it."""

    def __init__(self, body: Block) -> None:
        self.index: SSAValue = body.args[0]
        self.carried: list[SSAValue] = list(body.args[1:])
        self.next: list[SSAValue] = list(self.carried)
        self.results: list[SSAValue] = []


class LoopWriter:
    """Appends ops to the body of a kernel; constants go to its start, once each."""

    def __init__(self, kernel: tile.ParallelOp) -> None:
        self.entry = self.block = kernel.body.block
        self._constants: dict[Attribute, SSAValue] = {}
        self._last_constant: Operation | None = None

    def insert(self, op: OpT) -> OpT:
        """Append `op`."""
        self.block.add_op(op)
        return op

    # --- constants and indices

    def _constant(self, attr: IntegerAttr | FloatAttr) -> SSAValue:
        if attr not in self._constants:
            op = arith.ConstantOp(attr)
            if self._last_constant is not None:
                self.entry.insert_op_after(op, self._last_constant)
            elif self.entry.first_op is not None:
                self.entry.insert_op_before(op, self.entry.first_op)
            else:
                self.entry.add_op(op)
            self._constants[attr], self._last_constant = op.result, op
        return self._constants[attr]

    def constant(self, value: Any, element: Attribute) -> SSAValue:
        """A number of an element type, or an index."""
        if isinstance(element, IndexType):
            return self.index(int(value))
        if isinstance(element, AnyFloat):
            return self._constant(FloatAttr(float(value), element))
        assert isinstance(element, IntegerType)
        return self._constant(IntegerAttr(int(value), element))

    def index(self, value: Index) -> SSAValue:
        """An index as a value."""
        return self._constant(IntegerAttr(value, IndexType())) if isinstance(value, int) else value

    def add(self, a: Index, b: Index) -> Index:
        """a + b"""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 or b == 0:
            return b if a == 0 else a
        return self.insert(arith.AddiOp(self.index(a), self.index(b))).result

    def sub(self, a: Index, b: Index) -> Index:
        """a - b"""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.insert(arith.SubiOp(self.index(a), self.index(b))).result

    def mul(self, a: Index, b: Index) -> Index:
        """a * b"""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        return self.insert(arith.MuliOp(self.index(a), self.index(b))).result

    def unravel(self, number: SSAValue, shape: Sequence[int]) -> list[Index]:
        """The indices of the element with this row-major number."""
        found: list[Index] = []
        rest = number
        for dim in reversed(range(len(shape))):
            extent = self.index(max(1, shape[dim]))
            found.insert(0, self.insert(arith.RemUIOp(rest, extent)).result if dim else rest)
            rest = self.insert(arith.DivUIOp(rest, extent)).result if dim else rest
        return found

    def to_index(self, value: SSAValue) -> SSAValue:
        """A signed integer as an index."""
        return self.insert(arith.IndexCastOp(value, IndexType())).result

    def from_index(self, value: Index, element: Attribute = i64) -> SSAValue:
        """An index as an integer."""
        return self.insert(arith.IndexCastOp(self.index(value), element)).result

    def inside(self, value: Index, extent: int) -> SSAValue:
        """Whether 0 <= value < extent."""
        return self.compare_index("ult", value, extent)

    def compare_index(self, predicate: str, a: Index, b: Index) -> SSAValue:
        """Two indices by a predicate of arith.cmpi."""
        return self.insert(arith.CmpiOp(self.index(a), self.index(b), predicate)).result

    # --- scalars

    def _expanded(self, expansion: Expansion) -> SSAValue:
        ops, result = expansion
        for op in ops:
            self.insert(op)
        return result

    def unary(self, kind: str, x: SSAValue) -> SSAValue:
        """A unary kind of the graph level."""
        return self._expanded(expand_unary(kind, x))

    def _pair(self, a: Scalar, b: Scalar) -> tuple[SSAValue, SSAValue]:
        """Two values of one type, a number as that of the other."""
        if isinstance(a, SSAValue):
            return a, b if isinstance(b, SSAValue) else self.constant(b, a.type)
        if isinstance(b, SSAValue):
            return self.constant(a, b.type), b
        return self.index(int(a)), self.index(int(b))

    def binary(self, kind: str, a: Scalar, b: Scalar) -> SSAValue:
        """A binary kind of the graph level on two values of one type."""
        return self._expanded(expand_binary(kind, *self._pair(a, b)))

    def compare(self, kind: str, a: Scalar, b: Scalar) -> SSAValue:
        """A comparison of the graph level."""
        return self._expanded(expand_compare(kind, *self._pair(a, b)))

    def cast(self, x: SSAValue, element: Attribute) -> SSAValue:
        """`x` as graph.cast converts it."""
        return self._expanded(expand_cast(x, element))

    def select(self, condition: SSAValue, a: Scalar, b: Scalar) -> SSAValue:
        """condition ? a : b"""
        return self.insert(arith.SelectOp(condition, *self._pair(a, b))).result

    def both(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a and b"""
        return self.insert(arith.AndIOp(a, b)).result

    def either(self, a: SSAValue, b: SSAValue) -> SSAValue:
        """a or b"""
        return self.insert(arith.OrIOp(a, b)).result

    def no(self, a: SSAValue) -> SSAValue:
        """not a"""
        return self.insert(arith.XOrIOp(a, self.truth())).result

    def truth(self) -> SSAValue:
        """True."""
        return self.constant(1, i1)

    def falsehood(self) -> SSAValue:
        """False."""
        return self.constant(0, i1)

    # --- memory and control

    def load(self, source: SSAValue, at: Sequence[Index]) -> SSAValue:
        """An element."""
        return self.insert(memref.LoadOp.get(source, [self.index(index) for index in at])).res

    def store(self, value: SSAValue, target: SSAValue, at: Sequence[Index]) -> None:
        """Write an element."""
        self.insert(memref.StoreOp.get(value, target, [self.index(index) for index in at]))

    def fill(self, target: SSAValue, at: Sequence[Index], start: Index, end: Index, value: SSAValue) -> None:
        """Write one value from `start` up to `end` of the last dim."""
        with self.loop(start, end) as rest:
            self.store(value, target, [*at, rest.index])

    @contextmanager
    def loop(self, start: Index, end: Index, *inits: SSAValue) -> Iterator[Loop]:
        """Count from `start` below `end`."""
        body, outer = Block(arg_types=[IndexType(), *(value.type for value in inits)]), self.block
        loop = Loop(body)
        first, last, step = self.index(start), self.index(end), self.index(1)
        self.block = body
        yield loop
        self.insert(scf.YieldOp(*loop.next))
        self.block = outer
        loop.results = list(self.insert(scf.ForOp(first, last, step, list(inits), Region(body))).results)

    @contextmanager
    def when(self, condition: SSAValue) -> Iterator[None]:
        """What is written meanwhile is done where the condition holds."""
        body, outer = Block(), self.block
        self.block = body
        yield
        self.insert(scf.YieldOp())
        self.block = outer
        self.insert(scf.IfOp(condition, [], Region(body), Region()))
