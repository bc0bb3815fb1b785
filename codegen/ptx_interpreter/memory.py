"""The addresses of a launch: parameters, shared memory and buffers in one space of 64 bits, and what lies at an address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.registers import Array
from stepwell.codegen.ptx_interpreter.syntax import Shared
from stepwell.dialects.hopper.simulator.faults import MisalignedFault, OutOfBoundsFault, WriteTwiceFault
from stepwell.dialects.hopper.simulator.memory import GlobalBuffer, GlobalMemory
from stepwell.dialects.hopper.simulator.tma import TensorMap
from stepwell.dialects.hopper.simulator.wgmma import SHARED_BASE

PARAMETERS = 0x400
"""Address of the first parameter in parameter memory."""
PARAMETER_WINDOW = 0x7E << 40
SHARED_WINDOW = 0x7F << 40
"""Where parameter and shared memory lie in the generic space. Allocations lie 1 TiB from each other: what runs out of one falls into none."""
_FIRST_MEMORY = 0x10 << 40
_STEP = 1 << 40
INSTRUCTIONS = 20_000_000
"""How many instructions a warpgroup may execute before its loop counts as endless."""


def layout_shared(variables: Sequence[Shared]) -> tuple[Mapping[str, int], int]:
    """Absolute shared addresses by name, and the bytes of the static ones: these first, then the dynamic memory of the launch."""
    places, end = {}, SHARED_BASE
    for variable in sorted(variables, key=lambda variable: variable.size == 0):
        end = -(-end // variable.alignment) * variable.alignment
        places[variable.name] = end
        end += variable.size
    return places, end - SHARED_BASE


@dataclass
class Memory:
    """What one launch reaches: parameter bytes, tensor maps by the parameter address that holds them, and buffers. `limit`: see `INSTRUCTIONS`."""

    parameters: bytes
    maps: Mapping[int, TensorMap]
    buffers: Sequence[GlobalBuffer]
    bases: Mapping[int, int]
    limit: int = INSTRUCTIONS
    _sorted: list[tuple[int, int, GlobalBuffer]] = field(default_factory=list)

    def __post_init__(self) -> None:
        known = {(id(b.memory), b.offset, b.count, b.dtype): b for b in self.buffers}
        for buffer in known.values():
            start = self.bases[id(buffer.memory)] + buffer.offset
            self._sorted.append((start, start + buffer.count * buffer.dtype.itemsize, buffer))
        self._sorted.sort(key=lambda entry: entry[:2])

    def load(self, addresses: Array, size: int, waited: bool, what: str, threads: Array) -> Array:
        """`size` bytes at each of `addresses` (uint64), for these threads of the launch: [lanes, size]."""
        result = np.empty((len(addresses), size), np.uint8)
        for buffer, index, lanes in self._elements(addresses, size, what):
            held = buffer.load(index, waited, what, threads[lanes][:, None])
            result[lanes] = np.ascontiguousarray(held).view(np.uint8).reshape(-1, size)
        return result

    def store(self, addresses: Array, values: Array, block: int, waited: bool, what: str, threads: Array) -> None:
        """Put the bytes [lanes, size] at `addresses`, which must all be different, for these threads of the launch."""
        size = values.shape[1]
        if len(addresses) > 1 and len(np.unique(addresses)) < len(addresses):
            raise WriteTwiceFault(f"{what}: two threads write one address")
        for buffer, index, lanes in self._elements(addresses, size, what):
            held = np.ascontiguousarray(values[lanes]).view(buffer.dtype).reshape(index.shape)
            buffer.store(index, held, block, waited, what, threads[lanes][:, None])

    def _elements(self, addresses: Array, size: int, what: str) -> Iterator[tuple[GlobalBuffer, Array, Any]]:
        """The buffers that are touched, with element indices [lanes, n] and the lanes."""
        if (addresses % size).any():
            bad = int(addresses[np.argmax(addresses % size != 0)])
            raise MisalignedFault(f"{what}: address {bad:#x} is not a multiple of {size} bytes")
        signed = addresses.astype(np.int64)
        rest = np.ones(len(addresses), bool)
        for start, end, buffer in self._sorted:
            inside = rest & (signed >= start) & (signed + size <= end)
            if not inside.any():
                continue
            item = buffer.dtype.itemsize
            if size % item:
                raise MisalignedFault(f"{what}: {size} bytes are a part of an element of {buffer.name}")
            index = ((signed[inside] - start) // item)[:, None] + np.arange(size // item)
            yield buffer, index, inside
            rest &= ~inside
            if not rest.any():
                return
        self._outside(int(signed[np.argmax(rest)]), size, what)

    def _outside(self, address: int, size: int, what: str) -> None:
        named = [(start, end, b.name) for start, end, b in self._sorted if abs(address - start) < _STEP // 2]
        if not named:
            raise OutOfBoundsFault(f"{what} touches address {address:#x}, where there is no memory")
        start, end, name = min(named, key=lambda entry: min(abs(address - entry[0]), abs(address - entry[1])))
        raise OutOfBoundsFault(
            f"{what} touches {size} bytes at byte {address - start} of {name}, which has {end - start} bytes"
        )


def bases_of(memories: Sequence[GlobalMemory]) -> dict[int, int]:
    """An address for each allocation."""
    return {id(memory): _FIRST_MEMORY + _STEP * number for number, memory in enumerate(memories)}
