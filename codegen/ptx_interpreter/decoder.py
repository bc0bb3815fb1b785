"""An entry decoded: a step for each instruction, and what is known of the way between them before anything runs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from stepwell.codegen.ptx_interpreter import (
    accesses,
    barriers,
    copies,
    floats,
    integers,
    moves,
    products,
    shuffles,
    stores,
)
from stepwell.codegen.ptx_interpreter.flow import BRANCHES, EXITS, leaders, order
from stepwell.codegen.ptx_interpreter.kernel import Kernel
from stepwell.codegen.ptx_interpreter.memory import PARAMETERS, layout_shared
from stepwell.codegen.ptx_interpreter.operation import decode
from stepwell.codegen.ptx_interpreter.registers import Mask, Rows, Slots
from stepwell.codegen.ptx_interpreter.step import Code, Compute, Step
from stepwell.codegen.ptx_interpreter.syntax import Instruction, Module, Target

OPERATIONS = {**integers.OPERATIONS, **floats.OPERATIONS, **moves.OPERATIONS}
ACTS = {
    **accesses.DECODERS,
    **barriers.DECODERS,
    **copies.DECODERS,
    **stores.DECODERS,
    **products.DECODERS,
    **shuffles.DECODERS,
}
"""By whole name."""
FAMILIES = {**moves.DECODERS, **accesses.FAMILIES, **copies.FAMILIES, **products.FAMILIES}
"""By opcode, for names with many modifiers."""
WAITING = (*barriers.WAITING, "wgmma", "cp", "mbarrier")
"""Opcodes whose threads wait for other warps: such kernels run by warpgroups."""

_BOOL = np.dtype(np.bool_)


@lru_cache(maxsize=64)
def decode_entry(module: Module, name: str) -> Kernel:
    """The code of entry `name`; PtxRefused names what is not known."""
    entry = module.entries[name]
    instructions = [*entry.instructions, Instruction(0, "the end of the entry", "ret", ())]
    places, size = layout_shared(module.shared)
    symbols = {name: ("shared", address) for name, address in places.items()}
    symbols |= {p.name: ("param", PARAMETERS + p.offset) for p in entry.parameters}
    slots = Slots()
    code = Code(slots, module, symbols)
    steps = [_guarded(code, _step(code, instruction)) for instruction in instructions]
    acts = frozenset(index for index, step in enumerate(steps) if step.compute is None)
    first = frozenset(leaders(instructions))
    opcodes = {instruction.name.split(".")[0] for instruction in instructions}
    return Kernel(
        entry,
        slots,
        steps,
        [step.compute or _nothing for step in steps],
        acts,
        first,
        _straight(len(steps), acts, first),
        order(instructions),
        "wgmma" in opcodes,
        not opcodes.isdisjoint(WAITING),
        size,
    )


def _nothing(rows: Rows, mask: Mask) -> None:
    """Stands for an act."""


def _straight(count: int, acts: frozenset[int], first: frozenset[int]) -> list[int]:
    """For each instruction, where the run of computations that begins there ends."""
    ends = [0] * count
    for index in reversed(range(count)):
        following = index + 1
        ends[index] = index if index in acts else following if following in acts | first else ends[following]
    return ends


def _step(code: Code, instruction: Instruction) -> Step:
    name = instruction.name
    if name in BRANCHES:
        (target,) = code.take(instruction, 1)
        if not isinstance(target, Target):
            raise instruction.refuse("a branch to an unknown label")
        return Step(instruction, kind="branch", target=target.index)
    if name in EXITS:
        return Step(instruction, kind="exit")
    if name in OPERATIONS:
        return decode(code, instruction, OPERATIONS[name])
    if name in ACTS:
        return ACTS[name](code, instruction)
    family = FAMILIES.get(name.split(".")[0])
    if family is not None:
        return family(code, instruction)
    if floats.contractible(name):
        raise instruction.refuse(
            f"{name} without .rn means nothing: the assembler may contract it into an fma", "emit it with .rn"
        )
    opcode = name.split(".")[0]
    known = any(other.split(".")[0] == opcode for other in (*OPERATIONS, *ACTS))
    raise instruction.refuse(f"unknown modifier in {name}" if known else f"unknown instruction {name}")


def _guarded(code: Code, step: Step) -> Step:
    """The step with its predicate: computations look at it themselves."""
    instruction = step.instruction
    if instruction.guard is None:
        return step
    if instruction.guard.width != 1:
        raise instruction.refuse(f"{instruction.guard.name} is no predicate")
    guard = code.slots.register(instruction.guard, _BOOL)
    if step.compute is None:
        return replace(step, guard=guard)
    return replace(step, compute=_under(step.compute, guard, instruction.negated))


def _under(compute: Compute, guard: int, negated: bool) -> Compute:
    def step(rows: Rows, mask: Mask) -> None:
        flags = ~rows[guard] if negated else rows[guard]
        compute(rows, flags if mask is True else flags & mask)

    return step
