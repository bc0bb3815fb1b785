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
    return ((words & np.uint32(0x807FFFFF)) | (exponent << np.uint32(23))).view(np.float32)


# --- elements as bytes


def _minifloat(values: np.ndarray, exponent_bits: int, mantissa_bits: int) -> np.ndarray:
    """Small whole numbers as 8-bit floats."""
    bias = (1 << (exponent_bits - 1)) - 1
    magnitude = np.abs(values).astype(np.float64)
    mantissa, exponent = np.frexp(np.where(magnitude == 0, 1, magnitude))
    code = ((exponent - 1 + bias) << mantissa_bits) + np.round((mantissa * 2 - 1) * (1 << mantissa_bits)).astype(int)
    return np.where(magnitude == 0, 0, code + 128 * (values < 0)).astype(np.uint8)


def elements(kind: str, size: int, seed: int, exact: bool) -> np.ndarray:
    """`size` bytes of elements of a wgmma operand type."""
    if kind in ("s8", "u8"):
        low, high = ((-128, 127) if kind == "s8" else (0, 255)) if not exact else ((-3, 3) if kind == "s8" else (0, 6))
        return (whole(size, seed, low, high) & 0xFF).astype(np.uint8)
    if kind in ("e4m3", "e5m2"):
        if not exact:
            finite = 0x77 if kind == "e4m3" else 0x4B
            return ((hashed(size, seed) & np.uint32(0x80)) | (hashed(size, seed + 1) % np.uint32(finite))).astype(
                np.uint8
            )
        return _minifloat(whole(size, seed), *((4, 3) if kind == "e4m3" else (5, 2)))
    if kind == "tf32":
        return (whole(size // 4, seed).astype(np.float32) if exact else real(size // 4, seed)).view(np.uint8)
    values = whole(size // 2, seed).astype(np.float32) if exact else real(size // 2, seed)
    if kind == "f16":
        return values.astype(np.float16).view(np.uint8)
    return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16).view(np.uint8)
