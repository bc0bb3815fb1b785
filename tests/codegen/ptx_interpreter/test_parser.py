"""Reading PTX: declarations, scopes, operands; and texts that nobody should write, each refused with its line."""

from __future__ import annotations

import random

import pytest

from stepwell.codegen.ptx_interpreter import PtxRefused, parse
from stepwell.codegen.ptx_interpreter.decoder import decode_entry
from stepwell.codegen.ptx_interpreter.flow import order
from stepwell.codegen.ptx_interpreter.memory import layout_shared
from stepwell.codegen.ptx_interpreter.syntax import Address, Immediate, Negated, Register, Symbol, Target, Vector
from stepwell.testing.golden import copies

HEADER = ".version 8.6\n.target sm_90a\n.address_size 64\n"


def entry(body: str, parameters: str = "") -> str:
    return f"{HEADER}.visible .entry k({parameters})\n{{\n{body}\n}}\n"


def test_parameters_lie_as_the_driver_puts_them() -> None:
    text = entry(
        "ret;",
        ".param .u32 a, .param .u64 .ptr .global .align 1 b, .param .align 64 .b8 c[128], .param .u8 d, .param .f64 e",
    )
    parameters = parse(text).entries["k"].parameters
    assert [(p.name, p.offset, p.size) for p in parameters] == [
        ("a", 0, 4),
        ("b", 8, 8),
        ("c", 64, 128),
        ("d", 192, 1),
        ("e", 200, 8),
    ]


def test_scopes_have_registers_and_labels_of_their_own() -> None:
    body = """.reg .b32 %r<2>; .reg .pred p;
    { .reg .b32 %r0; LOOP: mov.b32 %r0, %r1; @p bra LOOP; { @!p bra OUT; } }
    { LOOP: bra.uni LOOP; }
    OUT: mov.b32 %r0, %r1; ret;"""
    parsed = parse(entry(body)).entries["k"]
    first, second, third, fourth, last, _ = parsed.instructions
    inner, outer = first.operands[0], last.operands[0]
    assert isinstance(inner, Register) and isinstance(outer, Register) and inner.number != outer.number
    assert [i.operands for i in (second, third, fourth)] == [(Target(0),), (Target(4),), (Target(3),)]
    assert third.negated and not second.negated and parsed.registers == {32: 3, 1: 1}
    assert [i.line for i in parsed.instructions] == [7, 7, 7, 8, 9, 9]


def test_operands() -> None:
    body = """.reg .b32 %r<9>; .reg .b64 %rd<2>; .reg .pred p; .shared .align 16 .b8 memory[64];
    test.b32 {%r1, %r2}, [%rd1+16], [memory+010], [%rd0, {%r3, -4}], 0x1F, 0f3F800000, 0d3FF0000000000000, !p, memory, 7U;"""
    (instruction,) = parse(entry(body)).entries["k"].instructions
    vector, at, place, coordinates, hexadecimal, single, double, negated, symbol, unsigned = instruction.operands
    assert isinstance(vector, Vector) and len(vector.items) == 2
    assert isinstance(at, Address) and at.offset == 16
    assert place == Address(Symbol("memory"), 8)
    assert isinstance(coordinates, Address) and coordinates.coordinates is not None
    assert coordinates.coordinates.items[1] == Immediate(-4)
    assert (
        hexadecimal == Immediate(31)
        and single == Immediate(0x3F800000, "f32")
        and double == Immediate(0x3FF << 52, "f64")
    )
    assert isinstance(negated, Negated) and symbol == Symbol("memory") and unsigned == Immediate(7)


def test_static_shared_memory_lies_below_the_dynamic() -> None:
    text = f"{HEADER}.extern .shared .align 1024 .b8 dynamic[];\n.shared .align 8 .b8 flags[12];\n.shared .b64 one;\n"
    places, size = layout_shared(parse(text).shared)
    assert places == {"flags": 1024, "one": 1040, "dynamic": 2048} and size == 1024


def test_blocks_of_a_loop_come_before_what_is_behind_it() -> None:
    body = """.reg .pred p; .reg .b32 %r<2>;
    bra.uni HEAD; OUT: mov.b32 %r0, 1; ret;
    HEAD: @p bra OUT; mov.b32 %r0, 2; @p bra SHORT; mov.b32 %r0, 3; SHORT: bra.uni HEAD;"""
    instructions = parse(entry(body)).entries["k"].instructions
    rank = {i.text: r for i, r in zip(instructions, order(instructions), strict=True)}
    assert rank["bra.uni HEAD"] in (0, 4) and rank["@p bra OUT"] < rank["mov.b32 %r0, 2"] < rank["mov.b32 %r0, 3"]
    assert rank["mov.b32 %r0, 1"] == max(rank.values())


REFUSED = {
    "deep scopes": entry("{" * 3000 + "}" * 3000),
    "a number of many digits": entry(".reg .b32 %r<" + "9" * 5000 + ">;"),
    "registers without end": entry(".reg .b32 %r<1000000000>;"),
    "an alignment of nothing": entry("ret;", ".param .align 0 .b8 p[4]"),
    "an alignment that is no power of two": HEADER + ".shared .align 3 .b8 a[4];",
    "less than nothing": HEADER + ".shared .align 4 .b8 a[-4];",
    "more than memory": HEADER + ".shared .align 4 .b8 a[9999999999];",
    "two entries of one name": entry("ret;") + ".visible .entry k() { ret; }",
    "two labels of one name": entry("A: ret; A: ret;"),
    "an octal number with a nine": entry(".reg .b32 a; mov.b32 a, 019;"),
    "a text that ends": entry("ret;")[:-3],
    "addresses of 32 bits": ".address_size 32",
    "a function": HEADER + ".func f() { ret; }",
    "a global variable": HEADER + ".global .b32 x;",
    "8-bit registers": entry(".reg .b8 a;"),
    "an unknown type": entry(".reg .q32 a;"),
    "a guard that is no register": entry("@q ret;"),
    "a guard that is no predicate": entry(".reg .b32 a; @a mov.b32 a, 1;"),
    "letters of other alphabets": entry(".reg .b32 é;"),
    "a comment that never ends": entry("/* ret;"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nobody_should_write_is_refused_with_its_line(name: str) -> None:
    with pytest.raises(PtxRefused, match="PTX line "):
        module = parse(REFUSED[name])
        for each in module.entries:
            decode_entry(module, each)


WORDS = [
    "{",
    "}",
    "[",
    "]",
    ";",
    ",",
    "@",
    "!",
    ".reg",
    ".b32",
    "0",
    "9" * 30,
    "-1",
    "%r1",
    "%rd1",
    ".align",
    "<",
    ">",
    "|",
    ":",
    "é",
    '"',
    "/*",
]


@pytest.mark.parametrize("seed", range(3))
def test_damaged_texts_are_read_or_refused(seed: int) -> None:
    generator, text = random.Random(seed), copies()[3].ptx
    for _ in range(60):
        damaged = text
        for _ in range(generator.randint(1, 4)):
            at, to = generator.randrange(len(damaged)), generator.randrange(len(damaged))
            piece = generator.choice([generator.choice(WORDS), "", damaged[to : to + generator.randint(1, 40)]])
            damaged = damaged[:at] + piece + damaged[at + generator.randint(0, 12) :]
        try:
            module = parse(damaged)
            for each in module.entries:
                decode_entry(module, each)
        except PtxRefused:
            continue
