"""Vector clocks: who knows of whose accesses.

Warps are the agents with a program of their own; async agents act for them: one wgmma agent per warpgroup, one TMA agent per warp that stores and one per shared-memory destination. `known[w, a]` is the last epoch of agent `a` that happened before what warp `w` does now; an access of epoch `e` by `a` is
ordered before an actor with vector `v` when `e <= v[a]`. A release (arrive, issue) is followed by a new epoch of its warp (FastTrack's rule).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stepwell.dialects.hopper.simulator.faults import Fault

WARP = 32
WARPGROUP = 128
DESTINATIONS = 160
NOBODY = -1
_ALWAYS = np.iinfo(np.int32).max

Vector = NDArray[np.int32]


class Agents:
    """The clocks of one block. Columns: warps, wgmma agents and storing agents (these read shared memory), `predecessor`, TMA destinations, nobody."""

    def __init__(self, threads: int) -> None:
        self.warps = -(-threads // WARP)
        self.groups = -(-threads // WARPGROUP)
        self.readers = 2 * self.warps + self.groups
        self.predecessor = self.readers
        columns = self.readers + 1 + DESTINATIONS + 1
        self.known: NDArray[np.int32] = np.zeros((self.warps, columns), np.int32)
        self.known[:, NOBODY] = _ALWAYS
        self.known[np.arange(self.warps), np.arange(self.warps)] = 1
        self._epochs = np.zeros(columns, np.int64)
        self._destinations: dict[int, int] = {}

    def wgmma_agent(self, group: int) -> int:
        """The agent that reads the operands of warpgroup `group`'s products."""
        return self.warps + group

    def store_agent(self, warp: int) -> int:
        """The agent that reads shared memory for the stores of the copy engine that `warp` issued."""
        return self.warps + self.groups + warp

    def destination_agent(self, address: int) -> int:
        """The agent of the TMA loads that land at shared address `address`."""
        if address not in self._destinations:
            if len(self._destinations) == DESTINATIONS:
                raise Fault(f"more than {DESTINATIONS} TMA destinations in one block: the simulator's table is full")
            self._destinations[address] = self.predecessor + 1 + len(self._destinations)
        return self._destinations[address]

    def next_epoch(self, agent: int) -> int:
        """A new epoch of an async agent."""
        self._epochs[agent] += 1
        return int(self._epochs[agent])

    def vector(self, warp: int) -> Vector:
        """A copy of what `warp` knows now."""
        return self.known[warp].copy()

    def common(self, warps: slice) -> Vector:
        """What every one of `warps` knows."""
        return self.known[warps].min(axis=0)

    def learn(self, warp: int, vector: Vector | None) -> None:
        """`warp` synchronised with somebody who knew `vector`."""
        if vector is not None:
            np.maximum(self.known[warp], vector, out=self.known[warp])

    def learn_epoch(self, warp: int, agent: int, epoch: int) -> None:
        """`warp` saw the end of epoch `epoch` of an async agent."""
        self.known[warp, agent] = max(int(self.known[warp, agent]), epoch)

    def release(self, warp: int) -> Vector:
        """What `warp` hands on by an arrive or an issue; what it does afterwards is a new epoch."""
        handed = self.vector(warp)
        self.known[warp, warp] += 1
        return handed
