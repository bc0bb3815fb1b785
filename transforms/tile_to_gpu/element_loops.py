"""A `tile.loops` as a CUDA kernel: one thread computes one element of each result, with everything that it depends on. It is the slow road: it
takes every element type, rank, window and extent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

from xdsl.dialects import arith
from xdsl.dialects.builtin import TensorType, i32
from xdsl.ir import Attribute, Block, BlockArgument, Operation, Region, SSAValue

from stepwell.dialects import plan, tile, warp
from stepwell.transforms.emit.arguments import loops_tiles
from stepwell.transforms.emit.loops import ElementLoops, LoopBody
from stepwell.transforms.tensors import shape_of
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.launch import GpuKernel, LaunchSite, pointer


class Scalars:
    """The vocabulary of loops over scalars, with indices in i32, written through the emitter of kernels."""

    def __init__(self, emit: GpuEmitter) -> None:
        self.emit = emit
        self.insert, self.add, self.mul, self.when = emit.insert, emit.add, emit.mul, emit.when
        self.compare, self.select, self.integer = emit.compare, emit.select, emit.i32
        self.choose = emit.choose

    @contextmanager
    def at(self, op: Operation) -> Iterator[None]:
        """What is inserted meanwhile has the location of `op`."""
        with self.emit.at(op.location):
            yield

    def constant(self, attr: Attribute, of: Attribute) -> SSAValue:
        """A scalar constant."""
        return self.emit.constant(attr, of)

    def number(self, position: SSAValue) -> SSAValue:
        """A position of type index as an i32."""
        return self.emit.insert(arith.IndexCastOp(position, i32)).result

    def binary(self, op: Callable[..., Operation], a: SSAValue, b: SSAValue) -> SSAValue:
        """`op` of two values."""
        return self.emit.insert(op(a, b)).results[0]

    def loop(self, start: SSAValue, end: SSAValue, inits: Sequence[SSAValue], body: LoopBody) -> list[SSAValue]:
        """Count from `start` below `end` with carried values."""
        names = [f"c{position}" for position in range(len(inits))]
        with self.emit.loop((start, end, self.emit.i32(1)), dict(zip(names, inits, strict=True))) as loop:
            results = body(loop.index, list(loop.carried.values()))
            loop.next.update(zip(names, results, strict=True))
        return list(loop.results.values())


def build_whole(kernel: tile.LoopsKernel, write: Callable[[GpuEmitter, Block, SSAValue], None]) -> GpuKernel:
    """A kernel whose parameters are the operands as pointers; `write` says what one thread does, given its number."""
    inputs, outputs = kernel.function_type.inputs, kernel.function_type.outputs
    elements: list[Any] = [type_.element_type for type_ in (*inputs, *outputs) if isinstance(type_, TensorType)]
    effects = ["r"] * len(inputs) + ["w"] * len(outputs)
    parameters = [pointer(f"p{i}", i, *pair) for i, pair in enumerate(zip(elements, effects, strict=True))]
    block = Block(arg_types=[parameter.type for parameter in parameters])
    for argument, parameter in zip(block.args, parameters, strict=True):
        argument.name_hint = parameter.name
    (threads,) = kernel.config.data.block
    emit = GpuEmitter(block, kernel.location)
    emit.insert(warp.LaunchDependentsOp())
    emit.insert(warp.WaitPredecessorOp())
    first = emit.mul(emit.insert(warp.BlockIdOp()).result, emit.i32(threads))
    write(emit, block, emit.add(first, emit.insert(warp.ThreadIdOp()).result, "number"))
    emit.insert(warp.ReturnOp())
    made = warp.KernelOp(kernel.sym_name.data, Region(block), threads)
    return GpuKernel(made, parameters, loops_tiles(kernel), check_buffers)


def build_loops_kernel(kernel: tile.LoopsOp) -> GpuKernel:
    """The kernel that does what `kernel` does."""
    return build_whole(kernel, lambda emit, block, number: _write(emit, kernel, block, number))


def _write(emit: GpuEmitter, kernel: tile.LoopsOp, block: Block, number: SSAValue) -> None:
    def load(value: BlockArgument, at: SSAValue) -> SSAValue:
        return emit.insert(warp.LoadOp(block.args[value.index], at)).result

    loops = ElementLoops(Scalars(emit), kernel, load)
    for position, value in enumerate(kernel.results_of_body.arguments):
        with emit.when(emit.compare("ult", number, emit.i32(prod(shape_of(value))))), loops.scope():
            result = loops.numbered(value, number)
            emit.insert(warp.StoreOp(result, block.args[len(kernel.inputs) + position], number))


def check_buffers(site: LaunchSite) -> None:
    """The operands of a launch must be whole buffers."""
    for position, value in enumerate(site.operands):
        if not isinstance(value.type, plan.BufferType) or not value.type.contiguous:
            raise site.refuse(
                f"operand {position} is {value.type}: such a kernel reads and writes whole buffers", "copy it first"
            )
