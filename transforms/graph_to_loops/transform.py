"""Random numbers, Fourier transforms and determinants."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, prod, sin

from xdsl.dialects import arith
from xdsl.dialects.builtin import Float64Type, TensorType, f32, f64, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter_transform import DIGITS, LOW, MULTIPLIERS, ROUNDS, WEYL
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.transforms.graph_to_loops.phases import Operand, Phases, Table
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter
from stepwell.transforms.tensors import shape_of


def _word(body: LoopWriter, value: SSAValue, first: int) -> SSAValue:
    """The 32 bits of an i64 from bit `first` on."""
    if first:
        value = body.insert(arith.ShRUIOp(value, body.constant(first, i64))).result
    return body.binary("and", value, int(LOW))


def _philox(body: LoopWriter, counter: Sequence[SSAValue], key: Sequence[SSAValue]) -> list[SSAValue]:
    """Philox 4x32-10, words of 32 bits in i64: `interpreter_transform.philox`."""
    c, (k0, k1) = list(counter), key
    for _ in range(ROUNDS):
        p0, p1 = (body.binary("mul", c[2 * n], _signed(int(MULTIPLIERS[n]))) for n in range(2))
        left = body.binary("xor", body.binary("xor", _word(body, p1, 32), c[1]), k0)
        right = body.binary("xor", body.binary("xor", _word(body, p0, 32), c[3]), k1)
        c = [left, _word(body, p1, 0), right, _word(body, p0, 0)]
        k0, k1 = (_word(body, body.binary("add", k, int(w)), 0) for k, w in zip((k0, k1), WEYL, strict=True))
    return c


def _signed(value: int) -> int:
    """The same 64 bits as a signed number."""
    return value - 2**64 if value >= 2**63 else value


def write_random(op: graph.RandomOp, phases: Phases) -> list[Operand]:
    """A run for each number."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element = type_.get_shape(), type_.element_type
    digits, wide = DIGITS[numpy_dtype(element).name], f64 if isinstance(element, Float64Type) else f32

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        first, second = (body.load(ins[0], [position]) for position in range(2))
        index = body.from_index(number)
        counter = [_word(body, index, 0), _word(body, index, 32), _word(body, second, 0), _word(body, second, 32)]
        words = _philox(body, counter, [_word(body, first, 0), _word(body, first, 32)])
        high = body.insert(arith.ShLIOp(words[0], body.constant(32, i64))).result
        bits = body.insert(arith.ShRUIOp(body.binary("or", high, words[1]), body.constant(64 - digits, i64))).result
        made = body.binary("mul", body.cast(bits, wide), 2.0**-digits)
        body.store(body.cast(made, element), outs[0], body.unravel(number, shape))

    return phases.kernel(phases.operands, [type_], prod(shape), write)


