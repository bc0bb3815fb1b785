"""Shared memory with a shadow per 16 bytes, and global memory with bounds, initialisation and writers.

The shadow keeps the last writer and its epoch, the last epoch at which each agent read, and whether the last write went through the generic proxy (and
which fence made it visible to the async proxy). 16 bytes is the unit of swizzling and of TMA; two warps that write different parts of one unit without a
barrier are reported, although hardware orders them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepwell.dialects.hopper.simulator.agents import NOBODY, Agents, Vector
from stepwell.dialects.hopper.simulator.faults import (
    BarrierFault,
    DescriptorFault,
    MisalignedFault,
    MissingFenceFault,
    OutOfBoundsFault,
    PredecessorFault,
    RaceFault,
    UninitialisedFault,
    WriteTwiceFault,
)

GRANULE = 16
POISON = 0xA5
ANY_SWIZZLE = -1
"""The mark of units that threads wrote: only they know how."""

Array = NDArray[Any]
Granules = NDArray[np.int64] | slice


def granules_of(addresses: Array) -> Granules:
    """The 16-byte units that byte addresses fall in; a slice when they are contiguous (much faster to look up)."""
    units = np.unique(addresses >> 4)
    if len(units) and units[-1] - units[0] + 1 == len(units):
        return slice(int(units[0]), int(units[-1]) + 1)
    return units


class SharedMemory:
    """The bytes of one block's shared memory and who may touch them when. Addresses are byte offsets from the dynamic shared base."""

    def __init__(self, size: int, agents: Agents) -> None:
        self.size = size
        self.bytes: NDArray[np.uint8] = np.full(-(-size // GRANULE) * GRANULE, POISON, np.uint8)
        count = len(self.bytes) // GRANULE
        self._agents = agents
        self._writer = np.full(count, NOBODY, np.int32)
        self._written = np.zeros(count, np.int32)
        self._read = np.zeros((count, agents.readers), np.int32)
        self._generic = np.zeros(count, bool)
        self._fencer = np.full(count, NOBODY, np.int32)
        self._fenced = np.zeros(count, np.int32)
        self._barrier = np.zeros(count, bool)
        self._swizzle = np.zeros(count, np.int16)

    def reserve_barrier(self, address: int) -> None:
        """The unit at `address` holds an mbarrier: data accesses to it are faults."""
        if not 0 <= address <= self.size - 8:
            raise OutOfBoundsFault(f"the mbarrier at byte {address} lies outside {self.size} bytes of shared memory")
        if self._writer[address >> 4] != NOBODY:
            raise BarrierFault(f"the mbarrier at byte {address} is initialised where data was written")
        self._barrier[address >> 4] = True

    def check_read(self, units: Granules, agent: int, epoch: int, vector: Vector, *, generic: bool, what: str) -> None:
        """Agent `agent`, knowing `vector`, reads `units` in its epoch `epoch`."""
        self._check_range(units, what)
        writer = self._writer[units]
        if (writer == NOBODY).any():
            raise UninitialisedFault(
                f"{what} reads shared memory that nobody wrote, first at byte {self._first(units, writer == NOBODY)}"
            )
        self._check_ordered(units, vector, "reads", what)
        if not generic:
            self._check_fenced(units, vector, what)
        self._read[units, agent] = epoch

    def check_write(self, units: Granules, agent: int, epoch: int, vector: Vector, *, generic: bool, what: str) -> None:
        """Agent `agent`, knowing `vector`, overwrites `units` in its epoch `epoch`."""
        self._check_range(units, what)
        self._check_ordered(units, vector, "overwrites", what)
        late = self._read[units] > vector[None, : self._agents.readers]
        if agent < self._agents.readers:
            late[:, agent] = False
        if late.any():
            byte = self._first(units, late.any(axis=1))
            raise RaceFault(
                f"{what} overwrites data that may still be read, first at byte {byte}",
                hint="wait for the empty barrier first",
            )
        self._writer[units] = agent
        self._written[units] = epoch
        self._generic[units] = generic
        self._fencer[units] = NOBODY

    def mark_swizzle(self, units: Granules, swizzle: int) -> None:
        """The tile in `units` was written with this swizzle."""
        self._swizzle[units] = swizzle

    def check_swizzle(self, units: Granules, swizzle: int, what: str) -> None:
        """A reader that undoes a swizzle must undo the one that the tile was written with."""
        written_with = self._swizzle[units]
        other = (written_with != swizzle) & (written_with != ANY_SWIZZLE)
        if other.any():
            written = int(self._swizzle[units][np.argmax(other)])
            raise DescriptorFault(
                f"{what} reads with swizzle {swizzle} what was written with swizzle {written}, first at byte {self._first(units, other)}"
            )

    def fence(self, warp: int) -> None:
        """`fence.proxy.async` by `warp`: the generic stores that it knows of become visible to the async proxy for whoever it hands on to."""
        known = self._agents.known[warp]
        mine = self._generic & (self._fencer == NOBODY) & (self._written <= known[self._writer])
        self._fencer[mine] = warp
        self._fenced[mine] = known[warp]

    def load(self, addresses: Array, dtype: np.dtype[Any]) -> Array:
        """The elements at byte `addresses` (no checks)."""
        return self.bytes.view(dtype)[addresses // dtype.itemsize]

    def store(self, addresses: Array, values: Array) -> None:
        """Put `values` at byte `addresses` (no checks)."""
        self.bytes.view(values.dtype)[addresses // values.dtype.itemsize] = values

    def _check_range(self, units: Granules, what: str) -> None:
        low, high = (
            (units.start, units.stop) if isinstance(units, slice) else (int(np.min(units)), int(np.max(units)) + 1)
        )
        if low < 0 or high > len(self._writer):
            raise OutOfBoundsFault(
                f"{what} touches bytes {low * GRANULE} to {high * GRANULE} of {self.size} bytes of shared memory"
            )
        if self._barrier[units].any():
            raise BarrierFault(f"{what} touches the mbarrier at byte {self._first(units, self._barrier[units])}")

    def _check_ordered(self, units: Granules, vector: Vector, verb: str, what: str) -> None:
        late = self._written[units] > vector[self._writer[units]]
        if late.any():
            hint = "wait for the full barrier first" if verb == "reads" else "the earlier copy was not waited for"
            raise RaceFault(
                f"{what} {verb} data whose write it is not ordered after, first at byte {self._first(units, late)}",
                hint=hint,
            )

    def _check_fenced(self, units: Granules, vector: Vector, what: str) -> None:
        fencer = self._fencer[units]
        bare = self._generic[units] & ((fencer == NOBODY) | (self._fenced[units] > vector[fencer]))
        if bare.any():
            byte = self._first(units, bare)
            raise MissingFenceFault(
                f"{what} reads generic stores, first at byte {byte}",
                hint="hopper.proxy_fence between store and barrier",
            )

    def _first(self, units: Granules, flags: Any) -> int:
        position = int(np.argmax(flags))
        return (units.start + position if isinstance(units, slice) else int(units[position])) * GRANULE


def strided_elements(shape: Sequence[int], strides: Sequence[int]) -> NDArray[np.bool_] | None:
    """Flags of the elements that a strided view names, from its first to its last; None where they are all."""
    if 0 in shape:
        return None
    places = np.zeros((), np.int64)
    for extent, stride in zip(shape, strides, strict=True):
        places = places[..., None] + np.arange(extent) * stride
    flags = np.zeros(int(places.max()) + 1, bool)
    flags[places] = True
    return None if flags.all() else flags


@dataclass
class GlobalMemory:
    """One allocation of global memory: its bytes and, at the first byte of each element, whether it was written and by which block and, if that is said,
    thread of this launch."""

    bytes: NDArray[np.uint8]
    initialised: NDArray[np.bool_] | None = None
    writer: NDArray[np.int32] = field(init=False)
    thread: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self.writer = np.full(len(self.bytes), NOBODY, np.int32)
        self.thread = np.full(len(self.bytes), NOBODY, np.int32)

    def begin_launch(self) -> None:
        """Forget who wrote: the next launch starts."""
        self.writer.fill(NOBODY)
        self.thread.fill(NOBODY)


@dataclass
class GlobalBuffer:
    """A typed range of global memory that a kernel gets a pointer to. `constant` ones may be read before `wait_predecessor` and never written. Of a strided
    view, `elements` are flags of those that it names (None: all); what lies between them belongs to others."""

    name: str
    memory: GlobalMemory
    offset: int
    count: int
    dtype: np.dtype[Any]
    constant: bool = False
    elements: NDArray[np.bool_] | None = None

    @staticmethod
    def of_array(name: str, array: Array, *, constant: bool = False) -> GlobalBuffer:
        """A buffer of its own with the values of `array` (flattened, copied)."""
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8).copy()
        return GlobalBuffer(name, GlobalMemory(raw), 0, array.size, array.dtype, constant)

    @staticmethod
    def poisoned(name: str, count: int, dtype: Any) -> GlobalBuffer:
        """A buffer of `count` elements that nobody wrote."""
        size = count * np.dtype(dtype).itemsize
        return GlobalBuffer(
            name, GlobalMemory(np.full(size, POISON, np.uint8), np.zeros(size, bool)), 0, count, np.dtype(dtype)
        )

    def values(self) -> Array:
        """The elements, flat; a view of the memory."""
        return self.memory.bytes[self.offset : self.offset + self.count * self.dtype.itemsize].view(self.dtype)

    def written(self) -> NDArray[np.bool_]:
        """Which elements this launch wrote."""
        return self.memory.writer[self._first_bytes()] != NOBODY

    def missing(self) -> NDArray[np.bool_]:
        """Which elements this launch did not write and should."""
        return ~self.written() if self.elements is None else self.elements & ~self.written()

    def load(self, index: Array, waited: bool, what: str, threads: Array | None = None) -> Array:
        """Elements at `index` (any shape). `waited`: whether the reader's predecessors are known to be done; `threads`: which of the launch reads each
        (of the same rank): a thread may read what itself wrote."""
        flat = self._check(index, waited, what)
        if self.memory.initialised is not None and not self.memory.initialised[flat].all():
            raise UninitialisedFault(
                f"{what} reads {self.name} at element {self._bad(index, ~self.memory.initialised[flat])}, which nobody wrote"
            )
        other = self.memory.writer[flat] != NOBODY
        if threads is not None and other.any():
            other &= self.memory.thread[flat] != threads
        if other.any():
            raise RaceFault(f"{what} reads {self.name} at element {self._bad(index, other)}, which this launch writes")
        return self.values()[index]

    def store(
        self, index: Array, values: Array, block: int, waited: bool, what: str, threads: Array | None = None
    ) -> None:
        """Put `values` at `index`, all elements different, for block number `block` and, where it is known, thread of the launch."""
        if self.constant:
            raise WriteTwiceFault(f"{what} writes {self.name}, which is constant")
        flat = self._check(index, waited, what)
        if self.elements is not None and not self.elements[index].all():
            raise OutOfBoundsFault(
                f"{what} writes {self.name} at element {self._bad(index, ~self.elements[index])}, which lies between those of the view"
            )
        again = self.memory.writer[flat] != NOBODY
        if again.any():
            first = int(self.memory.writer[flat].reshape(-1)[np.argmax(again)])
            raise WriteTwiceFault(
                f"{what} writes {self.name} at element {self._bad(index, again)}, which block {first} wrote before"
            )
        self.memory.writer[flat] = block
        self.memory.thread[flat] = NOBODY if threads is None else threads
        if self.memory.initialised is not None:
            self.memory.initialised[flat] = True
        self.values()[index] = values

    def check_alignment(self, index: Array, width: int, what: str) -> None:
        """A vector access of `width` elements needs an address that is a multiple of its bytes (at most 16)."""
        size = self.dtype.itemsize
        unit = min(width * size, GRANULE)
        wrong = (self.offset + index * size) % unit != 0
        if wrong.any():
            raise MisalignedFault(
                f"{what} accesses {self.name} at element {self._bad(index, wrong)}, not a multiple of {unit} bytes"
            )

    def _check(self, index: Array, waited: bool, what: str) -> Array:
        if not self.constant and not waited:
            raise PredecessorFault(
                f"{what} touches {self.name} before the predecessor is waited for", hint="warp.wait_predecessor first"
            )
        outside = (index < 0) | (index >= self.count)
        if outside.any():
            raise OutOfBoundsFault(f"{what} touches {self.name} at element {self._bad(index, outside)} of {self.count}")
        return self.offset + index * self.dtype.itemsize

    def _first_bytes(self) -> Array:
        return self.offset + np.arange(self.count) * self.dtype.itemsize

    @staticmethod
    def _bad(index: Array, flags: Array) -> int:
        return int(index.reshape(-1)[np.argmax(flags)])
