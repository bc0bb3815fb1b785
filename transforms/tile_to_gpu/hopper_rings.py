"""Rings on Hopper: barriers that say which slots are full and which are empty, fetches, waits and releases.

Slots are filled and emptied in order over all tiles of the block, so a slot's number and the parity of its barriers follow from how many fetches and
waits a role has come to; a parity flips when the ring starts over.
"""

from __future__ import annotations

from xdsl.ir import Block, SSAValue

from stepwell.dialects import hopper, tile
from stepwell.transforms.tile_to_gpu.hopper_lowering import BARRIER_BYTES, MOST_PENDING, Cursor, Lowering, Ring
from stepwell.transforms.tile_to_gpu.hopper_parameters import box_columns


def make_barriers(lowering: Lowering) -> None:
    """One thread makes the barriers of every slot: one arrival fills it (the bytes are counted beside), or one of each thread that packs it; one of each
    reading warp empties it."""
    emit = lowering.emit
    for ring in [ring for ring in lowering.rings.values() if ring.readers]:
        for slot in range(ring.slots):
            emit.insert(hopper.MbarrierInitOp(emit.i32(ring.full + BARRIER_BYTES * slot), ring.writers or 1))
            emit.insert(hopper.MbarrierInitOp(emit.i32(ring.empty + BARRIER_BYTES * slot), ring.readers))


def barrier_of(lowering: Lowering, base: int, slot: SSAValue, name: str) -> SSAValue:
    """The barrier of a slot."""
    emit = lowering.emit
    return emit.add(emit.mul(slot, emit.i32(BARRIER_BYTES)), emit.i32(base), name)


def advance(lowering: Lowering, ring: Ring, cursor: Cursor) -> None:
    """Go on to the next slot."""
    emit = lowering.emit
    following = emit.add(cursor.slot, emit.i32(1))
    over = emit.compare("eq", following, emit.i32(ring.slots))
    cursor.slot = emit.select(over, emit.i32(0), following)
    cursor.parity = emit.xor(cursor.parity, emit.as_i32(over))
    cursor.taken = False
    if cursor.issued is not None:
        cursor.issued = emit.add(cursor.issued, emit.i32(1))


def lower_fetch(lowering: Lowering, op: tile.FetchOp) -> None:
    """The first fetch of a slot waits until it is empty, the last one arrives on "full"; those that were issued ahead are skipped with their wait."""
    ring, cursor = lowering.rings[op.ring], lowering.current.cursors[op.ring]
    order = fetches_of(op.parent_block(), op.ring)
    if lowering.current.hoisted:
        _issue(lowering, op, ring, cursor.slot, last=False)
        return
    first, last = op is order[0], op is order[-1]
    if op.rest is None:
        if first:
            _wait_until_empty(lowering, ring, cursor)
        _issue(lowering, op, ring, cursor.slot, last=last)
    else:
        assert cursor.issued is not None
        if last or not first:
            raise lowering.refuse(op, "is fetched ahead: it must be the first fetch of its slot, and not the only one")
        with lowering.emit.when(lowering.emit.compare("sge", cursor.issued, lowering.current.ahead[op.ring])):
            _wait_until_empty(lowering, ring, cursor)
            _issue(lowering, op, ring, cursor.slot, last=False)
    cursor.taken = True


def fetches_of(block: Block | None, ring: SSAValue) -> list[tile.FetchOp]:
    """The fetches into a ring that stand in a block."""
    assert block is not None
    return [op for op in block.ops if isinstance(op, tile.FetchOp) and op.ring is ring]


def _wait_until_empty(lowering: Lowering, ring: Ring, cursor: Cursor) -> None:
    lowering.emit.insert(hopper.WaitOp(barrier_of(lowering, ring.empty, cursor.slot, "empty"), cursor.parity))


