"""Roles that are played several times at once: each copy takes every n-th tile of the block, and the copies pass turns from one to the next.

A turn is a named barrier for each copy, where that copy waits and the copy before it arrives. Before the first tile the last copy arrives for copy 0; after
the last tile one arrival is left over, and the copy whose turn it would be takes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xdsl.dialects import arith
from xdsl.ir import SSAValue

from stepwell.dialects import hopper, tile, warp
from stepwell.transforms.tile_to_gpu.hopper_lowering import Cursor, Lowering


def take_copy(lowering: Lowering, group: SSAValue, thread: SSAValue) -> SSAValue:
    """Note which copy of the role this thread plays and whether it acts for it alone; the number of its warpgroup in the copy."""
    emit, role = lowering.emit, lowering.current
    each = role.op.warpgroups.value.data
    size = emit.i32(hopper.WARPGROUP * each)
    role.copy = group if each == 1 else emit.insert(arith.DivUIOp(group, emit.i32(each))).result
    inside = emit.insert(arith.RemUIOp(emit.sub(thread, emit.i32(_first_thread(lowering))), size)).result
    role.elected = emit.compare("eq", inside, emit.i32(0), "elected")
    return emit.i32(0) if each == 1 else emit.insert(arith.RemUIOp(group, emit.i32(each))).result


def _first_thread(lowering: Lowering) -> int:
    roles = lowering.kernel.roles
    return hopper.WARPGROUP * sum(role.groups for role in roles[: roles.index(lowering.current.op)])


@contextmanager
def elected(lowering: Lowering) -> Iterator[None]:
    """One thread of the role, or of each of its copies."""
    emit, role = lowering.emit, lowering.current
    if role.elected is not None:
        with emit.when(role.elected):
            yield
        return
    elect = emit.insert(hopper.ElectOp())
    with emit.inside(elect.body.block):
        yield


def meet(lowering: Lowering, op: tile.AcquireOp | tile.DrainOp) -> None:
    """All threads of the role, or of this copy of it, come to their barrier."""
    role, emit = lowering.current, lowering.emit
    threads = role.op.warpgroups.value.data * hopper.WARPGROUP
    number = _first_barrier(lowering)
    if role.copy is None:
        emit.insert(warp.BarrierOp(number, threads))
        return
    emit.insert(warp.BarrierAtOp(emit.add(emit.i32(number), role.copy), threads))


def _first_barrier(lowering: Lowering) -> int:
    role = lowering.current.op
    if role.barrier is None:
        raise lowering.refuse(role, f'"{role.label.data}" has no named barrier', "run tile-allocate-shared")
    return role.barrier.value.data


def for_tiles_of_copies(lowering: Lowering, op: tile.ForTilesOp, rings: list[SSAValue]) -> Iterator[SSAValue]:
    """The loop over this copy's tiles: yields the number of the tile while the body is lowered."""
    emit, role = lowering.emit, lowering.current
    copies = role.op.copy_count
    assert role.copy is not None and role.first is not None
    grid = emit.insert(warp.GridDimOp()).result
    if role.op.order is not None:
        with emit.when(emit.compare("eq", role.copy, emit.i32(copies - 1))):
            _arrive(lowering, emit.i32(0))
    first = emit.add(role.first, emit.mul(role.copy, grid))
    step, tiles = emit.mul(grid, emit.i32(copies)), lowering.parameters["tiles"]
    with emit.loop((first, tiles, step), {"turn": role.copy}, "tile") as loop:
        turn = loop.carried["turn"]
        for ring in rings:
            role.cursors[ring] = _place(lowering, op, ring, turn)
        yield loop.index
        loop.next["turn"] = emit.add(turn, emit.i32(copies))
    if role.op.order is not None:
        last = emit.add(role.first, emit.mul(emit.sub(loop.results["turn"], emit.i32(1)), grid))
        with emit.when(emit.compare("slt", last, tiles)):
            _wait(lowering)


def _place(lowering: Lowering, op: tile.ForTilesOp, ring: SSAValue, turn: SSAValue) -> Cursor:
    """Where in a ring a tile's slots begin: all tiles of the block take equally many, one after the other."""
    emit, held = lowering.emit, lowering.rings[ring]
    copies = lowering.current.op.copy_count
    users = [use.operation for use in ring.uses if isinstance(use.operation, tile.AwaitOp | tile.AcquireOp)]
    if held.op.alternate is None or len(users) != 1:
        raise lowering.refuse(
            op, "reads a ring that is not alternate, or in several places", "let the copies take slots in turn"
        )
    (user,) = users
    if isinstance(user, tile.AcquireOp) and held.slots % copies:
        raise lowering.refuse(user, f"takes turns in {held.slots} slots among {copies} copies", f"slots {copies}")
    loop = user.parent_op()
    each = isinstance(loop, tile.ForOp)
    if isinstance(loop, tile.ForOp) and loop.is_limited:
        raise lowering.refuse(user, "stands in a loop of another length for each tile", "copies = 1")
    position = emit.mul(turn, lowering.parameters["steps"]) if each else turn
    slot = emit.insert(arith.RemUIOp(position, emit.i32(held.slots))).result
    round_ = emit.insert(arith.DivUIOp(position, emit.i32(held.slots))).result
    return Cursor(slot, emit.bit_and(round_, emit.i32(1)))


def lower_turn(lowering: Lowering, op: tile.TurnOp) -> None:
    """A turn begins where this copy waits, and ends where it arrives for the next one."""
    emit, role = lowering.emit, lowering.current
    assert role.copy is not None
    if op.begins:
        _wait(lowering)
        return
    last = emit.compare("eq", role.copy, emit.i32(role.op.copy_count - 1))
    _arrive(lowering, emit.select(last, emit.i32(0), emit.add(role.copy, emit.i32(1))))


def _turn_barrier(lowering: Lowering, copy: SSAValue) -> tuple[SSAValue, int]:
    """The number of a copy's barrier, behind those where copies meet, and the threads that come: that copy's and those of the one before."""
    role, emit = lowering.current.op, lowering.emit
    threads = 2 * role.warpgroups.value.data * hopper.WARPGROUP
    return emit.add(emit.i32(_first_barrier(lowering) + role.copy_count), copy), threads


def _wait(lowering: Lowering) -> None:
    assert lowering.current.copy is not None
    lowering.emit.insert(warp.BarrierAtOp(*_turn_barrier(lowering, lowering.current.copy)))


def _arrive(lowering: Lowering, copy: SSAValue) -> None:
    lowering.emit.insert(warp.BarrierArriveOp(*_turn_barrier(lowering, copy)))
