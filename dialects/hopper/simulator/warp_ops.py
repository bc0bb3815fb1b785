"""What the ops of the warp dialect do: identities, barriers, launch order, and fragments moved from and to global memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects import warp
from stepwell.dialects.hopper.simulator.block import Role, Waiting
from stepwell.dialects.hopper.simulator.code import Blocking, Simple
from stepwell.dialects.hopper.simulator.faults import MisalignedFault
from stepwell.dialects.hopper.simulator.memory import Array, GlobalBuffer
from stepwell.dialects.hopper.simulator.threads import Threads
from stepwell.dialects.hopper.simulator.wgmma import fragment_map


@lru_cache(maxsize=64)
def places(layout: warp.FragmentAttr) -> tuple[Array, Array]:
    """Rows and columns [threads, registers] of a fragment: blocked layouts put `width` columns of a row into a thread, threads side by side
    along a row, then again along the row, the others down the rows, then again."""
    if layout.kind.data == "wgmma":
        return fragment_map(layout.cols.data)
    across, width, columns = layout.across.data, layout.width.data, layout.columns_per_thread
    thread, register = np.arange(layout.threads.data)[:, None], np.arange(layout.registers)[None]
    row = register // columns * layout.row_step + thread // across
    column = register % columns // width * (across * width) + thread % across * width + register % width
    return np.broadcast_to(row, (thread.size, register.size)), np.broadcast_to(column, (thread.size, register.size))


@lru_cache(maxsize=64)
def lines(layout: warp.FragmentAttr, along: str) -> tuple[Array, Array]:
    """Of thread 0: the first register in each of its rows or columns, and for each register the number of its row or column."""
    held = places(layout)[0 if along == "rows" else 1][0]
    _, first, numbers = np.unique(held, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order], np.argsort(order)[numbers]


def _own_places(threads: Threads, layout: warp.FragmentAttr) -> tuple[Array, Array]:
    mine = threads.identity % layout.threads.data
    rows, columns = places(layout)
    return rows[mine], columns[mine]


def _column(threads: Threads, value: SSAValue) -> Array:
    """An i32 per lane as int64, ready to be added to a lane's vector."""
    return np.asarray(threads.get(value), np.int64)[:, None]


def _matrix(threads: Threads, op: warp.FragmentLoadOp | warp.FragmentStoreOp) -> tuple[Array, Array]:
    """Element offsets of this thread's part, and which of them lie inside the bounds in active lanes."""
    rows, columns = _own_places(threads, op.layout)
    rows, columns = rows + _column(threads, op.row), columns + _column(threads, op.col)
    inside = (rows < _column(threads, op.rows)) & (columns < _column(threads, op.cols)) & threads.mask[:, None]
    return rows * _column(threads, op.stride) + columns, inside


def _check_accesses(threads: Threads, buffer: GlobalBuffer, index: Array, inside: Array, access: int) -> None:
    """Elements that are moved together lie at an aligned address, and all of them inside the bounds or none."""
    together = inside.reshape(len(inside), -1, access)
    if (together != together[:, :, :1]).any():
        raise MisalignedFault(f"{threads.what()} moves {access} elements of {buffer.name} at once across a bound")
    buffer.check_alignment(index.reshape(together.shape)[:, :, 0][together[:, :, 0]], access, threads.what())


def _load(threads: Threads, pointer: SSAValue, index: Array, inside: Array, access: int, fill: Any) -> Array:
    buffer: GlobalBuffer = threads.get(pointer)
    index, inside = np.broadcast_arrays(index, inside)
    result = np.broadcast_to(np.asarray(fill, buffer.dtype), index.shape).copy()
    if inside.any():
        _check_accesses(threads, buffer, index, inside, access)
        result[inside] = buffer.load(index[inside], threads.has_waited(), threads.what())
    return result


def _fragment_load(threads: Threads, op: warp.FragmentLoadOp) -> None:
    index, inside = _matrix(threads, op)
    threads.bind(op.results, [_load(threads, op.pointer, index, inside, op.access.value.data, 0)])


def _fragment_load_row(threads: Threads, op: warp.FragmentLoadRowOp) -> None:
    held = _own_places(threads, op.layout)[1][:, lines(op.layout, "cols")[0]]
    columns = held + _column(threads, op.col)
    inside = (columns < _column(threads, op.cols)) & threads.mask[:, None]
    threads.bind(op.results, [_load(threads, op.pointer, columns, inside, op.access.value.data, 0)])


def _fragment_store(threads: Threads, op: warp.FragmentStoreOp) -> None:
    index, inside = _matrix(threads, op)
    buffer: GlobalBuffer = threads.get(op.pointer)
    if not inside.any():
        return
    _check_accesses(threads, buffer, index, inside, op.access.value.data)
    values = np.broadcast_to(threads.get(op.value), index.shape)
    buffer.store(index[inside], values[inside], threads.block.number, threads.has_waited(), threads.what())


def _fragment_index(threads: Threads, op: warp.FragmentIndexOp) -> None:
    along = op.along.data
    held = _own_places(threads, op.layout)[0 if along == "rows" else 1]
    threads.bind(op.results, [held[:, lines(op.layout, along)[0]].astype(np.int32)])


def _spread(threads: Threads, op: warp.SpreadOp) -> None:
    threads.bind(op.results, [threads.get(op.value)[:, lines(op.layout, op.along.data)[1]]])


