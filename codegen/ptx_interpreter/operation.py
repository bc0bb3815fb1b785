"""Instructions that compute one register from registers: an element type per operand and a NumPy function, by the instruction's whole name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.registers import Array, Mask, Rows
from stepwell.codegen.ptx_interpreter.step import Code, Compute, Step
from stepwell.codegen.ptx_interpreter.syntax import Immediate, Instruction

TYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(kind)
    for name, kind in {
        "pred": np.bool_, "b8": np.uint8, "u8": np.uint8, "s8": np.int8, "b16": np.uint16, "b32": np.uint32, "b64": np.uint64, "u16": np.uint16, "u32": np.uint32,
        "u64": np.uint64, "s16": np.int16, "s32": np.int32, "s64": np.int64, "f16": np.float16, "f32": np.float32, "f64": np.float64,
    }.items()
}  # fmt: skip
"""Element types by PTX suffix; `f16x2` is f16 in registers of 32 bits."""


@dataclass(frozen=True)
class Operation:
    """`function` of arrays of `operands` gives `result`; a NumPy ufunc may write in place. `packed`: two f16 in each register."""

    function: Callable[..., Any]
    result: np.dtype[Any]
    operands: tuple[np.dtype[Any], ...]
    packed: bool = False


def uniform(function: Callable[..., Any], type: str, count: int) -> Operation:
    """`count` operands and the result of one type."""
    packed = type == "f16x2"
    dtype = TYPES["f16" if packed else type]
    return Operation(function, dtype, (dtype,) * count, packed)


def decode(code: Code, instruction: Instruction, operation: Operation) -> Step:
    """The step of an instruction that is one operation."""
    destination, *sources = code.take(instruction, 1 + len(operation.operands))
    if operation.packed and any(isinstance(source, Immediate) for source in sources):
        raise instruction.refuse("a number as operand of a packed instruction")
    target = code.write(instruction, destination, operation.result)
    slots = [code.read(instruction, s, dtype) for s, dtype in zip(sources, operation.operands, strict=True)]
    return Step(instruction, compute(operation.function, target, slots, operation.packed))


def compute(function: Callable[..., Any], target: int, slots: list[int], packed: bool = False) -> Compute:
    """What computes rows `slots` into row `target` in the active threads."""
    if packed:
        return _masked_pairs(function, target, slots)
    if not isinstance(function, np.ufunc):
        return _copied(function, target, slots)
    ufunc: Any = function
    if len(slots) == 1:
        (only,) = slots
        return lambda rows, mask: ufunc(rows[only], out=rows[target], where=mask)
    first, second = slots
    return lambda rows, mask: ufunc(rows[first], rows[second], out=rows[target], where=mask)


def _copied(function: Callable[..., Any], target: int, slots: list[int]) -> Compute:
    def step(rows: Rows, mask: Mask) -> None:
        np.copyto(rows[target], function(*[rows[slot] for slot in slots]), where=mask)

    return step


def _masked_pairs(function: Callable[..., Array], target: int, slots: list[int]) -> Compute:
    def step(rows: Rows, mask: Mask) -> None:
        both = mask if mask is True else np.repeat(mask, 2)
        np.copyto(rows[target], function(*[rows[slot] for slot in slots]), where=both)

    return step
