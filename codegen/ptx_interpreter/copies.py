"""Tensor copies from global to shared memory (TMA), and the prefetch of their maps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.accesses import shared_offsets
from stepwell.codegen.ptx_interpreter.bundle import Bundle
from stepwell.codegen.ptx_interpreter.memory import PARAMETER_WINDOW
from stepwell.codegen.ptx_interpreter.operation import TYPES
from stepwell.codegen.ptx_interpreter.registers import Mask
from stepwell.codegen.ptx_interpreter.step import Code, Step
from stepwell.codegen.ptx_interpreter.syntax import Address, Instruction, Operand, Register, Vector
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.faults import DescriptorFault
from stepwell.dialects.hopper.simulator.tma import TensorMap

_TENSOR = re.compile(
    r"cp\.async\.bulk\.tensor\.([1-5])d\.shared::(?:cluster|cta)\.global(\.tile|\.im2col|)\.mbarrier::complete_tx::bytes"
)


def vector_slots(code: Code, instruction: Instruction, vector: Operand, type: str) -> list[int]:
    """The slots of an operand in braces."""
    if not isinstance(vector, Vector):
        raise instruction.refuse("an operand without braces")
    return [code.read(instruction, item, TYPES[_sized(item, type)]) for item in vector.items]


def _sized(item: Operand, type: str) -> str:
    """Filter offsets are 16 bits; a register of 32 may hold one."""
    return "u32" if type == "u16" and isinstance(item, Register) and item.width == 32 else type


def copy_tensor(code: Code, instruction: Instruction) -> Step:
    """cp.async.bulk.tensor: one copy for each active thread."""
    found = _TENSOR.fullmatch(instruction.name)
    if found is None:
        raise instruction.refuse(f"unknown instruction {instruction.name}")
    rank, im2col = int(found[1]), found[2] == ".im2col"
    destination, source, barrier, *offsets = code.take(instruction, 4 if im2col and rank > 2 else 3)
    _, target, target_base = code.address(instruction, destination)
    _, flag, flag_base = code.address(instruction, barrier)
    if not isinstance(source, Address) or not isinstance(source.base, Register) or source.coordinates is None:
        raise instruction.refuse("a tensor copy takes a map and coordinates")
    _, place, place_base = code.address(instruction, source)
    coordinates = vector_slots(code, instruction, source.coordinates, "s32")
    taps = vector_slots(code, instruction, offsets[0], "u16") if offsets else []
    if len(coordinates) != rank:
        raise instruction.refuse(f"{len(coordinates)} coordinates where {rank} are expected")
    what = f"`{instruction.name}` (PTX line {instruction.line})"

    def run(bundle: Bundle, mask: Mask) -> None:
        threads, numbers = bundle.threads, bundle.active(mask)
        landings = shared_offsets(bundle, target, target_base, mask)
        flags = shared_offsets(bundle, flag, flag_base, mask)
        maps = bundle.values(place, mask).astype(np.int64) + place_base
        columns = [bundle.values(slot, mask) for slot in (*coordinates, *taps)]
        for lane, number in enumerate(numbers):
            tensor = tensor_map(bundle, int(maps[lane]), im2col, what)
            values = [int(column[lane]) for column in columns]
            named = f"{what} of {tensor.buffer.name} issued by thread {number}"
            threads.block.issue_load(
                int(number) // WARP, tensor, tuple(values[:rank]), tuple(values[rank:]), int(landings[lane]), int(flags[lane]), named
            )  # fmt: skip

    return Step(instruction, act=run)


def tensor_map(bundle: Bundle, address: int, im2col: bool, what: str) -> TensorMap:
    """The map at an address, of the kind that the instruction takes."""
    tensor = bundle.threads.memory.maps.get(address - PARAMETER_WINDOW)
    if tensor is None:
        raise DescriptorFault(f"{what}: there is no tensor map at address {address:#x}")
    if im2col != (tensor.im2col is not None):
        raise DescriptorFault(f"{what}: the map of {tensor.buffer.name} is {'tiled' if im2col else 'im2col'}")
    return tensor


def _prefetch(generic: bool) -> Any:
    def decode(code: Code, instruction: Instruction) -> Step:
        (place,) = code.take(instruction, 1)
        _, slot, base = code.address(instruction, place)

        def run(bundle: Bundle, mask: Mask) -> None:
            address = (bundle.uniform(slot, mask) if slot >= 0 else 0) + base
            if address - (PARAMETER_WINDOW if generic else 0) not in bundle.threads.memory.maps:
                raise DescriptorFault(f"`{instruction.text}`: there is no tensor map at address {address:#x}")

        return Step(instruction, act=run)

    return decode


DECODERS: Mapping[str, Any] = MappingProxyType(
    {"prefetch.tensormap": _prefetch(True), "prefetch.param.tensormap": _prefetch(False)}
)
"""By whole name."""
FAMILIES: Mapping[str, Any] = MappingProxyType({"cp": copy_tensor})
"""By opcode."""
