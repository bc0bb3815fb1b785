"""mbarriers (count, bytes, phase parity) and named barriers, with what their users learn from each other.

Parity rule of `mbarrier.try_wait.parity`: waiting for parity p ends once a phase of parity p has completed and the current phase has the other parity; so on
a fresh barrier (phase 0) a wait for parity 1 ends at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stepwell.dialects.hopper.simulator.agents import Agents, Vector
from stepwell.dialects.hopper.simulator.faults import (
    BarrierBytesFault,
    BarrierFault,
    MisalignedFault,
    MissingFenceFault,
    UnfinishedFault,
)
from stepwell.dialects.hopper.simulator.memory import SharedMemory

_MAX_TRANSACTIONS = (1 << 20) - 1
_MAX_COUNT = (1 << 20) - 1


@dataclass
class MemoryBarrier:
    """One mbarrier. `expected` and `arrived` are bytes of the current phase, `in_flight` the bytes of copies issued on it that have not landed."""

    address: int
    count: int
    pending: int
    initialiser: int
    init_epoch: int
    vector: Vector
    fenced: bool = False
    phase: int = 0
    expected: int = 0
    arrived: int = 0
    in_flight: int = 0
    completed: list[Vector | None] = field(default_factory=lambda: [None, None])

    def state(self) -> str:
        """For messages: what the current phase still lacks."""
        return f"phase {self.phase}: {self.pending} of {self.count} arrivals and {self.expected - self.arrived} bytes missing"


class MemoryBarriers:
    """All mbarriers of a block, by shared address."""

    def __init__(self, agents: Agents, memory: SharedMemory) -> None:
        self._agents, self._memory = agents, memory
        self._barriers: dict[int, MemoryBarrier] = {}

    def init(self, warp: int, address: int, count: int) -> None:
        """`mbarrier.init`: a generic store that others see after `fence_barrier_init` and a barrier."""
        if address % 8:
            raise MisalignedFault(f"the mbarrier at byte {address} is not 8-byte aligned")
        if not 1 <= count <= _MAX_COUNT:
            raise BarrierFault(f"the mbarrier at byte {address} gets the count {count}; 1 to {_MAX_COUNT} are allowed")
        if address in self._barriers:
            raise BarrierFault(f"the mbarrier at byte {address} is initialised twice")
        self._memory.reserve_barrier(address)
        vector = np.zeros_like(self._agents.known[warp])
        self._barriers[address] = MemoryBarrier(
            address, count, count, warp, int(self._agents.known[warp, warp]), vector
        )

    def fence_init(self, warp: int) -> None:
        """`fence.mbarrier_init`: this warp's initialisations become visible to the async proxy."""
        for barrier in self._barriers.values():
            barrier.fenced |= barrier.initialiser == warp

    def usable(self, address: int, vector: Vector) -> MemoryBarrier:
        """The barrier at `address` for somebody who knows `vector`."""
        barrier = self._barriers.get(address)
        if barrier is None:
            raise BarrierFault(f"there is no initialised mbarrier at byte {address}")
        if barrier.init_epoch > vector[barrier.initialiser]:
            raise BarrierFault(
                f"the mbarrier at byte {address} is used before its initialisation is known",
                hint="block barrier after mbarrier_init",
            )
        if not barrier.fenced:
            raise MissingFenceFault(
                f"the mbarrier at byte {address} is used without hopper.fence_barrier_init after its initialisation"
            )
        return barrier

    def arrive(self, warp: int, address: int, arrivals: int, expect: int = 0) -> None:
        """`arrivals` threads of `warp` arrive; `expect` bytes are added to what the phase waits for."""
        barrier = self.usable(address, self._agents.known[warp])
        if barrier.pending < arrivals:
            raise BarrierFault(f"the mbarrier at byte {address} gets {arrivals} arrivals where {barrier.state()}")
        np.maximum(barrier.vector, self._agents.release(warp), out=barrier.vector)
        self.expect(warp, address, expect)
        barrier.pending -= arrivals
        self._advance(barrier)

    def expect(self, warp: int, address: int, size: int) -> None:
        """The running phase waits for `size` bytes more; nobody arrives, nothing is released."""
        barrier = self.usable(address, self._agents.known[warp])
        barrier.expected += size
        if not 0 <= barrier.expected <= _MAX_TRANSACTIONS:
            raise BarrierBytesFault(f"the mbarrier at byte {address} is told to expect {barrier.expected} bytes")

    def issue_copy(self, warp: int, address: int, size: int) -> None:
        """A copy of `size` bytes that completes on this barrier starts."""
        barrier = self.usable(address, self._agents.known[warp])
        barrier.in_flight += size

    def complete_copy(self, address: int, size: int, vector: Vector) -> None:
        """A copy has landed."""
        barrier = self._barriers[address]
        np.maximum(barrier.vector, vector, out=barrier.vector)
        barrier.arrived += size
        barrier.in_flight -= size
        self._advance(barrier)

    def is_complete(self, warp: int, address: int, parity: int) -> bool:
        """Whether `warp` may pass a wait for `parity`."""
        return self.usable(address, self._agents.known[warp]).phase & 1 != parity & 1

    def pass_wait(self, warp: int, address: int, parity: int) -> None:
        """`warp` passes: it learns what those who completed the phase knew."""
        self._agents.learn(warp, self._barriers[address].completed[parity & 1])

    def state(self, address: int) -> str:
        """For messages."""
        return self._barriers[address].state()

    def starved(self) -> MemoryBarrier | None:
        """A barrier that has all its arrivals and waits for bytes that no copy in flight brings."""
        return next(
            (b for b in self._barriers.values() if b.pending == 0 and b.expected > b.arrived + b.in_flight), None
        )

    def check_end(self) -> None:
        """At the block's end no barrier may be half way through a phase: somebody's arrive or bytes were lost."""
        for barrier in self._barriers.values():
            if barrier.expected != barrier.arrived or barrier.pending != barrier.count:
                raise UnfinishedFault(
                    f"the block ends while the mbarrier at byte {barrier.address} is in {barrier.state()}"
                )

    def _advance(self, barrier: MemoryBarrier) -> None:
        if barrier.arrived > barrier.expected and barrier.pending == 0:
            raise BarrierBytesFault(
                f"the mbarrier at byte {barrier.address} got {barrier.arrived} bytes where {barrier.expected} are expected"
            )
        if barrier.pending or barrier.expected != barrier.arrived:
            return
        if barrier.in_flight:
            raise BarrierBytesFault(
                f"phase {barrier.phase} of the mbarrier at byte {barrier.address} completes with {barrier.expected} bytes"
                f" while {barrier.in_flight} more bytes are in flight on it",
                hint="expect the bytes of every copy that is issued on the barrier",
            )
        barrier.completed[barrier.phase & 1] = barrier.vector.copy()
        barrier.phase += 1
        barrier.pending = barrier.count
        barrier.expected = barrier.arrived = 0


