"""The threads of one warpgroup (or of a whole block that never waits): those at the same instruction run together, as a `Bundle` of lanes.

A branch that lanes take differently splits their bundle; bundles that come to the same instruction merge. Nothing is assumed of where lanes meet again: an
instruction that warps must execute together waits until they are together, and is a fault when that cannot happen any more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from stepwell.codegen.ptx_interpreter.bundle import Bundle, Parked
from stepwell.codegen.ptx_interpreter.kernel import Kernel
from stepwell.codegen.ptx_interpreter.memory import Memory
from stepwell.codegen.ptx_interpreter.registers import Files, Mask
from stepwell.codegen.ptx_interpreter.step import Step
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.block import Block, Role, Waiting
from stepwell.dialects.hopper.simulator.faults import (
    DeadlockFault,
    DivergenceFault,
    Fault,
    MissingFenceFault,
    RaceFault,
)

_AWAKE = Waiting(lambda: True, lambda: "runs")


class Threads:
    """Threads `first` .. `first + count - 1` of a block."""

    def __init__(
        self, kernel: Kernel, block: Block, memory: Memory, files: Files, first: int, count: int, seed: int
    ) -> None:
        self.kernel, self.block, self.memory, self.files = kernel, block, memory, files
        self.first, self.count = first, count
        self.random = random.Random(seed * 31 + first)
        self.bundles = [Bundle(self, np.ones(count, bool))]
        self.executed = 0
        self.in_flight: list[tuple[int, frozenset[tuple[int, int]]]] = []
        self.since_fence: set[int] = set()
        self.passed: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._hurried = False

    @property
    def group(self) -> int:
        """The number of the warpgroup."""
        return self.first // 128

    def run(self) -> Role:
        """All threads, to their end."""
        while self.bundles:
            able = [bundle for bundle in self.bundles if bundle.parked is None or bundle.parked.ready()]
            if not able:
                yield Waiting(self._any_ready, self._why, self._fault)
                continue
            bundle = self._choose(able)
            with _located(self, bundle):
                if bundle.parked is None or not self._resume(bundle):
                    self._advance(bundle)
            if bundle.parked is not None or self._hurried:
                yield _AWAKE

    def _resume(self, bundle: Bundle) -> bool:
        """The wait is over; whether the bundle went on to a place where others may stand, so that the next turn should be given anew."""
        parked, before = bundle.parked, bundle.pc
        assert parked is not None
        bundle.parked = None
        parked.resume()
        return bundle.pc != before and bundle.pc in self.kernel.leaders and self._meet(bundle)

    def _choose(self, able: list[Bundle]) -> Bundle:
        """The one that is furthest back; after a wait that gave up, any."""
        if self._hurried:
            self._hurried = False
            return self.random.choice(able)
        return min(able, key=lambda bundle: self.kernel.rank[bundle.pc])

    def hurry(self) -> None:
        """The next turn may go to any bundle: one spins."""
        self._hurried = True

    def _any_ready(self) -> bool:
        return any(bundle.parked is None or bundle.parked.ready() for bundle in self.bundles)

    def _why(self) -> str:
        return "; ".join(
            f"{bundle.told()} at {self.place(bundle.pc)} {bundle.parked.why()}"
            for bundle in self.bundles
            if bundle.parked
        )

    def _fault(self) -> type[Fault]:
        kinds = [bundle.parked.fault for bundle in self.bundles if bundle.parked]
        return next((kind for kind in kinds if kind is not DeadlockFault), DeadlockFault)

    def place(self, pc: int) -> str:
        """An instruction, for messages."""
        instruction = self.kernel.steps[pc].instruction
        return f"PTX line {instruction.line} ({instruction.text})"

    # --- running

    def _advance(self, bundle: Bundle) -> None:
        """Run until the bundle waits, ends, splits, or comes to a place where another one may join it."""
        kernel = self.kernel
        while True:
            begin, end = bundle.pc, kernel.straight[bundle.pc]
            if end > begin:
                self._compute(bundle, end)
                if end in kernel.leaders and self._meet(bundle):
                    return
            if end not in kernel.acts:
                continue
            self._act(bundle, kernel.steps[end])
            if bundle.parked is not None or not bundle.lanes.any() or self._hurried:
                return
            if bundle.pc in kernel.leaders and self._meet(bundle):
                return

    def _compute(self, bundle: Bundle, end: int) -> None:
        """The instructions up to `end`, which change registers only."""
        kernel, begin = self.kernel, bundle.pc
        if self.in_flight:
            self._check_in_flight(begin, end)
        if kernel.multiplies:
            self.since_fence.add(begin)
        self._count(end - begin)
        rows, mask = bundle.rows, bundle.mask
        for compute in kernel.computes[begin:end]:
            compute(rows, mask)
        bundle.pc = end

    def _count(self, instructions: int) -> None:
        self.executed += instructions
        if self.executed > self.memory.limit:
            raise DeadlockFault(f"more than {self.memory.limit} instructions are executed: a loop does not end")

    def _act(self, bundle: Bundle, step: Step) -> None:
        self._count(1)
        if self.in_flight and step.kind != "product":
            self._check_in_flight(bundle.pc, bundle.pc + 1)
        if self.kernel.multiplies and step.kind != "product":
            self.since_fence.add(bundle.pc)
        mask = self._guarded(bundle, step)
        if step.kind == "branch":
            self._branch(bundle, step, mask)
            return
        if mask is not True and not mask.any():
            bundle.pc += 1
            return
        if step.kind == "exit":
            self._exit(bundle, mask)
            return
        if step.aligned and not self._together(bundle, step, mask):
            bundle.parked = self._gather(bundle, step)
            return
        assert step.act is not None
        parked = step.act(bundle, mask)
        if isinstance(parked, Parked):
            bundle.parked = parked
        else:
            bundle.pc += 1

    def _guarded(self, bundle: Bundle, step: Step) -> Mask:
        """The active threads whose predicate holds; True for all of a span."""
        if step.guard < 0:
            return bundle.mask
        flags = bundle.rows[step.guard]
        if step.instruction.negated:
            flags = ~flags
        chosen = flags if bundle.mask is True else flags & bundle.mask
        return True if bundle.mask is True and chosen.all() else chosen.copy()

    def _branch(self, bundle: Bundle, step: Step, mask: Mask) -> None:
        taken = bundle.flags(mask)
        bundle.pc += 1
        if not taken.any():
            return
        rest = bundle.lanes & ~taken
        if not rest.any():
            bundle.pc = step.target
            return
        bundle.narrow(rest)
        other = Bundle(self, taken, step.target)
        self.bundles.append(other)

    def _exit(self, bundle: Bundle, mask: Mask) -> None:
        rest = bundle.lanes & ~bundle.flags(mask)
        if rest.any():
            bundle.narrow(rest)
            bundle.pc += 1
            return
        bundle.lanes = rest
        self.bundles.remove(bundle)

    def _meet(self, bundle: Bundle) -> bool:
        """Merge with a bundle at the same instruction; whether the next turn should be given anew."""
        if len(self.bundles) == 1:
            return False
        for other in self.bundles:
            if other is not bundle and other.pc == bundle.pc and (other.parked is None or other.parked.gathers):
                other.narrow(other.lanes | bundle.lanes)
                self.bundles.remove(bundle)
                return True
        return True

    # --- instructions for whole warps

    def _together(self, bundle: Bundle, step: Step, mask: Mask) -> bool:
        flags = bundle.flags(mask)
        if step.aligned == 128:
            return self.count == 128 and bool(flags.all())
        whole = flags.reshape(-1, WARP)
        return bool((whole == whole[:, :1]).all())

    def _gather(self, bundle: Bundle, step: Step) -> Parked:
        if step.guard >= 0:
            raise DivergenceFault("a part of a warp executes an instruction that whole warps must execute together")

        def why() -> str:
            unit = "warpgroup" if step.aligned == 128 else "warp"
            return f"must be executed by a whole {unit}; {int(bundle.lanes.sum())} threads are there, the others do not come"

        return Parked(
            lambda: self._together(bundle, step, bundle.mask), lambda: None, why, DivergenceFault, gathers=True
        )

    # --- products in flight

    def _check_in_flight(self, begin: int, end: int) -> None:
        """No instruction may touch a register that a product may still be writing."""
        for _, registers in self.in_flight:
            if self.kernel.touched(begin, end).isdisjoint(registers):
                continue
            for pc in range(begin, end):
                if not self.kernel.touched(pc, pc + 1).isdisjoint(registers):
                    raise RaceFault(
                        f"{self.place(pc)} uses an accumulator that a product may still be writing",
                        hint="wgmma.wait_group first",
                    )

    def check_fenced(self, registers: frozenset[tuple[int, int]]) -> None:
        """Accumulators may have been written by other instructions only before the last `wgmma.fence`."""
        for begin in self.since_fence:
            if not self.kernel.written(begin).isdisjoint(registers):
                raise MissingFenceFault(
                    f"an accumulator is written after the last wgmma.fence, at or behind {self.place(begin)}",
                    hint="wgmma.fence.sync.aligned first",
                )


@contextmanager
def _located(threads: Threads, bundle: Bundle) -> Iterator[None]:
    """Faults get the threads and the line where they happened."""
    try:
        yield
    except Fault as fault:
        if not fault.where and bundle.lanes.any():
            fault.where = f"{bundle.told()}, {threads.place(bundle.pc)}"
        raise
