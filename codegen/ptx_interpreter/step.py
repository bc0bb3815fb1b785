"""A decoded instruction: what it computes on rows, or what it does with the threads that execute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stepwell.codegen.ptx_interpreter.registers import Mask, Rows, Slots
from stepwell.codegen.ptx_interpreter.syntax import Address, Instruction, Module, Negated, Operand, Register, Vector

if TYPE_CHECKING:
    from stepwell.codegen.ptx_interpreter.bundle import Bundle

Compute = Callable[[Rows, Mask], None]
Act = Callable[["Bundle", Any], Any]


@dataclass(frozen=True)
class Step:
    """One instruction. `compute` changes registers of the active threads and nothing else; `act` may touch memory, wait or branch (see `threads`).
    `aligned`: 32 where whole warps must execute it together, 128 where a whole warpgroup must. `kind` tells branches, exits and products from other acts;
    `guard` is the slot of the predicate (-1: none), `target` where a branch goes."""

    instruction: Instruction
    compute: Compute | None = None
    act: Act | None = None
    aligned: int = 0
    kind: str = "act"
    guard: int = -1
    target: int = -1


@dataclass
class Code:
    """What decoders know: the slots of the kernel, and where symbols lie."""

    slots: Slots
    module: Module
    symbols: dict[str, tuple[str, int]]
    """Symbol to (`shared` or `param`, address)."""

    def read(self, instruction: Instruction, operand: Operand, dtype: Any) -> int:
        """The slot of a source operand."""
        return self.slots.operand(instruction, operand, np.dtype(dtype))

    def write(self, instruction: Instruction, operand: Operand, dtype: Any) -> int:
        """The slot of a destination register."""
        if not isinstance(operand, Register):
            raise instruction.refuse("a destination that is no register")
        return self.slots.operand(instruction, operand, np.dtype(dtype))

    def take(self, instruction: Instruction, count: int) -> tuple[Operand, ...]:
        """The operands, of which there must be `count`."""
        if len(instruction.operands) != count:
            raise instruction.refuse(f"{len(instruction.operands)} operands where {count} are expected")
        return instruction.operands

    def address(self, instruction: Instruction, operand: Operand) -> tuple[str, int, int]:
        """Where an address operand points: its base's space (empty: a register), the slot of the base (-1: none), and the bytes to add."""
        if not isinstance(operand, Address):
            raise instruction.refuse("an operand that is no address")
        if isinstance(operand.base, Register):
            width = np.uint64 if operand.base.width == 64 else np.uint32
            return "", self.slots.operand(instruction, operand.base, np.dtype(width)), operand.offset
        space, place = self.symbol(instruction, operand.base.name)
        return space, -1, place + operand.offset

    def symbol(self, instruction: Instruction, name: str) -> tuple[str, int]:
        """The space and address of a symbol."""
        if name not in self.symbols:
            raise instruction.refuse(f"unknown name {name}")
        return self.symbols[name]


def registers_of(operand: Operand) -> list[Register]:
    """The registers that an operand names."""
    match operand:
        case Register():
            return [operand]
        case Negated():
            return [operand.register]
        case Vector():
            return [register for item in operand.items for register in registers_of(item)]
        case Address():
            inner = registers_of(operand.coordinates) if operand.coordinates else []
            return [*([operand.base] if isinstance(operand.base, Register) else []), *inner]
    return []


Decoder = Callable[[Code, Instruction], Step]
