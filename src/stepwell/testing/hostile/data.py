"""Changed bytes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Change = Callable[[bytearray, Random], bytearray]
ODD = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)


def mutated_bytes(data: bytes, random: Random, changes: int | None = None) -> bytes:
    """`data` after one to four changes: bits flipped, bytes set, pieces cut out, doubled, moved, numbers written over, the end cut off."""
    made = bytearray(data)
    for _ in range(changes or random.randint(1, 4)):
        made = random.choice(CHANGES)(made, random)
    return bytes(made)


def _at(data: bytearray, random: Random) -> int:
    """A position; headers and trailers more often than what lies between."""
    size = max(1, len(data))
    return random.choice(
        (random.randrange(size), random.randrange(min(size, 64)), size - 1 - random.randrange(min(size, 64)))
    )


def _flip(data: bytearray, random: Random) -> bytearray:
    if data:
        data[_at(data, random)] ^= 1 << random.randrange(8)
    return data


def _set(data: bytearray, random: Random) -> bytearray:
    if data:
        data[_at(data, random)] = random.choice((*ODD, random.randrange(256)))
    return data


def _cut_end(data: bytearray, random: Random) -> bytearray:
    return data[: _at(data, random)]


def _cut_out(data: bytearray, random: Random) -> bytearray:
    at = _at(data, random)
    return data[:at] + data[at + random.choice((1, 2, 4, 16, 100)) :]


def _double(data: bytearray, random: Random) -> bytearray:
    at = _at(data, random)
    piece = data[at : at + random.choice((1, 4, 32, 300))]
    return data[:at] + piece + data[at:]


def _move(data: bytearray, random: Random) -> bytearray:
    begin, to = _at(data, random), _at(data, random)
    piece = data[begin : begin + random.choice((1, 8, 64))]
    rest = data[:begin] + data[begin + len(piece) :]
    return rest[:to] + piece + rest[to:]


def _number(data: bytearray, random: Random) -> bytearray:
    size = random.choice((2, 4, 8))
    value = random.choice((0, 1, -1, 1 << (8 * size - 1), (1 << (8 * size - 1)) - 1, random.getrandbits(8 * size)))
    at = _at(data, random)
    data[at : at + size] = (value % (1 << (8 * size))).to_bytes(size, random.choice(("little", "big")))
    return data


def _noise(data: bytearray, random: Random) -> bytearray:
    at = _at(data, random)
    return data[:at] + random.randbytes(random.choice((1, 3, 17))) + data[at:]


CHANGES: tuple[Change, ...] = (_flip, _flip, _set, _cut_end, _cut_out, _double, _move, _number, _noise)
