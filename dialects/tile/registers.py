"""What a kernel's tiles take: bytes of a ring stage, registers of the live register tiles. Linear scan over the body in
program order."""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import ceil, prod
from typing import Protocol

from xdsl.ir import Operation, Region, SSAValue

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.attributes import RefType, Residence, TileType
from stepwell.dialects.tile.config import Config, ConfigAttr, Facts
from stepwell.dialects.tile.ops_compute import FinishOp, MmaOp
from stepwell.dialects.tile.ops_loop import ForOp, YieldOp
from stepwell.dialects.tile.ops_reduce import IotaOp
from stepwell.dialects.tile.ops_ring import AcquireOp, PublishOp, WriteOp
from stepwell.dialects.tile.ops_role import role_of
from stepwell.dialects.tile.ops_tiles import BroadcastOp, LoadOp
from stepwell.types.targets import machine_of


class Kernel(Protocol):
    """What is asked of a `tile.kernel` here: its op is made after what its verifier calls."""

    @property
    def body(self) -> Region: ...
    @property
    def config(self) -> ConfigAttr: ...


def facts_of(kernel: Kernel, target: str | None) -> Facts:
    """What `config.violations` needs to know about a kernel's body."""
    config = kernel.config.data
    products = [op for op in kernel.body.walk() if isinstance(op, MmaOp)]
    stage = 0
    for op in kernel.body.walk():
        if isinstance(op, LoadOp) and isinstance(op.result.type, TileType) and op.result.type.home is Residence.RING:
            stage += op.result.type.size_in_bytes
    operands = [op.a.type for op in products if isinstance(op.a.type, TileType)]
    operand_bytes = max((element_bytes(tile.element_type) for tile in operands), default=0)
    operand = next((str(tile.element_type) for tile in operands), "")
    refs = [arg.type for arg in kernel.body.block.args if isinstance(arg.type, RefType)]
    elements = tuple(dict.fromkeys(str(ref.element_type) for ref in refs))
    registers = 0
    machine = machine_of(target)
    if machine is not None and machine.vector_bytes:
        registers = vector_registers(kernel, machine.vector_bytes)
    elif config.threads > 0:
        registers = thread_registers(kernel, config)
    multipliers = max((role.warpgroups.value.data for role in map(role_of, products) if role is not None), default=0)
    return Facts(operand_bytes, stage, registers, operand, elements, multipliers)


def vector_registers(kernel: Kernel, width: int) -> int:
    """Vector registers of `width` bytes in the largest loop: the carried tiles, one row of an operand and one broadcast
    element. The epilogue goes row by row and needs no more."""

    def vectors(tile: TileType) -> int:
        return prod(tile.get_shape()[:-1]) * ceil(tile.get_shape()[-1] * element_bytes(tile.element_type) / width)

    peak = 0
    for op in kernel.body.walk():
        if not isinstance(op, ForOp):
            continue
        tiles = [value.type for value in op.inits if isinstance(value.type, TileType)]
        rows = [ceil(tile.get_shape()[-1] * element_bytes(tile.element_type) / width) for tile in tiles]
        peak = max(peak, sum(vectors(tile) for tile in tiles) + max(rows, default=0) + 1)
    return peak


def thread_registers(kernel: Kernel, config: Config) -> int:
    """32-bit registers of one thread at the worst place: tiles of two dims are spread over the block's threads, of one
    dim over the 4 threads that share a row of an accumulator fragment, or over those that share a row of a block that has rows whole."""
    rows = max(config.cut, default=1)

    def cost(tile: TileType) -> int:
        words = tile.size_in_bytes / 4
        if tile.rank == 1 and config.takes_whole:
            return ceil(words * min(rows, config.threads) / config.threads)
        return ceil(words / 4) if tile.rank == 1 else ceil(words / config.threads)

    return _peak(kernel, cost, _packed(kernel) if config.uses_wgmma else set())


def _packed(kernel: Kernel) -> set[SSAValue]:
    """What right factors are computed from: another role holds it, and packs it into shared memory."""
    found: set[SSAValue] = set()
    waiting = [op.b for op in kernel.body.walk() if isinstance(op, MmaOp)]
    waiting += [op.tile for op in kernel.body.walk() if isinstance(op, WriteOp) and _is_published(op)]
    while waiting:
        value = waiting.pop()
        if value not in found and isinstance(value.owner, Operation) and len(list(value.uses)) == 1:
            found.add(value)
            waiting += [operand for operand in value.owner.operands if isinstance(operand.type, TileType)]
    return found


def _is_published(op: WriteOp) -> bool:
    """Whether a slot is written for readers in the kernel, and not to be stored."""
    acquire = op.target.owner
    return isinstance(acquire, AcquireOp) and any(isinstance(use.operation, PublishOp) for use in acquire.ring.uses)


def _peak(kernel: Kernel, cost: Callable[[TileType], int], elsewhere: Collection[SSAValue] = ()) -> int:
    position = {op: at for at, op in enumerate(kernel.body.walk())}
    groups: dict[SSAValue, SSAValue] = {}

    def leader(value: SSAValue) -> SSAValue:
        while groups.get(value, value) is not value:
            value = groups[value]
        return value

    for op in position:
        for value, same in _shared(op):
            groups[leader(value)] = leader(same)
    ranges: dict[SSAValue, tuple[int, int, int]] = {}
    for op, at in position.items():
        for value in (*op.results, *(op.iter_args if isinstance(op, ForOp) else ())):
            if not isinstance(value.type, TileType) or value.type.home is not Residence.REGS:
                continue
            if value in elsewhere:
                continue
            last = max((_end(use.operation, value, position) for use in value.uses), default=at)
            size = 0 if isinstance(op, BroadcastOp | IotaOp) else cost(value.type)
            first, until, most = ranges.get(leader(value), (at, last, size))
            ranges[leader(value)] = (min(first, at), max(until, last), max(most, size))
    return max(
        (sum(size for first, until, size in ranges.values() if first <= at < until) for at in position.values()),
        default=0,
    )


def _shared(op: Operation) -> list[tuple[SSAValue, SSAValue]]:
    """Pairs of values that one set of registers holds one after the other."""
    if isinstance(op, MmaOp):
        return [(op.result, op.c)]
    if isinstance(op, BroadcastOp):
        return [(op.result, op.source)]
    if isinstance(op, FinishOp):
        return [(op.result, op.accumulator)]
    if not isinstance(op, ForOp) or not isinstance(op.body.block.last_op, YieldOp):
        return []
    quads = zip(op.carried, op.iter_args, op.body.block.last_op.arguments, op.inits, strict=True)
    return [(value, init) for result, inside, yielded, init in quads for value in (result, inside, yielded)]


def _end(user: Operation, value: SSAValue, position: dict[Operation, int]) -> int:
    """The position up to which a use keeps `value`: the end of the loop that the use is in, when the value is from
    outside of it."""
    home = value.owner.parent_block() if isinstance(value.owner, Operation) else value.owner
    op: Operation = user
    end = position[user]
    while op.parent_block() is not home and op.parent_op() is not None:
        parent = op.parent_op()
        assert parent is not None
        op = parent
        if isinstance(op, ForOp) and op.body.block.last_op is not None:
            end = position[op.body.block.last_op]
    return end
