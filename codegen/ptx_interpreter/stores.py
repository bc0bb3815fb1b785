"""The way back to global memory: stmatrix, tensor copies from shared memory (TMA), and the groups that a thread waits for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.accesses import shared_offsets
from stepwell.codegen.ptx_interpreter.bundle import Bundle, Parked, warp_masks
from stepwell.codegen.ptx_interpreter.copies import tensor_map, vector_slots
from stepwell.codegen.ptx_interpreter.operation import TYPES
from stepwell.codegen.ptx_interpreter.registers import Array, Mask
from stepwell.codegen.ptx_interpreter.step import Code, Decoder, Step
from stepwell.codegen.ptx_interpreter.syntax import Address, Immediate, Instruction, Operand, Register, Vector
from stepwell.dialects.hopper.simulator.agents import WARP
from stepwell.dialects.hopper.simulator.faults import MisalignedFault
from stepwell.dialects.hopper.simulator.memory import ANY_SWIZZLE, GRANULE, granules_of

_ROWS = 8
"""Rows of a matrix, of 16 bytes each; four lanes hold a row."""


def _matrices(instruction: Instruction, value: Operand, done: str) -> Sequence[Operand]:
    """The registers of an instruction for as many matrices as its name says."""
    items = value.items if isinstance(value, Vector) else (value,)
    count = int(instruction.name.split(".x")[1].split(".")[0])
    if len(items) != count:
        raise instruction.refuse(f"{len(items)} registers where {count} are {done}")
    return items


def _store_matrices(code: Code, instruction: Instruction) -> Step:
    """stmatrix: lane 8 i + r of each warp gives the address of row r of matrix i; lane 4 r + c holds 4 bytes of its row r."""
    place, value = code.take(instruction, 2)
    _, slot, base = code.address(instruction, place)
    items = _matrices(instruction, value, "stored")
    count, slots = len(items), [code.read(instruction, item, TYPES["b32"]) for item in items]
    what = f"`{instruction.text}`"

    def run(bundle: Bundle, mask: Mask) -> None:
        offsets = shared_offsets(bundle, slot, base, mask)
        held = np.stack([bundle.values(register, mask) for register in slots], axis=1)
        for warp, lanes in warp_masks(bundle, mask):
            _write(bundle, warp, offsets[lanes[: _ROWS * count]], held[lanes], what)

    return Step(instruction, act=run, aligned=WARP)


def _write(bundle: Bundle, warp: int, offsets: Array, held: Array, what: str) -> None:
    _check_rows(offsets, what)
    shared, known = bundle.threads.block.shared, bundle.threads.block.agents.known[warp]
    units = granules_of(offsets)
    shared.check_write(units, warp, int(known[warp]), known, generic=True, what=what)
    shared.mark_swizzle(units, ANY_SWIZZLE)
    rows = np.ascontiguousarray(held.T).reshape(-1, 4).view(np.uint8)
    shared.bytes.reshape(-1, GRANULE)[offsets // GRANULE] = rows


def _load_matrices(code: Code, instruction: Instruction) -> Step:
    """ldmatrix: the mirror of stmatrix."""
    value, place = code.take(instruction, 2)
    _, slot, base = code.address(instruction, place)
    items = _matrices(instruction, value, "loaded")
    count, slots = len(items), [code.write(instruction, item, TYPES["b32"]) for item in items]
    what = f"`{instruction.text}`"

    def run(bundle: Bundle, mask: Mask) -> None:
        offsets = shared_offsets(bundle, slot, base, mask)
        held = np.zeros((len(offsets), count), np.uint32)
        for warp, lanes in warp_masks(bundle, mask):
            held[lanes] = _read(bundle, warp, offsets[lanes[: _ROWS * count]], what)
        for number, register in enumerate(slots):
            bundle.put(register, held[:, number], mask)

    return Step(instruction, act=run, aligned=WARP)


def _read(bundle: Bundle, warp: int, offsets: Array, what: str) -> Array:
    """What the lanes of a warp get: [lanes, matrices]."""
    _check_rows(offsets, what)
    shared, known = bundle.threads.block.shared, bundle.threads.block.agents.known[warp]
    shared.check_read(granules_of(offsets), warp, int(known[warp]), known, generic=True, what=what)
    rows = shared.bytes.reshape(-1, GRANULE)[offsets // GRANULE]
    return np.ascontiguousarray(rows).view(np.uint32).reshape(-1, WARP).T


def _check_rows(offsets: Array, what: str) -> None:
    if (offsets % GRANULE).any():
        raise MisalignedFault(f"{what}: a row does not lie at a multiple of {GRANULE} bytes")


def _store_tensor(rank: int) -> Decoder:
    def decode(code: Code, instruction: Instruction) -> Step:
        target, source = code.take(instruction, 2)
        _, slot, base = code.address(instruction, source)
        if not isinstance(target, Address) or not isinstance(target.base, Register) or target.coordinates is None:
            raise instruction.refuse("a tensor copy takes a map and coordinates")
        _, place, place_base = code.address(instruction, target)
        coordinates = vector_slots(code, instruction, target.coordinates, "s32")
        if len(coordinates) != rank:
            raise instruction.refuse(f"{len(coordinates)} coordinates where {rank} are expected")
        what = f"`{instruction.name}` (PTX line {instruction.line})"

        def run(bundle: Bundle, mask: Mask) -> None:
            sources = shared_offsets(bundle, slot, base, mask)
            maps = bundle.values(place, mask).astype(np.int64) + place_base
            columns = [bundle.values(column, mask) for column in coordinates]
            for lane, number in enumerate(bundle.active(mask)):
                tensor = tensor_map(bundle, int(maps[lane]), False, what)
                named = f"{what} of {tensor.buffer.name} issued by thread {number}"
                values = tuple(int(column[lane]) for column in columns)
                bundle.threads.block.issue_store(int(number), tensor, values, int(sources[lane]), named)

        return Step(instruction, act=run)

    return decode


def _commit(code: Code, instruction: Instruction) -> Step:
    code.take(instruction, 0)

    def run(bundle: Bundle, mask: Mask) -> None:
        for number in bundle.active(mask):
            bundle.threads.block.commit_stores(int(number))

    return Step(instruction, act=run)


def _wait(code: Code, instruction: Instruction) -> Step:
    """Until at most so many groups of each thread still read shared memory."""
    (operand,) = code.take(instruction, 1)
    if not isinstance(operand, Immediate):
        raise instruction.refuse("an operand that is no number")
    pending = operand.bits

    def run(bundle: Bundle, mask: Mask) -> Parked:
        block = bundle.threads.block
        waiting = [int(number) for number in bundle.active(mask)]

        def go_on() -> None:
            for number in waiting:
                block.pass_stores(number, pending)
            bundle.pc += 1

        return Parked(
            lambda: all(block.stores_done(number, pending) for number in waiting), go_on, lambda: "waits for its stores"
        )

    return Step(instruction, act=run)


DECODERS: Mapping[str, Any] = MappingProxyType(
    {
        **{f"stmatrix.sync.aligned.m8n8.x{count}.shared.b16": _store_matrices for count in (2, 4)},
        **{f"ldmatrix.sync.aligned.m8n8.x{count}.shared.b16": _load_matrices for count in (2, 4)},
        **{
            f"cp.async.bulk.tensor.{rank}d.global.shared::cta.{mode}bulk_group": _store_tensor(rank)
            for rank in range(1, 6)
            for mode in ("", "tile.")
        },
        "cp.async.bulk.commit_group": _commit,
        "cp.async.bulk.wait_group.read": _wait,
    }
)
"""By whole name."""