def write_dft(op: graph.DftOp, phases: Phases) -> list[Operand]:
    """A run for each value of the result, which adds up all terms in f64; cosine and sine come from a table of one turn. Quadratic along the dim."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element, length = type_.get_shape(), type_.element_type, op.length
    given, parts = shape_of(op.operand)[op.dim], shape_of(op.operand)[-1]
    half = op.onesided and op.inverse
    terms = min(given, length // 2 + 1 if half else length)
    turn = [2 * pi * step / length * (1 if op.inverse else -1) for step in range(length)]
    table = Table(tuple(f(angle) for angle in turn for f in (cos, sin)), TensorType(f64, (length, 2)))

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape[:-1])
        value = body.from_index(at[op.dim])
        with body.loop(0, terms, body.constant(0, f64), body.constant(0, f64)) as loop:
            place = [*at[: op.dim], loop.index, *at[op.dim + 1 :]]
            real = body.cast(body.load(ins[0], [*place, 0]), f64)
            step = body.binary("mul", body.from_index(loop.index), value)
            angle = body.to_index(body.insert(arith.RemUIOp(step, body.constant(length, i64))).result)
            c, s = (body.load(ins[1], [angle, part]) for part in range(2))
            imaginary = body.cast(body.load(ins[0], [*place, 1]), f64) if parts == 2 else body.constant(0, f64)
            term_real = body.binary("sub", body.binary("mul", real, c), body.binary("mul", imaginary, s))
            term_imaginary = body.binary("add", body.binary("mul", real, s), body.binary("mul", imaginary, c))
            if half:
                single = body.compare_index("eq", loop.index, 0)
                if length % 2 == 0:
                    single = body.either(single, body.compare_index("eq", loop.index, length // 2))
                twice = body.binary("mul", term_real, 2)
                term_real = body.select(single, body.binary("mul", real, c), twice)
            loop.next = [
                body.binary("add", a, b) for a, b in zip(loop.carried, (term_real, term_imaginary), strict=True)
            ]
        scale = length if op.inverse else 1
        for part in range(shape[-1]):
            made = body.binary("div", loop.results[part], scale) if scale > 1 else loop.results[part]
            body.store(body.cast(made, element), outs[0], [*at, part])

    return phases.kernel([*phases.operands, table], [type_], prod(shape[:-1]), write)


def write_determinant(op: graph.DeterminantOp, phases: Phases) -> list[Operand]:
    """A run for each matrix, which eliminates column after column in f64, the largest element of what is left being the pivot. What it keeps is written once:
    the row of each pivot, each column before and behind its division (0 in rows that are done), and the rows of pivots."""
    type_ = op.result.type
    assert isinstance(type_, TensorType)
    shape, element, size = type_.get_shape(), type_.element_type, shape_of(op.operand)[-1]
    kept = [TensorType(f64, (*shape, size, size))] * 3

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape)
        result, rows, sums, factors, pivots = outs
        with body.loop(0, size, body.constant(1, f64)) as steps:
            k = steps.index

            def left(row: SSAValue, k: SSAValue = k) -> tuple[SSAValue, SSAValue]:
                """Whether no pivot stands in this row yet, and how many pivots stand below it."""
                with body.loop(0, k, body.truth(), body.constant(0, i64)) as before:
                    taken = body.load(rows, [*at, before.index])
                    other = body.compare("ne", taken, body.from_index(row))
                    below = body.compare("gt", taken, body.from_index(row))
                    unused, count = before.carried
                    more = body.binary("add", count, body.cast(below, i64))
                    before.next = [body.both(unused, other), more]
                return before.results[0], before.results[1]

            def remaining(row: Index, column: Index, k: SSAValue = k) -> SSAValue:
                """An element less what earlier pivots take off."""
                start = body.cast(body.load(ins[0], [*at, row, column]), f64)
                with body.loop(0, k, start) as before:
                    factor = body.load(factors, [*at, row, before.index])
                    term = body.binary("mul", factor, body.load(pivots, [*at, before.index, column]))
                    before.next = [body.binary("sub", before.carried[0], term)]
                return before.results[0]

            start = body.constant(-1, f64), body.constant(0, f64), body.index(0)
            with body.loop(0, size, *start) as search:
                value = remaining(search.index, k)
                body.store(value, sums, [*at, search.index, k])
                amount, (most, pivot, row) = body.unary("abs", value), search.carried
                larger = body.either(body.compare("gt", amount, most), body.compare("ne", value, value))
                chosen = body.both(left(search.index)[0], larger)
                pairs = (amount, most), (value, pivot), (search.index, row)
                search.next = [body.select(chosen, new, old) for new, old in pairs]
            _, pivot, row = search.results
            swaps = left(row)[1]
            body.store(body.from_index(row), rows, [*at, k])
            with body.loop(0, size) as columns:
                body.store(remaining(row, columns.index), pivots, [*at, k, columns.index])
            with body.loop(0, size) as others:
                eliminated = body.both(left(others.index)[0], body.compare_index("ne", others.index, row))
                quotient = body.binary("div", body.load(sums, [*at, others.index, k]), pivot)
                some = body.both(eliminated, body.compare("ne", pivot, 0))
                body.store(body.select(some, quotient, 0), factors, [*at, others.index, k])
            odd = body.compare("eq", body.binary("and", swaps, 1), 1)
            signed = body.select(odd, body.unary("neg", pivot), pivot)
            steps.next = [body.binary("mul", steps.carried[0], signed)]
        body.store(body.cast(steps.results[0], element), result, at)

    types = [type_, TensorType(i64, (*shape, size)), *kept]
    return phases.kernel(phases.operands, types, prod(shape), write)[:1]
