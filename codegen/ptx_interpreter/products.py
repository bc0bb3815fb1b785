"""wgmma: shapes and types read from the name, descriptors and flags from the operands; the product itself is the simulator's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.bundle import Bundle
from stepwell.codegen.ptx_interpreter.registers import Mask
from stepwell.codegen.ptx_interpreter.step import Code, Step
from stepwell.codegen.ptx_interpreter.syntax import Immediate, Instruction, Operand, Register, Vector
from stepwell.codegen.ptx_interpreter.threads import Threads
from stepwell.dialects.hopper.simulator.agents import WARPGROUP
from stepwell.dialects.hopper.simulator.wgmma import K_BYTES, Descriptor, register_operand
from stepwell.dialects.hopper.simulator.wgmma import Operand as ProductOperand

A_REGISTERS = 4
"""Of 32 bits, that one instruction takes of A."""
_PRODUCT = re.compile(r"wgmma\.mma_async\.sync\.aligned\.m64n(\d+)k(\d+)\.(f32|f16|s32)\.(\w+)\.(\w+)")
_SIZES = {"f16": 2, "bf16": 2, "tf32": 4, "e4m3": 1, "e5m2": 1, "s8": 1, "u8": 1}
_PAIRS = {"f16": ("f16",), "bf16": ("bf16",), "tf32": ("tf32",), "e4m3": ("e4m3", "e5m2"), "e5m2": ("e4m3", "e5m2"), "s8": ("s8", "u8"), "u8": ("s8", "u8")}  # fmt: skip
_RESULTS = {"f16": ("f16", "f32"), "bf16": ("f32",), "tf32": ("f32",), "e4m3": ("f16", "f32"), "e5m2": ("f16", "f32"), "s8": ("s32",), "u8": ("s32",)}  # fmt: skip
_ACCUMULATORS: Mapping[str, Any] = {"f32": np.float32, "f16": np.float16, "s32": np.int32}


def _flag(instruction: Instruction, operand: Operand, allowed: tuple[int, ...]) -> int:
    if not isinstance(operand, Immediate) or operand.kind != "int" or operand.bits not in allowed:
        raise instruction.refuse(f"a flag that is none of {allowed}")
    return operand.bits


def _shape(instruction: Instruction) -> tuple[int, str, str, str]:
    """Columns, accumulator type, operand types."""
    found = _PRODUCT.fullmatch(instruction.name)
    if found is None:
        raise instruction.refuse(f"unknown instruction {instruction.name}")
    columns, k, result, a, b = int(found[1]), int(found[2]), found[3], found[4], found[5]
    if b not in _PAIRS.get(a, ()) or result not in _RESULTS[a]:
        raise instruction.refuse(f"there is no product of these types: {instruction.name}")
    allowed = columns % 8 == 0 if result != "s32" else columns % 16 == 0 or columns in (8, 24)
    if k * _SIZES[a] != K_BYTES or not 8 <= columns <= 256 or not allowed:
        raise instruction.refuse(f"there is no product of this shape: {instruction.name}")
    return columns, result, a, b


def multiply(code: Code, instruction: Instruction) -> Step:
    """wgmma.mma_async D, a, b, scale-d [, scale-a, scale-b [, transpose-a, transpose-b]], B in shared memory, A there or in registers (never transposed)."""
    columns, result, kind_a, kind_b = _shape(instruction)
    held_a = len(instruction.operands) > 1 and isinstance(instruction.operands[1], Vector)
    flags = 0 if result == "s32" else 4 if _SIZES[kind_a] == 2 else 2
    accumulators, a, b, scale, *rest = code.take(instruction, 4 + flags - (held_a and flags == 4))
    numbers = _registers(instruction, accumulators, columns // 4 if result == "f16" else columns // 2, "accumulators")
    numbers_a = _registers(instruction, a, A_REGISTERS, "operand A") if held_a else ()
    registers = frozenset((32, number) for number in numbers)
    touched = registers | {(32, number) for number in numbers_a}
    slots = [code.read(instruction, operand, np.uint64) for operand in ((b,) if held_a else (a, b))]
    keeps = code.read(instruction, scale, np.bool_)
    signs = [_flag(instruction, operand, (1, -1)) < 0 for operand in rest[:2]] or [False, False]
    turned = [_flag(instruction, operand, (0, 1)) == 1 for operand in rest[2:]] or [False, False]
    turned = [False] * (2 - len(turned)) + turned
    dtype, what = _ACCUMULATORS[result], f"`{instruction.name}`"
    kinds = ((64, kind_a), (columns, kind_b))

    def run(bundle: Bundle, mask: Mask) -> None:
        threads = bundle.threads
        threads.check_fenced(touched)
        first, last = threads.first, threads.first + WARPGROUP
        held = threads.files.block(numbers, first, last, dtype) if bundle.uniform(keeps, mask) else np.zeros((WARPGROUP, columns // 2), dtype)  # fmt: skip
        operands: list[Any] = [
            ProductOperand(Descriptor.decode_dynamic(bundle.uniform(slot, mask)), rows, kind, transposed, negative)
            for slot, (rows, kind), transposed, negative in zip(slots, kinds[held_a:], turned[held_a:], signs[held_a:], strict=True)
        ]  # fmt: skip
        if held_a:
            left = register_operand(threads.files.block(numbers_a, first, last, np.uint32), kind_a)
            operands.insert(0, -left if signs[0] else left)
        values = threads.block.multiply(threads.group, held, operands[0], operands[1], what)
        threads.files.set_block(numbers, first, last, values)
        threads.in_flight.append((threads.block.groups[threads.group].open, touched))

    return Step(instruction, act=run, aligned=WARPGROUP, kind="product")


def _registers(instruction: Instruction, operand: Operand, count: int, what: str) -> tuple[int, ...]:
    """The numbers of a list of 32-bit registers."""
    items = operand.items if isinstance(operand, Vector) else ()
    if len(items) != count or not all(isinstance(item, Register) and item.width == 32 for item in items):
        raise instruction.refuse(f"{count} registers of 32 bits are expected as {what}")
    return tuple(item.number for item in items if isinstance(item, Register))


def _fence(code: Code, instruction: Instruction) -> Step:
    code.take(instruction, 0)

    def run(bundle: Bundle, mask: Mask) -> None:
        bundle.threads.since_fence.clear()

    return Step(instruction, act=run, aligned=WARPGROUP)


def _commit(code: Code, instruction: Instruction) -> Step:
    code.take(instruction, 0)

    def run(bundle: Bundle, mask: Mask) -> None:
        bundle.threads.block.commit_products(bundle.threads.group)

    return Step(instruction, act=run, aligned=WARPGROUP)


def _wait(code: Code, instruction: Instruction) -> Step:
    (operand,) = code.take(instruction, 1)
    still = _flag(instruction, operand, tuple(range(8)))

    def run(bundle: Bundle, mask: Mask) -> None:
        threads = bundle.threads
        threads.block.wait_products(threads.group, still)
        threads.in_flight = [entry for entry in threads.in_flight if _unfinished(threads, entry[0])]

    return Step(instruction, act=run, aligned=WARPGROUP)


def _unfinished(threads: Threads, epoch: int) -> bool:
    state = threads.block.groups[threads.group]
    return epoch == state.open or epoch in state.pending


DECODERS: Mapping[str, Any] = MappingProxyType(
    {
        "wgmma.fence.sync.aligned": _fence,
        "wgmma.commit_group.sync.aligned": _commit,
        "wgmma.wait_group.sync.aligned": _wait,
    }
)
"""By whole name."""
FAMILIES: Mapping[str, Any] = MappingProxyType({"wgmma": multiply})
"""By opcode."""
