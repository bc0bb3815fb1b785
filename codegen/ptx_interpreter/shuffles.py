"""shfl.sync: registers that lanes of a warp hand to one another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from stepwell.codegen.ptx_interpreter.bundle import Bundle
from stepwell.codegen.ptx_interpreter.operation import TYPES
from stepwell.codegen.ptx_interpreter.registers import Mask
from stepwell.codegen.ptx_interpreter.step import Code, Decoder, Step
from stepwell.codegen.ptx_interpreter.syntax import Immediate, Instruction, Operand
from stepwell.dialects.hopper.simulator.agents import WARP

_LAST_LANE, _EVERY_LANE = WARP - 1, (1 << WARP) - 1


def _butterfly(code: Code, instruction: Instruction) -> Step:
    """shfl.sync.bfly.b32 d, a, b, c, membermask: d is what the lane of number `lane xor b` holds in a; whole warps, all lanes members."""
    destination, source, lanes, clamp, members = code.take(instruction, 5)
    bits, last, every = (_number(instruction, operand) for operand in (lanes, clamp, members))
    if last != _LAST_LANE or every & _EVERY_LANE != _EVERY_LANE or not 0 <= bits <= _LAST_LANE:
        raise instruction.refuse("a shuffle of other than all lanes of a warp")
    target, slot = code.write(instruction, destination, TYPES["b32"]), code.read(instruction, source, TYPES["b32"])

    def run(bundle: Bundle, mask: Mask) -> None:
        held = np.array(bundle.values(slot, mask)).reshape(-1, WARP)
        bundle.put(target, held[:, np.arange(WARP) ^ bits].reshape(-1), mask)

    return Step(instruction, act=run, aligned=WARP)


def _number(instruction: Instruction, operand: Operand) -> int:
    if not isinstance(operand, Immediate):
        raise instruction.refuse("an operand of a shuffle that is no number")
    return int(operand.bits)


DECODERS: Mapping[str, Decoder] = MappingProxyType({"shfl.sync.bfly.b32": _butterfly})
"""By whole name."""
