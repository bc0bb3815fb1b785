"""What the ops of the hopper dialect do: roles, mbarriers, TMA loads, wgmma."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import hopper
from stepwell.dialects.hopper.simulator.agents import WARPGROUP
from stepwell.dialects.hopper.simulator.block import Role, Waiting
from stepwell.dialects.hopper.simulator.code import Blocking, Simple
from stepwell.dialects.hopper.simulator.faults import DivergenceFault, RaceFault
from stepwell.dialects.hopper.simulator.memory import Array
from stepwell.dialects.hopper.simulator.threads import Threads
from stepwell.dialects.hopper.simulator.tma import TensorMap
from stepwell.dialects.hopper.simulator.wgmma import ROWS, SHARED_BASE, Descriptor, Operand, register_operand
from stepwell.dialects.numpy_types import numpy_dtype


@dataclass(frozen=True, eq=False)
class Pending:
    """Accumulator registers [128, n / 2] that the products up to `epoch` may still be writing."""

    registers: Array
    epoch: int = 0


# --- roles


def _role(threads: Threads, op: hopper.RoleOp) -> Role:
    group = threads.first // WARPGROUP
    if group not in op.span:
        return
    threads.role_span, outer = op.span, threads.role_span
    threads.role = op.label.data + (f" {group - op.span.start}" if len(op.span) > 1 else "")
    if op.registers is not None:
        _whole_warpgroup(threads)
    yield from threads.run(op.body.block)
    threads.role_span = outer


def _elect(threads: Threads, op: hopper.ElectOp) -> Role:
    elected = threads.mask & (threads.identity == threads.role_span.start * WARPGROUP)
    if elected.any():
        with threads.narrowed(elected):
            yield from threads.run(op.body.block)


def _warpgroup_id(threads: Threads, op: hopper.WarpgroupIdOp) -> None:
    groups = threads.identity // WARPGROUP - threads.role_span.start
    threads.bind(op.results, [groups if (groups != groups[0]).any() else groups[:1]])


def _whole_warpgroup(threads: Threads) -> int:
    if threads.count != WARPGROUP or not threads.mask.all():
        raise DivergenceFault(
            f"{threads.what()} must be executed by a whole warpgroup; {int(threads.mask.sum())} threads are active"
        )
    return threads.first // WARPGROUP


def _set_max_registers(threads: Threads, op: hopper.SetMaxRegistersOp) -> None:
    _whole_warpgroup(threads)


# --- barriers


def _mbarrier_init(threads: Threads, op: hopper.MbarrierInitOp) -> None:
    threads.block.mbarriers.init(threads.single_warp(), threads.uniform(op.barrier), op.count.value.data)


def _fence_barrier_init(threads: Threads, op: hopper.FenceBarrierInitOp) -> None:
    for warp, _ in threads.warps():
        threads.block.mbarriers.fence_init(warp)


def _proxy_fence(threads: Threads, op: hopper.ProxyFenceOp) -> None:
    for warp, _ in threads.warps():
        threads.block.shared.fence(warp)


def _expect_bytes(threads: Threads, op: hopper.ExpectBytesOp) -> None:
    barrier = threads.uniform(op.barrier)
    for warp, lanes in threads.warps():
        threads.block.mbarriers.arrive(warp, barrier, lanes, lanes * op.bytes.value.data)


def _expect_more_bytes(threads: Threads, op: hopper.ExpectMoreBytesOp) -> None:
    barrier = threads.uniform(op.barrier)
    for warp, lanes in threads.warps():
        threads.block.mbarriers.expect(warp, barrier, lanes * op.bytes.value.data)


def _arrive(threads: Threads, op: hopper.ArriveOp) -> None:
    mask = threads.mask if op.pred is None else threads.mask & threads.get(op.pred)
    if not mask.any():
        return
    with threads.narrowed(mask):
        barrier = threads.uniform(op.barrier)
        for warp, lanes in threads.warps():
            threads.block.mbarriers.arrive(warp, barrier, lanes)


def _wait(threads: Threads, op: hopper.WaitOp) -> Role:
    barrier, parity, mbarriers = threads.uniform(op.barrier), threads.uniform(op.parity), threads.block.mbarriers
    warps = [warp for warp, _ in threads.warps()]
    for warp in warps:
        mbarriers.is_complete(warp, barrier, parity)
    threads.block.statistics.waits += 1
    yield Waiting(
        lambda: mbarriers.is_complete(warps[0], barrier, parity),
        lambda: (
            f"{threads.role}, waits in {threads.what()} for parity {parity} of the mbarrier at byte {barrier}, in {mbarriers.state(barrier)}"
        ),
    )
    for warp in warps:
        mbarriers.pass_wait(warp, barrier, parity)


# --- copies


def _prefetch(threads: Threads, op: hopper.PrefetchTensorMapOp) -> None:
    """Brings a descriptor near; nothing to see."""


def _load(threads: Threads, op: hopper.TmaLoadOp | hopper.TmaLoadIm2colOp, offsets: Sequence[SSAValue]) -> None:
    warp = threads.single_warp()
    tensor: TensorMap = threads.get(op.map)
    coordinates = tuple(threads.uniform(value) for value in op.coordinates)
    taps = tuple(threads.uniform(value) for value in offsets)
    destination, barrier = threads.uniform(op.destination), threads.uniform(op.barrier)
    what = f"{threads.what()} of {tensor.buffer.name} issued by {threads.role}"
    threads.block.issue_load(warp, tensor, coordinates, taps, destination, barrier, what)


def _tma_load(threads: Threads, op: hopper.TmaLoadOp) -> None:
    _load(threads, op, ())


def _tma_load_im2col(threads: Threads, op: hopper.TmaLoadIm2colOp) -> None:
    _load(threads, op, op.offsets)


# --- products


def _descriptor(threads: Threads, op: hopper.DescriptorOp) -> None:
    address = SHARED_BASE + np.asarray(threads.get(op.offset), np.int64)
    high = np.array(op.high_bits(), np.uint64).astype(np.int64)
    threads.bind(op.results, [((address >> 4) & 0x3FFF) | high])


def _operand(threads: Threads, bits: SSAValue) -> Descriptor:
    return Descriptor.decode_dynamic(threads.uniform(bits))


def _wgmma_begin(threads: Threads, op: hopper.WgmmaBeginOp) -> None:
    held = threads.get(op.value)
    threads.bind(op.results, [Pending(np.broadcast_to(held, (threads.count, held.shape[1])))])


def _wgmma_zero(threads: Threads, op: hopper.WgmmaZeroOp) -> None:
    vector = op.result.type.vector
    zeros = np.zeros((threads.count, vector.get_shape()[0]), numpy_dtype(vector.element_type))
    threads.bind(op.results, [Pending(zeros)])


def _wgmma(threads: Threads, op: hopper.WgmmaOp) -> None:
    _multiply(threads, op, Operand(_operand(threads, op.a), ROWS, op.element.data, moves=op.moves_a()))


def _wgmma_registers(threads: Threads, op: hopper.WgmmaRegistersOp) -> None:
    held = threads.get(op.a)
    held = np.broadcast_to(held, (threads.count, held.shape[-1]))
    _multiply(threads, op, register_operand(held, op.element.data))


def _multiply(threads: Threads, op: hopper.WgmmaOp | hopper.WgmmaRegistersOp, a: Operand | Array) -> None:
    """The products of one k-tile as one committed group."""
    group = _whole_warpgroup(threads)
    pending: Pending = threads.get(op.accumulator)
    what, turned = f"{threads.what()} of {threads.role}", op.transpose_b is not None
    b = Operand(_operand(threads, op.b), op.columns, op.element.data, turned, moves=op.moves_b())
    registers = threads.block.multiply(group, pending.registers, a, b, what)
    threads.bind(op.results, [Pending(registers, threads.block.commit_products(group))])


def _wgmma_wait(threads: Threads, op: hopper.WgmmaWaitOp) -> None:
    group = _whole_warpgroup(threads)
    pending: Pending = threads.get(op.accumulator)
    threads.block.wait_products(group, op.pending.value.data)
    if isinstance(op.result.type, hopper.PendingType):
        threads.bind(op.results, [pending])
        return
    if pending.epoch in threads.block.groups[group].pending:
        raise RaceFault(
            f"{threads.what()} hands out accumulators that a product may still be writing", hint="wait with pending 0"
        )
    threads.bind(op.results, [pending.registers])


SIMPLE: Mapping[type[Operation], Simple] = {
    hopper.WarpgroupIdOp: _warpgroup_id,
    hopper.SetMaxRegistersOp: _set_max_registers,
    hopper.MbarrierInitOp: _mbarrier_init,
    hopper.FenceBarrierInitOp: _fence_barrier_init,
    hopper.ProxyFenceOp: _proxy_fence,
    hopper.ExpectBytesOp: _expect_bytes,
    hopper.ExpectMoreBytesOp: _expect_more_bytes,
    hopper.ArriveOp: _arrive,
    hopper.PrefetchTensorMapOp: _prefetch,
    hopper.TmaLoadOp: _tma_load,
    hopper.TmaLoadIm2colOp: _tma_load_im2col,
    hopper.DescriptorOp: _descriptor,
    hopper.WgmmaBeginOp: _wgmma_begin,
    hopper.WgmmaZeroOp: _wgmma_zero,
    hopper.WgmmaOp: _wgmma,
    hopper.WgmmaRegistersOp: _wgmma_registers,
    hopper.WgmmaWaitOp: _wgmma_wait,
}
BLOCKING: Mapping[type[Operation], Blocking] = {hopper.RoleOp: _role, hopper.ElectOp: _elect, hopper.WaitOp: _wait}
