"""Each family of instructions against NumPy (or Python's integers), and what is refused by name."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from tests.codegen.ptx_interpreter.one_instruction import THREADS, floats, integers, run

from stepwell.codegen.ptx_interpreter import PtxRefused
from stepwell.codegen.ptx_interpreter.operation import TYPES


def wrapped(value: int, type: str) -> int:
    """Two's complement."""
    bits = 8 * TYPES[type].itemsize
    value &= (1 << bits) - 1
    return value - (1 << bits) if TYPES[type].kind == "i" and value >> (bits - 1) else value


def quotient(a: int, b: int) -> int:
    return (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1)


INTEGER: dict[str, Callable[..., int]] = {
    "add": operator.add, "sub": operator.sub, "mul.lo": operator.mul, "min": min, "max": max,
    "mad.lo": lambda a, b, c: a * b + c,
}  # fmt: skip


@pytest.mark.parametrize("type", ["u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("name", [*INTEGER, "div", "rem", "mul.wide", "mul.hi", "mad.wide", "neg", "abs"])
def test_integer_arithmetic(name: str, type: str) -> None:
    if (name in ("neg", "abs") and type[0] == "u") or (name.endswith(".wide") and "4" in type):
        with pytest.raises(PtxRefused, match="unknown"):
            parse_and_decode(f"{name}.{type} %d, %a0, %a1;", type)
        return
    a, b, c = (integers(type, seed) for seed in range(3))
    result = type
    if name in ("mul.wide", "mad.wide"):
        result = type[0] + str(2 * int(type[1:]))
        c = integers(result, 2)
    count = {"neg": 1, "abs": 1, "mad.lo": 3, "mad.wide": 3}.get(name, 2)
    if name in ("div", "rem"):
        b = np.where(b == 0, 7, b).astype(b.dtype)
    bits = 8 * TYPES[type].itemsize
    functions: dict[str, Callable[..., int]] = {
        **INTEGER, "div": quotient, "rem": lambda x, y: x - quotient(x, y) * y, "mul.wide": operator.mul,
        "mul.hi": lambda x, y: (x * y) >> bits, "mad.wide": lambda x, y, z: x * y + z, "neg": operator.neg, "abs": abs,
    }  # fmt: skip
    operands = [a, b, c][:count]
    expected = [wrapped(functions[name](*map(int, row)), result) for row in zip(*operands, strict=True)]
    types = [type, type, result][:count]
    named = ", ".join(["%d", *(f"%a{i}" for i in range(count))])
    found = run(f"{name}.{type} {named};", result, *zip(types, operands, strict=True))
    assert found.tolist() == expected


def parse_and_decode(body: str, type: str) -> None:
    run(body, type, (type, integers(type, 0)), (type, integers(type, 1)))


@pytest.mark.parametrize("name", ["and", "or", "xor", "not"])
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_logic(name: str, bits: int) -> None:
    a, b = integers(f"u{bits}", 0), integers(f"u{bits}", 1)
    expected = {"and": a & b, "or": a | b, "xor": a ^ b, "not": ~a}[name]
    body = f"{name}.b{bits} %d, %a0{'' if name == 'not' else ', %a1'};"
    np.testing.assert_array_equal(run(body, f"u{bits}", (f"u{bits}", a), (f"u{bits}", b)), expected)


@pytest.mark.parametrize(
    "name", ["shl.b16", "shl.b32", "shl.b64", "shr.u16", "shr.s16", "shr.u32", "shr.s32", "shr.u64", "shr.s64"]
)
def test_shifts_by_any_amount(name: str) -> None:
    type = name.split(".")[1].replace("b", "u")
    a, amount = integers(type, 0), np.arange(THREADS, dtype=np.uint32) * 2
    bits = int(type[1:])
    expected = [
        wrapped(int(v) << int(n) if name[2] == "l" else int(v) >> min(int(n), bits), type)
        for v, n in zip(a, amount, strict=True)
    ]
    assert run(f"{name} %d, %a0, %a1;", type, (type, a), ("u32", amount)).tolist() == expected


@pytest.mark.parametrize("type", ["u32", "s32", "u64", "s64"])
def test_bit_fields(type: str) -> None:
    a, bits = integers(type, 0), int(type[1:])
    start, count = (np.arange(THREADS, dtype=np.uint32) * n % (bits + 5) for n in (1, 5))
    expected = []
    for value, first, length in zip(a.view(f"u{bits // 8}"), start, count, strict=True):
        field = (int(value) >> int(first)) & ((1 << int(length)) - 1)
        sign = int(value) >> min(int(first) + int(length) - 1, bits - 1) & 1 if length else 0
        above = max(0, min(int(length), bits - int(first)))
        expected.append(wrapped(field - (sign << above) if type[0] == "s" else field, type))
    found = run(f"bfe.{type} %d, %a0, %a1, %a2;", type, (type, a), ("u32", start), ("u32", count))
    assert found.tolist() == expected


@pytest.mark.parametrize("type", ["f16", "f16x2", "f32", "f64"])
@pytest.mark.parametrize("name", ["add.rn", "sub.rn", "mul.rn", "neg", "abs", "min", "max"])
def test_float_arithmetic(name: str, type: str) -> None:
    a, b = floats(type, 0), floats(type, 3)
    with np.errstate(all="ignore"):
        expected = {
            "add.rn": a + b, "sub.rn": a - b, "mul.rn": a * b, "neg": -a, "abs": np.abs(a), "min": np.fmin(a, b), "max": np.fmax(a, b),
        }[name]  # fmt: skip
    body = f"{name}.{type} %d, %a0{', %a1' if name not in ('neg', 'abs') else ''};"
    np.testing.assert_array_equal(run(body, type, (type, a), (type, b)), expected)


@pytest.mark.parametrize("type", ["f32", "f64"])
@pytest.mark.parametrize("name", ["div.rn", "rcp.rn", "sqrt.rn"])
def test_quotients_and_roots_are_correctly_rounded(name: str, type: str) -> None:
    a, b = floats(type, 0), floats(type, 3)
    with np.errstate(all="ignore"):
        expected = {"div.rn": a / b, "rcp.rn": 1 / a, "sqrt.rn": np.sqrt(a)}[name]
    body = f"{name}.{type} %d, %a0{', %a1' if name == 'div.rn' else ''};"
    np.testing.assert_array_equal(run(body, type, (type, a), (type, b)), expected)


@pytest.mark.parametrize("type", ["f16", "f16x2", "f32"])
def test_fma_rounds_once(type: str) -> None:
    a, b, c = (floats(type, seed) for seed in (0, 4, 7))
    with np.errstate(all="ignore"):
        wide = a.astype(np.longdouble) * b.astype(np.longdouble) + c.astype(np.longdouble)
        expected = wide.astype(a.dtype)
    np.testing.assert_array_equal(
        run(f"fma.rn.{type} %d, %a0, %a1, %a2;", type, (type, a), (type, b), (type, c)), expected
    )


@pytest.mark.parametrize("type", ["f16", "f16x2", "f32"])
@pytest.mark.parametrize("name", ["min", "max"])
def test_nan_goes_through_min_and_max(name: str, type: str) -> None:
    a, b = floats(type, 0), floats(type, 4)
    expected = np.minimum(a, b) if name == "min" else np.maximum(a, b)
    np.testing.assert_array_equal(run(f"{name}.NaN.{type} %d, %a0, %a1;", type, (type, a), (type, b)), expected)


def test_copysign_takes_the_sign_of_its_first_operand() -> None:
    a, b = floats("f32", 0), floats("f32", 4)
    found = run("copysign.f32 %d, %a0, %a1;", "f32", ("f32", a), ("f32", b))
    np.testing.assert_array_equal(found.view(np.uint32), np.copysign(b, a).view(np.uint32))


APPROXIMATE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ex2.approx.f32": np.exp2, "lg2.approx.f32": np.log2, "rcp.approx.f32": lambda x: 1 / x, "rsqrt.approx.f32": lambda x: 1 / np.sqrt(x),
    "sqrt.approx.f32": np.sqrt, "tanh.approx.f32": np.tanh,
}  # fmt: skip


@pytest.mark.parametrize("name", APPROXIMATE)
def test_approximate_instructions_give_the_nearest_number(name: str) -> None:
    a = floats("f32", 2)
    with np.errstate(all="ignore"):
        expected = APPROXIMATE[name](a.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(run(f"{name} %d, %a0;", "f32", ("f32", a)), expected)


COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
}  # fmt: skip


@pytest.mark.parametrize("type", ["u16", "s16", "u32", "s32", "u64", "s64", "f16", "f32", "f64"])
@pytest.mark.parametrize("name", COMPARE)
def test_comparisons(name: str, type: str) -> None:
    make = floats if type[0] == "f" else integers
    a, b = make(type, 0), make(type, 1)
    b[30:40] = a[30:40]
    expected = COMPARE[name](a, b)
    unordered = np.isnan(a) | np.isnan(b) if type[0] == "f" else np.zeros(THREADS, bool)
    operands = ((type, a), (type, b))
    np.testing.assert_array_equal(run(f"setp.{name}.{type} %q, %a0, %a1;", "pred", *operands), expected & ~unordered)
    if type[0] == "f":
        found = run(f"setp.{name}u.{type} %q, %a0, %a1;", "pred", *operands)
        np.testing.assert_array_equal(found, expected | unordered)


@pytest.mark.parametrize("joined", ["and", "or", "xor"])
@pytest.mark.parametrize("sign", ["", "!"])
def test_comparisons_join_a_predicate(joined: str, sign: str) -> None:
    a, b = integers("s32", 0), integers("s32", 1)
    flag = (a & 1 == 0) ^ (sign == "!")
    expected = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[joined](a < b, flag)
    body = f"and.b32 %d, %a0, 1; setp.eq.b32 %p1, %d, 0; setp.lt.{joined}.s32 %q, %a0, %a1, {sign}%p1;"
    np.testing.assert_array_equal(run(body, "pred", ("s32", a), ("s32", b)), expected)


@pytest.mark.parametrize("to", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"])
@pytest.mark.parametrize("source", ["u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64"])
def test_integer_conversions_cut_and_extend(source: str, to: str) -> None:
    values = integers(source, 0)
    found = run(f"cvt.{to}.{source} %d, %a0;", to, (source, values))
    np.testing.assert_array_equal(found, values.astype(TYPES[to]).astype(found.dtype))


@pytest.mark.parametrize("mode", ["rni", "rzi", "rmi", "rpi"])
@pytest.mark.parametrize("to", ["s32", "u32", "s64", "f32"])
def test_floats_become_whole(mode: str, to: str) -> None:
    values = floats("f32", 0) * np.float32(3e9)
    values[20:40] /= np.float32(1e9)
    rounded = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}[mode](values.astype(np.float64))
    found = run(f"cvt.{mode}.{to}.f32 %d, %a0;", to, ("f32", values))
    if to == "f32":
        np.testing.assert_array_equal(found, rounded.astype(np.float32))
        return
    limits = np.iinfo(TYPES[to])
    expected = [
        0 if np.isnan(v) else min(max(int(v) if np.isfinite(v) else int(np.sign(v)) << 70, limits.min), limits.max)
        for v in rounded
    ]
    assert found.tolist() == expected


@pytest.mark.parametrize(
    "pair", ["f32.f16", "f64.f32", "rn.f16.f32", "rn.f32.f64", "rn.f32.s32", "rn.f16.u32", "rn.f64.s64", "rn.f32.u8"]
)
def test_conversions_to_floats(pair: str) -> None:
    to, source = pair.split(".")[-2:]
    values = (floats if source[0] == "f" else integers)(source, 0)
    with np.errstate(all="ignore"):
        expected = values.astype(TYPES[to])
    np.testing.assert_array_equal(run(f"cvt.{pair} %d, %a0;", to, (source, values)), expected)


def test_two_floats_become_one_register_of_halves() -> None:
    high, low = floats("f32", 0), floats("f32", 5)
    found = run("cvt.rn.f16x2.f32 %d, %a0, %a1;", "f16x2", ("f32", high), ("f32", low))
    np.testing.assert_array_equal(found[::2], low.astype(np.float16))
    np.testing.assert_array_equal(found[1::2], high.astype(np.float16))


def test_floats_become_bf16_and_come_back() -> None:
    high, low = floats("f32", 0), floats("f32", 5)
    found = run("cvt.rn.bf16x2.f32 %d, %a0, %a1;", "b32", ("f32", high), ("f32", low))
    for bits, values in ((found & 0xFFFF, low), (found >> 16, high)):
        expected = values.astype(ml_dtypes.bfloat16).view(np.uint16)
        np.testing.assert_array_equal(bits, np.where(np.isnan(values), 0x7FFF, expected))
    widened = run("{ .reg .b16 h; cvt.u16.u32 h, %a0; cvt.f32.bf16 %d, h; }", "f32", ("u32", found & 0xFFFF))
    np.testing.assert_array_equal(widened, low.astype(ml_dtypes.bfloat16).astype(np.float32))


def test_tf32_is_rounded_to_nearest_ties_away() -> None:
    values = np.resize(
        np.array([1 + 2.0**-11, 1 + 2.0**-10 + 2.0**-11, -1 - 2.0**-11, 1 + 2.0**-12, np.inf, 3.0]), THREADS
    )
    found = run("cvt.rna.tf32.f32 %d, %a0;", "tf32", ("f32", values.astype(np.float32)))
    expected = np.resize(np.array([1 + 2.0**-10, 1 + 2.0**-9, -1 - 2.0**-10, 1, np.inf, 3.0]), THREADS)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_moves_pack_select_and_guard() -> None:
    a, b = integers("u32", 0), integers("u32", 1)
    swapped = "{ .reg .b16 h0, h1; mov.b32 {h0, h1}, %a0; mov.b32 %d, {h1, h0}; }"
    np.testing.assert_array_equal(run(swapped, "u32", ("u32", a), ("u32", b)), (a >> 16) | (a << 16))
    low = "{ .reg .b16 h0; mov.b32 {h0, _}, %a0; mov.b32 %d, {h0, h0}; }"
    np.testing.assert_array_equal(run(low, "u32", ("u32", a), ("u32", b)), (a & 0xFFFF) * 0x10001)
    chosen = "setp.lt.u32 %p1, %a0, %a1; selp.b32 %d, %a0, %a1, %p1;"
    np.testing.assert_array_equal(run(chosen, "u32", ("u32", a), ("u32", b)), np.minimum(a, b))
    pairs = "{ .reg .pred q; setp.gt.f16x2 %p1|q, %a0, %a1; selp.b32 %d, 1, 0, %p1; @q add.u32 %d, %d, 2; }"
    x, y = (np.resize(np.array(v, np.float16), 2 * THREADS) for v in ([1, 2, 3, np.nan, 5], [2, 1, 3, 1]))
    expected = (x[0::2] > y[0::2]) + 2 * (x[1::2] > y[1::2]).astype(np.uint32)
    found = run(pairs, "u32", ("u32", x.view(np.uint32)), ("u32", y.view(np.uint32)))
    np.testing.assert_array_equal(found, expected)
    guarded = "setp.lt.u32 %p1, %a0, %a1; mov.b32 %d, %a1; @%p1 mov.b32 %d, %a0; @!%p1 add.u32 %d, %d, 1;"
    np.testing.assert_array_equal(run(guarded, "u32", ("u32", a), ("u32", b)), np.where(a < b, a, b + 1))


def test_numbers_in_the_text_mean_their_bits() -> None:
    a = floats("f32", 0)
    np.testing.assert_array_equal(run("add.rn.f32 %d, %a0, 0f3FC00000;", "f32", ("f32", a)), a + np.float32(1.5))
    wide = floats("f64", 0)
    np.testing.assert_array_equal(run("mul.rn.f64 %d, %a0, 0d4004000000000000;", "f64", ("f64", wide)), wide * 2.5)
    whole = integers("s32", 0)
    np.testing.assert_array_equal(run("add.s32 %d, %a0, -5;", "s32", ("s32", whole)), whole - 5)


def test_loops_with_a_different_length_in_each_thread_end_where_they_should() -> None:
    a = np.arange(THREADS, dtype=np.uint32)[::-1].copy()
    body = """mov.u32 %d, 0; { .reg .b32 i; mov.u32 i, 0;
      LOOP: setp.ge.u32 %p1, i, %a0; @%p1 bra OUT; add.u32 i, i, 1; and.b32 %t, i, 1; setp.eq.b32 %p2, %t, 0; @%p2 bra LOOP;
      add.u32 %d, %d, i; bra.uni LOOP; OUT: mov.u32 %t, %tid.x; }"""
    expected = [sum(i for i in range(1, int(n) + 1) if i % 2) for n in a]
    assert run(body, "u32", ("u32", a)).tolist() == expected


def test_bytes_of_two_registers_are_permuted() -> None:
    a, b, selector = (integers("u32", seed) for seed in (1, 2, 3))
    found = run("prmt.b32 %d, %a0, %a1, %a2;", "u32", ("u32", a), ("u32", b), ("u32", selector))
    for x, y, s, result in zip(a, b, selector, found, strict=True):
        both = int(x).to_bytes(4, "little") + int(y).to_bytes(4, "little")
        nibbles = [int(s) >> 4 * place & 15 for place in range(4)]
        expected = bytes((255 if both[n & 7] >> 7 else 0) if n >> 3 else both[n & 7] for n in nibbles)
        assert int(result).to_bytes(4, "little") == expected


def test_a_part_that_is_not_wanted() -> None:
    a = integers("u32", 1)
    found = run("{ .reg .b16 h; mov.b32 {_, h}, %a0; cvt.u32.u16 %d, h; }", "u32", ("u32", a))
    np.testing.assert_array_equal(found, a >> 16)


@pytest.mark.parametrize("type", ["u16", "s16"])
@pytest.mark.parametrize("name", ["add", "min", "max"])
def test_pairs_of_whole_numbers(name: str, type: str) -> None:
    a, b = integers("u32", 1), integers("u32", 2)
    found = run(f"{name}.{type}x2 %d, %a0, %a1;", "u32", ("u32", a), ("u32", b)).view(TYPES[type])
    function = {"add": np.add, "min": np.minimum, "max": np.maximum}[name]
    np.testing.assert_array_equal(found, function(a.view(TYPES[type]), b.view(TYPES[type])))