def _gather(threads: Threads, op: warp.GatherOp) -> None:
    width = op.width.value.data
    offsets = np.asarray(threads.get(op.offsets), np.int64)
    index = (offsets[:, :, None] + np.arange(width)).reshape(len(offsets), -1)
    inside = np.repeat(threads.get(op.mask), width, axis=1) & threads.mask[:, None]
    fill = threads.get(op.fill)[:, None]
    threads.bind(op.results, [_load(threads, op.pointer, index, inside, width, fill)])


def _scatter(threads: Threads, op: warp.ScatterOp) -> None:
    width, buffer = op.width.value.data, threads.get(op.pointer)
    offsets = np.asarray(threads.lanes(op.offsets), np.int64)
    index = (offsets[:, :, None] + np.arange(width)).reshape(len(offsets), -1)
    inside = np.repeat(threads.lanes(op.mask), width, axis=1) & threads.mask[:, None]
    if not inside.any():
        return
    _check_accesses(threads, buffer, index, inside, width)
    values = np.broadcast_to(threads.get(op.value), index.shape)
    buffer.store(index[inside], values[inside], threads.block.number, threads.has_waited(), threads.what())


def _scalar(threads: Threads, index: SSAValue) -> tuple[Array, Array]:
    """Element offsets of the lanes, one each, and which lanes are active."""
    return np.broadcast_to(_column(threads, index), (threads.count, 1)), threads.mask[:, None]


def _load_one(threads: Threads, op: warp.LoadOp) -> None:
    offsets, inside = _scalar(threads, op.index)
    buffer: GlobalBuffer = threads.get(op.pointer)
    result = np.zeros(threads.count, buffer.dtype)
    active = inside[:, 0]
    if active.any():
        _check_accesses(threads, buffer, offsets, inside, 1)
        places = offsets[active, 0]
        result[active] = buffer.load(places, threads.has_waited(), threads.what(), threads.numbers[active])
    threads.bind(op.results, [result])


def _store_one(threads: Threads, op: warp.StoreOp) -> None:
    offsets, inside = _scalar(threads, op.index)
    buffer: GlobalBuffer = threads.get(op.pointer)
    values = np.broadcast_to(np.asarray(threads.get(op.value))[:, None], offsets.shape)
    _check_accesses(threads, buffer, offsets, inside, 1)
    who = threads.numbers[inside[:, 0]]
    buffer.store(offsets[inside], values[inside], threads.block.number, threads.has_waited(), threads.what(), who)


def _divide(threads: Threads, op: warp.DivideOp) -> None:
    n, mul, shift = (np.asarray(threads.get(v)).view(np.uint32).astype(np.uint64) for v in (op.n, op.mul, op.shift))
    if n.ndim == 2:
        mul, shift = mul[:, None], shift[:, None]
    threads.bind(op.results, [((n * mul) >> shift).astype(np.uint32).view(np.int32)])


def _within(threads: Threads, op: warp.WithinOp) -> None:
    n = threads.get(op.n)
    threads.bind(op.results, [(n >= 0) & (n < threads.get(op.bound)[:, None])])


def _thread_id(threads: Threads, op: warp.ThreadIdOp) -> None:
    threads.bind(op.results, [threads.identity])


def _block_id(threads: Threads, op: warp.BlockIdOp) -> None:
    threads.bind(op.results, [np.array([threads.block.number], np.int32)])


def _grid_dim(threads: Threads, op: warp.GridDimOp) -> None:
    threads.bind(op.results, [np.array([threads.grid], np.int32)])


def _wait_predecessor(threads: Threads, op: warp.WaitPredecessorOp) -> None:
    for warp_number, _ in threads.warps():
        threads.block.wait_predecessor(warp_number)


def _launch_dependents(threads: Threads, op: warp.LaunchDependentsOp) -> None:
    """Successors wait by themselves for this launch's end."""


def _barrier(threads: Threads, op: warp.BarrierOp | warp.BarrierAtOp) -> Role:
    number = op.id.value.data if isinstance(op, warp.BarrierOp) else threads.uniform(op.id)
    warps, named = threads.whole_warps(), threads.block.named
    generations = [named.arrive(w, number, 32, op.threads.value.data) for w in warps]
    what = threads.what()
    yield Waiting(
        lambda: all(named.is_open(number, generation) for generation in generations),
        lambda: f"{threads.role}, waits in {what} at named barrier {number} where {named.state(number)}",
    )
    for w, generation in zip(warps, generations, strict=True):
        named.pass_wait(w, number, generation)


def _barrier_arrive(threads: Threads, op: warp.BarrierArriveOp) -> None:
    for w in threads.whole_warps():
        threads.block.named.arrive(w, threads.uniform(op.id), 32, op.threads.value.data)


SIMPLE: Mapping[type[Operation], Simple] = {
    warp.ThreadIdOp: _thread_id,
    warp.BlockIdOp: _block_id,
    warp.GridDimOp: _grid_dim,
    warp.DivideOp: _divide,
    warp.WithinOp: _within,
    warp.BarrierArriveOp: _barrier_arrive,
    warp.WaitPredecessorOp: _wait_predecessor,
    warp.LaunchDependentsOp: _launch_dependents,
    warp.FragmentLoadOp: _fragment_load,
    warp.FragmentLoadRowOp: _fragment_load_row,
    warp.FragmentStoreOp: _fragment_store,
    warp.FragmentIndexOp: _fragment_index,
    warp.SpreadOp: _spread,
    warp.GatherOp: _gather,
    warp.ScatterOp: _scatter,
    warp.LoadOp: _load_one,
    warp.StoreOp: _store_one,
}
BLOCKING: Mapping[type[Operation], Blocking] = {warp.BarrierOp: _barrier, warp.BarrierAtOp: _barrier}
