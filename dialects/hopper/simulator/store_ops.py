"""What the ops on the way back to global memory do: fragments into shared memory, the copy engine's stores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Operation

from stepwell.dialects import hopper
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.block import Role, Waiting
from stepwell.dialects.hopper.simulator.code import Blocking, Simple
from stepwell.dialects.hopper.simulator.memory import Array, granules_of
from stepwell.dialects.hopper.simulator.threads import Threads
from stepwell.dialects.hopper.simulator.tma import TensorMap, swizzle_address
from stepwell.dialects.hopper.simulator.wgmma import fragment_map
from stepwell.dialects.numpy_types import numpy_dtype


def _fragment_to_shared(threads: Threads, op: hopper.FragmentToSharedOp) -> None:
    """Each warp writes its 16 rows; two bytes for each element."""
    addresses = _addresses(op, threads.uniform(op.destination))
    values = np.broadcast_to(threads.get(op.value), addresses.shape)
    for warp in threads.whole_warps():
        _write(threads, warp, addresses, values, op.swizzle.value.data)


def _addresses(op: hopper.FragmentToSharedOp | hopper.FragmentFromSharedOp, start: int) -> Array:
    """Where each thread's elements lie."""
    swizzle = op.swizzle.value.data
    rows, columns = fragment_map(op.columns)
    inner = swizzle // 2
    linear = columns // inner * op.panel.value.data + rows * swizzle + columns % inner * 2
    return swizzle_address(start + linear, swizzle)


def _fragment_from_shared(threads: Threads, op: hopper.FragmentFromSharedOp) -> None:
    """Each warp reads its 16 rows."""
    shared, addresses = threads.block.shared, _addresses(op, threads.uniform(op.source))
    for warp in threads.whole_warps():
        units, known = granules_of(addresses[_lanes(threads, warp)]), threads.block.agents.known[warp]
        shared.check_read(units, warp, int(known[warp]), known, generic=True, what=threads.what())
        shared.check_swizzle(units, op.swizzle.value.data, threads.what())
    assert isinstance(op.result.type, VectorType)
    threads.bind(op.results, [shared.load(addresses, numpy_dtype(op.result.type.element_type))])


def _lanes(threads: Threads, warp: int) -> slice:
    return slice(warp * WARP - threads.first, (warp + 1) * WARP - threads.first)


def _write(threads: Threads, warp: int, addresses: Array, values: Array, swizzle: int) -> None:
    block = threads.block
    lanes = _lanes(threads, warp)
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
    hopper.FragmentFromSharedOp: _fragment_from_shared,
    hopper.TmaStoreOp: _tma_store,
    hopper.BulkCommitOp: _bulk_commit,
}
BLOCKING: Mapping[type[Operation], Blocking] = {hopper.BulkWaitOp: _bulk_wait}
