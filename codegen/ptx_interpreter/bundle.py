"""The threads that stand at one instruction: a `Bundle` of lanes, with the rows of their registers, and why it does not run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stepwell.codegen.ptx_interpreter.registers import Array, Mask, Rows
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.faults import DeadlockFault, DivergenceFault, Fault

if TYPE_CHECKING:
    from stepwell.codegen.ptx_interpreter.threads import Threads


@dataclass
class Parked:
    """Why a bundle does not run: when it may go on, what to do then (which may change registers and the program counter), and what to say."""

    ready: Callable[[], bool]
    resume: Callable[[], None]
    why: Callable[[], str]
    fault: type[Fault] = DeadlockFault
    gathers: bool = False


@dataclass(eq=False)
class Bundle:
    """Threads of one role at one instruction. `lanes` are flags over the role's threads."""

    threads: Threads
    lanes: Array
    pc: int = 0
    parked: Parked | None = None
    first: int = 0
    last: int = 0
    mask: Mask = True
    rows: Rows = field(default_factory=list)

    def __post_init__(self) -> None:
        self.narrow(self.lanes)

    def narrow(self, lanes: Array) -> None:
        """These lanes from now on: a span of threads, all of them active or with a mask."""
        self.lanes = lanes
        active = np.flatnonzero(lanes)
        self.first, self.last = int(active[0]), int(active[-1]) + 1
        self.mask: Mask = True
        if len(active) != self.last - self.first:
            self.first, self.last, self.mask = 0, len(lanes), lanes
        self.rows = self.threads.files.rows(self.threads.first + self.first, self.threads.first + self.last)

    def active(self, mask: Mask) -> Array:
        """Numbers, in the block, of the threads of `mask`."""
        numbers = np.arange(self.first, self.last) if mask is True else self.first + np.flatnonzero(mask)
        return numbers + self.threads.first

    def flags(self, mask: Mask) -> Array:
        """`mask` over the role's threads."""
        whole = np.zeros_like(self.lanes)
        whole[self.first : self.last] = mask
        return whole

    def warps(self, mask: Mask) -> list[tuple[int, int]]:
        """The warps with active threads, and how many each has."""
        numbers, counts = np.unique(self.active(mask) // WARP, return_counts=True)
        return list(zip(numbers.tolist(), counts.tolist(), strict=True))

    def values(self, slot: int, mask: Mask) -> Array:
        """What the active threads hold in a slot."""
        row = self.rows[slot]
        whole = np.broadcast_to(row, self.last - self.first) if len(row) == 1 else row
        return whole if mask is True else whole[mask]

    def uniform(self, slot: int, mask: Mask) -> int:
        """A number that all active threads must hold."""
        held = self.values(slot, mask)
        if (held != held[0]).any():
            raise DivergenceFault(
                f"an operand must be the same in all threads, but is {np.unique(held)[:4].tolist()} .."
            )
        return int(held[0])

    def put(self, slot: int, values: Any, mask: Mask) -> None:
        """Set a slot in the active threads."""
        row = self.rows[slot]
        if mask is True:
            row[:] = values
        else:
            row[mask] = values

    def told(self) -> str:
        """Which threads these are, for messages."""
        numbers = np.flatnonzero(self.lanes) + self.threads.first
        return f"thread {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} threads from {numbers[0]}"


def warp_masks(bundle: Bundle, mask: Mask) -> Iterator[tuple[int, Array]]:
    """Each warp with active threads, and where its threads stand among the active ones."""
    warps = bundle.active(mask) // WARP
    for warp in np.unique(warps):
        yield int(warp), np.flatnonzero(warps == warp)
