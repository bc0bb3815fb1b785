"""A `tile.parallel` as a CUDA kernel: one thread for each number, indices in 32 bits. It is the slow road, for what has no other."""

from __future__ import annotations

from xdsl.ir import Block, BlockArgument, SSAValue

from stepwell.dialects import tile, warp
from stepwell.transforms.emit.runs import Run
from stepwell.transforms.tile_to_gpu.element_loops import Scalars, build_whole
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.launch import GpuKernel


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

    def write(emit: GpuEmitter, block: Block, number: SSAValue) -> None:
        with emit.when(emit.compare("ult", number, emit.i32(kernel.threads))):
            Run(Scalars(emit), _Pointers(emit, block), kernel).write(number)

    return build_whole(kernel, write)
