"""What PTX text says, as data: registers, operands, instructions, entries. Nothing here knows what an instruction does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stepwell.runtime.errors import PlanError


class PtxRefused(PlanError):
    """PTX text that this interpreter does not read or does not execute: malformed, or an instruction or modifier that it does not know (exit 4)."""


@dataclass(frozen=True)
class Register:
    """A register: its width in bits (1: a predicate), its number among those of its width, and its name in the text."""

    width: int
    number: int
    name: str


@dataclass(frozen=True)
class Special:
    """A register that the machine fills: `tid.x`, `ctaid.x` .."""

    name: str


@dataclass(frozen=True)
class Immediate:
    """A number in the text: `kind` is int (any sign), or f32 or f64, whose bits are given."""

    bits: int
    kind: str = "int"


@dataclass(frozen=True)
class Symbol:
    """A parameter or a variable in shared memory: its address."""

    name: str


@dataclass(frozen=True)
class Target:
    """Where a branch goes: the number of an instruction."""

    index: int


@dataclass(frozen=True)
class Vector:
    """Operands in braces."""

    items: tuple[Operand, ...]


@dataclass(frozen=True)
class Address:
    """An address in brackets: a base, bytes beyond it, and the coordinates of a tensor copy."""

    base: Register | Symbol
    offset: int = 0
    coordinates: Vector | None = None


@dataclass(frozen=True)
class Sink:
    """`_`: the result is not wanted."""


@dataclass(frozen=True)
class Negated:
    """`!p`."""

    register: Register


Operand = Register | Special | Immediate | Symbol | Target | Vector | Address | Sink | Negated


@dataclass(frozen=True)
class Instruction:
    """One instruction: its line, its text, its whole name (opcode and modifiers), operands, and the predicate that guards it."""

    line: int
    text: str
    name: str
    operands: tuple[Operand, ...]
    guard: Register | None = None
    negated: bool = False

    def refuse(self, why: str, hint: str = "") -> PtxRefused:
        """The error that this instruction cannot be executed."""
        return PtxRefused(f"{why}: {self.text}", where=f"PTX line {self.line}", hint=hint)


@dataclass(frozen=True)
class Parameter:
    """One parameter of an entry: bytes from the start of its parameter memory."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Shared:
    """A variable in shared memory; `size` 0 is the dynamic memory of the launch."""

    name: str
    size: int
    alignment: int


@dataclass(frozen=True, eq=False)
class Entry:
    """One kernel: parameters in order, threads per block (0: any), registers by width, instructions."""

    name: str
    parameters: tuple[Parameter, ...]
    threads: int
    registers: Mapping[int, int]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, eq=False)
class Module:
    """The entries of one PTX text by name, and its variables in shared memory."""

    entries: Mapping[str, Entry]
    shared: tuple[Shared, ...]
    target: str
