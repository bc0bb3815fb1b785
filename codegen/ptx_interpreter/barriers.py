"""Barriers, fences and launch order: bar.sync, mbarrier, fence, griddepcontrol, setmaxnreg."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.accesses import shared_offsets
from stepwell.codegen.ptx_interpreter.bundle import Bundle, Parked
from stepwell.codegen.ptx_interpreter.registers import Array, Mask
from stepwell.codegen.ptx_interpreter.step import Code, Decoder, Step
from stepwell.codegen.ptx_interpreter.syntax import Immediate, Instruction, Sink
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.faults import DeadlockFault

WAITING = ("bar", "barrier")
_SPINS = 1000
"""How often a thread may pass one wait for one phase before it counts as spinning."""
_GIVES_UP, _GIVES_UP_EARLY = 1 / 16, 1 / 4
"""How often try_wait is false although the phase is complete, and at once where it is not."""


def _groups(bundle: Bundle, mask: Mask, *columns: Array) -> list[tuple[int, int, tuple[int, ...]]]:
    """(warp, lanes, values) of the active threads of each warp that hold the same values."""
    table = np.stack([bundle.active(mask) // WARP, *columns], axis=1)
    rows, counts = np.unique(table, axis=0, return_counts=True)
    return [(int(row[0]), int(count), tuple(int(v) for v in row[1:])) for row, count in zip(rows, counts, strict=True)]


Arrive = Callable[[Bundle, int, int, int, int], None]


def _mbarrier(act: Arrive, counted: bool, sink: bool) -> Decoder:
    """An mbarrier instruction: [_,] [address] [, count]."""

    def decode(code: Code, instruction: Instruction) -> Step:
        operands = list(code.take(instruction, 1 + counted + sink))
        if sink and not isinstance(operands.pop(0), Sink):
            raise instruction.refuse("the state of an arrive is not modelled")
        _, slot, base = code.address(instruction, operands[0])
        count = code.read(instruction, operands[1], np.uint32) if counted else -1

        def run(bundle: Bundle, mask: Mask) -> None:
            addresses = shared_offsets(bundle, slot, base, mask)
            counts = bundle.values(count, mask).astype(np.int64) if counted else np.zeros_like(addresses)
            for warp, lanes, (address, number) in _groups(bundle, mask, addresses, counts):
                act(bundle, warp, lanes, address, number)

        return Step(instruction, act=run)

    return decode


def _init(bundle: Bundle, warp: int, lanes: int, address: int, count: int) -> None:
    for _ in range(lanes):
        bundle.threads.block.mbarriers.init(warp, address, count)


def _arrive(bundle: Bundle, warp: int, lanes: int, address: int, count: int) -> None:
    bundle.threads.block.mbarriers.arrive(warp, address, lanes)


def _arrive_expect(bundle: Bundle, warp: int, lanes: int, address: int, count: int) -> None:
    bundle.threads.block.mbarriers.arrive(warp, address, lanes, lanes * count)


def _expect(bundle: Bundle, warp: int, lanes: int, address: int, count: int) -> None:
    bundle.threads.block.mbarriers.expect(warp, address, lanes * count)


def _try_wait(code: Code, instruction: Instruction) -> Step:
    """p = the phase of this parity is complete. It may be false at any time, and often is not."""
    flag, place, parity = code.take(instruction, 3)
    target = code.write(instruction, flag, np.bool_)
    _, slot, base = code.address(instruction, place)
    parities = code.read(instruction, parity, np.uint32)

    def run(bundle: Bundle, mask: Mask) -> Parked | None:
        threads, barriers = bundle.threads, bundle.threads.block.mbarriers
        phases = bundle.values(parities, mask).astype(np.int64)
        groups = _groups(bundle, mask, shared_offsets(bundle, slot, base, mask), phases)
        threads.block.statistics.waits += 1

        def ready() -> bool:
            return all(barriers.is_complete(warp, address, phase) for warp, _, (address, phase) in groups)

        def go_on() -> None:
            for warp, _, (address, phase) in groups:
                barriers.pass_wait(warp, address, phase)
            bundle.put(target, True, mask)
            bundle.pc += 1

        def why() -> str:
            _, _, (address, phase) = groups[0]
            return f"waits for parity {phase} of the mbarrier at byte {address}, in {barriers.state(address)}"

        complete = ready()
        if threads.random.random() < (_GIVES_UP if complete else _GIVES_UP_EARLY):
            bundle.put(target, False, mask)
            threads.hurry()
            return None
        if complete:
            _count_spins(bundle, groups)
        return Parked(ready, go_on, why)

    return Step(instruction, act=run)


def _count_spins(bundle: Bundle, groups: list[tuple[int, int, tuple[int, ...]]]) -> None:
    threads = bundle.threads
    for warp, _, (address, parity) in groups:
        phase = threads.block.mbarriers.usable(address, threads.block.agents.known[warp]).phase
        before, times = threads.passed.get((bundle.pc, address, parity), (phase, 0))
        times = times + 1 if before == phase else 1
        threads.passed[bundle.pc, address, parity] = (phase, times)
        if times > _SPINS * max(1, threads.count):
            raise DeadlockFault(
                f"the wait for parity {parity} of the mbarrier at byte {address} is passed again and again"
            )


def _block_barrier(code: Code, instruction: Instruction) -> Step:
    """bar.sync number [, threads]."""
    operands = instruction.operands
    if len(operands) not in (1, 2):
        raise instruction.refuse("a barrier takes its number and the threads that take part")
    number = code.read(instruction, operands[0], np.uint32)
    count = code.read(instruction, operands[1], np.uint32) if len(operands) == 2 else -1
    waits = not instruction.name.endswith("arrive")

    def run(bundle: Bundle, mask: Mask) -> Parked | None:
        block = bundle.threads.block
        which = bundle.uniform(number, mask)
        total = bundle.uniform(count, mask) if count >= 0 else block.agents.warps * WARP
        warps = [warp for warp, _ in bundle.warps(mask)]
        generations = [block.named.arrive(warp, which, WARP, total) for warp in warps]

        def ready() -> bool:
            return all(block.named.is_open(which, generation) for generation in generations)

        def go_on() -> None:
            for warp, generation in zip(warps, generations, strict=True):
                block.named.pass_wait(warp, which, generation)
            bundle.pc += 1

        if not waits:
            return None
        return Parked(ready, go_on, lambda: f"waits at named barrier {which} where {block.named.state(which)}")

    return Step(instruction, act=run, aligned=WARP)


def _each_warp(act: Callable[[Bundle, int], None], aligned: int = 0, operands: int = 0) -> Decoder:
    """An instruction that does `act` for each warp that executes it; operands are numbers that mean nothing here."""

    def decode(code: Code, instruction: Instruction) -> Step:
        given = code.take(instruction, operands)
        if not all(isinstance(operand, Immediate) for operand in given):
            raise instruction.refuse("an operand that is no number")

        def run(bundle: Bundle, mask: Mask) -> None:
            for warp, _ in bundle.warps(mask):
                act(bundle, warp)

        return Step(instruction, act=run, aligned=aligned)

    return decode


def _nothing(bundle: Bundle, warp: int) -> None:
    """Successors wait by themselves for this launch's end; registers are not counted."""


