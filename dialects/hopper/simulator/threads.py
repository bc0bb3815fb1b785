"""The threads that run in lockstep: values as arrays over lanes, the mask of active lanes, and the control flow of scf.

A value is an array whose first axis counts lanes, or has extent 1 where all lanes hold the same (uniform); vectors add an axis. Buffers, tensor maps and
pending products are objects of their own. Branches that lanes take differently run one after the other under a mask, then lanes meet again: a thread
that waits in one branch for a thread of its own warpgroup in the other is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from xdsl.dialects import scf
from xdsl.ir import Block as IRBlock
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.block import Block, Role
from stepwell.dialects.hopper.simulator.code import Blocking, Code
from stepwell.dialects.hopper.simulator.faults import DivergenceFault, Fault
from stepwell.dialects.hopper.simulator.memory import Array

MAX_THREADS = 1024
"""Of a block (CUDA C Programming Guide, "Compute Capabilities")."""


class Threads:
    """Threads `first` .. `first + count - 1` of one block of a grid of `grid` blocks."""

    def __init__(self, block: Block, code: Code, grid: int, first: int, count: int) -> None:
        self.block, self.grid, self.first, self.count = block, grid, first, count
        self.identity = np.arange(first, first + count, dtype=np.int32)
        self.mask = np.ones(count, bool)
        self.role = f"threads {first} to {first + count - 1}"
        self.role_span = range(block.agents.groups)
        self.values: dict[int, Any] = {}
        self._code = code
        self._what = ""

    @property
    def numbers(self) -> Array:
        """The number of each thread in the launch."""
        return self.identity + self.block.number * MAX_THREADS

    # --- values

    def get(self, value: SSAValue) -> Any:
        """What `value` holds in these threads."""
        return self.values[id(value)]

    def bind(self, values: Sequence[SSAValue], held: Sequence[Any]) -> None:
        """Let `values` hold `held`."""
        self.values.update(zip(map(id, values), held, strict=True))

    def lanes(self, value: SSAValue) -> Array:
        """`value` with one entry per lane."""
        held = self.values[id(value)]
        return np.broadcast_to(held, (self.count, *held.shape[1:]))

    def uniform(self, value: SSAValue) -> int:
        """`value` as a number that all active lanes hold."""
        held = self.values[id(value)]
        if len(held) == 1:
            return int(held[0])
        active = held[self.mask]
        if not (active == active[0]).all():
            raise DivergenceFault(
                f"operand of {self.what()} must be the same in all threads, but is {np.unique(active)[:4].tolist()} .."
            )
        return int(active[0])

    # --- lanes and warps

    @contextmanager
    def narrowed(self, mask: Array) -> Iterator[None]:
        """Only the lanes of `mask` are active inside."""
        outer, self.mask = self.mask, mask
        try:
            yield
        finally:
            self.mask = outer

    def warps(self) -> list[tuple[int, int]]:
        """The warps with active lanes, and how many each has."""
        counts = self.mask.reshape(-1, WARP).sum(axis=1)
        return [(self.first // WARP + i, int(n)) for i, n in enumerate(counts) if n]

    def whole_warps(self) -> list[int]:
        """The active warps, all of whose lanes must be active."""
        warps = self.warps()
        if any(lanes != WARP for _, lanes in warps):
            raise DivergenceFault(
                f"{self.what()} must be executed by whole warps; {int(self.mask.sum())} threads are active"
            )
        return [warp for warp, _ in warps]

    def single_warp(self) -> int:
        """The warp of the one active lane."""
        warps = self.warps()
        if len(warps) != 1 or warps[0][1] != 1:
            raise DivergenceFault(
                f"{self.what()} is executed by {int(self.mask.sum())} threads; one elected thread must issue it"
            )
        return warps[0][0]

    def has_waited(self) -> bool:
        """Whether all active warps know that their predecessors are done."""
        return all(self.block.has_waited(self.block.agents.known[warp]) for warp, _ in self.warps())

    # --- messages

    def what(self) -> str:
        """The op being executed and its source names."""
        return self._what

    # --- running

    def run(self, ir: IRBlock) -> Role:
        """Run a block's ops up to its terminator, whose operands stay readable; faults get their place."""
        try:
            for step in self._code.steps(ir):
                self._what = step.what
                if step.waits:
                    yield from step.function(self, step.op)
                else:
                    step.function(self, step.op)
        except Fault as fault:
            if not fault.where:
                fault.where = f"{self.role}, {self.what()}"
            raise

    def yielded(self, ir: IRBlock) -> list[Any]:
        """What the block's terminator hands on."""
        terminator = ir.last_op
        assert terminator is not None
        return [self.values[id(operand)] for operand in terminator.operands]

    def merge(self, mask: Array, chosen: Any, other: Any) -> Any:
        """`chosen` in the lanes of `mask`, `other` elsewhere."""
        if chosen is other:
            return chosen
        if not isinstance(chosen, np.ndarray) or not isinstance(other, np.ndarray):
            raise DivergenceFault(f"{self.what()} gives lanes different objects that cannot be chosen between")
        return np.where(mask.reshape(-1, *(1,) * (chosen.ndim - 1)), chosen, other)


