"""A kernel of roles on Hopper: its prologue, and each role as a region of whole warpgroups or of one thread.

`TABLE` is the whole lowering: one function for each op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from xdsl.dialects import arith
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import hopper, tile, warp
from stepwell.dialects.tile import TileType
from stepwell.passes import PassFailure
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.hopper_loops import lower_for, lower_for_tiles
from stepwell.transforms.tile_to_gpu.hopper_lowering import (
    BARRIER_BYTES,
    WARPGROUP_ROWS,
    WARPGROUP_WARPS,
    Lowering,
    Ring,
    Role,
)
from stepwell.transforms.tile_to_gpu.hopper_parameters import check_launch, grid_of, parameters_of, signature_of
from stepwell.transforms.tile_to_gpu.hopper_products import group_bytes, lower_finish, lower_mma
from stepwell.transforms.tile_to_gpu.hopper_rings import (
    lower_await,
    lower_fetch,
    lower_publish,
    lower_release,
    make_barriers,
)
from stepwell.transforms.tile_to_gpu.hopper_stores import (
    lower_acquire,
    lower_drain,
    lower_read,
    lower_write,
    staged_rows,
)
from stepwell.transforms.tile_to_gpu.hopper_tiles import (
    lower_broadcast,
    lower_constant,
    lower_fill,
    lower_inside,
    lower_iota,
    lower_load,
    lower_map,
    lower_reduce,
    lower_relayout,
    lower_store,
)
from stepwell.transforms.tile_to_gpu.hopper_turns import lower_turn, take_copy
from stepwell.transforms.tile_to_gpu.launch import GpuKernel


def lower_kernel(kernel: tile.KernelOp) -> GpuKernel:
    """The Hopper kernel that does what `kernel` says; refuses with a reason what has no form there."""
    signature = signature_of(kernel)
    parameters = parameters_of(signature)
    threads = sum(role.groups for role in kernel.roles) * hopper.WARPGROUP
    made = warp.KernelOp(kernel.sym_name.data, [p.type for p in parameters], threads)
    entry = made.body.block
    named = {p.name: value for p, value in zip(parameters, entry.args, strict=True)}
    for name, value in named.items():
        value.name_hint = name
    rings: dict[SSAValue, Ring] = {
        op.ring: _ring(kernel, op) for op in kernel.body.block.ops if isinstance(op, tile.RingOp)
    }
    lowering = Lowering(kernel, signature, GpuEmitter(entry, kernel.location), named, rings, TABLE)
    _prologue(lowering, threads)
    lowering.block(kernel.body.block)
    lowering.emit.insert(warp.ReturnOp())
    shared = max((ring.empty + BARRIER_BYTES * ring.slots for ring in rings.values()), default=0)
    blocks = kernel.config.data.blocks_per_multiprocessor
    sized = warp.KernelOp(made.sym_name.data, made.detach_region(made.body), threads, shared, blocks)
    return GpuKernel(sized, parameters, grid_of(signature), partial(check_launch, signature))


def _ring(kernel: tile.KernelOp, op: tile.RingOp) -> Ring:
    """Where tile-allocate-shared has put a ring."""
    if op.at is None or op.barriers is None:
        raise PassFailure(
            "a ring has no place in shared memory", where=f"@{kernel.sym_name.data}", hint="run tile-allocate-shared"
        )
    reading = [role for role in kernel.roles if any(_awaits(inner, op.ring) for inner in role.walk())]
    groups = [role.warpgroups.value.data if op.alternate is not None else role.groups for role in reading]
    readers = WARPGROUP_WARPS * sum(groups)
    sizes = tuple(kind.size_in_bytes for kind in op.element_types)
    packing = [role for role in kernel.roles if any(_publishes(inner, op.ring) for inner in role.walk())]
    writers = hopper.WARPGROUP * sum(role.groups for role in packing)
    return Ring(op, op.slot_count, sizes, op.at.value.data, op.barriers.value.data, readers, writers)


def _publishes(op: Operation, ring: SSAValue) -> bool:
    return isinstance(op, tile.PublishOp) and op.ring is ring


def _awaits(op: Operation, ring: SSAValue) -> bool:
    return isinstance(op, tile.AwaitOp) and op.ring is ring


def _prologue(lowering: Lowering, threads: int) -> None:
    """Barriers are made by one thread; then all threads go on, and the next kernel may start."""
    emit = lowering.emit
    elect = emit.insert(hopper.ElectOp())
    with emit.inside(elect.body.block):
        make_barriers(lowering)
        emit.insert(hopper.FenceBarrierInitOp())
        for name in lowering.signature.map_names:
            emit.insert(hopper.PrefetchTensorMapOp(lowering.parameters[name]))
    emit.insert(warp.BarrierOp(0, threads))
    emit.insert(warp.LaunchDependentsOp())


def lower_role(lowering: Lowering, op: tile.RoleOp) -> None:
    """A role that only issues copies is played by one thread; else by its warpgroups, each on its 64 rows."""
    roles = lowering.kernel.roles
    first = sum(role.groups for role in roles[: roles.index(op)])
    registers = None if op.registers is None else op.registers.value.data
    made = lowering.emit.insert(hopper.RoleOp(op.label.data, first, op.groups, registers))
    lowering.role = Role(op)
    with lowering.emit.inside(made.body.block):
        if any(isinstance(kind, TileType) for inner in op.walk() for kind in inner.result_types):
            _take_rows(lowering, op)
            lowering.block(op.body.block)
            return
        elect = lowering.emit.insert(hopper.ElectOp())
        with lowering.emit.inside(elect.body.block):
            lowering.block(op.body.block)


def _take_rows(lowering: Lowering, op: tile.RoleOp) -> None:
    """Which rows this warpgroup has, in operands and output, and which thread arrives for a warp."""
    emit, role = lowering.emit, lowering.current
    group: SSAValue = emit.insert(hopper.WarpgroupIdOp()).result
    thread = emit.insert(warp.ThreadIdOp()).result
    lane = emit.bit_and(thread, emit.i32(31))
    role.leader = emit.compare("eq", lane, emit.i32(0), "leader")
    if op.copies is not None:
        group = take_copy(lowering, group, thread)
    for size in dict.fromkeys(_row_bytes(op)):
        role.operand_rows[size] = emit.mul(group, emit.i32(size), "a_base")
    role.group_row = emit.mul(group, emit.i32(WARPGROUP_ROWS), "row")


def _row_bytes(op: tile.RoleOp) -> Iterator[int]:
    """Bytes of 64 rows of what the role's warpgroups share by rows in shared memory."""
    for inner in op.walk():
        if isinstance(inner, tile.MmaOp) and isinstance(inner.a.type, TileType):
            yield group_bytes(inner.a.type)
        if isinstance(inner, tile.WriteOp | tile.ReadOp):
            yield staged_rows(inner)


