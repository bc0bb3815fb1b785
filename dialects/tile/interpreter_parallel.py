"""NumPy interpreter of `tile.parallel`: all runs of the body side by side, every value an array over them.

Runs that a condition or the end of a loop leaves out are masked. An output element belongs to the run that stores it: a second store is an error, and so is
a load of it by another run, or before it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects import memref, scf
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects.evaluate import evaluate
from stepwell.dialects.numpy_types import Array, numpy_dtype
from stepwell.dialects.tile.ops_parallel import ParallelOp
from stepwell.runtime.errors import UsageError

NOBODY = -1


@dataclass
class _Output:
    """An output and the run that each of its elements belongs to."""

    array: Array
    owner: Array


def run_parallel(kernel: ParallelOp, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """Run the kernel on whole arrays; UsageError, naming the op, where runs are not independent, read what they may not or leave elements out."""
    return _Runs(kernel, inputs).results()


class _Runs:
    """The values of all runs, the arrays that they share."""

    def __init__(self, kernel: ParallelOp, inputs: Sequence[Array]) -> None:
        self.kernel, self.numbers = kernel, np.arange(kernel.threads)
        self.env: dict[SSAValue, Any] = {kernel.index: self.numbers}
        self.inputs: dict[SSAValue, Array] = {
            arg: np.asarray(value).ravel() for arg, value in zip(kernel.inputs, inputs, strict=True)
        }
        self.outputs: dict[SSAValue, _Output] = {arg: _poisoned(arg) for arg in kernel.outputs}

    def results(self) -> tuple[Array, ...]:
        """The outputs after all runs."""
        if self.kernel.threads:
            self._block(self.kernel.body.block, np.ones(self.kernel.threads, bool))
        for position, argument in enumerate(self.kernel.outputs):
            missing = self.outputs[argument].owner == NOBODY
            if missing.any():
                title = f"tile.parallel @{self.kernel.sym_name.data}"
                raise UsageError(f"no run stores element {int(np.argmax(missing))} of output {position}", where=title)
        types: list[Any] = [argument.type for argument in self.kernel.outputs]
        shapes = [type_.get_shape() for type_ in types]
        return tuple(
            self.outputs[arg].array.reshape(shape) for arg, shape in zip(self.kernel.outputs, shapes, strict=True)
        )

    def _block(self, block: Block, mask: Array) -> list[Any]:
        """Execute the ops of a block in the runs of `mask`; what it yields."""
        for op in block.ops:
            match op:
                case scf.YieldOp():
                    return [self.env[value] for value in op.arguments]
                case scf.ForOp():
                    self._for(op, mask)
                case scf.IfOp():
                    inside = mask & self.env[op.cond]
                    if inside.any():
                        self._block(op.true_region.block, inside)
                case memref.LoadOp():
                    self.env[op.res] = self._load(op, mask)
                case memref.StoreOp():
                    self._store(op, mask)
                case _:
                    with np.errstate(all="ignore"):
                        values = evaluate(op, [self.env[value] for value in op.operands])
                    self.env.update(zip(op.results, values, strict=True))
        return []

    def _for(self, op: scf.ForOp, mask: Array) -> None:
        start, end = (np.broadcast_to(self.env[bound], mask.shape) for bound in (op.lb, op.ub))
        carried = [self.env[value] for value in op.iter_args]
        index, body = start, op.body.block
        while (inside := mask & (index < end)).any():
            self.env.update(zip(body.args, (index, *carried), strict=True))
            made = self._block(body, inside)
            carried = [np.where(inside, new, old) for new, old in zip(made, carried, strict=True)]
            index = index + 1
        self.env.update(zip(op.results, carried, strict=True))

    def _numbers(self, op: memref.LoadOp | memref.StoreOp, mask: Array) -> Array:
        """The row-major numbers of the elements that the runs of `mask` mean; 0 in the others."""
        type_: Any = op.memref.type
        shape, number = type_.get_shape(), np.zeros(mask.shape, np.int64)
        for value, extent in zip(op.indices, shape, strict=True):
            index = np.where(mask, self.env[value], 0)
            if (outside := mask & ((index < 0) | (index >= extent))).any():
                run = int(self.numbers[outside][0])
                raise self._fault(op, f"index {int(index[outside][0])} of {list(shape)} in run {run} is outside")
            number = number * extent + index
        return number

    def _load(self, op: memref.LoadOp, mask: Array) -> Array:
        number = self._numbers(op, mask)
        if op.memref in self.inputs:
            held = self.inputs[op.memref]
        else:
            output = self.outputs[op.memref]
            held = output.array
            if held.size:
                self._check_own(op, output.owner[number], mask)
        return held[number] if held.size else np.zeros(mask.shape, held.dtype)

    def _store(self, op: memref.StoreOp, mask: Array) -> None:
        number, output = self._numbers(op, mask)[mask], self.outputs[op.memref]
        mine = self.numbers[mask]
        before = output.owner[number]
        output.owner[number] = mine
        again = (before != NOBODY) | (output.owner[number] != mine)
        if again.any():
            other = before[again][0] if before[again][0] != NOBODY else output.owner[number][again][0]
            raise self._fault(op, f"run {int(mine[again][0])} stores an element that run {int(other)} stores")
        output.array[number] = np.broadcast_to(self.env[op.value], mask.shape)[mask]

    def _check_own(self, op: Operation, owner: Array, mask: Array) -> None:
        """Raise where an element belongs to another run, or to none."""
        if (strange := mask & (owner != self.numbers)).any():
            run, other = int(self.numbers[strange][0]), int(owner[strange][0])
            whose = "that was never stored" if other == NOBODY else f"of run {other}"
            raise self._fault(op, f"run {run} reads an element {whose}")

    def _fault(self, op: Operation, reason: str) -> UsageError:
        return UsageError(reason, where=f"tile.parallel @{self.kernel.sym_name.data}, {op.name}")


def _poisoned(argument: SSAValue) -> _Output:
    """An output of whose elements none is stored: bytes of ones."""
    type_: Any = argument.type
    size, dtype = int(np.prod(type_.get_shape(), dtype=np.int64)), numpy_dtype(type_.element_type)
    array = np.full(size * dtype.itemsize, 0xFF if dtype.kind != "b" else 0, np.uint8).view(dtype)
    return _Output(array, np.full(size, NOBODY))
