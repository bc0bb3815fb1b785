"""wgmma: descriptors decoded from their bits, operands read where the swizzled addresses lie, the accumulator fragment of 64 x N, and the one
definition of one instruction, which the simulator and the PTX interpreter share.

A K-major operand is made of core matrices of 8 rows x 16 bytes. Swizzled by W bytes, row r of the operand starts at start + (r / 8) * stride offset + (r % 8) * W and
the address bits are then exclusive-ored as TMA does; unswizzled, chunk c of row r lies at start + (r / 8) * stride offset + (r % 8) * 16 + c * leading offset.
A transposed (MN-major) operand of 16-bit elements has its rows in the chunks: with W bytes of swizzle, chunk c of k lies at start + (c / (W / 16)) * leading offset +
(c % (W / 16)) * 16 + (k / 8) * stride offset + (k % 8) * W; unswizzled at start + c * stride offset + (k / 8) * leading offset + (k % 8) * 16
(PTX ISA, "Matrix descriptor format" and "Strides"; CUTLASS, canonical layouts of GMMA descriptors).

One instruction multiplies 32 bytes of k. The hardware gives each product the sum of its operands' exponents (those of subnormals are the smallest normal one), aligns
the products and the accumulator to the largest exponent of all, cuts what lies more than 25 bits below its leading bit (13 bits for 8-bit floats), adds what is left exactly, and cuts the sum
to the 24 bits of a float32 (14 bits for 8-bit floats). This was read from random data recorded on an H200, which it reproduces bit for bit, as the whole numbers (`tests/codegen/ptx_interpreter/test_golden.py`).
Subnormals, infinities and NaN go the same way. An f16 accumulator is not cut but rounded once, to nearest, and what rounds to nothing is +0.
Of a tf32 operand the hardware reads the upper 19 bits and ignores the lower 13: whoever wants rounding rounds before (TMA does, with the map's type tf32).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.dialects.hopper.simulator.faults import DescriptorFault, MisalignedFault
from stepwell.dialects.hopper.simulator.memory import Array, Granules, SharedMemory, granules_of
from stepwell.dialects.hopper.simulator.tma import frozen, swizzle_address

K_BYTES = 32
ROWS = 64
"""M of wgmma."""
SHARED_BASE = 1024
"""Absolute address of the dynamic shared memory: wgmma descriptors carry absolute addresses, everything else offsets from here."""
_MODES = {0: 0, 1: 128, 2: 64, 3: 32}
_LARGEST_DESCRIPTOR = (1 << 64) - 1


@dataclass(frozen=True)
class Descriptor:
    """A decoded shared-memory descriptor; bytes."""

    start: int
    leading: int
    stride: int
    swizzle: int

    @staticmethod
    def decode(bits: int) -> Descriptor:
        """Fields of the 64 bits: address >> 4 in 0-13, leading offset >> 4 in 16-29, stride offset >> 4 in 32-45, base offset in 49-51, mode in 62-63."""
        bits &= _LARGEST_DESCRIPTOR
        if (bits >> 49) & 7:
            raise DescriptorFault(
                f"descriptor {bits:#018x} has a base offset; tiles are expected to be aligned to their swizzle atom"
            )
        return Descriptor(
            (bits & 0x3FFF) << 4, (bits >> 16 & 0x3FFF) << 4, (bits >> 32 & 0x3FFF) << 4, _MODES[bits >> 62]
        )

    @staticmethod
    def decode_dynamic(bits: int) -> Descriptor:
        """`decode`, with the start counted from the dynamic shared memory."""
        absolute = Descriptor.decode(bits)
        return Descriptor(absolute.start - SHARED_BASE, absolute.leading, absolute.stride, absolute.swizzle)

    def moved(self, by: int) -> Descriptor:
        """The same tile, from `by` bytes further on."""
        return Descriptor(self.start + by, self.leading, self.stride, self.swizzle) if by else self

    def straight(self, rows: int, moves: tuple[int, ...]) -> tuple[Array, Granules]:
        """Addresses of the 16-byte chunks of a K-major operand, for instructions that begin `moves` bytes further on: [rows, 2 * moves]; their units."""
        return _straight_chunks(self, rows, moves)

    def transposed(self, rows: int, moves: tuple[int, ...]) -> tuple[Array, Granules]:
        """The same of an MN-major operand of 16-bit elements: [16 * moves, rows / 8]; their units."""
        return _transposed_chunks(self, rows, moves)

    def chunks(self, rows: int) -> Array:
        """Addresses of the two 16-byte chunks of each row of one instruction's operand: [rows, 2]."""
        row, chunk = np.arange(rows)[:, None], np.arange(2)[None]
        if self.swizzle == 0:
            return self.start + (row // 8) * self.stride + (row % 8) * 16 + chunk * self.leading
        self._check_stride()
        return swizzle_address(
            self.start + (row // 8) * self.stride + (row % 8) * self.swizzle + chunk * 16, self.swizzle
        )

    def transposed_chunks(self, rows: int) -> Array:
        """As `transposed`, uncached and without units."""
        k, chunk = np.arange(K_BYTES // 2)[:, None], np.arange(rows // 8)[None]
        if self.swizzle == 0:
            return self.start + chunk * self.stride + (k // 8) * self.leading + (k % 8) * 16
        self._check_stride()
        across = self.swizzle // 16
        place = (chunk // across) * self.leading + (chunk % across) * 16 + (k // 8) * self.stride
        return swizzle_address(self.start + place + (k % 8) * self.swizzle, self.swizzle)

    def _check_stride(self) -> None:
        if self.stride % (8 * self.swizzle):
            raise MisalignedFault(
                f"the stride offset {self.stride} of a {self.swizzle}-byte swizzle is not a multiple of {8 * self.swizzle}"
            )


@lru_cache(maxsize=4096)
def _straight_chunks(first: Descriptor, rows: int, moves: tuple[int, ...]) -> tuple[Array, Granules]:
    chunks = frozen(np.concatenate([first.moved(by).chunks(rows) for by in moves], axis=1))
    return chunks, granules_of(chunks)


@lru_cache(maxsize=4096)
def _transposed_chunks(first: Descriptor, rows: int, moves: tuple[int, ...]) -> tuple[Array, Granules]:
    chunks = frozen(np.concatenate([first.moved(by).transposed_chunks(rows) for by in moves], axis=0))
    return chunks, granules_of(chunks)


@dataclass(frozen=True)
class Operand:
    """One operand of a product: `rows` of A or of transposed B, elements of type `kind`, behind a descriptor; `transposed` where its columns lie side by
    side in memory, `negative` where its elements change their sign. It is read by one instruction for each of `moves`, so many bytes further on."""

    descriptor: Descriptor
    rows: int
    kind: str
    transposed: bool = False
    negative: bool = False
    moves: tuple[int, ...] = (0,)

    def chunks(self) -> tuple[Array, Granules]:
        """The 16-byte chunks that the instructions read, and their units."""
        read = self.descriptor.transposed if self.transposed else self.descriptor.straight
        return read(self.rows, self.moves)

    def numbers(self, read: Array) -> Array:
        """What was read at the chunks, as [rows, k]."""
        turned = read.T if self.transposed else read
        return -turned if self.negative else turned


# --- elements


def _float8(exponent_bits: int, mantissa_bits: int, has_infinity: bool) -> Array:
    """The 256 values of an 8-bit float (OCP 8-bit floating point specification: e4m3 has no infinities and NaN only as all ones)."""
    code = np.arange(256)
    exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = code & ((1 << mantissa_bits) - 1)
    bias, last = (1 << (exponent_bits - 1)) - 1, (1 << exponent_bits) - 1
    fraction = mantissa / (1 << mantissa_bits)
    value = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - float(bias)))
    if has_infinity:
        value = np.where(exponent == last, np.where(mantissa == 0, np.inf, np.nan), value)
    else:
        value = np.where(code & 0x7F == 0x7F, np.nan, value)
    return frozen(np.where(code >> 7 == 1, -value, value).astype(np.float32))


_E4M3, _E5M2 = _float8(4, 3, False), _float8(5, 2, True)


@dataclass(frozen=True)
class Element:
    """An operand type: bytes [rows, n] to numbers, float32 or int32; the exponent of its smallest normal number; bits kept behind the leading one when products are aligned and
    in the result."""

    decode: Callable[[Array], Array]
    smallest: int = 0
    aligned: int = 25
    kept: int = 23


ELEMENTS: Mapping[str, Element] = MappingProxyType(
    {
        "f16": Element(lambda raw: raw.view(np.float16).astype(np.float32), -14),
        "bf16": Element(lambda raw: (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32), -126),
        "tf32": Element(lambda raw: (raw.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32), -126),
        "e4m3": Element(lambda raw: _E4M3[raw], -6, 13, 13),
        "e5m2": Element(lambda raw: _E5M2[raw], -14, 13, 13),
        "s8": Element(lambda raw: raw.view(np.int8).astype(np.int32)),
        "u8": Element(lambda raw: raw.astype(np.int32)),
    }
)
"""Operand types by PTX suffix."""


def read_operand(memory: SharedMemory, addresses: Array, kind: str) -> Array:
    """The operand at chunk `addresses` [rows, chunks] as numbers [rows, k]; `kind` is one of `ELEMENTS`."""
    if kind not in ELEMENTS:
        raise DescriptorFault(f"there is no wgmma operand type {kind}")
    return ELEMENTS[kind].decode(memory.bytes.reshape(-1, 16)[addresses >> 4].reshape(len(addresses), -1))


# --- accumulators


@lru_cache(maxsize=64)
def fragment_map(columns: int) -> tuple[Array, Array]:
    """Rows and columns [128, columns / 2] of the accumulator registers of a warpgroup: lane l of warp w, register 4j + 2h + e holds
    row 16w + l / 4 + 8h, column 8j + 2 (l % 4) + e (PTX ISA, "Register fragments for wgmma")."""
    thread = np.arange(128)[:, None]
    register = np.arange(columns // 2)[None]
    row = thread // 32 * 16 + thread % 32 // 4 + register // 2 % 2 * 8
    column = register // 4 * 8 + thread % 4 * 2 + register % 2
    return np.broadcast_to(row, (128, columns // 2)), np.broadcast_to(column, (128, columns // 2))


def register_operand(registers: Array, kind: str) -> Array:
    """A [64, k] from the registers of a warpgroup, [128, k / 2] elements of 16 bits (or pairs of them): they lie as accumulators do (PTX ISA, "Register
    fragments for wgmma.mma_async.m64nNk16")."""
    held = ELEMENTS[kind].decode(np.ascontiguousarray(registers).view(np.uint8))
    rows, columns = fragment_map(2 * held.shape[1])
    numbers: Array = np.empty((ROWS, 2 * held.shape[1]), np.float32)
    numbers[rows, columns] = held
    return numbers


def accumulate(registers: Array, a: Array, b: Array, kind_a: str, kind_b: str) -> Array:
    """One instruction: registers [128, N / 2] + a [64, k] * b [N, k]^T, k one instruction's (see the module's text). Integers wrap."""
    rows, columns = fragment_map(len(b))
    start = np.empty((64, len(b)))
    start[rows, columns] = registers
    left, right = a.astype(np.float64), b.astype(np.float64)
    first, second = ELEMENTS[kind_a], ELEMENTS[kind_b]
    if registers.dtype == np.int32:
        return (left @ right.T + start).astype(np.int64).astype(np.int32)[rows, columns]
    if _is_exact(left, right, start, first.kept):
        return (left @ right.T + start).astype(registers.dtype)[rows, columns]
    with np.errstate(over="ignore", invalid="ignore"):
        total = _aligned_sum(left, right, start, first, second)
    if registers.dtype == np.float16:
        return _nearest_half(total)[rows, columns]
    return _cut(total, first.kept, registers.dtype)[rows, columns]


def _is_exact(left: Array, right: Array, start: Array, bits: int) -> bool:
    """Whether all are whole numbers whose sums fit, so that nothing is cut."""
    bound = np.abs(left).max() * np.abs(right).max() * left.shape[1] + np.abs(start).max()
    return bool(bound < 1 << bits) and all((np.rint(x) == x).all() for x in (left, right, start))


_NO_EXPONENT = -10000


def _exponents(values: Array, smallest: int) -> Array:
    """The exponents of the leading bits, at least `smallest`; zeros have none."""
    return np.where(values == 0, _NO_EXPONENT, np.maximum(np.frexp(values)[1] - 1, smallest))


def _aligned_sum(left: Array, right: Array, start: Array, first: Element, second: Element) -> Array:
    """The sum [64, N] of all products and the accumulator, each cut at its last kept bit; the sum of what is left is exact in float64."""
    products = left[:, None, :] * right[None, :, :]
    exponents = _exponents(left, first.smallest)[:, None, :] + _exponents(right, second.smallest)[None, :, :]
    largest = np.maximum(exponents.max(axis=2), _exponents(start, -126))
    scale = np.where(largest < _NO_EXPONENT // 2, 0, largest) - first.aligned
    np.trunc(np.ldexp(products, -scale[:, :, None], out=products), out=products)
    return np.asarray(np.ldexp(products.sum(axis=2) + np.trunc(np.ldexp(start, -scale)), scale))


def _nearest_half(total: Array) -> Array:
    """Rounded once to float16, to nearest; what rounds to nothing is +0."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(total.astype(np.float16) + np.float16(0))


def _cut(total: Array, bits: int, dtype: np.dtype[Any]) -> Array:
    """Rounded toward zero to `bits` bits behind the leading one, then to the accumulator's type."""
    scale = bits - _exponents(total, -126)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.ldexp(np.trunc(np.ldexp(total, scale)), -scale).astype(dtype)
