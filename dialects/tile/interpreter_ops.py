"""NumPy meaning of the ops on tiles: one function per op, on arrays with `grid` leading axes for blocks that run in step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.evaluate import evaluate, evaluate_block
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.tile.attributes import TileType
from stepwell.dialects.tile.ops_compute import FinishOp, MapOp, MmaOp
from stepwell.dialects.tile.ops_copy import ReadOp
from stepwell.dialects.tile.ops_inside import InsideOp
from stepwell.dialects.tile.ops_loop import WaitPredecessorOp
from stepwell.dialects.tile.ops_reduce import IotaOp, ReduceOp, RelayoutOp
from stepwell.dialects.tile.ops_tiles import BroadcastOp, FillOp, LoadOp, StoreOp
from stepwell.dialects.tile.refs import read

Env = dict[SSAValue, Any]


def slice_indices(offsets: Sequence[Array], dims: Sequence[int], shape: Sequence[int], grid: int) -> list[Array]:
    """One index array per ref dim, of rank grid + tile rank."""
    indices = []
    for dim, offset in enumerate(offsets):
        lead = np.reshape(offset, (*(offset.shape or (1,) * grid), *(1 for _ in dims)))
        if dim in dims:
            axis = list(dims).index(dim)
            lead = lead + np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(dims))])
        indices.append(lead)
    return indices


def _load(op: LoadOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    indices = slice_indices([env[i] for i in op.indices], op.get_dims(), op.result.type.get_shape(), grid)
    env[op.result] = read(env[op.source], indices, op.fill.value.data)


def _store(op: StoreOp, env: Env, grid: int) -> None:
    assert isinstance(op.tile.type, TileType)
    indices = slice_indices([env[i] for i in op.indices], op.get_dims(), op.tile.type.get_shape(), grid)
    env[op.target].write(indices, env[op.tile])


def _inside(op: InsideOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    shape = op.result.type.get_shape()
    indices = slice_indices([env[i] for i in op.indices], op.get_dims(), shape, grid)
    inside = np.ones((1,) * (grid + len(shape)), bool)
    for index, extent in zip(indices, env[op.source].extents, strict=True):
        inside = inside & (index < extent)
    env[op.result] = np.broadcast_to(inside, (*inside.shape[:grid], *shape))


def _fill(op: FillOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    shape = (*(1,) * grid, *op.result.type.get_shape())
    env[op.result] = np.full(shape, op.value.value.data, numpy_dtype(op.result.type.element_type))


def _mma(op: MmaOp, env: Env, grid: int) -> None:
    assert isinstance(op.c.type, TileType)
    a, b, c = (env[value].astype(numpy_dtype(op.c.type.element_type), copy=False) for value in op.operands)
    env[op.result] = c + np.matmul(a, b if op.transpose_b is not None else np.swapaxes(b, -1, -2))


def _map(op: MapOp, env: Env, grid: int) -> None:
    (env[op.result],) = evaluate_block(op.body.block, [env[value] for value in op.inputs])


def _broadcast(op: BroadcastOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    source, shape = env[op.source], op.result.type.get_shape()
    lead, extents = source.shape[:grid], dict(zip(op.get_dims(), source.shape[grid:], strict=True))
    expanded = source.reshape(*lead, *(extents.get(dim, 1) for dim in range(len(shape))))
    env[op.result] = np.broadcast_to(expanded, (*lead, *shape))


def _finish(op: FinishOp, env: Env, grid: int) -> None:
    env[op.result] = env[op.accumulator]


def _reduce(op: ReduceOp, env: Env, grid: int) -> None:
    """With `partial` too the whole fold: threads are not seen here, and what ends it folds along no dim."""
    source = env[op.source]
    fold = _FOLDS[op.kind.data]
    axes = tuple(grid + dim for dim in op.get_dims())
    folded = fold.reduce(source, axis=axes, dtype=source.dtype) if axes else source
    env[op.result] = folded if op.init is None else fold(folded, env[op.init])


def _iota(op: IotaOp, env: Env, grid: int) -> None:
    kind = op.result.type
    assert isinstance(kind, TileType)
    offset = np.asarray(0 if op.offset is None else env[op.offset])
    along = np.arange(kind.get_shape()[op.dim.value.data])
    counted = along.reshape([-1 if dim == op.dim.value.data else 1 for dim in range(kind.rank)])
    lead = np.reshape(offset, (*(offset.shape or (1,) * grid), *(1,) * kind.rank))
    shape = (*lead.shape[:grid], *kind.get_shape())
    env[op.result] = np.broadcast_to(lead + counted, shape).astype(numpy_dtype(kind.element_type))


def _relayout(op: RelayoutOp, env: Env, grid: int) -> None:
    env[op.result] = env[op.source]


_FOLDS: Mapping[str, np.ufunc] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}


def _read(op: ReadOp, env: Env, grid: int) -> None:
    env[op.result] = np.array(env[op.source])


_RUN: Mapping[type[Operation], Callable[[Any, Env, int], None]] = {
    WaitPredecessorOp: lambda op, env, grid: None,
    LoadOp: _load,
    StoreOp: _store,
    FillOp: _fill,
    MmaOp: _mma,
    FinishOp: _finish,
    ReadOp: _read,
    MapOp: _map,
    BroadcastOp: _broadcast,
    InsideOp: _inside,
    ReduceOp: _reduce,
    IotaOp: _iota,
    RelayoutOp: _relayout,
}


def run_op(op: Operation, env: Env, grid: int) -> None:
    """Execute one op without a region of ops on tiles: what `env` holds for its operands gives what it then holds for its results."""
    run = _RUN.get(type(op))
    if run is not None:
        run(op, env, grid)
        return
    env.update(zip(op.results, evaluate(op, [env[value] for value in op.operands]), strict=True))
