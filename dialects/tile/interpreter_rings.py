"""Kernels with rings in NumPy: blocks that take tiles in turn, roles as coroutines, rings as queues that know who holds what.

A coroutine yields where hardware may wait; the scheduler resumes who can go on, and reports a deadlock when nobody can. Misuse of a ring is an
error that names the op."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product
from typing import Any

import numpy as np
from xdsl.ir import Block, Operation, Region, SSAValue

from stepwell.dialects.numerics import round_to_tf32
from stepwell.dialects.tile.interpreter_ops import Env, run_op, slice_indices
from stepwell.dialects.tile.ops_compute import MmaOp
from stepwell.dialects.tile.ops_copy import DrainOp, FetchOp, ReadOp
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, YieldOp
from stepwell.dialects.tile.ops_ring import AcquireOp, AwaitOp, PublishOp, ReleaseOp, RingOp, WriteOp
from stepwell.dialects.tile.ops_role import TurnOp
from stepwell.dialects.tile.refs import read
from stepwell.dialects.tile.rings import Ring, SlotTile, Wait, misuse
from stepwell.runtime.errors import ModelError

BLOCKS = 3
"""At most so many blocks share the tiles: few enough that a block takes several, more than one so that they do not meet in a ring."""

Steps = Iterator[Wait]


def iterations(op: ForOp, extents: Sequence[int], bound: int | None = None) -> Iterator[tuple[int, ...]]:
    """The offsets of each iteration of a loop, the last dim fastest."""
    return islice(product(*op.ranges(extents, bound)), None if op.first is None else op.first.value.data)


def run_rings(kernel: KernelOp, env: Env, seed: int = 0) -> None:
    """Run all blocks, one after the other; `seed` decides how many there are, and in which order roles that can go on do so."""
    rng = np.random.default_rng(seed)
    grid = kernel.grid
    tiles = list(product(*grid.offsets(env[grid.output].extents)))
    blocks = 1 + (seed + 1) % BLOCKS
    for block in range(blocks):
        _run_block(kernel, env, tiles[block::blocks], rng)


def _run_block(kernel: KernelOp, env: Env, tiles: Sequence[tuple[int, ...]], rng: np.random.Generator) -> None:
    flows: list[tuple[str, Region, int, int]] = [
        (role.label.data, role.body, copy, role.copy_count) for role in kernel.roles for copy in range(role.copy_count)
    ]
    flows = flows or [("kernel", kernel.body, 0, 1)]
    rings: dict[SSAValue, Ring] = {op.ring: Ring(op) for op in kernel.body.block.ops if isinstance(op, RingOp)}
    turns: dict[str, int] = {}
    running: dict[str, tuple[Steps, Wait]] = {}
    for label, body, copy, copies in flows:
        flow = _Flow(f"{label} {copy}" if copies > 1 else label, dict(env), rings, tiles, copy, copies, turns)
        for ring in rings.values():
            ring.admit(flow.name, body, copy, copies)
        running[flow.name] = (flow.run(body.block), Wait(lambda: True, ""))
    while running:
        ready = [name for name, (_, wait) in running.items() if wait.ready()]
        if not ready:
            stuck = "; ".join(f'"{name}" waits at {wait.what}' for name, (_, wait) in running.items())
            raise ModelError(f"deadlock: {stuck}", where=f"tile.kernel @{kernel.sym_name.data}")
        name = ready[int(rng.integers(len(ready)))]
        wait = next(running[name][0], None)
        if wait is None:
            del running[name]
        else:
            running[name] = (running[name][0], wait)


@dataclass
class _Flow:
    """One copy of a role (or the whole kernel) on one block: what its values hold, and which tiles are its own."""

    name: str
    env: Env
    rings: Mapping[SSAValue, Ring]
    tiles: Sequence[tuple[int, ...]]
    copy: int
    copies: int
    turns: dict[str, int]
    at: int = 0
    yielded: Sequence[Any] = ()

    def run(self, block: Block) -> Steps:
        """Execute the ops of a block; what it yields to its loop is in `yielded` afterwards."""
        for op in block.ops:
            match op:
                case YieldOp():
                    self.yielded = [self.env[value] for value in op.arguments]
                    return
                case ForTilesOp():
                    yield from self._for_tiles(op)
                case ForOp():
                    yield from self._for(op)
                case FetchOp():
                    yield from self._fetch(op)
                case AwaitOp() | AcquireOp():
                    yield from self._take(op)
                case TurnOp():
                    yield from self._turn(op)
                case ReleaseOp() | PublishOp() | WriteOp() | DrainOp():
                    self._give(op)
                case RingOp():
                    pass
                case _:
                    self._compute(op)

    def _for_tiles(self, op: ForTilesOp) -> Steps:
        numbers = range(self.copy, len(self.tiles), self.copies)
        for number in islice(numbers, None if op.first is None else op.first.value.data):
            self.at = number
            for argument, offset in zip(op.body.block.args, self.tiles[number], strict=True):
                self.env[argument] = np.asarray(offset)
            yield from self.run(op.body.block)

    def _for(self, op: ForOp) -> Steps:
        carried: Sequence[Any] = [self.env[value] for value in op.inits]
        bound = None if op.bound is None else int(self.env[op.bound])
        for offsets in iterations(op, self.env[op.over].extents, bound):
            self.env.update(zip(op.offsets, (np.asarray(offset) for offset in offsets), strict=True))
            self.env.update(zip(op.iter_args, carried, strict=True))
            yield from self.run(op.body.block)
            carried = self.yielded
        self.env.update(zip(op.carried, carried, strict=True))

    def _fetch(self, op: FetchOp) -> Steps:
        ring = self.rings[op.ring]
        place = (op.source, tuple(int(self.env[index]) for index in op.indices))
        if op.rest is not None and ring.was_fetched_ahead(op, place):
            return
        yield Wait(partial(ring.can_fill, op.number), f"{ring.title}: tile.fetch to #{op.number} finds no free slot")
        indices = slice_indices([self.env[i] for i in op.indices], op.get_dims(), op.tile_type.get_shape(), 0)
        values = read(self.env[op.source], indices, 0)
        ring.fill(op, round_to_tf32(values) if op.as_type is not None else values, place, self.at)

    def _take(self, op: AwaitOp | AcquireOp) -> Steps:
        ring = self.rings[op.ring]
        if isinstance(op, AcquireOp):
            yield Wait(ring.can_acquire, f"{ring.title}: tile.acquire finds no free slot")
            taken = ring.acquire(self.at)
        else:
            reader = ring.reader(self.name)
            yield Wait(partial(ring.is_full, reader), f"{ring.title}: tile.await of a slot that nobody fills")
            taken = ring.take(reader)
        self.env.update(zip(op.results, taken, strict=True))

    def _turn(self, op: TurnOp) -> Steps:
        name = op.turn.string_value()
        if op.begins:
            yield Wait(lambda: self.turns.get(name, 0) == self.copy, f"tile.turn begin @{name}")
        elif self.turns.get(name, 0) != self.copy:
            raise misuse(op, f"@{name} ends here, and it is the turn of copy {self.turns.get(name, 0)}")
        else:
            self.turns[name] = (self.copy + 1) % self.copies

    def _give(self, op: ReleaseOp | PublishOp | WriteOp | DrainOp) -> None:
        match op:
            case ReleaseOp():
                self.rings[op.ring].release(op, self.name)
            case PublishOp():
                self.rings[op.ring].publish(op)
            case WriteOp():
                self.env[op.target].write(op, self.env[op.tile])
            case DrainOp():
                shape = self.env[op.tile].kind.get_shape()
                indices = slice_indices([self.env[i] for i in op.indices], op.get_dims(), shape, 0)
                self.env[op.target].write(indices, self.env[op.tile].drain(op))

    def _compute(self, op: Operation) -> None:
        """An op on values: tiles of slots are looked at now, so they must be held."""
        held = {value: self.env[value] for value in op.operands if isinstance(self.env[value], SlotTile)}
        if held and not isinstance(op, MmaOp | ReadOp):
            raise misuse(op, "reads a tile of a slot: only products and tile.read do")
        self.env.update({value: tile.read(op) for value, tile in held.items()})
        run_op(op, self.env, 0)
        self.env.update(held)