def _issue(lowering: Lowering, op: tile.FetchOp, ring: Ring, slot: SSAValue, *, last: bool) -> None:
    """Expect the bytes of one element of the slot, and tell the copy engine to bring them."""
    emit, element = lowering.emit, op.number
    full = barrier_of(lowering, ring.full, slot, "full")
    expect = hopper.ExpectBytesOp if last else hopper.ExpectMoreBytesOp
    emit.insert(expect(full, ring.bytes[element]))
    target = emit.mul(slot, emit.i32(ring.stage), "target")
    if ring.place(element):
        target = emit.add(target, emit.i32(ring.place(element)), "target")
    source = lowering.parameters[lowering.signature.map_name(op)]
    indices = [lowering.values[index] for index in op.indices]
    if op.via.data == "tma_im2col":
        row, tap, channel = op.indices
        corner, offsets = lowering.current.corners[row], lowering.current.taps[tap]
        made = hopper.TmaLoadIm2colOp(source, [lowering.values[channel], *corner], offsets, target, full)
        emit.insert(made)
        return
    inner, rows = box_columns(op.tile_type), op.tile_type.get_shape()[0]
    for panel in range(op.tile_type.get_shape()[-1] // inner):
        place = [*indices[:-1], lowering.moved(indices[-1], panel * inner)]
        into = lowering.moved(target, panel * rows * op.tile_type.swizzle)
        emit.insert(hopper.TmaLoadOp(source, place[::-1], into, full))


def acquire_to_publish(lowering: Lowering, op: tile.AcquireOp) -> None:
    """Wait until the readers have released the next slot; its tiles become their addresses."""
    emit, ring, cursor = lowering.emit, lowering.rings[op.ring], lowering.current.cursors[op.ring]
    if cursor.taken:
        advance(lowering, ring, cursor)
    cursor.taken = True
    _wait_until_empty(lowering, ring, cursor)
    base = emit.mul(cursor.slot, emit.i32(ring.stage))
    for element, result in enumerate(op.tiles):
        lowering.values[result] = lowering.moved(base, ring.place(element))


def lower_publish(lowering: Lowering, op: tile.PublishOp) -> None:
    """What a thread has written is visible to products once it has fenced; then it arrives, and the slot is full when all have."""
    ring, cursor = lowering.rings[op.ring], lowering.current.cursors[op.ring]
    if not ring.writers:
        raise lowering.refuse(op, "is in no role that packs", "run tile-split-roles")
    lowering.emit.insert(hopper.ProxyFenceOp())
    lowering.emit.insert(hopper.ArriveOp(barrier_of(lowering, ring.full, cursor.slot, "full")))


def lower_await(lowering: Lowering, op: tile.AwaitOp) -> None:
    """Wait until the next slot is full; its tiles become the address of the slot."""
    emit, ring, cursor = lowering.emit, lowering.rings[op.ring], lowering.current.cursors[op.ring]
    if cursor.taken:
        advance(lowering, ring, cursor)
    cursor.taken = True
    emit.insert(hopper.WaitOp(barrier_of(lowering, ring.full, cursor.slot, "full"), cursor.parity))
    base = emit.mul(cursor.slot, emit.i32(ring.stage))
    for element, result in enumerate(op.tiles):
        lowering.values[result] = base
        lowering.current.places[result] = ring.place(element)


def lower_release(lowering: Lowering, op: tile.ReleaseOp) -> None:
    """Wait for the products that read the slots, then one thread of each warp arrives on the "empty" of each slot."""
    emit, role = lowering.emit, lowering.current
    ring, cursor = lowering.rings[op.ring], role.cursors[op.ring]
    awaited, carried = _held(lowering, op)
    if op.kept and role.in_flight is not None:
        held = lowering.values[role.in_flight]
        running = _issued_since(op, awaited)
        lowering.values[role.in_flight] = emit.insert(hopper.WgmmaWaitOp(held, running)).result
    assert role.leader is not None
    for place in range(op.kept, awaited + carried):
        who = role.leader
        if place >= awaited and (role.iteration is not None or place > awaited):
            made = role.iteration if role.iteration is not None else lowering.parameters["steps"]
            later = emit.compare("sgt", made, emit.i32(place - awaited))
            who = emit.bit_and(later, who)
        slot = cursor.slot
        for _ in range(place + (not cursor.taken)):
            slot = _before(lowering, ring, slot)
        emit.insert(hopper.ArriveOp(barrier_of(lowering, ring.empty, slot, "empty"), who))


def _held(lowering: Lowering, op: tile.ReleaseOp) -> tuple[int, int]:
    """Slots of the ring that are held before a release: those that the block has awaited, and up to how many iterations have left: the ones before
    this one, or those of a loop before, one slot each."""
    block = op.parent
    assert block is not None
    awaited, carried = 0, _left_by(block, op.ring) if isinstance(block.parent_op(), tile.ForOp) else 0
    for other in block.ops:
        if other is op:
            break
        if isinstance(other, tile.AwaitOp) and other.ring is op.ring:
            awaited += 1
        if isinstance(other, tile.ReleaseOp) and other.ring is op.ring:
            awaited, carried = min(awaited, other.kept), max(0, min(carried, other.kept - awaited))
        if isinstance(other, tile.ForOp) and any(
            isinstance(inner, tile.AwaitOp) and inner.ring is op.ring for inner in other.body.block.ops
        ):
            if awaited or carried:
                raise lowering.refuse(op, "follows a loop that began with slots of its ring", "release them before")
            carried = _left_by(other.body.block, op.ring)
    return awaited, carried


def _left_by(block: Block, ring: SSAValue) -> int:
    """Slots that an iteration leaves to those after it: what its last release keeps."""
    kept = [op.kept for op in block.ops if isinstance(op, tile.ReleaseOp) and op.ring is ring]
    return kept[-1] if kept else 0


def _issued_since(op: tile.ReleaseOp, awaited: int) -> int:
    """Products that began after the last one that reads a slot which is released here: of this iteration, and of those since; none may be running
    where the release stands in no loop."""
    block = op.parent
    assert block is not None
    ops = list(block.ops)
    products = [other for other in ops if isinstance(other, tile.MmaOp) and other.is_async is not None]
    mine = {
        value for other in ops if isinstance(other, tile.AwaitOp) and other.ring is op.ring for value in other.tiles
    }
    readers = [number for number, product in enumerate(products) if mine & {product.a, product.b}]
    if not readers or not isinstance(block.parent_op(), tile.ForOp):
        return 0
    before = sum(ops.index(product) < ops.index(op) for product in products)
    since = before - 1 - readers[-1] + (op.kept - awaited + 1) * len(products)
    return min(max(0, since), MOST_PENDING)


def _before(lowering: Lowering, ring: Ring, slot: SSAValue) -> SSAValue:
    """The slot before a slot."""
    emit = lowering.emit
    first = emit.compare("eq", slot, emit.i32(0))
    return emit.select(first, emit.i32(ring.slots - 1), emit.sub(slot, emit.i32(1)))
