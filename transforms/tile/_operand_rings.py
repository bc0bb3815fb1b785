"""Rings for operands that come one by one: loaded at different places than their product, or computed on the way (tile-assign-copies)."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.tile import RefType, Residence, TileType
from stepwell.passes import PassFailure, inherit_location, names_of
from stepwell.types.elements import element


def stands_apart(product: tile.MmaOp) -> bool:
    """Whether a product's operands are not both loaded into shared memory for it alone, in its own block."""
    loads = [value.owner for value in (product.a, product.b)]
    together = all(isinstance(load, tile.LoadOp) and load.parent is product.parent for load in loads)
    return not together or any(len(list(value.uses)) != 1 for value in (product.a, product.b))


def bring_operands(kernel: tile.KernelOp, product: tile.MmaOp, slots: int) -> str:
    """Give each operand that is loaded a ring of its own, and one to a right factor that is computed, which a role packs; what was decided. So is a left
    factor that each iteration loads anew; any other that is computed stays in registers, where wgmma takes it from."""
    said = []
    for name, value in (("a", product.a), ("b", product.b)):
        assert isinstance(value.type, TileType)
        owner = value.owner
        if isinstance(owner, tile.AwaitOp):
            continue
        if isinstance(owner, tile.LoadOp) and value.type.home is Residence.RING:
            said.append(f"{name} {_fetched(kernel, product, owner, slots)}")
        elif value.type.home is Residence.REGS and (name == "b" or is_streamed(value, product)):
            said.append(f"{name} {_packed(kernel, product, value, slots)}")
        else:
            said.append("a from registers, where it is computed")
    return ", ".join(said)


def is_streamed(value: SSAValue, product: tile.MmaOp) -> bool:
    """Whether an operand is loaded and mapped anew in each iteration of the product's loop, of nothing else: then a role can bring it ahead of time."""
    waiting, home = [value], product.parent
    while waiting:
        owner = waiting.pop().owner
        if (
            not isinstance(owner, tile.LoadOp | tile.MapOp)
            or owner.parent is not home
            or not isinstance(product.parent_op(), tile.ForOp)
        ):
            return False
        waiting += owner.inputs if isinstance(owner, tile.MapOp) else []
    return True


def _fetched(kernel: tile.KernelOp, product: tile.MmaOp, load: tile.LoadOp, slots: int) -> str:
    """Fetch an operand by the copy engine; outside of loops, where one slot does, a tile of queries is read by all iterations."""
    looped = isinstance(load.parent_op(), tile.ForOp)
    count = slots if looped else 1
    ring = _ring(kernel, load.result, count, product)
    as_type, via = rounded_to(ring.element_types[0]), via_of(kernel, load)
    fetch = tile.FetchOp(load.source, load.indices, ring.ring, 0, via, dims=load.get_dims(), as_type=as_type)
    inherit_location(fetch, load)
    block = load.parent_block()
    assert block is not None
    block.insert_op_before(fetch, load)
    _await(ring, load.result, product)
    load.detach()
    load.erase()
    rounded = " as tf32" if as_type else ""
    return f"via {via}{rounded} through {count} slots of {ring.slot_bytes} bytes"


def via_of(kernel: tile.KernelOp, load: tile.LoadOp) -> str:
    """How the copy engine brings a tile: rows of a window as the config says."""
    assert isinstance(load.source.type, RefType)
    return kernel.config.data.copy if load.source.type.access.kind == "window" else "tma"


def rounded_to(kind: TileType) -> str | None:
    """What the tensor cores take elements for that are f32 in memory: those are rounded on the way."""
    way = element(str(kind.element_type)).product("wgmma")
    return way.operand if way is not None and way.operand == "tf32" else None


def _packed(kernel: tile.KernelOp, product: tile.MmaOp, value: SSAValue, slots: int) -> str:
    """Write an operand that is computed into shared memory: acquire, write, publish behind what computes it."""
    maker = value.owner
    if not isinstance(maker, tile.MapOp) or maker.parent is not product.parent:
        where = " + ".join(names_of(product)) or "tile.mma"
        raise PassFailure(
            "a factor that is packed is not computed in its own loop", where=f"@{kernel.sym_name.data}, {where}"
        )
    ring = _ring(kernel, value, slots, product)
    acquire = tile.AcquireOp(ring.ring)
    write = tile.WriteOp(value, acquire.tiles[0])
    publish = tile.PublishOp(ring.ring)
    block = maker.parent_block()
    assert block is not None
    for op in (acquire, write, publish):
        inherit_location(op, maker)
    block.insert_ops_after([acquire, write, publish], maker)
    _await(ring, value, product, keep=write)
    return f"via pack (its elements are converted on the way) through {slots} slots of {ring.slot_bytes} bytes"


def _ring(kernel: tile.KernelOp, value: SSAValue, slots: int, product: tile.MmaOp) -> tile.RingOp:
    """A ring for one tile, at the head of the kernel."""
    assert isinstance(value.type, TileType)
    ring = tile.RingOp(slots, [TileType(value.type.get_shape(), value.type.element_type, Residence.RING)])
    ring.ring.name_hint = value.name_hint
    inherit_location(ring, product)
    wait = next(op for op in kernel.body.block.ops if isinstance(op, tile.WaitPredecessorOp))
    kernel.body.block.insert_op_before(ring, wait)
    return ring


def _await(ring: tile.RingOp, value: SSAValue, product: tile.MmaOp, keep: Operation | None = None) -> None:
    """The users of a tile read it from its slot, which is awaited where it was made and released behind the last of them."""
    block = value.owner.parent_block() if isinstance(value.owner, Operation) else None
    assert block is not None
    users = [use.operation for use in value.uses if use.operation is not keep]
    places = [_place_in(block, user) for user in users]
    order = list(block.ops)
    first, last = min(places, key=order.index), max(places, key=order.index)
    await_, release = tile.AwaitOp(ring.ring), tile.ReleaseOp(ring.ring)
    await_.results[0].name_hint = value.name_hint
    for op in (await_, release):
        inherit_location(op, product)
    block.insert_op_before(await_, first)
    block.insert_op_after(release, last)
    value.replace_uses_with_if(await_.results[0], lambda use: use.operation is not keep)


def _place_in(block: Block, op: Operation) -> Operation:
    """The op of a block that an op stands in, or is."""
    return next(outer for outer in _outwards(op) if outer.parent is block)


def _outwards(op: Operation | None) -> Iterator[Operation]:
    while op is not None:
        yield op
        op = op.parent_op()
