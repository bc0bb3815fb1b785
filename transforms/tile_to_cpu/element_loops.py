"""A `tile.loops` as a function over a range of its tiles.

Record of a launch: the addresses of the inputs, then those of the outputs. Extents are constants of the code."""

from __future__ import annotations

from math import prod

from xdsl.dialects import func
from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.emit.loops import ElementLoops
from stepwell.transforms.tensors import element_of, shape_of
from stepwell.transforms.tile_to_cpu.emitter import POINTER, CpuEmitter, kernel_function
from stepwell.types.targets import Target


def build_loops_function(kernel: tile.LoopsOp, target: Target) -> func.FuncOp:
    """The function of `kernel`: (record, first tile, last tile)."""
    return kernel_function(kernel, target, lambda emit, first, last: walk(emit, kernel, first, last))


def walk(emit: CpuEmitter, kernel: tile.LoopsOp, first: SSAValue, last: SSAValue) -> None:
    """The elements of the tiles from `first` below `last`, of one result after the other."""
    (elements,) = kernel.config.data.block

    def load(value: BlockArgument, number: SSAValue) -> SSAValue:
        element = element_of(value)
        return emit.load(
            emit.address(emit.slot(value.index, POINTER), number, element), element, element_bytes(element)
        )

    loops = ElementLoops(emit, kernel, load)
    for position, value in enumerate(kernel.results_of_body.arguments):
        count = emit.integer(prod(shape_of(value)))
        begin, end = (emit.minimum(emit.mul(tile, emit.integer(elements)), count) for tile in (first, last))

        def body(number: SSAValue, _: list[SSAValue], value: SSAValue = value, position: int = position) -> list[SSAValue]:  # fmt: skip
            with loops.scope():
                element = element_of(value)
                target = emit.slot(len(kernel.inputs) + position, POINTER)
                result = loops.numbered(value, number)
                emit.store(result, emit.address(target, number, element), element_bytes(element))
            return []

        emit.loop(begin, end, [], body)
