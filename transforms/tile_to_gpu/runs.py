"""A `tile.parallel` as a CUDA kernel: one thread for each number, indices in 32 bits. It is the slow road, for what has no other."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, BlockArgument, Region, SSAValue

from stepwell.dialects import tile, warp
from stepwell.transforms.emit.arguments import loops_tiles
from stepwell.transforms.emit.runs import Run
from stepwell.transforms.tile_to_gpu.element_loops import Scalars, check_buffers
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.launch import GpuKernel, pointer


class _Pointers:
    """Elements behind the kernel's pointers."""

    def __init__(self, emit: GpuEmitter, block: Block) -> None:
        self.emit, self.block = emit, block

    def load(self, operand: BlockArgument, number: SSAValue) -> SSAValue:
        """An element."""
        return self.emit.insert(warp.LoadOp(self.block.args[operand.index], number)).result

    def store(self, value: SSAValue, operand: BlockArgument, number: SSAValue) -> None:
        """Write an element."""
        self.emit.insert(warp.StoreOp(value, self.block.args[operand.index], number))


def build_parallel_kernel(kernel: tile.ParallelOp) -> GpuKernel:
    """The kernel that does what `kernel` does."""
    inputs, outputs = kernel.function_type.inputs, kernel.function_type.outputs
    elements: list[Any] = [type_.element_type for type_ in (*inputs, *outputs) if isinstance(type_, TensorType)]
    effects = ["r"] * len(inputs) + ["w"] * len(outputs)
    parameters = [pointer(f"p{i}", i, *pair) for i, pair in enumerate(zip(elements, effects, strict=True))]
    block = Block(arg_types=[parameter.type for parameter in parameters])
    for argument, parameter in zip(block.args, parameters, strict=True):
        argument.name_hint = parameter.name
    (threads,) = kernel.config.data.block
    _write(GpuEmitter(block, kernel.location), kernel, block, threads)
    made = warp.KernelOp(kernel.sym_name.data, Region(block), threads)
    return GpuKernel(made, parameters, loops_tiles(kernel), check_buffers)


def _write(emit: GpuEmitter, kernel: tile.ParallelOp, block: Block, threads: int) -> None:
    emit.insert(warp.LaunchDependentsOp())
    emit.insert(warp.WaitPredecessorOp())
    first = emit.mul(emit.insert(warp.BlockIdOp()).result, emit.i32(threads))
    number = emit.add(first, emit.insert(warp.ThreadIdOp()).result, "number")
    with emit.when(emit.compare("ult", number, emit.i32(kernel.threads))):
        Run(Scalars(emit), _Pointers(emit, block), kernel).write(number)
    emit.insert(warp.ReturnOp())
