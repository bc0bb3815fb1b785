"""The registers of a block as NumPy arrays [number, thread], and slots: a register seen as one element type, or a constant, by a small number.

`Slots` belongs to the code of a kernel: it hands out slot numbers while instructions are decoded. `Files` belongs to a running block: it turns slots into
rows, views of the threads `first` to `last` of a register.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepwell.codegen.ptx_interpreter.syntax import Immediate, Instruction, Operand, Register, Special

Array = NDArray[Any]
Rows = list[Array]
Mask = Any
"""True where all threads of a span are active, else their flags."""

FILES: Mapping[int, type[np.generic]] = {1: np.bool_, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SPECIALS = tuple(f"{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz")
_SPECIAL_WIDTH = 0
_POISON = 0xA5


@dataclass
class Slots:
    """What the instructions of one kernel name: (width, register number, element type) or constants."""

    registers: dict[tuple[int, int, np.dtype[Any]], int] = field(default_factory=dict)
    constants: dict[tuple[bytes, np.dtype[Any]], int] = field(default_factory=dict)
    count: int = 0

    def register(self, register: Register, dtype: np.dtype[Any]) -> int:
        """The slot of a register seen as `dtype`, of its width or, packed, of half of it."""
        return self._known(self.registers, (register.width, register.number, dtype))

    def operand(self, instruction: Instruction, operand: Operand, dtype: np.dtype[Any]) -> int:
        """The slot of an operand that is read as `dtype`."""
        match operand:
            case Register():
                width = 1 if dtype == np.bool_ else 8 * dtype.itemsize
                if operand.width != width and not (dtype == np.float16 and operand.width == 32):
                    raise instruction.refuse(
                        f"{operand.name} has {operand.width} bits, {dtype} is read here",
                        "registers must have the operand's width",
                    )
                return self.register(operand, dtype)
            case Special() if dtype.itemsize == 4:
                return self._known(self.registers, (_SPECIAL_WIDTH, SPECIALS.index(operand.name), np.dtype(np.uint32)))
            case Immediate():
                return self.constant(immediate(instruction, operand, dtype))
        raise instruction.refuse(f"an operand that is not a {dtype}")

    def constant(self, value: Array) -> int:
        """The slot of a constant."""
        return self._known(self.constants, (value.tobytes(), value.dtype))

    def _known(self, table: dict[Any, int], key: Any) -> int:
        if key not in table:
            table[key] = self.count
            self.count += 1
        return table[key]


def immediate(instruction: Instruction, operand: Immediate, dtype: np.dtype[Any]) -> Array:
    """A number of the text as one element of `dtype`; integers wrap, floats are given by their bits."""
    if dtype == np.bool_:
        return np.array(operand.bits != 0)
    wanted = {"f32": (4,), "f64": (8,), "int": (1, 2, 4, 8) if dtype.kind in "iu" else ()}[operand.kind]
    if dtype.itemsize not in wanted:
        raise instruction.refuse(f"a number of kind {operand.kind} where {dtype} is read")
    bits = operand.bits & ((1 << 8 * dtype.itemsize) - 1)
    return np.array(bits, f"u{dtype.itemsize}").view(dtype)


class Files:
    """The registers of one block of `threads` threads."""

    def __init__(self, slots: Slots, counts: Mapping[int, int], threads: int) -> None:
        self._slots = slots
        self._arrays: dict[int, Array] = {
            width: np.empty((count, threads), FILES[width]) for width, count in counts.items()
        }
        self._arrays[_SPECIAL_WIDTH] = np.zeros((len(SPECIALS), threads), np.uint32)
        self._rows: dict[tuple[int, int], Rows] = {}

    def begin(self) -> None:
        """A new block: nobody has written a register."""
        for width, array in self._arrays.items():
            array.view(np.uint8).fill(1 if width == 1 else _POISON)

    def set_special(self, name: str, value: Any) -> None:
        """Fill a machine register: one number, or one per thread."""
        self._arrays[_SPECIAL_WIDTH][SPECIALS.index(name)] = value

    def rows(self, first: int, last: int) -> Rows:
        """The row of each slot, of threads `first` to `last - 1`."""
        key = (first, last)
        if key not in self._rows:
            rows: Rows = [np.empty(0)] * self._slots.count
            for (width, number, dtype), slot in self._slots.registers.items():
                rows[slot] = self._arrays[width][number, first:last].view(dtype)
            for (data, dtype), slot in self._slots.constants.items():
                rows[slot] = np.frombuffer(data, dtype)
            self._rows[key] = rows
        return self._rows[key]

    def block(self, numbers: tuple[int, ...], first: int, last: int, dtype: Any) -> Array:
        """32-bit registers `numbers` as [threads, registers] of `dtype`; a view where they follow each other."""
        array, start = self._arrays[32], numbers[0]
        consecutive = numbers == tuple(range(start, start + len(numbers)))
        chosen: Any = slice(start, start + len(numbers)) if consecutive else list(numbers)
        held = array[chosen, first:last]
        return held.view(dtype).T if np.dtype(dtype).itemsize == 4 else np.ascontiguousarray(held.T).view(dtype)

    def set_block(self, numbers: tuple[int, ...], first: int, last: int, values: Array) -> None:
        """Put [threads, registers] into 32-bit registers."""
        self._arrays[32][list(numbers), first:last] = np.ascontiguousarray(values).view(np.uint32).T
