"""The tile program of attention: blocks of keys from the first on, with a running maximum m, a running sum l and results o that are scaled whenever m grows.

```mlir
%o, %m, %l = tile.for (%t) of %k dims [1] step [64] range [0, %i + 64) iter (..) {        // the range where it is causal
  %s = tile.mma %queries, %keys, %zero
  %u = tile.map (%s, %in) { scale * log2(e), -inf for keys that are not there or not seen }
  %m1 = tile.reduce max %u dims [1] init %m
  %p = tile.map (%u, %m1) { exp2 of the difference }
  %f = tile.map (%m, %m1) { exp2 of the difference }
  %l1 = tile.reduce add %p dims [1] init (%l * %f) partial
  %o1 = tile.mma (truncf %p), %values, (%o * %f) transpose_b
}
tile.store (%o / %l), %y[%b, %i, %j]
```
The maximum starts at a number, so that nothing is subtracted from -inf; a row that sees no key has l = 0 and gives zeros. (Dao et al., FlashAttention-2, algorithm 1.)
Operands whose elements are converted are loaded into registers and mapped there: who packs them into shared memory is decided by tile-assign-copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import e, log2

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FloatAttr, IndexType, IntegerAttr, f32, i1, i32
from xdsl.ir import Attribute, BlockArgument, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import tile
from stepwell.dialects.tile import TileType
from stepwell.dialects.tile.config import violations
from stepwell.dialects.tile.registers import facts_of
from stepwell.passes import inherit_location
from stepwell.transforms.attention import causal_offset, width_of
from stepwell.transforms.linalg._attention import Attention, Read
from stepwell.transforms.linalg._structure import refuse
from stepwell.transforms.linalg_to_tile.operands import reshaped
from stepwell.transforms.linalg_to_tile.written import Written
from stepwell.transforms.tensors import element_of, shape_of

LEAST = -1e30
"""Where maxima start: below every score, and finite."""
RANK = 3
"""Refs are [heads, rows, columns]: batches and heads lie one behind the other."""
Body = Callable[["_Map", Sequence[SSAValue]], SSAValue]


def write_attention(attention: Attention, config: tile.Config, name: str, target: str | None) -> Written:
    """The kernel of an attention, verified; PassFailure with the reason where the config does not fit it."""
    arguments = list(dict.fromkeys(read.argument for read in attention.reads))
    inputs = [tile.RefType(RANK, element_of(argument)) for argument in arguments]
    outputs = [tile.RefType(RANK, element) for element in attention.results]
    kernel = tile.KernelOp(name, inputs, outputs, tile.ConfigAttr(config))
    _Writer(attention, config, kernel, dict(zip(arguments, kernel.inputs, strict=True))).write()
    inherit_location(kernel, attention.fusion)
    try:
        kernel.verify()
    except VerifyException as error:
        raise refuse(attention.fusion, str(error).splitlines()[-1]) from error
    if reasons := list(violations(config, target, facts_of(kernel, target))):
        raise refuse(attention.fusion, f"its config is illegal on {target}: " + "; ".join(reasons))

    def made(build: Builder) -> list[SSAValue]:
        values = [attention.fusion.inputs[argument.index] for argument in arguments]
        return [reshaped(value, _flat(shape_of(value)), build) for value in values]

    shape = _flat(shape_of(attention.op.result))
    work = f"attention, {config.block[-2]} queries by {config.k} keys"
    return Written(attention.fusion, kernel, made, (shape,) * len(outputs), work)


def _flat(shape: Sequence[int]) -> tuple[int, ...]:
    return (shape[0] * shape[1], *shape[2:])


class _Map:
    """The body of a tile.map in the making."""

    def __init__(self, op: tile.MapOp) -> None:
        self.build = Builder(InsertPoint.at_end(op.body.block))

    def __call__(self, op: Operation) -> SSAValue:
        return self.build.insert(op).results[0]

    def number(self, value: float, element: Attribute = f32) -> SSAValue:
        """A constant."""
        return self(arith.ConstantOp(FloatAttr(value, element) if element == f32 else IntegerAttr(int(value), i32)))


class _Writer:
    """Writes the body of the kernel."""

    def __init__(
        self, attention: Attention, config: tile.Config, kernel: tile.KernelOp, refs: dict[BlockArgument, BlockArgument]
    ) -> None:
        self.attention, self.config, self.kernel, self.refs = attention, config, kernel, refs
        self.rows, self.columns, self.keys = config.block[-2], config.block[-1], config.k
        self.depth = width_of(shape_of(attention.op.q)[3])
        self.build = Builder(InsertPoint.at_end(kernel.body.block))
        self.scores = TileType([self.rows, self.keys], f32)
        self.vector = TileType([self.rows], f32)
        self.sums = TileType([self.rows, self.columns], f32)

    def write(self) -> None:
        """Wait; for each block of queries go through the keys, then divide and store."""
        for read, hint in ((self.attention.v, "v"), (self.attention.k, "k"), (self.attention.q, "q")):
            self.refs[read.argument].name_hint = hint
        self.build.insert(tile.WaitPredecessorOp())
        grid = tile.ForTilesOp(self.kernel.outputs[0], self.config.block)
        for value, hint in zip((*grid.body.block.args, *self.kernel.outputs), ("b", "i", "j", "y"), strict=False):
            value.name_hint = hint
        self.build.insert(grid)
        self.head, self.row, self.column = grid.body.block.args
        self.build = Builder(InsertPoint.at_end(grid.body.block))
        self.first = self.insert(arith.ConstantOp(IntegerAttr(0, IndexType())), "first")
        self.key_head = self._key_head()
        queries = self.operand(self.attention.q, (self.head, self.row, self.first), (self.rows, self.depth), "queries")
        sums, total = self._loop(queries)
        whole = self.insert(tile.ReduceOp("add", total, []), "whole")
        divisor = self.insert(tile.BroadcastOp(whole, [0], self.sums), "divisor")
        for output in self.kernel.outputs:
            assert isinstance(output.type, tile.RefType)
            made = self._quotient(sums, divisor, output.type.element_type)
            self.build.insert(tile.StoreOp(made, output, grid.body.block.args, [1, 2]))

    def insert(self, op: Operation, hint: str = "") -> SSAValue:
        """Insert an op with one result."""
        self.build.insert(op)
        op.results[0].name_hint = hint or None
        return op.results[0]

    def map(self, inputs: Sequence[SSAValue], kind: TileType, body: Body, hint: str = "") -> SSAValue:
        """A tile.map whose body `body` makes of the inputs' elements."""
        made = tile.MapOp(inputs, kind)
        inside = _Map(made)
        inside.build.insert(tile.YieldOp(body(inside, made.body.block.args)))
        return self.insert(made, hint)

    def _key_head(self) -> SSAValue:
        """The head of K and V that a head of Q reads: several in a row read one."""
        shared = shape_of(self.attention.op.q)[1] // shape_of(self.attention.op.k)[1]
        if shared == 1:
            return self.head
        count = self.insert(arith.ConstantOp(IntegerAttr(shared, IndexType())))
        return self.insert(arith.DivUIOp(self.head, count), "g")

    def operand(self, read: Read, indices: Sequence[SSAValue], shape: Sequence[int], hint: str) -> SSAValue:
        """A tile of an operand: in a ring, or converted in registers."""
        ref = self.refs[read.argument]
        assert isinstance(ref.type, tile.RefType)
        home = tile.Residence.REGS if read.converted else tile.Residence.RING
        loaded = self.insert(tile.LoadOp(ref, indices, TileType(shape, ref.type.element_type, home), [1, 2]), hint)
        if not read.converted:
            return loaded
        return self.map(
            [loaded], TileType(shape, read.element), lambda m, x: m(arith.TruncFOp(x[0], read.element)), hint
        )

    def _loop(self, queries: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The loop over the keys: results and sums, not yet divided."""
        offset, over = causal_offset(self.attention.op), self.refs[self.attention.k.argument]
        inits = [
            self.insert(tile.FillOp(0.0, self.sums), "nothing"),
            self.insert(tile.FillOp(LEAST, self.vector), "least"),
            self.insert(tile.FillOp(0.0, self.vector), "none"),
        ]
        bound = None if offset is None else (self.row, self.rows + offset)
        loop = tile.ForOp(over, [1], [self.keys], inits, bound=bound)
        for argument, hint in zip(loop.body.block.args, ("t", "oc", "mc", "lc"), strict=True):
            argument.name_hint = hint
        outside, self.build = self.build, Builder(InsertPoint.at_end(loop.body.block))
        self.build.insert(tile.YieldOp(*self._step(queries, loop.offsets[0], loop.iter_args)))
        self.build = outside
        self.build.insert(loop)
        for result, hint in zip(loop.carried, "oml", strict=True):
            result.name_hint = hint
        return loop.carried[0], loop.carried[2]

    def _step(
        self, queries: SSAValue, at: SSAValue, carried: Sequence[SSAValue]
    ) -> tuple[SSAValue, SSAValue, SSAValue]:
        """One block of keys."""
        sums, maxima, totals = carried
        element = self.attention.k.element
        keys = self.operand(self.attention.k, (self.key_head, at, self.first), (self.keys, self.depth), "keys")
        zero = self.insert(tile.FillOp(0.0, self.scores), "zero")
        product = self.insert(tile.MmaOp(queries, keys, zero), "s")
        scaled = self._seen(product, at)
        highest = self.insert(tile.ReduceOp("max", scaled, [1], maxima), "m")
        above = self.insert(tile.BroadcastOp(highest, [0], self.scores))
        shares = self.map([scaled, above], self.scores, _power, "p")
        factor = self.map([maxima, highest], self.vector, _power, "f")
        kept = self.map([totals, factor], self.vector, lambda m, x: m(arith.MulfOp(x[0], x[1])))
        total = self.insert(tile.ReduceOp("add", shares, [1], kept, partial=True), "l")
        factors = self.insert(tile.BroadcastOp(factor, [0], self.sums))
        smaller = self.map([sums, factors], self.sums, lambda m, x: m(arith.MulfOp(x[0], x[1])))
        half = self.map(
            [shares], TileType(self.scores.get_shape(), element), lambda m, x: m(arith.TruncFOp(x[0], element)), "h"
        )
        values = self.operand(self.attention.v, (self.key_head, at, self.first), (self.keys, self.columns), "values")
        return self.insert(tile.MmaOp(half, values, smaller, transpose_b=True), "o"), highest, total

    def _bias(self, at: SSAValue) -> SSAValue | None:
        """The mask's numbers for this block of scores, in f32: one for each query and key, or a row that all queries share."""
        read = self.attention.bias
        if read is None:
            return None
        ref, (batches, heads, queries, _) = self.refs[read.argument], shape_of(read.argument)
        assert isinstance(ref.type, tile.RefType)
        plane = self.head if heads > 1 or self._heads == 1 else self.first
        if batches > 1 and heads == 1 and self._heads > 1:
            plane = self.insert(
                arith.DivUIOp(self.head, self.insert(arith.ConstantOp(IntegerAttr(self._heads, IndexType()))))
            )
        if batches == heads == 1:
            plane = self.first
        shape, dims, row = (
            ([self.keys], [2], self.first) if queries == 1 else ([self.rows, self.keys], [1, 2], self.row)
        )
        held = self.insert(tile.LoadOp(ref, [plane, row, at], TileType(shape, ref.type.element_type), dims), "mask")
        narrow, memory = read.element, ref.type.element_type

        def body(m: _Map, x: Sequence[SSAValue]) -> SSAValue:
            value = m(arith.TruncFOp(x[0], narrow)) if narrow != memory else x[0]
            return m(arith.ExtFOp(value, f32)) if narrow != f32 else value

        wide = held if memory == narrow == f32 else self.map([held], TileType(shape, f32), body)
        return wide if len(shape) == 2 else self.insert(tile.BroadcastOp(wide, [1], self.scores))

    @property
    def _heads(self) -> int:
        return shape_of(self.attention.op.q)[1]

    def _seen(self, product: SSAValue, at: SSAValue) -> SSAValue:
        """The scores in units of log2, -inf for keys that are not there, and for those behind the query where it is causal."""
        ref, scale = self.refs[self.attention.k.argument], self.attention.op.scale * log2(e)
        exist = self.insert(
            tile.InsideOp(ref, [self.key_head, at, self.first], TileType([self.keys], i1), [1]), "there"
        )
        there = self.insert(tile.BroadcastOp(exist, [1], TileType(self.scores.get_shape(), i1)))
        offset = causal_offset(self.attention.op)
        bias = self._bias(at)
        inputs = [product, there, *([] if bias is None else [bias])]
        if offset is not None:
            places = TileType(self.scores.get_shape(), i32)
            inputs += [self.insert(tile.IotaOp(0, places, self.row)), self.insert(tile.IotaOp(1, places, at))]

        def body(m: _Map, x: Sequence[SSAValue]) -> SSAValue:
            scaled, hidden, seen = m(arith.MulfOp(x[0], m.number(scale))), m.number(float("-inf")), x[1]
            if bias is not None:
                scaled = m(arith.AddfOp(scaled, m(arith.MulfOp(x[2], m.number(log2(e))))))
            if offset is not None:
                query, key = x[-2:]
                last = m(arith.AddiOp(query, m.number(offset, i32))) if offset else query
                seen = m(arith.AndIOp(seen, m(arith.CmpiOp(last, key, "sge"))))
            return m(arith.SelectOp(seen, scaled, hidden))

        return self.map(inputs, self.scores, body, "u")

    def _quotient(self, sums: SSAValue, divisor: SSAValue, element: Attribute) -> SSAValue:
        """What is stored: rounded to the attention's elements, then as the result holds it; 0 where nothing was seen."""
        own = element_of(self.attention.op.result)

        def body(m: _Map, x: Sequence[SSAValue]) -> SSAValue:
            blind = m(arith.CmpfOp(x[1], m.number(0.0), "oeq"))
            value = m(arith.SelectOp(blind, m.number(0.0), m(arith.DivfOp(x[0], x[1]))))
            value = value if own == f32 else m(arith.TruncFOp(value, own))
            return value if element == own else m(arith.ExtFOp(value, element))

        return self.map([sums, divisor], TileType(self.sums.get_shape(), element), body, "out")


def _power(m: _Map, x: Sequence[SSAValue]) -> SSAValue:
    """2 to the difference."""
    return m(math.Exp2Op(m(arith.SubfOp(x[0], x[1]))))
