"""Integer and predicate arithmetic (PTX ISA, "Integer Arithmetic", "Logic and Shift", "Extended Precision" and packed ones excepted): two's complement, wrapping."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.operation import TYPES, Operation, uniform
from stepwell.codegen.ptx_interpreter.registers import Array

_INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
_TWICE = {"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}


def _wide(type: str) -> Any:
    wide = TYPES[_TWICE[type]]
    return lambda a, b: a.astype(wide) * b.astype(wide)


def _high(type: str) -> Any:
    wide, narrow = TYPES[_TWICE[type]], TYPES[type]
    return lambda a, b: ((a.astype(wide) * b.astype(wide)) >> (8 * narrow.itemsize)).astype(narrow)


def _high_unsigned(a: Array, b: Array) -> Array:
    """The upper half of a product of two u64, from the products of their halves."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    middle = a1 * b0 + ((a0 * b0) >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half)


def _high_signed(a: Array, b: Array) -> Array:
    """The upper half of a product of two s64: a negative factor counts as 2^64 more in the unsigned product."""
    high = _high_unsigned(a.view(np.uint64), b.view(np.uint64)).view(np.int64)
    return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0)


def _shift_left(a: Array, amount: Array) -> Array:
    """An amount of the width or more gives 0."""
    bits = 8 * a.dtype.itemsize
    clamped = np.minimum(amount, bits - 1).astype(a.dtype)
    return np.where(amount < bits, a << clamped, a.dtype.type(0))


def _shift_right(a: Array, amount: Array) -> Array:
    """An amount of the width or more gives 0, or the sign."""
    bits = 8 * a.dtype.itemsize
    clamped = np.minimum(amount, bits - 1).astype(a.dtype)
    return a >> clamped if a.dtype.kind == "i" else np.where(amount < bits, a >> clamped, a.dtype.type(0))


def _bit_field(a: Array, position: Array, length: Array) -> Array:
    """bfe of an unsigned type: `length` bits from `position` on; both count modulo 256."""
    bits = 8 * a.dtype.itemsize
    start, count = (position & 0xFF).astype(np.uint64), (length & 0xFF).astype(np.uint64)
    moved = np.where(start < bits, a.astype(np.uint64) >> np.minimum(start, bits - 1), np.uint64(0))
    below = (np.uint64(1) << np.minimum(count, np.uint64(63))) - np.uint64(1)
    return np.where(count < bits, moved & below, moved).astype(a.dtype)


def _signed_bit_field(a: Array, position: Array, length: Array) -> Array:
    """bfe of a signed type: the field's highest bit, or that of `a` where the field reaches beyond it, is its sign."""
    bits = 8 * a.dtype.itemsize
    raw = a.view(f"u{a.dtype.itemsize}")
    field = _bit_field(raw, position, length).astype(np.uint64)
    start, count = (position & 0xFF).astype(np.int64), (length & 0xFF).astype(np.int64)
    last = np.minimum(start + count - 1, bits - 1).clip(0).astype(np.uint64)
    sign = np.where(count == 0, np.uint64(0), (raw.astype(np.uint64) >> last) & np.uint64(1))
    kept = np.minimum(count, bits - start).clip(0, bits).astype(np.uint64)
    above = np.where(kept < bits, sign << np.minimum(kept, np.uint64(63)), np.uint64(0))
    return (field - above).astype(raw.dtype).view(a.dtype)


def _permute(a: Array, b: Array, selector: Array) -> Array:
    """prmt.b32: byte i of the result is the one of {b, a} that nibble i names; with its highest bit set, that byte's sign eight times."""
    both = (b.astype(np.uint64) << np.uint64(32)) | a.astype(np.uint64)
    result = np.zeros(np.broadcast_shapes(a.shape, b.shape, selector.shape), np.uint32)
    for place in range(4):
        nibble = (selector >> np.uint32(4 * place)) & np.uint32(15)
        byte = ((both >> (np.uint64(8) * (nibble & np.uint32(7)).astype(np.uint64))) & np.uint64(255)).astype(np.uint32)
        signs = np.where(byte >= 128, np.uint32(255), np.uint32(0))
        result |= np.where(nibble >= 8, signs, byte) << np.uint32(8 * place)
    return result


