"""What the ops on the way back to global memory do: fragments into shared memory, the copy engine's stores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.ir import Operation

from stepwell.dialects import hopper
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.block import Role, Waiting
from stepwell.dialects.hopper.simulator.code import Blocking, Simple
from stepwell.dialects.hopper.simulator.memory import Array, granules_of
from stepwell.dialects.hopper.simulator.threads import Threads
from stepwell.dialects.hopper.simulator.tma import TensorMap, swizzle_address
from stepwell.dialects.hopper.simulator.wgmma import fragment_map


def _fragment_to_shared(threads: Threads, op: hopper.FragmentToSharedOp) -> None:
    """Each warp writes its 16 rows; two bytes for each element."""
    swizzle, warps = op.swizzle.value.data, threads.whole_warps()
    rows, columns = fragment_map(op.columns)
    inner = swizzle // 2
    linear = columns // inner * op.panel.value.data + rows * swizzle + columns % inner * 2
    addresses = swizzle_address(threads.uniform(op.destination) + linear, swizzle)
    values = np.broadcast_to(threads.get(op.value), addresses.shape)
    for warp in warps:
        _write(threads, warp, addresses, values, swizzle)


def _write(threads: Threads, warp: int, addresses: Array, values: Array, swizzle: int) -> None:
    block = threads.block
    lanes = slice(warp * WARP - threads.first, (warp + 1) * WARP - threads.first)
    units, known = granules_of(addresses[lanes]), block.agents.known[warp]
    block.shared.check_write(units, warp, int(known[warp]), known, generic=True, what=threads.what())
    block.shared.mark_swizzle(units, swizzle)
    block.shared.store(addresses[lanes], np.ascontiguousarray(values[lanes]))


def _thread(threads: Threads) -> int:
    """The number of the one active thread."""
    threads.single_warp()
    return int(threads.identity[threads.mask][0])


def _tma_store(threads: Threads, op: hopper.TmaStoreOp) -> None:
    tensor: TensorMap = threads.get(op.map)
    coordinates = tuple(threads.uniform(value) for value in op.coordinates)
    what = f"{threads.what()} of {tensor.buffer.name} issued by {threads.role}"
    threads.block.issue_store(_thread(threads), tensor, coordinates, threads.uniform(op.source), what)


def _bulk_commit(threads: Threads, op: hopper.BulkCommitOp) -> None:
    for thread in threads.identity[threads.mask]:
        threads.block.commit_stores(int(thread))


def _bulk_wait(threads: Threads, op: hopper.BulkWaitOp) -> Role:
    block, pending = threads.block, op.pending.value.data
    waiting = [int(thread) for thread in threads.identity[threads.mask]]
    yield Waiting(
        lambda: all(block.stores_done(thread, pending) for thread in waiting),
        lambda: f"{threads.role}, waits in {threads.what()} for its stores",
    )
    for thread in waiting:
        block.pass_stores(thread, pending)


SIMPLE: Mapping[type[Operation], Simple] = {
    hopper.FragmentToSharedOp: _fragment_to_shared,
    hopper.TmaStoreOp: _tma_store,
    hopper.BulkCommitOp: _bulk_commit,
}
BLOCKING: Mapping[type[Operation], Blocking] = {hopper.BulkWaitOp: _bulk_wait}
