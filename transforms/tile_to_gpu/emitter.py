"""Building kernel bodies: i32 arithmetic, loops and tile bodies as vectors, in the order in which they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

from xdsl.dialects import arith, scf, vector
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    LocationAttr,
    UnknownLoc,
    UnrealizedConversionCastOp,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.evaluate import signless_constant
from stepwell.dialects.numpy_types import UNSIGNED
from stepwell.transforms.emit.vectorise import vectorised

OpT = TypeVar("OpT", bound=Operation)


class GpuEmitter:
    """Appends ops to a kernel's body; constants go to the kernel's start, once each; ops get the location that is current."""

    def __init__(self, entry: Block, location: LocationAttr) -> None:
        self.entry, self.block, self.location = entry, entry, location
        self._constants: dict[Attribute, SSAValue] = {}
        self._last_constant: Operation | None = None

    def insert(self, op: OpT) -> OpT:
        """Append `op` to the current block."""
        if isinstance(op.location, UnknownLoc):
            op.location = self.location
        self.block.add_op(op)
        return op

    @contextmanager
    def inside(self, block: Block, location: LocationAttr | None = None) -> Iterator[None]:
        """Append to `block` meanwhile."""
        outer, self.block = self.block, block
        try:
            yield
        finally:
            self.block = outer

    @contextmanager
    def at(self, location: LocationAttr) -> Iterator[None]:
        """Ops made meanwhile have `location` (unless it is unknown)."""
        outer = self.location
        self.location = outer if isinstance(location, UnknownLoc) else location
        try:
            yield
        finally:
            self.location = outer

    # --- constants and arithmetic

    def constant(self, value: Attribute, of: Attribute, name: str = "c") -> SSAValue:
        """A constant at the kernel's start."""
        if value not in self._constants:
            op: Operation
            if (of.element_type if isinstance(of, VectorType) else of) in UNSIGNED:
                op = UnrealizedConversionCastOp.get([self.constant(*signless_constant(value, of))], [of])
            else:
                op = arith.ConstantOp(value, of)  # type: ignore[arg-type]
            op.results[0].name_hint, op.location = name, self.location
            if self._last_constant is not None:
                self.entry.insert_op_after(op, self._last_constant)
            elif self.entry.first_op is not None:
                self.entry.insert_op_before(op, self.entry.first_op)
            else:
                self.entry.add_op(op)
            self._constants[value], self._last_constant = op.results[0], op
        return self._constants[value]

    def i32(self, value: int) -> SSAValue:
        """A number."""
        return self.constant(IntegerAttr(value, i32), i32, f"c{value}" if value >= 0 else "cm")

    def splat(self, value: float, of: VectorType) -> SSAValue:
        """A vector of one number."""
        return self.constant(DenseIntOrFPElementsAttr.from_list(of, [value]), of, "splat")  # type: ignore[type-var]

    def _named(self, op: Operation, name: str) -> SSAValue:
        self.insert(op)
        if name:
            op.results[0].name_hint = name
        return op.results[0]

    def add(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """a + b"""
        return self._named(arith.AddiOp(a, b), name)

    def sub(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """a - b"""
        return self._named(arith.SubiOp(a, b), name)

    def mul(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """a * b"""
        return self._named(arith.MuliOp(a, b), name)

    def bit_and(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """a & b"""
        return self._named(arith.AndIOp(a, b), name)

    def xor(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """a ^ b"""
        return self._named(arith.XOrIOp(a, b), name)

    def minimum(self, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """min(a, b), signed"""
        return self._named(arith.MinSIOp(a, b), name)

    def compare(self, predicate: str, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """An i1 from two numbers."""
        return self._named(arith.CmpiOp(a, b, predicate), name)

    def select(self, condition: SSAValue, a: SSAValue, b: SSAValue, name: str = "") -> SSAValue:
        """condition ? a : b"""
        return self._named(arith.SelectOp(condition, a, b), name)

    def as_i32(self, condition: SSAValue, name: str = "") -> SSAValue:
        """0 or 1"""
        return self._named(arith.ExtUIOp(condition, i32), name)

    # --- vectors

    def repeat(self, value: SSAValue, of: Attribute) -> SSAValue:
        """`value` in every lane of a vector type; itself for a scalar type."""
        return self.insert(vector.BroadcastOp(value, of)).vector if isinstance(of, VectorType) else value

    def first(self, value: SSAValue) -> SSAValue:
        """The first lane."""
        return self.insert(vector.ExtractOp(value, [0], cast(VectorType[Attribute], value.type).element_type)).result

    def within(self, n: SSAValue, bound: SSAValue, name: str = "") -> SSAValue:
        """Which lanes are in 0 .. bound - 1."""
        return self._named(warp.WithinOp(n, bound), name)

    def shuffle(self, a: SSAValue, b: SSAValue, lanes: Iterable[int]) -> SSAValue:
        """The lanes of `a` and then `b` that are named."""
        mask = list(lanes)
        element = cast(VectorType[Attribute], a.type).element_type
        made = vector.ShuffleOp(a, b, DenseArrayBase.from_list(i64, mask), result_type=VectorType(element, [len(mask)]))
        return self.insert(made).result

    def true(self, like: Attribute) -> SSAValue:
        """A mask of ones as long as a vector type."""
        mask = VectorType(i1, cast(VectorType[Attribute], like).get_shape())
        return self.constant(DenseIntOrFPElementsAttr.from_list(mask, [1]), mask, "all")

    # --- control flow

    @contextmanager
    def loop(
        self,
        bounds: tuple[SSAValue, SSAValue, SSAValue],
        carried: Mapping[str, SSAValue],
        index: str = "i",
    ) -> Iterator[Loop]:
        """`scf.for` from, below and by the bounds; set `next` of what it carries in the body, read `results` after it."""
        inits = list(carried.values())
        body = Block(arg_types=[i32, *(value.type for value in inits)])
        for argument, name in zip(body.args, (index, *carried), strict=True):
            argument.name_hint = name
        loop = Loop(body, list(carried))
        with self.inside(body):
            yield loop
            self.insert(scf.YieldOp(*(loop.next[name] for name in carried)))
        op = self.insert(scf.ForOp(*bounds, inits, Region(body)))
        for result, name in zip(op.results, carried, strict=True):
            result.name_hint = name
        loop.results.update(zip(carried, op.results, strict=True))

    @contextmanager
    def when(self, condition: SSAValue) -> Iterator[None]:
        """`scf.if` without results."""
        body = Block()
        with self.inside(body):
            yield
            self.insert(scf.YieldOp())
        self.insert(scf.IfOp(condition, [], Region(body), Region()))

    def choose(self, condition: SSAValue, then: Callable[[], SSAValue], otherwise: Callable[[], SSAValue]) -> SSAValue:
        """`scf.if` with the result of one of two things."""
        blocks, made = [Block(), Block()], []
        for block, do in zip(blocks, (then, otherwise), strict=True):
            with self.inside(block):
                made.append(do())
                self.insert(scf.YieldOp(made[-1]))
        return self.insert(scf.IfOp(condition, [made[0].type], Region(blocks[0]), Region(blocks[1]))).results[0]

    # --- tile bodies

    def map(self, op: tile.MapOp, operands: Sequence[SSAValue], length: int) -> SSAValue:
        """The body of a `tile.map` on vectors of `length` elements: the same arith and math ops, constants repeated; on one part of the vectors
        after the other, as the op says."""
        count = op.part_count
        if count == 1:
            return self._map_part(op, operands, length)
        size = length // count
        parts = []
        for part in range(count):
            taken = [self.shuffle(v, v, range(part * size, (part + 1) * size)) for v in operands]
            parts.append(self._map_part(op, taken, size))
        return self.joined(parts)

    def joined(self, parts: list[SSAValue]) -> SSAValue:
        """Vectors of one length, one after another."""
        wanted = len(parts) * cast(VectorType[Attribute], parts[0].type).get_shape()[0]
        length = wanted // len(parts)
        while len(parts) > 1:
            length *= 2
            parts = parts + parts[-1:] * (len(parts) % 2)
            parts = [self.shuffle(a, b, range(length)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0] if length == wanted else self.shuffle(parts[0], parts[0], range(wanted))

    def _map_part(self, op: tile.MapOp, operands: Sequence[SSAValue], length: int) -> SSAValue:
        values: dict[SSAValue, SSAValue] = dict(zip(op.body.block.args, operands, strict=True))
        for inner in op.body.block.ops:
            if isinstance(inner, tile.YieldOp):
                return values[inner.arguments[0]]
            with self.at(inner.location):
                values[inner.results[0]] = self._vectorised(inner, values, length)
        raise AssertionError("a tile.map ends in tile.yield")

    def _vectorised(self, op: Operation, values: Mapping[SSAValue, SSAValue], length: int) -> SSAValue:
        result = VectorType(op.results[0].type, [length])
        if isinstance(op, arith.ConstantOp):
            return self.splat(cast(IntegerAttr | FloatAttr, op.value).value.data, result)
        made = vectorised(op, [values[operand] for operand in op.operands], length)
        return self._named(made, op.results[0].name_hint or "")


class Loop:
    """One `scf.for` in the making: `index` and the carried values by name; what the next iteration gets; the results."""

    def __init__(self, body: Block, names: Sequence[str]) -> None:
        self.index: SSAValue = body.args[0]
        self.carried: dict[str, SSAValue] = dict(zip(names, body.args[1:], strict=True))
        self.next: dict[str, SSAValue] = {}
        self.results: dict[str, SSAValue] = {}


def zero_of(element: Attribute) -> FloatAttr | IntegerAttr:
    """0 of an element type."""
    return IntegerAttr(0, element) if isinstance(element, IntegerType) else FloatAttr(0.0, cast(AnyFloat, element))
