"""What golden kernels are made of: launches of one block, and operand bytes from a hash that no library version changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stepwell.runtime.program import TensorMap

HEADER = ".version 8.6\n.target sm_90a\n.address_size 64\n.extern .shared .align 1024 .b8 memory[];\n"


@dataclass(frozen=True)
class Golden:
    """One launch of one block of 128 threads: PTX with the entry `golden`, arguments in order (arrays are buffers that are read, a TensorMap lies over the first of them,
    numbers are u32 or, from 2^32 on, u64), the bytes that come
    out in a last buffer, the bytes of dynamic shared memory, and the Product or Copy that it is."""

    name: str
    ptx: str
    arguments: tuple[np.ndarray | TensorMap | int, ...]
    output: int
    shared: int
    meaning: Any


def hashed(count: int, seed: int) -> np.ndarray:
    """`count` words of 32 bits (the finaliser of MurmurHash3 on a counter)."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(seed * 7919 + 1)
    for multiplier, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(multiplier)
    return x ^ (x >> np.uint32(16))


def whole(count: int, seed: int, low: int = -3, high: int = 3) -> np.ndarray:
    """Whole numbers of `low` to `high`."""
    return (hashed(count, seed) % np.uint32(high - low + 1)).astype(np.int64) + low


def real(count: int, seed: int) -> np.ndarray:
    """Numbers of both signs between 2^-4 and 2^4 with all mantissa bits, as float32."""
    words = hashed(count, seed)
    exponent = (words >> np.uint32(23)) % np.uint32(8) + np.uint32(123)
    return _with_exponent(words, exponent)


def _with_exponent(words: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    return ((words & np.uint32(0x807FFFFF)) | (exponent.astype(np.uint32) << np.uint32(23))).view(np.float32)


# --- elements as bytes: `data` is whole (small whole numbers), real (all mantissa bits), tiny (subnormals among them) or any (any bits)


def start(result: str, count: int, data: str) -> np.ndarray:
    """`count` accumulators of a type."""
    words = hashed(count, 5)
    if data == "whole" or result == "s32":
        return whole(count, 5, -8 if result == "f16" else -1000, 8 if result == "f16" else 1000).astype(_TYPES[result])
    if data == "any":
        return (
            (words >> np.uint32(16)).astype(np.uint16).view(np.float16) if result == "f16" else words.view(np.float32)
        )
    if data == "tiny":
        return (real(count, 5) * np.float32(2.0**-24)).astype(_TYPES[result])
    return real(count, 5).astype(_TYPES[result])


_TYPES = {"f16": np.float16, "f32": np.float32, "s32": np.int32}


def elements(kind: str, size: int, seed: int, data: str, second: bool = False) -> np.ndarray:
    """`size` bytes of elements of a wgmma operand type, for the first operand or the second."""
    if kind in ("s8", "u8"):
        low, high = (-128, 127) if kind == "s8" else (0, 255)
        if data == "whole":
            low, high = (-3, 3) if kind == "s8" else (0, 6)
        return (whole(size, seed, low, high) & 0xFF).astype(np.uint8)
    if kind in ("e4m3", "e5m2"):
        return _bytes8(kind, size, seed, data)
    if kind == "tf32":
        return _wide(size // 4, seed, data, second).view(np.uint8)
    if kind == "bf16":
        return (_wide(size // 2, seed, data, second).view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
    return _halves(size // 2, seed, data).view(np.uint8)


def _wide(count: int, seed: int, data: str, second: bool) -> np.ndarray:
    """float32 of which an operand type takes the upper bits."""
    words = hashed(count, seed)
    match data:
        case "whole":
            return whole(count, seed).astype(np.float32)
        case "real":
            return real(count, seed)
        case (
            "tiny"
        ):  # the first about 2^-126, half of them subnormal, the second about 2^102: products near the accumulators
            return _with_exponent(words, words % np.uint32(2) + np.uint32(228 if second else 0))
    return words.view(np.float32)


def _halves(count: int, seed: int, data: str) -> np.ndarray:
    words = (hashed(count, seed) >> np.uint32(16)).astype(np.uint16)
    match data:
        case "whole":
            return whole(count, seed).astype(np.float16)
        case "real":
            return real(count, seed).astype(np.float16)
        case "tiny":
            return (words & np.uint16(0x8FFF)).view(np.float16)
    return words.view(np.float16)


def _bytes8(kind: str, size: int, seed: int, data: str) -> np.ndarray:
    """Codes of an 8-bit float."""
    exponent_bits, mantissa_bits = (4, 3) if kind == "e4m3" else (5, 2)
    words = hashed(size, seed)
    match data:
        case "whole":
            return _minifloat(whole(size, seed), exponent_bits, mantissa_bits)
        case "real":
            finite = np.uint32(0x77 if kind == "e4m3" else 0x4B)
            return ((words & np.uint32(0x80)) | (hashed(size, seed + 1) % finite)).astype(np.uint8)
        case "tiny":
            return (words & np.uint32(0x8F)).astype(np.uint8)
    return (words & np.uint32(0xFF)).astype(np.uint8)


def _minifloat(values: np.ndarray, exponent_bits: int, mantissa_bits: int) -> np.ndarray:
    """Small whole numbers as 8-bit floats."""
    bias = (1 << (exponent_bits - 1)) - 1
    magnitude = np.abs(values).astype(np.float64)
    mantissa, exponent = np.frexp(np.where(magnitude == 0, 1, magnitude))
    code = ((exponent - 1 + bias) << mantissa_bits) + np.round((mantissa * 2 - 1) * (1 << mantissa_bits)).astype(int)
    return np.where(magnitude == 0, 0, code + 128 * (values < 0)).astype(np.uint8)