_ARRIVE = _mbarrier(_arrive, counted=False, sink=True)
DECODERS: Mapping[str, Any] = MappingProxyType(
    {
        "bar.sync": _block_barrier,
        "barrier.sync.aligned": _block_barrier,
        "barrier.cta.sync.aligned": _block_barrier,
        "bar.arrive": _block_barrier,
        "mbarrier.init.shared.b64": _mbarrier(_init, counted=True, sink=False),
        "mbarrier.init.shared::cta.b64": _mbarrier(_init, counted=True, sink=False),
        "mbarrier.arrive.shared::cta.b64": _ARRIVE,
        "mbarrier.arrive.shared.b64": _ARRIVE,
        "mbarrier.arrive.expect_tx.shared::cta.b64": _mbarrier(_arrive_expect, counted=True, sink=True),
        "mbarrier.expect_tx.relaxed.cta.shared::cta.b64": _mbarrier(_expect, counted=True, sink=False),
        "mbarrier.try_wait.parity.shared::cta.b64": _try_wait,
        "fence.mbarrier_init.release.cluster": _each_warp(
            lambda bundle, warp: bundle.threads.block.mbarriers.fence_init(warp)
        ),
        "fence.proxy.async.shared::cta": _each_warp(lambda bundle, warp: bundle.threads.block.shared.fence(warp)),
        "griddepcontrol.wait": _each_warp(lambda bundle, warp: bundle.threads.block.wait_predecessor(warp)),
        "griddepcontrol.launch_dependents": _each_warp(_nothing),
        "setmaxnreg.inc.sync.aligned.u32": _each_warp(_nothing, 128, 1),
        "setmaxnreg.dec.sync.aligned.u32": _each_warp(_nothing, 128, 1),
    }
)
"""By whole name."""
