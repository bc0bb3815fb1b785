"""Run a whole `plan.program` whose launches name warp kernels: arena, constants, tensor maps and launches, in order, on NumPy memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, IntegerAttr, ModuleOp
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.traits import SymbolTable

from stepwell.dialects import plan, warp
from stepwell.dialects.hopper.simulator.faults import Fault, UninitialisedFault
from stepwell.dialects.hopper.simulator.launch import Argument, Blocks, Report, check_complete, simulate_kernel
from stepwell.dialects.hopper.simulator.memory import POISON, Array, GlobalBuffer, GlobalMemory, strided_elements
from stepwell.dialects.hopper.simulator.tma import Im2col, TensorMap
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.runtime.errors import UsageError


class Weights(Protocol):
    """Where the arrays behind `#graph.weight` come from; a WeightStore."""

    def evaluate(self, reference: Any, /) -> Array:
        """The weight after its recipe."""
        ...


BeforeLaunch = Callable[[plan.LaunchOp, warp.KernelOp, Sequence[Argument]], None]


@dataclass
class ProgramReport:
    """The outputs by name, and a report per launch."""

    outputs: dict[str, Array] = field(default_factory=dict)
    launches: list[Report] = field(default_factory=list)


def simulate_program(
    module: ModuleOp,
    inputs: Mapping[str, Array],
    weights: Weights,
    *,
    name: str = "main",
    blocks: Blocks = "all",
    seed: int = 0,
    before_launch: BeforeLaunch | None = None,
) -> ProgramReport:
    """Run program `name` of a kernel-level module for CUDA on `inputs` (arrays by binding name) and return its outputs.

    `before_launch` is called with each launch, its kernel and its arguments (copy them before running anything on them).
    With `blocks` other than `all` each launch runs only those blocks; then later launches read what nobody wrote, so that is for
    programs of one launch. Raises a `Fault` that says where."""
    program = SymbolTable.lookup_symbol(module, name)
    if not isinstance(program, plan.ProgramOp):
        raise UsageError(f"the module has no plan.program @{name}")
    arena = _poisoned(0 if program.arena is None else program.arena.value.data)
    run = _Run(module, inputs, weights, blocks, seed, before_launch, arena)
    for op in program.block.ops:
        run.execute(op)
    return run.report


@dataclass
class _Run:
    """The memory of one run: `values` maps SSA values to buffers, tensor maps and numbers."""

    module: ModuleOp
    inputs: Mapping[str, Array]
    weights: Weights
    blocks: Blocks
    seed: int
    before_launch: BeforeLaunch | None
    arena: GlobalMemory
    step: int = 0
    report: ProgramReport = field(default_factory=ProgramReport)
    values: dict[SSAValue, Argument] = field(default_factory=dict)
    slices: list[plan.SliceOp] = field(default_factory=list)

    def execute(self, op: Operation) -> None:
        """One op of the program."""
        match op:
            case plan.BindingOp():
                self.values[op.buffer] = self._binding(op)
            case plan.ConstantOp():
                array = self._constant(op.value)
                self.values[op.buffer] = GlobalBuffer.of_array(_name(op.buffer, "constant"), array, constant=True)
            case plan.SliceOp():
                self.values[op.buffer] = self._slice(op)
                self.slices.append(op)
            case plan.ViewOp():
                self.values[op.buffer] = self._view(op)
            case plan.TensorMapOp():
                self.values[op.map] = _tensor_map(op, self._buffer(op.source))
            case plan.WindowOp():
                pass
            case arith.ConstantOp(value=IntegerAttr() as number):
                self.values[op.result] = number.value.data
            case _ if isinstance(op, plan.NUMBER_OPS):
                self.values[op.result] = op.value()
            case plan.LaunchOp():
                self._launch(op)
                self._end_step()
            case plan.CopyOp():
                self._copy(op)
                self._end_step()
            case _:
                raise UsageError(f"{op.name} is not part of a CUDA program", hint="lower to sm_90a kernels first")

    def _buffer(self, value: SSAValue) -> GlobalBuffer:
        held = self.values[value]
        buffer = held.buffer if isinstance(held, TensorMap) else held
        assert isinstance(buffer, GlobalBuffer)
        return buffer

    def _binding(self, op: plan.BindingOp) -> GlobalBuffer:
        name, dtype, shape = op.binding_name.data, numpy_dtype(op.type.element_type), op.type.get_shape()
        if not op.is_input:
            return GlobalBuffer.poisoned(name, math.prod(shape), dtype)
        if name not in self.inputs:
            raise UsageError(f'input "{name}" is missing', hint=f"given: {', '.join(self.inputs) or 'nothing'}")
        array = np.asarray(self.inputs[name])
        if array.size != math.prod(shape) or array.dtype != dtype:
            raise UsageError(f'input "{name}" is {array.dtype}{array.shape}; the program takes {dtype}{shape}')
        return GlobalBuffer.of_array(name, array)

    def _constant(self, value: Attribute) -> Array:
        if isinstance(value, DenseIntOrFPElementsAttr):
            return np.broadcast_to(np.asarray(value.get_values()), (math.prod(value.get_shape()),)).astype(
                numpy_dtype(value.get_element_type())
            )
        return self.weights.evaluate(value)

    def _slice(self, op: plan.SliceOp) -> GlobalBuffer:
        name, size = _name(op.buffer, f"slice live {list(op.lifetime)}"), op.type.size_in_bytes()
        dtype = numpy_dtype(op.type.element_type)
        memory = self.arena if op.at is not None else _poisoned(size)
        return GlobalBuffer(name, memory, 0 if op.at is None else op.at.value.data, size // dtype.itemsize, dtype)

    def _view(self, op: plan.ViewOp) -> GlobalBuffer:
        source, result = self._buffer(op.source), op.buffer.type
        assert isinstance(result, plan.BufferType)
        size = source.dtype.itemsize
        offset = source.offset + op.element_offset * size
        count = result.size_in_bytes() // size
        elements = strided_elements(result.get_shape(), result.get_strides())
        return GlobalBuffer(source.name, source.memory, offset, count, source.dtype, source.constant, elements)

    def _launch(self, op: plan.LaunchOp) -> None:
        kernel = SymbolTable.lookup_symbol(self.module, op.kernel)
        if not isinstance(kernel, warp.KernelOp) or op.grid is None:
            raise UsageError(
                f"plan.launch @{op.kernel_name} does not launch a warp.kernel with a grid",
                hint="lower to sm_90a kernels first",
            )
        self._check_shape(op, kernel)
        grid = op.blocks
        arguments = [self.values[value] for value in op.args]
        if self.before_launch is not None:
            self.before_launch(op, kernel, arguments)
        try:
            report = simulate_kernel(kernel, arguments, grid, blocks=self.blocks, seed=self.seed + self.step)
            if len(report.blocks) == grid:
                check_complete(report, [self._buffer(value) for value in op.written_values()])
        except Fault as fault:
            fault.where = f"step {self.step}, {fault.where}"
            raise
        self.report.launches.append(report)

    def _check_shape(self, op: plan.LaunchOp, kernel: warp.KernelOp) -> None:
        block = None if op.block is None else tuple(int(extent) for extent in op.block.get_values())
        shared = 0 if op.shared is None else op.shared.value.data
        if block != (kernel.threads.value.data, 1, 1) or shared != kernel.shared.value.data:
            raise Fault(
                f"launched with block {block} and {shared} shared bytes; the kernel has {kernel.threads.value.data} threads"
                f" and {kernel.shared.value.data} bytes",
                where=f"step {self.step}, @{op.kernel_name}",
            )

    def _copy(self, op: plan.CopyOp) -> None:
        source, target = self._buffer(op.source), self._buffer(op.target)
        for memory in (source.memory, target.memory):
            memory.begin_launch()
        everything = np.arange(source.count)
        target.store(everything, source.load(everything, True, "plan.copy"), 0, True, "plan.copy")

    def _end_step(self) -> None:
        """Slices whose life ends now are poisoned; outputs are collected when they are written."""
        for op in self.slices:
            if op.lifetime[1] == self.step:
                _poison(self._buffer(op.buffer))
        self.step += 1
        for value, held in self.values.items():
            if isinstance(value.owner, plan.BindingOp) and not value.owner.is_input and isinstance(held, GlobalBuffer):
                self.report.outputs[held.name] = held.values().reshape(value.owner.type.get_shape())


def _name(value: SSAValue, otherwise: str) -> str:
    return f"%{value.name_hint}" if value.name_hint else otherwise


def _poisoned(size: int) -> GlobalMemory:
    return GlobalMemory(np.full(size, POISON, np.uint8), np.zeros(size, bool))


def _poison(buffer: GlobalBuffer) -> None:
    if buffer.memory.initialised is None:
        raise UninitialisedFault(f"{buffer.name} is no slice")
    end = buffer.offset + buffer.count * buffer.dtype.itemsize
    buffer.memory.bytes[buffer.offset : end] = POISON
    buffer.memory.initialised[buffer.offset : end] = False


def _tensor_map(op: plan.TensorMapOp, buffer: GlobalBuffer) -> TensorMap:
    """The op lists dimensions outermost first, a tensor map innermost first."""
    source = op.source.type
    assert isinstance(source, plan.BufferType)
    dims = source.get_shape()[::-1]
    strides = tuple(stride * buffer.dtype.itemsize for stride in source.get_strides()[::-1][1:])
    steps = op.element_strides()[::-1]
    box = tuple(int(extent) for extent in op.box.get_values())[::-1]
    as_tf32 = op.data_type is not None and op.data_type.data.startswith("tf32")
    if op.lower is None or op.upper is None:
        return TensorMap(buffer, dims, strides, box, steps, op.swizzle_bytes, None, as_tf32)
    lower, upper = (tuple(int(corner) for corner in corners.get_values())[::-1] for corners in (op.lower, op.upper))
    im2col = Im2col(lower, upper, channels=box[0], pixels=box[1])
    return TensorMap(buffer, dims, strides, (), steps, op.swizzle_bytes, im2col, as_tf32)
