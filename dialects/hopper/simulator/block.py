"""One thread block: its roles run in turns that a seed chooses, and its copies land at random later moments."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

import numpy as np

from stepwell.dialects.hopper.simulator.agents import WARP, Agents, Vector
from stepwell.dialects.hopper.simulator.barriers import MemoryBarriers, NamedBarriers
from stepwell.dialects.hopper.simulator.faults import (
    BarrierBytesFault,
    DeadlockFault,
    Fault,
    OutOfBoundsFault,
    UnfinishedFault,
)
from stepwell.dialects.hopper.simulator.memory import GRANULE, SharedMemory
from stepwell.dialects.hopper.simulator.tma import TensorMap, destination
from stepwell.dialects.hopper.simulator.wgmma import Operand, accumulate, read_operand

Array = np.ndarray


@dataclass(frozen=True)
class Waiting:
    """What a role yields when it may have to wait: when it may go on, what to say if it never does, and the fault that it is then."""

    ready: Callable[[], bool]
    why: Callable[[], str]
    fault: Callable[[], type[Fault]] = lambda: DeadlockFault


Role = Generator[Waiting, None, None]


@dataclass
class Statistics:
    """What happened in the blocks that were run."""

    blocks: int = 0
    turns: int = 0
    copies: int = 0
    copied_bytes: int = 0
    products: int = 0
    waits: int = 0


@dataclass
class Group:
    """The wgmma state of one warpgroup: epochs of the committed groups that were not waited for, and of the open one (0: there is none)."""

    number: int
    open: int = 0
    pending: list[int] = field(default_factory=list)


@dataclass
class Stores:
    """The copy engine's stores that one thread issued: how many of each committed group are still under way, and of the open one; the last epoch of
    each group."""

    open: list[int] = field(default_factory=list)
    groups: list[list[int]] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def finished(self, pending: int) -> list[list[int]]:
        """The groups that a wait for `pending` waits for."""
        return self.groups[: max(0, len(self.groups) - pending)]


class Block:
    """The hardware that the roles of one block share."""

    def __init__(self, number: int, threads: int, shared_bytes: int, seed: int, statistics: Statistics) -> None:
        self.number = number
        self.agents = Agents(threads)
        self.shared = SharedMemory(shared_bytes, self.agents)
        self.mbarriers = MemoryBarriers(self.agents, self.shared)
        self.named = NamedBarriers(self.agents)
        self.groups = [Group(g) for g in range(self.agents.groups)]
        self.statistics = statistics
        self.stores: dict[int, Stores] = {}
        self._random = random.Random(seed)
        self._in_flight: list[Callable[[], None]] = []

    # --- predecessor

    def wait_predecessor(self, warp: int) -> None:
        """What earlier launches wrote is visible to `warp`, and to whom it hands on."""
        self.agents.learn_epoch(warp, self.agents.predecessor, 1)

    def has_waited(self, vector: Vector) -> bool:
        """Whether somebody who knows `vector` may touch what earlier launches write."""
        return bool(vector[self.agents.predecessor])

    # --- copies

    def issue_load(
        self,
        warp: int,
        tensor: TensorMap,
        coordinates: tuple[int, ...],
        offsets: tuple[int, ...],
        address: int,
        barrier: int,
        what: str,
    ) -> None:
        """One thread of `warp` starts a TMA load to shared `address` that completes on `barrier`."""
        chunks, units = destination(address, tensor.rows, tensor.row_bytes, tensor.swizzle)
        if address < 0 or address + tensor.load_bytes > self.shared.size:
            raise OutOfBoundsFault(
                f"{what} writes bytes {address} to {address + tensor.load_bytes} of {self.shared.size} bytes of shared memory"
            )
        index, inside = tensor.elements(coordinates, offsets)
        self.mbarriers.issue_copy(warp, barrier, tensor.load_bytes)
        vector = self.agents.release(warp)
        agent = self.agents.destination_agent(address)
        self.statistics.copies += 1
        self.statistics.copied_bytes += tensor.load_bytes

        def land() -> None:
            epoch = self.agents.next_epoch(agent)
            self.shared.check_write(units, agent, epoch, vector, generic=False, what=what)
            self.shared.mark_swizzle(units, tensor.swizzle)
            values = tensor.fetch(index, inside, self.has_waited(vector), what)
            self.shared.bytes.reshape(-1, GRANULE)[chunks >> 4] = values.view(np.uint8).reshape(*chunks.shape, GRANULE)
            vector[agent] = epoch
            self.mbarriers.complete_copy(barrier, tensor.load_bytes, vector)

        self._in_flight.append(land)

    def issue_store(
        self, thread: int, tensor: TensorMap, coordinates: tuple[int, ...], address: int, what: str
    ) -> None:
        """A thread starts a TMA store of the box at shared `address`; it is read at a later moment."""
        warp = thread // WARP
        chunks, units = destination(address, tensor.rows, tensor.row_bytes, tensor.swizzle)
        index, inside = tensor.elements(coordinates)
        vector, agent = self.agents.release(warp), self.agents.store_agent(warp)
        epoch = self.agents.next_epoch(agent)
        self.shared.check_read(units, agent, epoch, vector, generic=False, what=what)
        self.shared.check_swizzle(units, tensor.swizzle, what)
        self.statistics.copies += 1
        self.statistics.copied_bytes += tensor.load_bytes
        stores = self.stores.setdefault(thread, Stores())
        stores.open.append(epoch)

        def land() -> None:
            held = self.shared.bytes.reshape(-1, GRANULE)[chunks >> 4].reshape(len(index), -1)
            values = np.ascontiguousarray(held).view(tensor.buffer.dtype)
            tensor.buffer.store(index[inside], values[inside], self.number, self.has_waited(vector), what)
            stores.done.add(epoch)

        self._in_flight.append(land)

    def commit_stores(self, thread: int) -> None:
        """The stores that a thread issued since the last commit become one group (an empty one too)."""
        stores = self.stores.setdefault(thread, Stores())
        stores.groups.append(stores.open)
        stores.open = []

    def stores_done(self, thread: int, pending: int) -> bool:
        """Whether at most `pending` of a thread's groups still read."""
        stores = self.stores.setdefault(thread, Stores())
        return all(epoch in stores.done for group in stores.finished(pending) for epoch in group)

    def pass_stores(self, thread: int, pending: int) -> None:
        """A thread has waited until at most `pending` of its groups still read."""
        stores, warp = self.stores.setdefault(thread, Stores()), thread // WARP
        finished = stores.finished(pending)
        stores.groups = stores.groups[len(finished) :]
        for epoch in (epoch for group in finished for epoch in group):
            self.agents.learn_epoch(warp, self.agents.store_agent(warp), epoch)

    # --- products

    def multiply(self, group: int, registers: Array, a: Operand | Array, b: Operand, what: str) -> Array:
        """Warpgroup `group` issues a wgmma for each move of B into its open group of products; the new registers [128, N / 2]. A is behind a descriptor, or
        its numbers [64, k] come from registers.

        The operands are read at issue and charged to the group's wgmma agent until it is waited for: whoever overwrites them earlier races."""
        vector = self.agents.common(slice(4 * group, 4 * group + 4))
        agent, state = self.agents.wgmma_agent(group), self.groups[group]
        if not state.open:
            state.open = self.agents.next_epoch(agent)
        operands = []
        for name, operand in (("A", a), ("B", b)):
            if not isinstance(operand, Operand):
                operands.append(operand)
                continue
            chunks, units = operand.chunks()
            named = f"operand {name} of {what}"
            self.shared.check_read(units, agent, state.open, vector, generic=False, what=named)
            self.shared.check_swizzle(units, operand.descriptor.swizzle, named)
            operands.append(operand.numbers(read_operand(self.shared, chunks, operand.kind)))
        steps, kind = len(b.moves), a.kind if isinstance(a, Operand) else b.kind
        self.statistics.products += steps
        for left, right in zip(*(np.split(operand, steps, axis=1) for operand in operands), strict=True):
            registers = accumulate(registers, left, right, kind, b.kind)
        return registers

    def commit_products(self, group: int) -> int:
        """The products issued since the last commit become one group that can be waited for; its epoch."""
        state = self.groups[group]
        epoch = state.open or self.agents.next_epoch(self.agents.wgmma_agent(group))
        state.pending.append(epoch)
        state.open = 0
        return epoch

    def wait_products(self, group: int, still_pending: int) -> None:
        """Warpgroup `group` waits until at most `still_pending` committed groups are unfinished."""
        pending = self.groups[group].pending
        while len(pending) > still_pending:
            epoch = pending.pop(0)
            for warp in range(4 * group, 4 * group + 4):
                self.agents.learn_epoch(warp, self.agents.wgmma_agent(group), epoch)

    # --- turns

    def run(self, roles: Mapping[str, Role]) -> None:
        """Run all roles to their end; copies land in between, in random order."""
        live = dict(roles)
        waiting: dict[str, Waiting] = {}
        while live:
            able = [name for name in live if name not in waiting or waiting[name].ready()]
            if not able and not self._in_flight:
                self._report_deadlock(waiting)
            choice = self._random.randrange(len(able) + len(self._in_flight))
            if choice >= len(able):
                self._in_flight.pop(choice - len(able))()
                continue
            self.statistics.turns += 1
            name = able[choice]
            try:
                waiting[name] = next(live[name])
            except StopIteration:
                del live[name]
                waiting.pop(name, None)
        self._check_end()

    def _report_deadlock(self, waiting: Mapping[str, Waiting]) -> None:
        waits = "; ".join(f"{name}, {wait.why()}" for name, wait in waiting.items())
        starved = self.mbarriers.starved()
        if starved is not None:
            raise BarrierBytesFault(
                f"the mbarrier at byte {starved.address} expects {starved.expected} bytes and gets {starved.arrived}; {waits}",
                hint="expect exactly the bytes of the copies issued on the barrier",
            )
        kinds = [wait.fault() for wait in waiting.values()]
        raise next((kind for kind in kinds if kind is not DeadlockFault), DeadlockFault)(waits)

    def _check_end(self) -> None:
        if self._in_flight:
            raise UnfinishedFault(f"the block ends with {len(self._in_flight)} TMA copies in flight")
        for thread, stores in self.stores.items():
            if stores.open or any(stores.groups):
                raise UnfinishedFault(
                    f"thread {thread} ends with {len(stores.open) + len(stores.groups)} stores or groups of them that it did not wait for"
                )
        for group in self.groups:
            if group.open:
                raise UnfinishedFault(f"warpgroup {group.number} ends with products that were not committed")
            if group.pending:
                raise UnfinishedFault(
                    f"warpgroup {group.number} ends with {len(group.pending)} groups of products that were not waited for"
                )
        self.mbarriers.check_end()
        self.named.check_end()
        self.statistics.blocks += 1
