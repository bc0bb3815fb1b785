"""wgmma: descriptors decoded from their bits, operands read where the swizzled addresses lie, and the accumulator fragment of 64 x N.

A K-major operand is made of core matrices of 8 rows x 16 bytes. Swizzled by W bytes, row r of the operand starts at start + (r / 8) * stride offset + (r % 8) * W and
the address bits are then exclusive-ored as TMA does; unswizzled, chunk c of row r lies at start + (r / 8) * stride offset + (r % 8) * 16 + c * leading offset
(PTX ISA, "Matrix descriptor format" and "Strides"). tf32 operands use the upper 19 bits of an f32; the lower 13 are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stepwell.dialects.hopper.simulator.faults import DescriptorFault, MisalignedFault
from stepwell.dialects.hopper.simulator.memory import Array, Granules, SharedMemory, granules_of
from stepwell.dialects.hopper.simulator.tma import frozen, swizzle_address

K_BYTES = 32
_MODES = {0: 0, 1: 128, 2: 64, 3: 32}


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
        bits &= (1 << 64) - 1
        if (bits >> 49) & 7:
            raise DescriptorFault(
                f"descriptor {bits:#018x} has a base offset; tiles are expected to be aligned to their swizzle atom"
            )
        return Descriptor(
            (bits & 0x3FFF) << 4, (bits >> 16 & 0x3FFF) << 4, (bits >> 32 & 0x3FFF) << 4, _MODES[bits >> 62]
        )

    def steps(self, rows: int, count: int) -> tuple[Array, Granules]:
        """Addresses of the 16-byte chunks of `count` instructions' operand, each 32 bytes further along k: [rows, 2 * count]; their units."""
        return _chunks_of_steps(self, rows, count)

    def chunks(self, rows: int) -> Array:
        """Addresses of the two 16-byte chunks of each row of one instruction's operand: [rows, 2]."""
        row, chunk = np.arange(rows)[:, None], np.arange(2)[None]
        if self.swizzle == 0:
            return self.start + (row // 8) * self.stride + (row % 8) * 16 + chunk * self.leading
        if self.stride % (8 * self.swizzle):
            raise MisalignedFault(
                f"the stride offset {self.stride} of a {self.swizzle}-byte swizzle is not a multiple of {8 * self.swizzle}"
            )
        return swizzle_address(
            self.start + (row // 8) * self.stride + (row % 8) * self.swizzle + chunk * 16, self.swizzle
        )


@lru_cache(maxsize=4096)
def _chunks_of_steps(first: Descriptor, rows: int, count: int) -> tuple[Array, Granules]:
    moved = [Descriptor(first.start + K_BYTES * s, first.leading, first.stride, first.swizzle) for s in range(count)]
    chunks = frozen(np.concatenate([descriptor.chunks(rows) for descriptor in moved], axis=1))
    return chunks, granules_of(chunks)


def read_operand(memory: SharedMemory, addresses: Array, kind: str) -> Array:
    """The operand at chunk `addresses` [rows, chunks] as float32 [rows, k]; `kind` is f16, bf16 or tf32."""
    raw = memory.bytes.reshape(-1, 16)[addresses >> 4].reshape(len(addresses), -1)
    match kind:
        case "f16":
            return raw.view(np.float16).astype(np.float32)
        case "bf16":
            return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        case "tf32":
            return (raw.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)
    raise DescriptorFault(f"there is no wgmma operand type {kind}")


@lru_cache(maxsize=64)
def fragment_map(columns: int) -> tuple[Array, Array]:
    """Rows and columns [128, columns / 2] of the accumulator registers of a warpgroup: lane l of warp w, register 4j + 2h + e holds
    row 16w + l / 4 + 8h, column 8j + 2 (l % 4) + e (PTX ISA, "Register fragments for wgmma")."""
    thread = np.arange(128)[:, None]
    register = np.arange(columns // 2)[None]
    row = thread // 32 * 16 + thread % 32 // 4 + register // 2 % 2 * 8
    column = register // 4 * 8 + thread % 4 * 2 + register % 2
    return np.broadcast_to(row, (128, columns // 2)), np.broadcast_to(column, (128, columns // 2))


def accumulate(registers: Array, a: Array, b: Array) -> Array:
    """registers [128, N / 2] + a [64, k] * b [N, k]^T in float32; hardware's summation order is not modelled (exact while sums are small integers)."""
    rows, columns = fragment_map(len(b))
    return registers + (a @ b.T)[rows, columns]
