"""A `tile.parallel` as a function over a range of its tiles: the body for one number after the other.

Record of a launch: the addresses of the inputs, then those of the outputs. Extents are constants of the code."""

from __future__ import annotations

from typing import Any

from xdsl.dialects import func
from xdsl.ir import Attribute, BlockArgument, SSAValue

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.transforms.emit.runs import Run
from stepwell.transforms.tile_to_cpu.emitter import POINTER, CpuEmitter, kernel_function
from stepwell.types.targets import Target


class _Addresses:
    """Elements behind the addresses of the record."""

    def __init__(self, emit: CpuEmitter) -> None:
        self.emit = emit

    def _address(self, operand: BlockArgument, number: SSAValue) -> tuple[SSAValue, Attribute]:
        type_: Any = operand.type
        slot = self.emit.slot(operand.index, POINTER)
        return self.emit.address(slot, number, type_.element_type), type_.element_type

    def load(self, operand: BlockArgument, number: SSAValue) -> SSAValue:
        """An element."""
        address, element = self._address(operand, number)
        return self.emit.load(address, element, element_bytes(element))

    def store(self, value: SSAValue, operand: BlockArgument, number: SSAValue) -> None:
        """Write an element."""
        address, element = self._address(operand, number)
        self.emit.store(value, address, element_bytes(element))


def build_parallel_function(kernel: tile.ParallelOp, target: Target) -> func.FuncOp:
    """The function of `kernel`: (record, first tile, last tile)."""
    return kernel_function(kernel, target, lambda emit, first, last: _walk(emit, kernel, first, last))


def _walk(emit: CpuEmitter, kernel: tile.ParallelOp, first: SSAValue, last: SSAValue) -> None:
    """The runs of the tiles from `first` below `last`."""
    count, size = emit.integer(kernel.threads), emit.integer(kernel.config.data.block[0])
    begin, end = (emit.minimum(emit.mul(tile, size), count) for tile in (first, last))

    def body(number: SSAValue, _: list[SSAValue]) -> list[SSAValue]:
        Run(emit, _Addresses(emit), kernel).write(number)
        return []

    emit.loop(begin, end, [], body)