def _divide(a: Array, b: Array) -> Array:
    """Rounded toward zero; PTX leaves x / 0 open, here it is all ones, as on hardware."""
    quotient = np.floor_divide(a - np.fmod(a, b), b) if a.dtype.kind == "i" else np.floor_divide(a, b)
    return np.where(b == 0, a.dtype.type(-1) if a.dtype.kind == "i" else np.iinfo(a.dtype).max, quotient)


def _remainder(a: Array, b: Array) -> Array:
    return np.where(b == 0, a, np.fmod(a, b))


_PAIRS = {"add": np.add, "min": np.minimum, "max": np.maximum}


def _in_halves(function: Any, type: str) -> Any:
    """`function` on both halves of each register."""
    half = TYPES[type]

    def compute(a: Array, b: Array) -> Array:
        first, second = (np.ascontiguousarray(v).view(half) for v in np.broadcast_arrays(a, b))
        return np.asarray(function(first, second)).view(np.uint32)

    return compute


def _table() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for type in _INTEGERS:
        dtype = TYPES[type]
        found |= {
            f"add.{type}": uniform(np.add, type, 2),
            f"sub.{type}": uniform(np.subtract, type, 2),
            f"mul.lo.{type}": uniform(np.multiply, type, 2),
            f"mad.lo.{type}": uniform(lambda a, b, c: a * b + c, type, 3),
            f"div.{type}": uniform(_divide, type, 2),
            f"rem.{type}": uniform(_remainder, type, 2),
            f"min.{type}": uniform(np.minimum, type, 2),
            f"max.{type}": uniform(np.maximum, type, 2),
            f"shr.{type}": Operation(_shift_right, dtype, (dtype, TYPES["u32"])),
        }
    for type in ("u16", "s16"):
        found |= {f"{name}.{type}x2": uniform(_in_halves(f, type), "b32", 2) for name, f in _PAIRS.items()}
    for type in ("s16", "s32", "s64"):
        found[f"neg.{type}"] = uniform(np.negative, type, 1)
        found[f"abs.{type}"] = uniform(np.abs, type, 1)
    for type, twice in _TWICE.items():
        dtype, wide = TYPES[type], TYPES[twice]
        product = _wide(type)
        found[f"mul.wide.{type}"] = Operation(product, wide, (dtype, dtype))
        found[f"mul.hi.{type}"] = Operation(_high(type), dtype, (dtype, dtype))
        found[f"mad.wide.{type}"] = Operation(_added(product), wide, (dtype, dtype, wide))
    found["mul.hi.u64"] = uniform(_high_unsigned, "u64", 2)
    found["mul.hi.s64"] = uniform(_high_signed, "s64", 2)
    for bits in ("b16", "b32", "b64"):
        dtype = TYPES[bits]
        found[f"shl.{bits}"] = Operation(_shift_left, dtype, (dtype, TYPES["u32"]))
        found[f"shr.{bits}"] = Operation(_shift_right, dtype, (dtype, TYPES["u32"]))
    for bits in ("b16", "b32", "b64", "pred"):
        found |= {
            f"and.{bits}": uniform(np.bitwise_and, bits, 2),
            f"or.{bits}": uniform(np.bitwise_or, bits, 2),
            f"xor.{bits}": uniform(np.bitwise_xor, bits, 2),
            f"not.{bits}": uniform(np.invert, bits, 1),
        }
    found["prmt.b32"] = uniform(_permute, "b32", 3)
    for type, function in {"u": _bit_field, "s": _signed_bit_field}.items():
        for width in (32, 64):
            dtype, amount = TYPES[f"{type}{width}"], TYPES["u32"]
            found[f"bfe.{type}{width}"] = Operation(function, dtype, (dtype, amount, amount))
    return found


def _added(product: Any) -> Any:
    return lambda a, b, c: product(a, b) + c


OPERATIONS: Mapping[str, Operation] = MappingProxyType(_table())
"""By whole name."""