def _lower_wait_predecessor(lowering: Lowering, op: tile.WaitPredecessorOp) -> None:
    """`griddepcontrol.wait` in the threads of the role."""
    lowering.emit.insert(warp.WaitPredecessorOp())


def _lower_divide(lowering: Lowering, op: arith.DivUIOp) -> None:
    """An index over an index."""
    emit = lowering.emit
    lowering.values[op.result] = emit.insert(arith.DivUIOp(lowering.values[op.lhs], lowering.values[op.rhs])).result


def _lower_ring(lowering: Lowering, op: tile.RingOp) -> None:
    """Its barriers are made in the prologue."""


TABLE: Mapping[type[Operation], Callable[[Lowering, Any], None]] = {
    arith.ConstantOp: lower_constant,
    arith.DivUIOp: _lower_divide,
    tile.RingOp: _lower_ring,
    tile.RoleOp: lower_role,
    tile.WaitPredecessorOp: _lower_wait_predecessor,
    tile.ForTilesOp: lower_for_tiles,
    tile.ForOp: lower_for,
    tile.FetchOp: lower_fetch,
    tile.AwaitOp: lower_await,
    tile.ReleaseOp: lower_release,
    tile.AcquireOp: lower_acquire,
    tile.PublishOp: lower_publish,
    tile.WriteOp: lower_write,
    tile.DrainOp: lower_drain,
    tile.ReadOp: lower_read,
    tile.TurnOp: lower_turn,
    tile.MmaOp: lower_mma,
    tile.FinishOp: lower_finish,
    tile.FillOp: lower_fill,
    tile.LoadOp: lower_load,
    tile.BroadcastOp: lower_broadcast,
    tile.MapOp: lower_map,
    tile.IotaOp: lower_iota,
    tile.InsideOp: lower_inside,
    tile.ReduceOp: lower_reduce,
    tile.RelayoutOp: lower_relayout,
    tile.StoreOp: lower_store,
}
