"""Changed tokens of MLIR text: what a person mistypes, what an editor leaves behind, and what nobody would write."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

TOKEN = re.compile(
    r"""//[^\n]* | "(?:[^"\\\n]|\\.)*" | [%@\#!^][A-Za-z0-9_$.-]+ | \d+(?:x\d+)*x?[a-z]\w* | -?(?:0x[0-9a-fA-F]+|\d+(?:\.\d*(?:[eE][+-]?\d+)?)?)
    | [A-Za-z_][\w.]* | -> | :: | \s+ | .""",
    re.VERBOSE | re.DOTALL,
)
NUMBERS = (
    "0", "1", "-1", "2", "7", "64", "1000003", "2147483647", "2147483648", "4294967296", "-9223372036854775808", "9223372036854775807",
    "18446744073709551616", "1" + "0" * 40, "0.0", "1e400", "-0.0", "0x7FC00000", "0xFFFFFFFFFFFFFFFFFF",
)  # fmt: skip
TYPES = ("f16", "f32", "f64", "bf16", "f80", "i1", "i7", "i8", "i32", "i64", "i129", "si8", "ui8", "index", "none")
WORDS = ("", '"', "\\", "{", "}", "(", ")", "<", ">", "[", "]", ",", ":", "=", "->", "%", "@", "^", "#", "!", "é", "\0", "?", "*", "loc(", '"é"', "@\"\"", "%-1", "true", "dense<>")  # fmt: skip

Change = Callable[[list[str], int, Random], None]


def tokens_of(text: str) -> list[str]:
    """The text in pieces; joined they are the text."""
    return TOKEN.findall(text)


def mutated_text(text: str, random: Random, changes: int | None = None) -> str:
    """`text` after one to three changes of tokens or lines; mostly one, which more often leaves a module that verifies."""
    for _ in range(changes or random.choice((1, 1, 1, 2, 3))):
        text = _change_line(text, random) if random.random() < 0.15 else _change_token(text, random)
    return text


def _change_token(text: str, random: Random) -> str:
    pieces = tokens_of(text)
    places = [at for at, piece in enumerate(pieces) if not piece.isspace() and not piece.startswith("//")]
    if not places:
        return text + random.choice(WORDS)
    random.choice(CHANGES)(pieces, random.choice(places), random)
    return "".join(pieces)


def _change_line(text: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            del lines[one]
        case 1:
            lines.insert(other, lines[one])
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case _:
            del lines[one:]
    return "".join(lines)


def _delete(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] = ""


def _double(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] += " " + pieces[at]


def _swap(pieces: list[str], at: int, random: Random) -> None:
    other = random.randrange(len(pieces))
    pieces[at], pieces[other] = pieces[other], pieces[at]


def _other_of_its_kind(pieces: list[str], at: int, random: Random) -> None:
    """Another token of the text that begins alike: a value for a value, an op for an op."""
    alike = [piece for piece in pieces if kind_of(piece) == kind_of(pieces[at])]
    pieces[at] = random.choice(alike)


def kind_of(piece: str) -> str:
    """What a token is, by its first character and whether it has a dot: value, symbol, number, op, word, string, punctuation."""
    first = piece[:1]
    if first.isdigit() or first == "-":
        return "number"
    if first.isalpha() or first == "_":
        return "op" if "." in piece else "word"
    return first


def _number(pieces: list[str], at: int, random: Random) -> None:
    """An odd number: in place of this token, or of a number inside of it (`4x16xf32`)."""
    numbers = list(re.finditer(r"\d+", pieces[at]))
    value = random.choice(NUMBERS)
    if not numbers:
        pieces[at] = value
        return
    chosen = random.choice(numbers)
    pieces[at] = pieces[at][: chosen.start()] + value + pieces[at][chosen.end() :]


def _nearby(pieces: list[str], at: int, random: Random) -> None:
    """A number in the token moves by one, doubles or changes its sign."""
    numbers = list(re.finditer(r"\d+", pieces[at]))
    if not numbers:
        return _number(pieces, at, random)
    chosen = random.choice(numbers)
    value = int(chosen[0])
    new = random.choice((value + 1, value - 1, 2 * value, -value))
    pieces[at] = pieces[at][: chosen.start()] + str(new) + pieces[at][chosen.end() :]
    return None


def _type(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] = re.sub(r"(b?f|[su]?i)\d+$|index$", random.choice(TYPES), pieces[at])


def _word(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] = random.choice(WORDS)


def _insert(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] = random.choice(WORDS) + " " + pieces[at]


def _cut(pieces: list[str], at: int, random: Random) -> None:
    pieces[at] = pieces[at][: random.randrange(len(pieces[at]) + 1)]


CHANGES: tuple[Change, ...] = (
    _delete, _double, _swap, _other_of_its_kind, _other_of_its_kind, _other_of_its_kind, _number, _number, _nearby, _nearby, _type, _word,
    _insert, _cut,
)  # fmt: skip
