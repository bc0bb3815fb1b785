"""What the verifier of `tile.kernel` asks of rings: one writer, all elements fetched, slots read while they are held, and freed once."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Block, Operation, Region, SSAValue

from stepwell.dialects.tile.config import RING_ALIGNMENT
from stepwell.dialects.tile.ops_compute import FinishOp, MmaOp
from stepwell.dialects.tile.ops_copy import DrainOp, FetchOp
from stepwell.dialects.tile.ops_loop import ForOp
from stepwell.dialects.tile.ops_ring import AcquireOp, AwaitOp, PublishOp, ReleaseOp, RingOp
from stepwell.dialects.tile.ops_role import role_of
from stepwell.types.targets import SM_90A


def ring_reasons(body: Region) -> Iterator[str]:
    """One sentence per broken rule."""
    rings = [op for op in body.block.ops if isinstance(op, RingOp)]
    for ring in rings:
        yield from _filled(ring)
        yield from _freed(ring)
    for block in dict.fromkeys(op.parent for op in body.walk() if isinstance(op, AwaitOp | ReleaseOp)):
        if block is not None:
            yield from _held(block)
    total = sum(ring.slot_count * ring.slot_bytes for ring in rings)
    if total + RING_ALIGNMENT > SM_90A.shared_bytes:
        yield f"its rings take {total} bytes and {RING_ALIGNMENT} beside them, {SM_90A.shared_bytes} bytes of shared memory are there: take fewer slots"


def _users(ring: RingOp, *kinds: type[Operation]) -> list[Operation]:
    return [use.operation for use in ring.ring.uses if isinstance(use.operation, kinds)]


def _name(ring: RingOp) -> str:
    return f"ring %{ring.ring.name_hint}" if ring.ring.name_hint else "a ring"


def _filled(ring: RingOp) -> Iterator[str]:
    name = _name(ring)
    fetches = [op for op in _users(ring, FetchOp) if isinstance(op, FetchOp)]
    acquires, awaits = _users(ring, AcquireOp), _users(ring, AwaitOp)
    if not fetches and not acquires:
        yield f"{name} is {'awaited' if awaits else 'there'} but nobody fills it: fetch to it, or acquire, write and publish"
        return
    if fetches and acquires:
        yield f"{name} is filled by tile.fetch and by tile.acquire: by one of them"
    writers = dict.fromkeys(role_of(op) for op in (*fetches, *acquires))
    if len(writers) > 1:
        yield f"{name} is filled by {len(writers)} roles: a ring has one writer"
    missing = set(range(len(ring.element_types))) - {op.number for op in fetches}
    if fetches and missing:
        yield f"{name}: element #{min(missing)} is never fetched, so no slot is ever full"
    if fetches and not awaits:
        yield f"{name} is fetched to and never awaited: its slots are never free again"
    if acquires and not _drained(acquires) and not (awaits and _users(ring, PublishOp)):
        yield f"{name} is acquired and neither drained nor published to who awaits it: its slots are never free again"


def _drained(acquires: list[Operation]) -> bool:
    return all(any(isinstance(use.operation, DrainOp) for use in value.uses) for op in acquires for value in op.results)


def _freed(ring: RingOp) -> Iterator[str]:
    name = _name(ring)
    released = {role_of(op) for op in _users(ring, ReleaseOp)}
    for op in _users(ring, AwaitOp):
        in_loop = isinstance(op.parent_op(), ForOp)
        beside = {other.parent for other in _users(ring, ReleaseOp)}
        if role_of(op) not in released or (in_loop and op.parent not in beside):
            yield f"{name} is awaited {'in a loop ' * in_loop}and not released there: its slots run out"
    for op in _users(ring, ReleaseOp):
        if isinstance(op, ReleaseOp) and op.kept >= ring.slot_count:
            yield f"{name} has {ring.slot_count} slots and tile.release keeps {op.kept}: none is free to be filled; keep fewer or take more slots"


def _held(block: Block) -> Iterator[str]:
    """Follow the ops of a block: which awaited slots are held, and who reads one that is not."""
    held: dict[SSAValue, list[AwaitOp]] = {}
    idle: set[SSAValue] = set()
    released: dict[SSAValue, SSAValue] = {}
    flying: dict[SSAValue, MmaOp] = {}
    for op in block.ops:
        for inner in op.walk():
            for operand in inner.operands:
                if operand in released:
                    yield f"{inner.name} reads a tile of {_title(released[operand])} after its release"
            if isinstance(inner, AwaitOp):
                idle.discard(inner.ring)
        if isinstance(op, AwaitOp):
            held.setdefault(op.ring, []).append(op)
        if isinstance(op, MmaOp) and op.is_async is not None:
            flying |= {op.a: op, op.b: op}
        if isinstance(op, FinishOp):
            flying = {value: product for value, product in flying.items() if not _ends(op, product)}
        if not isinstance(op, ReleaseOp):
            continue
        if op.ring in idle:
            yield f"{_title(op.ring)} is released twice with no tile.await between"
        idle.add(op.ring)
        awaited = held.get(op.ring, [])
        gone = awaited[: max(0, len(awaited) - op.kept)]
        held[op.ring] = awaited[len(gone) :]
        for value in (value for owner in gone for value in owner.results):
            released[value] = op.ring
            if value in flying:
                yield f"{_title(op.ring)} is released while a product in flight reads it: tile.finish it first, or release behind 1"


def _ends(finish: FinishOp, product: MmaOp) -> bool:
    """Whether the accumulator that ends is the product's, or comes after it: products end in order."""
    value: SSAValue = finish.accumulator
    while isinstance(value.owner, MmaOp):
        if value.owner is product:
            return True
        value = value.owner.c
    return False


def _title(ring: SSAValue) -> str:
    return _name(ring.owner) if isinstance(ring.owner, RingOp) else "a ring"