@dataclass
class NamedBarrier:
    """One `bar.sync` resource: who has arrived, what they know, and how often it opened."""

    threads: int
    arrived: int = 0
    generation: int = 0
    vector: Vector | None = None
    opened: list[Vector] = field(default_factory=list)


class NamedBarriers:
    """The 16 named barriers of a block."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents
        self._barriers: dict[int, NamedBarrier] = {}

    def arrive(self, warp: int, number: int, lanes: int, threads: int) -> int:
        """`lanes` threads of `warp` arrive at barrier `number` of `threads` threads; the generation that they wait for."""
        if not 0 <= number < 16:
            raise BarrierFault(f"there is no named barrier {number}")
        barrier = self._barriers.setdefault(number, NamedBarrier(threads))
        if barrier.arrived == 0:
            barrier.threads = threads
        if barrier.threads != threads or threads % 32:
            raise BarrierFault(
                f"named barrier {number} is used for {threads} threads and for {barrier.threads}; multiples of 32 that agree are needed"
            )
        mine = self._agents.release(warp)
        barrier.vector = mine if barrier.vector is None else np.maximum(barrier.vector, mine)
        barrier.arrived += lanes
        generation = barrier.generation
        if barrier.arrived > threads:
            raise BarrierFault(f"named barrier {number} gets {barrier.arrived} threads where {threads} take part")
        if barrier.arrived == threads:
            barrier.opened.append(barrier.vector)
            barrier.vector = None
            barrier.arrived = 0
            barrier.generation += 1
        return generation

    def is_open(self, number: int, generation: int) -> bool:
        """Whether the generation is complete."""
        return self._barriers[number].generation > generation

    def pass_wait(self, warp: int, number: int, generation: int) -> None:
        """`warp` goes on and knows what all who arrived in this generation knew."""
        self._agents.learn(warp, self._barriers[number].opened[generation])

    def state(self, number: int) -> str:
        """For messages."""
        barrier = self._barriers[number]
        return f"{barrier.arrived} of {barrier.threads} threads have arrived"

    def check_end(self) -> None:
        """At the block's end nobody may be waiting."""
        for number, barrier in self._barriers.items():
            if barrier.arrived:
                raise UnfinishedFault(f"the block ends while {self.state(number)} at named barrier {number}")
