"""The code of one entry: a step for each instruction, and what is known of the way between them before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from stepwell.codegen.ptx_interpreter.registers import Slots
from stepwell.codegen.ptx_interpreter.step import Compute, Step, registers_of
from stepwell.codegen.ptx_interpreter.syntax import Entry, Instruction, Register

Registers = frozenset[tuple[int, int]]
"""(width, number) of each."""


@dataclass
class Kernel:
    """The code of one entry."""

    entry: Entry
    slots: Slots
    steps: list[Step]
    computes: list[Compute]
    acts: frozenset[int]
    leaders: frozenset[int]
    straight: list[int]
    rank: list[int]
    multiplies: bool
    waits: bool
    shared: int
    _touched: dict[tuple[int, int], Registers] = field(default_factory=dict)
    _written: dict[int, Registers] = field(default_factory=dict)

    def touched(self, begin: int, end: int) -> Registers:
        """The registers that instructions `begin` to `end - 1` name."""
        if (begin, end) not in self._touched:
            named = [r for step in self.steps[begin:end] for r in _registers(step.instruction)]
            self._touched[begin, end] = frozenset((r.width, r.number) for r in named)
        return self._touched[begin, end]

    def written(self, begin: int) -> Registers:
        """The registers that the straight run from `begin` on (or the one act that stands there) writes."""
        if begin not in self._written:
            end = max(self.straight[begin], begin + 1)
            results = [
                register
                for step in self.steps[begin:end]
                if step.kind != "product" and step.instruction.operands and not step.instruction.name.startswith("st.")
                for register in registers_of(step.instruction.operands[0])
            ]
            self._written[begin] = frozenset((r.width, r.number) for r in results)
        return self._written[begin]


def _registers(instruction: Instruction) -> list[Register]:
    named = [register for operand in instruction.operands for register in registers_of(operand)]
    return named if instruction.guard is None else [*named, instruction.guard]
