"""NumPy interpreter of the tile level: kernels over their whole grid at once, every tile an array with one leading axis
per grid dim.

All blocks run in step (they are independent, and loops run over extents that all blocks share), so the cost is that of
a few NumPy calls per op and loop iteration, however many blocks there are. Outputs are poisoned first; an element that
is not written exactly once is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.traits import SymbolTable

from stepwell.dialects import graph
from stepwell.dialects.evaluate import evaluate, evaluate_block
from stepwell.dialects.linalg_interpreter import run_block as run_tensor_block
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.tile.attributes import RefType, TileType
from stepwell.dialects.tile.ops_compute import MapOp, MmaOp
from stepwell.dialects.tile.ops_host import ApplyOp, WindowOp
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, WaitPredecessorOp, YieldOp
from stepwell.dialects.tile.ops_nest import NestOp
from stepwell.dialects.tile.ops_tiles import BroadcastOp, FillOp, LoadOp, StoreOp
from stepwell.dialects.tile.refs import Dense, Output, Panels, Readable, Window, read
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

Env = dict[SSAValue, Any]


def bind(ref: RefType, value: Array | Window) -> Readable:
    """What a kernel reads through `ref` when the host gives it `value`."""
    if isinstance(value, Window):
        return value
    return Panels(value) if ref.access.panel else Dense(value)


def run_kernel(
    kernel: KernelOp, inputs: Sequence[Array | Window], shapes: Sequence[Sequence[int]]
) -> tuple[Array, ...]:
    """Run a kernel over its whole grid: `inputs` are bound to its input refs, `shapes` are the extents of its
    outputs."""
    env: Env = {}
    for arg, value in zip(kernel.inputs, inputs, strict=True):
        assert isinstance(arg.type, RefType)
        env[arg] = bind(arg.type, value)
    outputs = []
    for arg, shape in zip(kernel.outputs, shapes, strict=True):
        assert isinstance(arg.type, RefType)
        outputs.append(Output.poisoned(shape, numpy_dtype(arg.type.element_type)))
        env[arg] = outputs[-1]
    _run_block(kernel.body.block, env, 0)
    for output in outputs:
        output.check(f"tile.kernel @{kernel.sym_name.data}")
    return tuple(output.array for output in outputs)


def run_nest(nest: NestOp, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Run a nest on whole tensors."""
    return run_tensor_block(nest.body.block, inputs)


def _run_block(block: Block, env: Env, grid: int) -> list[Any]:
    """Execute the ops of a block; `grid` is the number of leading grid axes. Returns what the block yields."""
    for op in block.ops:
        if isinstance(op, YieldOp):
            return [env[value] for value in op.arguments]
        run = _RUN.get(type(op))
        if run is not None:
            run(op, env, grid)
            continue
        env.update(zip(op.results, evaluate(op, [env[value] for value in op.operands]), strict=True))
    return []


def _for_tiles(op: ForTilesOp, env: Env, grid: int) -> None:
    extents, block = env[op.output].extents, op.get_block()
    for axis, arg in enumerate(op.body.block.args):
        offsets = np.arange(0, extents[axis], block[axis])
        env[arg] = offsets.reshape([-1 if a == axis else 1 for a in range(len(block))])
    _run_block(op.body.block, env, len(block))


def _for(op: ForOp, env: Env, grid: int) -> None:
    extents = env[op.over].extents
    carried = [env[value] for value in op.inits]
    for offsets in product(
        *(range(0, extents[dim], step) for dim, step in zip(op.get_dims(), op.get_steps(), strict=True))
    ):
        env.update(zip(op.offsets, (np.asarray(offset) for offset in offsets), strict=True))
        env.update(zip(op.iter_args, carried, strict=True))
        carried = _run_block(op.body.block, env, grid)
    env.update(zip(op.carried, carried, strict=True))


def _slice_indices(offsets: Sequence[Array], dims: Sequence[int], shape: Sequence[int], grid: int) -> list[Array]:
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
    indices = _slice_indices([env[i] for i in op.indices], op.get_dims(), op.result.type.get_shape(), grid)
    env[op.result] = read(env[op.source], indices, op.fill.value.data)


