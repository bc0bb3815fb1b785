"""The way back to memory through shared memory: a slot is acquired, written by the role's warpgroups, and stored by the copy engine.

The thread that issues a store is the one that waits for it, so a slot is free once that thread has waited and the role's threads have met; what they
wrote is visible to the copy engine once each has fenced and they have met again.
"""

from __future__ import annotations

from stepwell.dialects import hopper, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.transforms.tile_to_gpu.hopper_lowering import WARPGROUP_ROWS, Lowering
from stepwell.transforms.tile_to_gpu.hopper_parameters import box_columns
from stepwell.transforms.tile_to_gpu.hopper_rings import acquire_to_publish, advance
from stepwell.transforms.tile_to_gpu.hopper_tiles import fragment_at
from stepwell.transforms.tile_to_gpu.hopper_turns import elected, meet


def staged_rows(op: tile.WriteOp | tile.ReadOp) -> int:
    """Bytes between the rows that neighbouring warpgroups hold of a tile in shared memory."""
    kind = op.target.type if isinstance(op, tile.WriteOp) else op.source.type
    assert isinstance(kind, TileType)
    return WARPGROUP_ROWS * kind.swizzle


def lower_read(lowering: Lowering, op: tile.ReadOp) -> None:
    """Each warpgroup reads its 64 rows."""
    emit, role, kind = lowering.emit, lowering.current, op.source.type
    assert isinstance(kind, TileType)
    swizzle, size = kind.swizzle, element_bytes(kind.element_type)
    if size != 2 or not swizzle:
        given = f"reads {kind.element_type} with swizzle {swizzle}"
        raise lowering.refuse(op, f"{given}: ldmatrix takes 16-bit elements in swizzled rows", "load it directly")
    place = lowering.moved(lowering.values[op.source], role.places[op.source])
    source = emit.add(place, role.operand_rows[staged_rows(op)], "staged")
    assert isinstance(op.result.type, TileType)
    vector = fragment_at(lowering, op, op.result.type).vector(kind.element_type)
    made = hopper.FragmentFromSharedOp(source, swizzle, kind.get_shape()[0] * swizzle, vector)
    lowering.values[op.result] = emit.insert(made).result


def lower_acquire(lowering: Lowering, op: tile.AcquireOp) -> None:
    """Wait until the store that read the slot last is done, or, where it is published, until it is released."""
    emit, role, ring = lowering.emit, lowering.current, lowering.rings[op.ring]
    if ring.writers:
        acquire_to_publish(lowering, op)
        return
    cursor = role.cursors[op.ring]
    with elected(lowering):
        emit.insert(hopper.BulkWaitOp(ring.slots // role.op.copy_count - 1))
    meet(lowering, op)
    base = emit.mul(cursor.slot, emit.i32(ring.stage)) if ring.slots > 1 else None
    for element, result in enumerate(op.tiles):
        place = emit.i32(ring.place(element))
        lowering.values[result] = place if base is None else emit.add(base, place)


def lower_write(lowering: Lowering, op: tile.WriteOp) -> None:
    """Each warpgroup writes its 64 rows."""
    emit, kind = lowering.emit, op.target.type
    assert isinstance(kind, TileType)
    swizzle, size = kind.swizzle, element_bytes(kind.element_type)
    if size != 2 or not swizzle:
        given = f"writes {kind.element_type} with swizzle {swizzle}"
        raise lowering.refuse(op, f"{given}: stmatrix takes 16-bit elements in swizzled rows", "store it directly")
    rows = lowering.current.operand_rows[staged_rows(op)]
    destination = emit.add(lowering.values[op.target], rows, "staged")
    panel = kind.get_shape()[0] * swizzle
    emit.insert(hopper.FragmentToSharedOp(lowering.values[op.tile], destination, swizzle, panel))


def lower_drain(lowering: Lowering, op: tile.DrainOp) -> None:
    """One thread stores the tile, panel after panel, once all have written."""
    if op.via.data != "tma":
        raise lowering.refuse(op, f"stores via {op.via.data}: rings are drained by the copy engine", "via tma")
    emit, kind = lowering.emit, op.tile.type
    assert isinstance(kind, TileType) and isinstance(op.tile.owner, tile.AcquireOp)
    emit.insert(hopper.ProxyFenceOp())
    meet(lowering, op)
    inner, swizzle = box_columns(kind), kind.swizzle
    row, column = (lowering.values[index] for index in op.indices)
    target = lowering.parameters[lowering.signature.drain_name(op)]
    with elected(lowering):
        for panel in range(kind.get_shape()[1] // inner):
            source = lowering.moved(lowering.values[op.tile], panel * kind.get_shape()[0] * swizzle)
            emit.insert(hopper.TmaStoreOp(source, target, [lowering.moved(column, panel * inner), row]))
        emit.insert(hopper.BulkCommitOp())
    ring = op.tile.owner.ring
    if lowering.rings[ring].slots > 1:
        advance(lowering, lowering.rings[ring], lowering.current.cursors[ring])


def finish_stores(lowering: Lowering) -> None:
    """Before a block ends its stores must have read shared memory."""
    with elected(lowering):
        lowering.emit.insert(hopper.BulkWaitOp(0))
