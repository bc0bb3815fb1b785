"""The body of a contraction kernel on Hopper: a producer that feeds a ring by TMA, consumer warpgroups that multiply, and the epilogue.

Ring slot s holds A then B at byte s * stage, its barriers `full` and `empty` lie behind the ring. Slots are filled in order over all tiles of the
block; a barrier's parity flips at each round. B of the first slots is a constant and is fetched before the predecessor kernel has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from xdsl.dialects.builtin import VectorType, f32
from xdsl.ir import SSAValue

from stepwell.dialects import hopper, warp
from stepwell.transforms.tile_to_gpu._tile_to_hopper_match import WARPGROUP_ROWS, Contraction
from stepwell.transforms.tile_to_gpu.emitter import Emitter, Loop

BARRIER_BYTES = 8

Epilogue = Callable[["Roles", SSAValue, SSAValue], Callable[[SSAValue], None]]
"""Emits what a warpgroup loads before the product (roles, its first row, first column); what it returns emits the rest, given the product."""


@dataclass
class Roles:
    """One kernel in the making: the emitter, the contraction and the parameters by name."""

    e: Emitter
    c: Contraction
    p: Mapping[str, SSAValue]
    budgets: tuple[int, int] | None

    # --- shared memory

    @property
    def stage(self) -> int:
        """Bytes of one ring slot."""
        return self.c.a_bytes + self.c.b_bytes

    @property
    def full(self) -> int:
        """Where the barriers "slot is full" begin."""
        return self.c.config.stages * self.stage

    @property
    def empty(self) -> int:
        """Where the barriers "slot is empty" begin."""
        return self.full + BARRIER_BYTES * self.c.config.stages

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return self.empty + BARRIER_BYTES * self.c.config.stages

    def barrier(self, base: int, slot: SSAValue, name: str) -> SSAValue:
        """The barrier of a slot."""
        return self.e.add(self.e.mul(slot, self.e.i32(BARRIER_BYTES)), self.e.i32(base), name)

    # --- the parts of the body

    def prologue(self) -> None:
        """Barriers are made by one thread; then all threads go on, and the next kernel may start."""
        e, c = self.e, self.c
        consumers = 4 * c.config.consumers
        elect = e.insert(hopper.ElectOp())
        with e.inside(elect.body.block):
            for slot in range(c.config.stages):
                e.insert(hopper.MbarrierInitOp(e.i32(self.full + BARRIER_BYTES * slot), 1))
                e.insert(hopper.MbarrierInitOp(e.i32(self.empty + BARRIER_BYTES * slot), consumers))
            e.insert(hopper.FenceBarrierInitOp())
            e.insert(hopper.PrefetchTensorMapOp(self.p["map_a"]))
            e.insert(hopper.PrefetchTensorMapOp(self.p["map_b"]))
        e.insert(warp.BarrierOp(0, 32 * c.config.warps))
        e.insert(warp.LaunchDependentsOp())

    @contextmanager
    def role(self, label: str, first: int, count: int, budget: int | None) -> Iterator[None]:
        """The region of a role."""
        role = self.e.insert(hopper.RoleOp(label, first, count, budget))
        with self.e.inside(role.body.block):
            yield

    def producer(self) -> None:
        """One thread of warpgroup 0 keeps the ring full."""
        e, p = self.e, self.p
        with self.role("producer", 0, 1, self.budgets[0] if self.budgets else None):
            elect = e.insert(hopper.ElectOp())
            with e.inside(elect.body.block):
                first = e.insert(warp.BlockIdOp()).result
                first.name_hint = "first"
                ahead = self._weights_ahead(first)
                with e.loop((first, p["tiles"], self._grid()), self._state(parity=1, issued=0), "tile") as tiles:
                    self._produce_tile(tiles, ahead)

    def _grid(self) -> SSAValue:
        grid = self.e.insert(warp.GridDimOp()).result
        grid.name_hint = "grid"
        return grid

    def _state(self, **start: int) -> dict[str, SSAValue]:
        return {"slot": self.e.i32(0)} | {name: self.e.i32(value) for name, value in start.items()}

    def _weights_ahead(self, first: SSAValue) -> SSAValue:
        """Fetch B of the first slots before the predecessor's end when B is constant; returns how many slots that were."""
        e, p = self.e, self.p
        zero, one = e.i32(0), e.i32(1)
        if not self.c.b_constant:
            e.insert(warp.WaitPredecessorOp())
            return zero
        ahead = e.minimum(e.i32(self.c.config.stages), p["steps"], "ahead")
        _, column = self._origin(first)
        with e.loop((zero, ahead, one), {"k": zero, "tap": zero}, "step") as loop:
            self._load_b(loop.index, loop.carried["k"], loop.carried["tap"], column)
            loop.next["k"], wrapped = self._advance_k(loop.carried["k"])
            loop.next["tap"] = e.add(loop.carried["tap"], wrapped)
        e.insert(warp.WaitPredecessorOp())
        return ahead

    def _origin(self, tile: SSAValue) -> tuple[SSAValue, SSAValue]:
        """Element offsets of an output tile."""
        e, p, c = self.e, self.p, self.c
        outer = e.insert(warp.DivideOp(tile, p["inner_mul"], p["inner_shift"])).result
        inner = e.sub(tile, e.mul(outer, p["inner"]))
        i, j = (inner, outer) if c.config.order == "columns" else (outer, inner)
        return e.mul(i, e.i32(c.rows), "i"), e.mul(j, e.i32(c.columns), "j")

    def _produce_tile(self, tiles: Loop, ahead: SSAValue) -> None:
        e, p = self.e, self.p
        i, j = self._origin(tiles.index)
        corner = self._corner(i) if self.c.window else ()
        zero = e.i32(0)
        state = dict(tiles.carried) | {"k": zero, "tap": zero}
        if self.c.window:
            state |= {"tap_w": zero, "tap_h": zero}
        with e.loop((zero, p["steps"], e.i32(1)), state, "step") as steps:
            self._produce_step(steps, i, j, corner, ahead)
        tiles.next.update({name: steps.results[name] for name in tiles.carried})

    def _corner(self, i: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
        """Upper left input pixel (w, h, n) of output pixel i."""
        e, p = self.e, self.p
        image = e.insert(warp.DivideOp(i, p["image_mul"], p["image_shift"])).result
        image.name_hint = "image"
        inside = e.sub(i, e.mul(image, p["image"]))
        row = e.insert(warp.DivideOp(inside, p["row_mul"], p["row_shift"])).result
        column = e.sub(inside, e.mul(row, p["row"]))
        h = e.sub(e.mul(row, p["stride_h"]), p["pad_h"], "h")
        w = e.sub(e.mul(column, p["stride_w"]), p["pad_w"], "w")
        return w, h, image

    def _produce_step(
        self, steps: Loop, i: SSAValue, j: SSAValue, corner: tuple[SSAValue, ...], ahead: SSAValue
    ) -> None:
        """Fill one slot: wait until it is empty, fetch B (unless that was done ahead), fetch A."""
        e, c, held = self.e, self.c, steps.carried
        slot, k, tap = held["slot"], held["k"], held["tap"]
        with e.when(e.compare("sge", held["issued"], ahead)):
            e.insert(hopper.WaitOp(self.barrier(self.empty, slot, "empty"), held["parity"]))
            self._load_b(slot, k, tap, j)
        full = self.barrier(self.full, slot, "full")
        e.insert(hopper.ExpectBytesOp(full, c.a_bytes))
        target = e.mul(slot, e.i32(self.stage), "target")
        if c.window:
            offsets = (held["tap_w"], held["tap_h"])
            e.insert(hopper.TmaLoadIm2colOp(self.p["map_a"], [k, *corner], offsets, target, full))
        else:
            e.insert(hopper.TmaLoadOp(self.p["map_a"], [k, tap, i], target, full))
        self._next_slot(steps)
        steps.next["issued"] = e.add(held["issued"], e.i32(1))
        self._advance(steps)

    def _load_b(self, slot: SSAValue, k: SSAValue, tap: SSAValue, column: SSAValue) -> None:
        e, c = self.e, self.c
        full = self.barrier(self.full, slot, "full")
        e.insert(hopper.ExpectMoreBytesOp(full, c.b_bytes))
        target = e.add(e.mul(slot, e.i32(self.stage)), e.i32(c.a_bytes), "target")
        e.insert(hopper.TmaLoadOp(self.p["map_b"], [k, tap, column], target, full))

    def _advance_k(self, k: SSAValue) -> tuple[SSAValue, SSAValue]:
        """The next channel offset, and 1 when the tap is done."""
        e = self.e
        more = e.add(k, e.i32(self.c.config.k))
        done = e.compare("sge", more, self.p["channels"])
        return e.select(done, e.i32(0), more), e.as_i32(done)

    def _advance(self, steps: Loop) -> None:
        """Channels first, then taps: along w, then along h."""
        e, p, held = self.e, self.p, steps.carried
        steps.next["k"], wrapped = self._advance_k(held["k"])
        steps.next["tap"] = e.add(held["tap"], wrapped)
        if not self.c.window:
            return
        w = e.add(held["tap_w"], e.mul(wrapped, p["dilation_w"]))
        line = e.compare("sge", w, p["end_w"])
        steps.next["tap_w"] = e.select(line, e.i32(0), w)
        steps.next["tap_h"] = e.add(held["tap_h"], e.mul(e.as_i32(line), p["dilation_h"]))

    def _next_slot(self, loop: Loop) -> None:
        """The next slot; the parity flips when the ring starts over."""
        e = self.e
        following = e.add(loop.carried["slot"], e.i32(1))
        over = e.compare("eq", following, e.i32(self.c.config.stages))
        loop.next["slot"] = e.select(over, e.i32(0), following)
        loop.next["parity"] = e.xor(loop.carried["parity"], e.as_i32(over))

    # --- consumers

    def consumer(self, epilogue: Epilogue) -> None:
        """Each consumer warpgroup multiplies 64 rows of the tile and stores them."""
        e, p, c = self.e, self.p, self.c
        with self.role("consumer", 1, c.config.consumers, self.budgets[1] if self.budgets else None):
            group = e.insert(hopper.WarpgroupIdOp()).result
            lane = e.bit_and(e.insert(warp.ThreadIdOp()).result, e.i32(31))
            leader = e.compare("eq", lane, e.i32(0), "leader")
            a_base = e.mul(group, e.i32(WARPGROUP_ROWS * c.config.swizzle), "a_base")
            row = e.mul(group, e.i32(WARPGROUP_ROWS), "row")
            e.insert(warp.WaitPredecessorOp())
            first = e.insert(warp.BlockIdOp()).result
            with e.loop((first, p["tiles"], self._grid()), self._state(parity=0), "tile") as tiles:
                i, j = self._origin(tiles.index)
                finish = epilogue(self, e.add(i, row, "row"), j)
                finish(self._multiply(tiles, a_base, leader))

    def _multiply(self, tiles: Loop, a_base: SSAValue, leader: SSAValue) -> SSAValue:
        """All k-tiles of one output tile; one product stays in flight, and the slot before it is released."""
        e, c = self.e, self.c
        vector = VectorType(f32, [c.columns // 2])
        start = e.splat(float(c.init.value.value.data), vector)
        begun = e.insert(hopper.WgmmaBeginOp(start)).result
        with e.loop((e.i32(0), self.p["steps"], e.i32(1)), {"acc": begun} | tiles.carried, "step") as steps:
            slot = steps.carried["slot"]
            e.insert(hopper.WaitOp(self.barrier(self.full, slot, "full"), steps.carried["parity"]))
            base = e.mul(slot, e.i32(self.stage))
            a = e.insert(hopper.DescriptorOp(e.add(base, a_base), c.config.swizzle)).result
            b = e.insert(hopper.DescriptorOp(e.add(base, e.i32(c.a_bytes)), c.config.swizzle)).result
            issued = e.insert(hopper.WgmmaOp(steps.carried["acc"], a, b, c.operand, c.instructions)).result
            steps.next["acc"] = e.insert(hopper.WgmmaWaitOp(issued, 1)).result
            later = e.compare("sgt", steps.index, e.i32(0))
            self._release(slot, e.bit_and(later, leader))
            self._next_slot(steps)
        tiles.next.update({name: steps.results[name] for name in tiles.carried})
        product = e.insert(hopper.WgmmaWaitOp(steps.results["acc"], 0)).result
        product.name_hint = "product"
        self._release(steps.results["slot"], leader)
        return product

    def _release(self, slot: SSAValue, who: SSAValue) -> None:
        """Arrive on "empty" of the slot before `slot`."""
        e = self.e
        first = e.compare("eq", slot, e.i32(0))
        before = e.select(first, e.i32(self.c.config.stages - 1), e.sub(slot, e.i32(1)))
        e.insert(hopper.ArriveOp(self.barrier(self.empty, before, "empty"), who))