def _store(op: StoreOp, env: Env, grid: int) -> None:
    assert isinstance(op.tile.type, TileType)
    indices = _slice_indices([env[i] for i in op.indices], op.get_dims(), op.tile.type.get_shape(), grid)
    env[op.target].write(indices, env[op.tile])


def _fill(op: FillOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    shape = (*(1,) * grid, *op.result.type.get_shape())
    env[op.result] = np.full(shape, op.value.value.data, numpy_dtype(op.result.type.element_type))


def _mma(op: MmaOp, env: Env, grid: int) -> None:
    assert isinstance(op.c.type, TileType)
    a, b, c = (env[value].astype(numpy_dtype(op.c.type.element_type), copy=False) for value in op.operands)
    env[op.result] = c + np.matmul(a, np.swapaxes(b, -1, -2))


def _map(op: MapOp, env: Env, grid: int) -> None:
    (env[op.result],) = evaluate_block(op.body.block, [env[value] for value in op.inputs])


def _broadcast(op: BroadcastOp, env: Env, grid: int) -> None:
    assert isinstance(op.result.type, TileType)
    source, shape = env[op.source], op.result.type.get_shape()
    lead, extents = source.shape[:grid], dict(zip(op.get_dims(), source.shape[grid:], strict=True))
    expanded = source.reshape(*lead, *(extents.get(dim, 1) for dim in range(len(shape))))
    env[op.result] = np.broadcast_to(expanded, (*lead, *shape))


_RUN: Mapping[type[Operation], Callable[[Any, Env, int], None]] = {
    WaitPredecessorOp: lambda op, env, grid: None,
    ForTilesOp: _for_tiles,
    ForOp: _for,
    LoadOp: _load,
    StoreOp: _store,
    FillOp: _fill,
    MmaOp: _mma,
    MapOp: _map,
    BroadcastOp: _broadcast,
}


def run_host_op(op: Operation, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The results of `tile.window` or `tile.apply` for given operand values."""
    if isinstance(op, WindowOp):
        return (Window(operands[0], op.geometry(), op.fill.value.data),)
    assert isinstance(op, ApplyOp)
    kernel = SymbolTable.lookup_symbol(op, op.kernel)
    if isinstance(kernel, NestOp):
        return run_nest(kernel, operands)
    if not isinstance(kernel, KernelOp):
        raise UsageError(f"there is no tile.kernel {op.kernel} in this module", where=op.name)
    shapes = [result.type.get_shape() for result in op.results if isinstance(result.type, TensorType)]
    return run_kernel(kernel, operands, shapes)


def run_function(
    module: ModuleOp, arguments: Sequence[Array], weights: WeightStore | None = None, name: str = "main"
) -> tuple[Array, ...]:
    """Run a host function of the tile level on arrays: weights, views and kernel applications, in program order."""
    main = SymbolTable.lookup_symbol(module, name)
    if not isinstance(main, func.FuncOp):
        raise UsageError(f"the module has no function @{name}")
    env: Env = dict(zip(main.body.block.args, arguments, strict=True))
    for op in main.body.block.ops:
        operands = [env[value] for value in op.operands]
        if isinstance(op, func.ReturnOp):
            return tuple(operands)
        env.update(zip(op.results, _run_function_op(op, operands, weights), strict=True))
    raise UsageError(f"@{name} does not end in func.return")


def _run_function_op(op: Operation, operands: Sequence[Any], weights: WeightStore | None) -> tuple[Any, ...]:
    if isinstance(op, graph.WeightOp):
        if weights is None:
            raise UsageError(
                "weights are needed to run this module", where=op.ref.source.data, hint="--weights FILE | random:0"
            )
        return (weights.evaluate(op.ref),)
    if isinstance(op, graph.ReshapeOp):
        assert isinstance(op.result.type, TensorType)
        return (operands[0].reshape(op.result.type.get_shape()),)
    if isinstance(op, ApplyOp | WindowOp):
        return run_host_op(op, operands)
    return evaluate(op, operands)
