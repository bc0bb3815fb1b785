"""NumPy interpreter of the tile level: kernels over their whole grid at once, every tile an array with one leading axis
per grid dim.

All blocks run in step (they are independent, and loops run over extents that all blocks share), so the cost is that of
a few NumPy calls per op and loop iteration, however many blocks there are. Outputs are poisoned first; an element that
is not written exactly once is an error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, Operation
from xdsl.traits import SymbolTable

from stepwell.dialects import graph
from stepwell.dialects.evaluate import evaluate
from stepwell.dialects.graph.interpreter import run_graph_op
from stepwell.dialects.linalg_interpreter import run_block as run_tensor_block
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.tile.attributes import RefType
from stepwell.dialects.tile.interpreter_ops import Env, run_op
from stepwell.dialects.tile.interpreter_parallel import run_parallel
from stepwell.dialects.tile.interpreter_rings import iterations, run_rings
from stepwell.dialects.tile.ops_host import ApplyOp, WindowOp
from stepwell.dialects.tile.ops_kernel import KernelOp
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp, YieldOp
from stepwell.dialects.tile.ops_loops import LoopsKernel
from stepwell.dialects.tile.ops_parallel import ParallelOp
from stepwell.dialects.tile.ops_ring import RingOp
from stepwell.dialects.tile.ops_rows import ForRowsOp
from stepwell.dialects.tile.refs import Dense, Output, Panels, Readable, Window
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore


def bind(ref: RefType, value: Array | Window) -> Readable:
    """What a kernel reads through `ref` when the host gives it `value`."""
    if isinstance(value, Window):
        return value
    return Panels(value) if ref.access.panel else Dense(value)


def run_kernel(
    kernel: KernelOp, inputs: Sequence[Array | Window], shapes: Sequence[Sequence[int]], seed: int = 0
) -> tuple[Array, ...]:
    """Run a kernel over its whole grid: `inputs` are bound to its input refs, `shapes` are the extents of its
    outputs. `seed`: how many blocks share the tiles of a kernel with rings, and which of its roles go on first."""
    env: Env = {}
    for arg, value in zip(kernel.inputs, inputs, strict=True):
        assert isinstance(arg.type, RefType)
        env[arg] = bind(arg.type, value)
    outputs = []
    for arg, shape in zip(kernel.outputs, shapes, strict=True):
        assert isinstance(arg.type, RefType)
        outputs.append(Output.poisoned(shape, numpy_dtype(arg.type.element_type)))
        env[arg] = outputs[-1]
    if any(isinstance(op, RingOp) or (isinstance(op, ForOp) and op.is_limited) for op in kernel.body.walk()):
        run_rings(kernel, env, seed)
    else:
        _run_block(kernel.body.block, env, 0)
    for output in outputs:
        output.check(f"tile.kernel @{kernel.sym_name.data}")
    return tuple(output.array for output in outputs)


def run_loops(kernel: LoopsKernel, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Run loops on whole tensors."""
    if isinstance(kernel, ParallelOp):
        return run_parallel(kernel, inputs)
    return run_tensor_block(kernel.body.block, inputs)


def _run_block(block: Block, env: Env, grid: int) -> list[Any]:
    """Execute the ops of a block; `grid` is the number of leading grid axes. Returns what the block yields."""
    for op in block.ops:
        if isinstance(op, YieldOp):
            return [env[value] for value in op.arguments]
        if isinstance(op, ForTilesOp):
            _for_tiles(op, env)
        elif isinstance(op, ForOp):
            _for(op, env, grid)
        elif isinstance(op, ForRowsOp):
            _for_rows(op, env, grid)
        else:
            run_op(op, env, grid)
    return []


def _for_tiles(op: ForTilesOp, env: Env) -> None:
    runs = op.offsets(env[op.output].extents)
    for axis, (arg, run) in enumerate(zip(op.body.block.args, runs, strict=True)):
        env[arg] = np.asarray(run, np.int64).reshape([-1 if a == axis else 1 for a in range(len(runs))])
    _run_block(op.body.block, env, len(runs))


def _for(op: ForOp, env: Env, grid: int) -> None:
    carried = [env[value] for value in op.inits]
    for offsets in iterations(op, env[op.over].extents):
        env.update(zip(op.offsets, (np.asarray(offset) for offset in offsets), strict=True))
        env.update(zip(op.iter_args, carried, strict=True))
        carried = _run_block(op.body.block, env, grid)
    env.update(zip(op.carried, carried, strict=True))


def _for_rows(op: ForRowsOp, env: Env, grid: int) -> None:
    for row in range(op.count):
        env[op.offset] = env[op.start] + row
        for argument, value in zip(op.taken, op.tiles, strict=True):
            env[argument] = env[value][..., row : row + 1, :]
        _run_block(op.body.block, env, grid)


def run_host_op(op: Operation, operands: Sequence[Any]) -> tuple[Any, ...]:
    """The results of `tile.window` or `tile.apply` for given operand values."""
    if isinstance(op, WindowOp):
        return (Window(operands[0], op.geometry(), op.fill.value.data),)
    assert isinstance(op, ApplyOp)
    kernel = SymbolTable.lookup_symbol(op, op.kernel)
    if isinstance(kernel, LoopsKernel):
        return run_loops(kernel, operands)
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
    if isinstance(op, graph.CustomOp):
        return tuple(run_graph_op(op, operands))
    if isinstance(op, ApplyOp | WindowOp):
        return run_host_op(op, operands)
    return evaluate(op, operands)