def _run_if(threads: Threads, op: scf.IfOp) -> Role:
    condition = threads.get(op.cond)
    if len(condition) > 1:
        active = condition[threads.mask]
        if active.any() and not active.all():
            yield from _run_both(threads, op, condition)
            return
        condition = active[:1]
    region = op.true_region if condition[0] else op.false_region
    if region.blocks:
        yield from threads.run(region.block)
        threads.bind(op.results, threads.yielded(region.block) if op.results else ())


def _run_both(threads: Threads, op: scf.IfOp, condition: Array) -> Role:
    held = []
    for region, mask in ((op.true_region, threads.mask & condition), (op.false_region, threads.mask & ~condition)):
        if region.blocks:
            with threads.narrowed(mask):
                yield from threads.run(region.block)
            held.append(threads.yielded(region.block) if op.results else [])
    if op.results:
        threads.bind(op.results, [threads.merge(condition, a, b) for a, b in zip(*held, strict=True)])


def _run_for(threads: Threads, op: scf.ForOp) -> Role:
    lower, upper, step = (threads.get(bound) for bound in (op.lb, op.ub, op.step))
    body = op.body.block
    carried = [threads.get(value) for value in op.iter_args]
    if len(lower) == len(upper) == len(step) == 1:
        for index in range(int(lower[0]), int(upper[0]), int(step[0])):
            threads.bind(body.args, [np.array([index], lower.dtype), *carried])
            yield from threads.run(body)
            carried = threads.yielded(body)
        threads.bind(op.results, carried)
        return
    position: Array = np.broadcast_to(lower, threads.count)
    while (active := threads.mask & (position < upper)).any():
        threads.bind(body.args, [position, *carried])
        with threads.narrowed(active):
            yield from threads.run(body)
        carried = [threads.merge(active, new, old) for new, old in zip(threads.yielded(body), carried, strict=True)]
        position = position + step
    threads.bind(op.results, carried)


def _run_while(threads: Threads, op: scf.WhileOp) -> Role:
    before, after = op.before_region.block, op.after_region.block
    carried = [threads.get(value) for value in op.arguments]
    results: list[Any] = []
    outer = threads.mask
    active = outer
    while active.any():
        threads.bind(before.args, carried)
        with threads.narrowed(active):
            yield from threads.run(before)
        condition, *passed = threads.yielded(before)
        results = passed if not results else [threads.merge(active, n, o) for n, o in zip(passed, results, strict=True)]
        active = active & np.broadcast_to(condition, threads.count)
        if not active.any():
            break
        threads.bind(after.args, results)
        with threads.narrowed(active):
            yield from threads.run(after)
        carried = [threads.merge(active, n, o) for n, o in zip(threads.yielded(after), carried, strict=True)]
    threads.bind(op.results, results)


CONTROL: Mapping[type[Operation], Blocking] = {scf.IfOp: _run_if, scf.ForOp: _run_for, scf.WhileOp: _run_while}
