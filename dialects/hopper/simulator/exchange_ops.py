"""What lanes hand to one another: registers within a warp, vectors in shared memory between warps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from xdsl.dialects.builtin import VectorType
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import warp
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.code import Simple
from stepwell.dialects.hopper.simulator.faults import MisalignedFault
from stepwell.dialects.hopper.simulator.memory import ANY_SWIZZLE, Array, granules_of
from stepwell.dialects.hopper.simulator.threads import Threads
from stepwell.dialects.numpy_types import numpy_dtype


def _shuffle(threads: Threads, op: warp.ShuffleOp) -> None:
    """Whole warps only: lanes that are away would be waited for."""
    threads.whole_warps()
    held = threads.lanes(op.value)
    other = np.arange(threads.count) ^ op.lanes.value.data
    threads.bind(op.results, [held[other]])


def _places(threads: Threads, address: SSAValue, of: VectorType) -> Array:
    """Byte addresses [threads, elements]."""
    size = numpy_dtype(of.element_type).itemsize
    starts = np.asarray(threads.lanes(address), np.int64)
    if (starts[threads.mask] % size).any():
        raise MisalignedFault(
            f"{threads.what()} touches shared memory at an address that is no multiple of {size} bytes"
        )
    return starts[:, None] + size * np.arange(of.get_shape()[0])


def _lanes_of(threads: Threads, number: int) -> Array:
    """The active lanes of a warp, as positions among the threads."""
    first = number * WARP - threads.first
    return first + np.flatnonzero(threads.mask[first : first + WARP])


def _shared_store(threads: Threads, op: warp.SharedStoreOp) -> None:
    assert isinstance(op.value.type, VectorType)
    places, held = _places(threads, op.address, op.value.type), threads.lanes(op.value)
    block = threads.block
    for number, _ in threads.warps():
        lanes, known = _lanes_of(threads, number), block.agents.known[number]
        units = granules_of(places[lanes])
        block.shared.check_write(units, number, int(known[number]), known, generic=True, what=threads.what())
        block.shared.mark_swizzle(units, ANY_SWIZZLE)
        block.shared.store(places[lanes], np.ascontiguousarray(held[lanes]))


def _shared_load(threads: Threads, op: warp.SharedLoadOp) -> None:
    assert isinstance(op.result.type, VectorType)
    places, dtype = _places(threads, op.address, op.result.type), numpy_dtype(op.result.type.element_type)
    block = threads.block
    found = np.zeros(places.shape, dtype)
    for number, _ in threads.warps():
        lanes, known = _lanes_of(threads, number), block.agents.known[number]
        units = granules_of(places[lanes])
        block.shared.check_read(units, number, int(known[number]), known, generic=True, what=threads.what())
        found[lanes] = block.shared.load(places[lanes], dtype)
    threads.bind(op.results, [found])


SIMPLE: Mapping[type[Operation], Simple] = {
    warp.ShuffleOp: _shuffle,
    warp.SharedStoreOp: _shared_store,
    warp.SharedLoadOp: _shared_load,
}
