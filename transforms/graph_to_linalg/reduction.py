"""Reductions and what is made of them, as linalg: a reduction is one generic, what stands between two of them is elementwise. What reads the
result of a reduction repeats it by the map of its operand, so that no broadcast is an op of its own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerType, i32, i64
from xdsl.dialects.linalg import ops as linalg
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.ir.affine import AffineMap

from stepwell.dialects import graph
from stepwell.dialects.graph.elementwise import expand_binary, expand_cast
from stepwell.dialects.graph.ops_normalise import statistics_element
from stepwell.dialects.graph.scalar_sequence import ScalarSequence, is_floating
from stepwell.dialects.numpy_types import highest_of, lowest_of, numpy_dtype
from stepwell.transforms.graph_to_linalg.linalg_builder import LinalgBuilder, ScalarBody, dims, element_of, shape_of

Operands = Sequence[SSAValue]
_COMBINE = {"sum": "add", "product": "mul", "max": "max", "min": "min", "and": "and", "or": "or"}
"""Kinds of `graph.reduce` as the binary kinds that combine two elements."""


def identity_of(kind: str, element: Attribute) -> float | int:
    """What a reduction of nothing gives, as a number of the element type."""
    if kind in ("max", "min") and is_floating(element):
        return float("-inf") if kind == "max" else float("inf")
    if kind in ("max", "min"):
        dtype = numpy_dtype(element)
        return int(lowest_of(dtype) if kind == "max" else highest_of(dtype))
    if kind == "and":
        return 1 if isinstance(element, IntegerType) and element.width.data == 1 else -1
    return int(kind == "product")


def reduced(build: LinalgBuilder, x: SSAValue, over: Sequence[int], kind: str, total: Attribute) -> SSAValue:
    """The elements of some dims of `x` made one, in the element type `total`; the dims vanish."""
    if not over:
        return x if total == element_of(x) else build.elementwise([x], total, lambda s: expand_cast(s[0], total))
    shape, rank = shape_of(x), len(shape_of(x))
    kept = [dim for dim in range(rank) if dim not in over]
    place = {dim: loop for loop, dim in enumerate([*kept, *over])}
    maps = [AffineMap(rank, 0, tuple(dims(*(place[dim] for dim in range(rank))))), AffineMap(rank, 0, tuple(dims(*range(len(kept)))))]  # fmt: skip

    def combine(scalars: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        wide, value = expand_cast(scalars[0], total)
        ops, result = expand_binary(_COMBINE[kind], scalars[1], value)
        return [*wide, *ops], result

    start = build.filled([shape[dim] for dim in kept], total, identity_of(kind, total))
    return build.generic([x], start, maps, len(over), combine)


def mapped(
    build: LinalgBuilder,
    shape: Sequence[int],
    inputs: Sequence[tuple[SSAValue, Sequence[int]]],
    element: Attribute,
    body: ScalarBody,
) -> SSAValue:
    """An elementwise generic of this shape; each input is given with the dims that its own run along."""
    rank = len(shape)
    maps = [AffineMap(rank, 0, tuple(dims(*along))) for _, along in inputs]
    values = [value for value, _ in inputs]
    return build.generic(values, build.empty(shape, element), [*maps, AffineMap.identity(rank)], 0, body)


def convert_reduce(op: graph.ReduceOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """One reduction, sums and products of 16-bit floats in f32, rounded once."""
    (x,) = operands
    element = element_of(op.result)
    total = statistics_element(element) if op.kind in ("sum", "product") else element
    value = reduced(build, x, op.dims, op.kind, total)
    return value if total == element else build.elementwise([value], element, lambda s: expand_cast(s[0], element))


def convert_softmax(op: graph.SoftmaxOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """The maximum, the powers of what lies below it, their sum, the quotient; 16-bit floats are widened first."""
    (x,) = operands
    shape, element = shape_of(x), element_of(x)
    wide = statistics_element(element)
    every = range(len(shape))
    kept = [dim for dim in every if dim not in op.dims]
    along = kept if op.dims else every
    most = reduced(build, x, op.dims, "max", element)

    def shifted(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        (a, left), (b, right) = expand_cast(s[0], wide), expand_cast(s[1], wide)
        made = arith.SubfOp(left, right)
        return [*a, *b, made], made.result

    below = mapped(build, shape, [(x, every), (most, along)], wide, shifted)
    powers = mapped(build, shape, [(below, every)], wide, lambda s: _one(math.ExpOp(s[0])))
    total = reduced(build, powers, op.dims, "sum", wide)
    if op.log:
        total = build.elementwise([total], wide, lambda s: _one(math.LogOp(s[0])))

    def result(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        made = arith.SubfOp(s[0], s[1]) if op.log else arith.DivfOp(s[0], s[1])
        narrow, value = expand_cast(made.result, element)
        return [made, *narrow], value

    return mapped(build, shape, [(below if op.log else powers, every), (total, along)], element, result)


def _one(op: Operation) -> tuple[list[Operation], SSAValue]:
    return [op], op.results[0]


def convert_normalize(op: graph.NormalizeOp, operands: Operands, build: LinalgBuilder) -> tuple[SSAValue, ...]:
    """The mean, what is left without it, the mean of its squares, the quotient; statistics of 16-bit floats in f32."""
    (x,) = operands
    shape, element, wide = shape_of(x), element_of(x), element_of(op.means)
    every = range(len(shape))
    along = [dim for dim in every if dim not in op.dims]
    count = float(prod(shape[dim] for dim in op.dims))

    def mean(value: SSAValue) -> SSAValue:
        return build.elementwise([value], wide, lambda s: _with_number(arith.DivfOp, s[0], count))

    def centred(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        ops, value = expand_cast(s[0], wide)
        made = arith.SubfOp(value, s[1])
        return [*ops, made], made.result

    if op.center:
        means = mean(reduced(build, x, op.dims, "sum", wide))
        rest = mapped(build, shape, [(x, every), (means, along)], wide, centred)
    else:
        rest = x if element == wide else build.elementwise([x], wide, lambda s: expand_cast(s[0], wide))
    squares = build.elementwise([rest], wide, lambda s: _one(arith.MulfOp(s[0], s[0])))
    variance = mean(reduced(build, squares, op.dims, "sum", wide))
    if not op.center:
        means = build.elementwise([variance], wide, lambda s: _zero(s[0]))

    def inverse(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        made = ScalarSequence()
        root = made.op(math.SqrtOp, made.op(arith.AddfOp, s[0], made.constant(op.epsilon, s[0])))
        return made.ops, made.op(arith.DivfOp, made.constant(1.0, root), root)

    deviations = build.elementwise([variance], wide, inverse)

    def scaled(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        made = arith.MulfOp(s[0], s[1])
        ops, value = expand_cast(made.result, element)
        return [made, *ops], value

    return mapped(build, shape, [(rest, every), (deviations, along)], element, scaled), means, deviations


def _zero(like: SSAValue) -> tuple[list[Operation], SSAValue]:
    s = ScalarSequence()
    made = s.constant(0.0, like)
    return s.ops, made


def _with_number(kind: type[Operation], value: SSAValue, number: float) -> tuple[list[Operation], SSAValue]:
    """`kind` of a value and a constant."""
    s = ScalarSequence()
    made = s.op(kind, value, s.constant(number, value))
    return s.ops, made


def convert_arg_reduce(op: graph.ArgReduceOp, operands: Operands, build: LinalgBuilder) -> SSAValue:
    """The extreme, then the least (or greatest) of the positions that hold it: a NaN is the extreme where there is one, and equals nothing, so
    that the positions of NaNs count too. Positions are i32 where that holds them: tiles of every target do, too."""
    (x,) = operands
    shape = shape_of(x)
    every = range(len(shape))
    along = [dim for dim in every if dim != op.dim]
    extreme = reduced(build, x, [op.dim], op.kind, element_of(x))
    kind, number = "max" if op.last else "min", i32 if shape[op.dim] < 2**31 else i64

    def position(s: Sequence[SSAValue]) -> tuple[list[Operation], SSAValue]:
        counted = linalg.IndexOp(op.dim)
        index = arith.IndexCastOp(counted.results[0], number)
        made = ScalarSequence()
        found = made.compare("eq", s[0], s[1])
        if is_floating(s[0].type):
            found = made.op(arith.OrIOp, found, made.compare("ne", s[0], s[0]))
        other = made.constant(identity_of(kind, number), index.result)
        chosen = made.op(arith.SelectOp, found, index.result, other, result=number)
        return [counted, index, *made.ops], chosen

    positions = mapped(build, shape, [(x, every), (extreme, along)], number, position)
    found = reduced(build, positions, [op.dim], kind, number)
    return found if number == i64 else build.elementwise([found], i64, lambda s: expand_cast(s[0], i64))


__all__ = ["convert_arg_reduce", "convert_normalize", "convert_reduce", "convert_softmax"]
