"""NumPy interpreter of the plan level: one arena of bytes, poisoned, and the constants; kernels run as at the tile
level.

Every byte of the arena is 0xFF (NaN as a float) until a step writes it, and again after the last step of its slice's
lifetime. So a wrong offset, a lifetime that is too short, or a kernel that reads what nobody wrote shows as NaN in the
outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.traits import SymbolTable

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.plan.attributes import BufferType
from stepwell.dialects.plan.constants import build_constants
from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp
from stepwell.dialects.plan.ops_memory import BindingOp, ConstantOp, SliceOp, ViewOp, WindowOp
from stepwell.dialects.plan.ops_program import ProgramOp
from stepwell.dialects.tile.interpreter import run_kernel, run_loops
from stepwell.dialects.tile.refs import Window
from stepwell.runtime.errors import UsageError

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

POISON = 0xFF
KernelRunner = Callable[[Operation, Sequence[Array | Window], Sequence[Sequence[int]]], Sequence[Array]]
"""Runs a kernel op on its inputs for outputs of these shapes."""


def run_tile_kernel(
    kernel: Operation, inputs: Sequence[Array | Window], shapes: Sequence[Sequence[int]]
) -> Sequence[Array]:
    """Run a `tile.kernel` or `tile.loops`; kernels below that level have interpreters of their own."""
    if isinstance(kernel, tile.LoopsKernel):
        return run_loops(kernel, [value for value in inputs if isinstance(value, np.ndarray)])
    if not isinstance(kernel, tile.KernelOp):
        raise UsageError(
            f"{kernel.name} cannot be run by the plan interpreter: it runs tile.kernel",
            hint="run the module before its kernels are lowered, or the simulator on the lowered one",
        )
    return run_kernel(kernel, inputs, shapes)


def run_program(
    module: ModuleOp,
    inputs: Mapping[str, Array],
    weights: WeightStore | None = None,
    name: str = "main",
    run: KernelRunner = run_tile_kernel,
) -> dict[str, Array]:
    """Execute the `plan.program` @name on named inputs; the outputs by name. Offsets must be assigned."""
    program = SymbolTable.lookup_symbol(module, name)
    if not isinstance(program, ProgramOp):
        raise UsageError(f"the module has no plan.program @{name}")
    if program.arena is None or program.constants is None:
        raise UsageError(f"plan.program @{name} has no offsets yet", hint="run plan-assign-offsets")
    machine = _Machine(module, program, weights, run)
    return machine.execute(inputs)


class _Machine:
    """Memory and the values that name it."""

    def __init__(self, module: ModuleOp, program: ProgramOp, weights: WeightStore | None, run: KernelRunner) -> None:
        assert program.arena is not None
        self.module, self.program, self.run = module, program, run
        self.arena = np.full(program.arena.value.data, POISON, np.uint8)
        self.constants = np.frombuffer(build_constants(program, weights), np.uint8)
        self.values: dict[SSAValue, Array | Window] = {}
        self.outputs: dict[str, Array] = {}
        self.step = 0

    def execute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run every op; poison slices whose last step is over."""
        for op in self.program.block.ops:
            match op:
                case BindingOp():
                    self.values[op.buffer] = self._binding(op, inputs)
                case ConstantOp():
                    assert op.at is not None
                    self.values[op.buffer] = _array(self.constants, op.at.value.data, op.type)
                case SliceOp():
                    assert op.at is not None
                    self.values[op.buffer] = _array(self.arena, op.at.value.data, op.type)
                case ViewOp():
                    self.values[op.buffer] = self._view(op)
                case LaunchOp():
                    self._launch(op)
                    self._end_step()
                case CopyOp():
                    self._dense(op.target)[...] = self._dense(op.source).reshape(self._dense(op.target).shape)
                    self._end_step()
        return self.outputs

    def _binding(self, op: BindingOp, inputs: Mapping[str, Array]) -> Array:
        name, shape, dtype = op.binding_name.data, op.type.get_shape(), numpy_dtype(op.type.element_type)
        if not op.is_input:
            memory = np.full(max(1, op.type.size_in_bytes()), POISON, np.uint8)
            self.outputs[name] = _array(memory, 0, op.type)
            return self.outputs[name]
        if name not in inputs:
            raise UsageError(f'input "{name}" is missing', hint=f"it is {dtype}{list(shape)}")
        value = np.asarray(inputs[name])
        if value.shape != shape or value.dtype != dtype:
            raise UsageError(f'input "{name}" is {value.dtype}{list(value.shape)}, the plan takes {dtype}{list(shape)}')
        return np.array(value)

    def _view(self, op: ViewOp) -> Array:
        assert isinstance(op.buffer.type, BufferType)
        flat = self._dense(op.source).reshape(-1)[op.element_offset :]
        strides = [stride * flat.itemsize for stride in op.buffer.type.get_strides()]
        return np.lib.stride_tricks.as_strided(flat, op.buffer.type.get_shape(), strides)

    def _dense(self, value: SSAValue) -> Array:
        array = self.values[value]
        assert isinstance(array, np.ndarray)
        return array

    def _argument(self, value: SSAValue) -> Array | Window:
        """A buffer, or a window on what its source holds now."""
        if isinstance(value.owner, WindowOp):
            return Window(self._dense(value.owner.source), value.owner.geometry(), value.owner.fill.value.data)
        return self.values[value]

    def _launch(self, op: LaunchOp) -> None:
        kernel = SymbolTable.lookup_symbol(self.module, op.kernel)
        assert kernel is not None
        outs = [self._dense(value) for value in op.outs]
        results = self.run(kernel, [self._argument(value) for value in op.args], [out.shape for out in outs])
        for out, result in zip(outs, results, strict=True):
            out[...] = result

    def _end_step(self) -> None:
        for op in self.program.block.ops:
            if isinstance(op, SliceOp) and op.at is not None and op.lifetime[1] == self.step:
                self.arena[op.at.value.data : op.at.value.data + op.type.size_in_bytes()] = POISON
        self.step += 1


def _array(memory: Array, offset: int, type: BufferType) -> Array:
    """`memory` from `offset` on as an array of this type."""
    size = type.size_in_bytes()
    return memory[offset : offset + size].view(numpy_dtype(type.element_type)).reshape(type.get_shape())
