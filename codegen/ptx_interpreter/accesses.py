"""ld and st of parameters, global and shared memory; cvta; registers of the machine come with `mov`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.bundle import Bundle, warp_masks
from stepwell.codegen.ptx_interpreter.memory import PARAMETER_WINDOW, PARAMETERS, SHARED_WINDOW
from stepwell.codegen.ptx_interpreter.operation import TYPES
from stepwell.codegen.ptx_interpreter.registers import Array, Mask
from stepwell.codegen.ptx_interpreter.step import Code, Decoder, Step
from stepwell.codegen.ptx_interpreter.syntax import Instruction, Operand, Register, Vector
from stepwell.dialects.hopper.simulator.faults import MisalignedFault, OutOfBoundsFault
from stepwell.dialects.hopper.simulator.memory import ANY_SWIZZLE, granules_of
from stepwell.dialects.hopper.simulator.threads import MAX_THREADS
from stepwell.dialects.hopper.simulator.wgmma import SHARED_BASE

_VECTORS = {"v2": 2, "v4": 4}


def _parts(code: Code, instruction: Instruction, names: list[str], value: Operand) -> tuple[list[int], np.dtype[Any]]:
    """The slots of the moved registers and the type of each, from the last words of the name: [vN] TYPE. A register may be wider than the type: a load
    extends by its sign, a store cuts (PTX ISA, "Operand Size Exceeding Instruction-Type Size")."""
    words = list(names)
    count = _VECTORS.get(words[0], 1) if words else 1
    if count > 1:
        words.pop(0)
    if len(words) != 1 or words[0] not in TYPES or words[0] == "pred":
        raise instruction.refuse(f"unknown modifier in {instruction.name}")
    dtype = TYPES[words[0]] if words[0][0] == "s" else TYPES[f"b{8 * TYPES[words[0]].itemsize}"]
    items = value.items if isinstance(value, Vector) else (value,)
    if len(items) != count:
        raise instruction.refuse(f"{len(items)} registers where {count} are moved")
    return [code.read(instruction, item, _held(item, dtype)) for item in items], dtype


def _held(item: Operand, dtype: np.dtype[Any]) -> np.dtype[Any]:
    wider = isinstance(item, Register) and item.width > 8 * dtype.itemsize
    return TYPES[f"b{item.width}"] if wider and isinstance(item, Register) else dtype


def _addresses(bundle: Bundle, slot: int, base: int, mask: Mask) -> Array:
    """The address of each active thread."""
    count = len(bundle.active(mask))
    if slot < 0:
        return np.full(count, base & 0xFFFFFFFFFFFFFFFF, np.uint64)
    return (bundle.values(slot, mask).astype(np.int64) + base).astype(np.uint64)


def shared_offsets(bundle: Bundle, slot: int, base: int, mask: Mask) -> Array:
    """Bytes from the start of shared memory, for each active thread."""
    return _addresses(bundle, slot, base, mask).astype(np.int64) - SHARED_BASE


def load(code: Code, instruction: Instruction) -> Step:
    """ld.SPACE[.vN].TYPE d, [a]."""
    space, *names = instruction.name.split(".")[1:]
    value, place = code.take(instruction, 2)
    slots, dtype = _parts(code, instruction, names, value)
    symbol, slot, base = code.address(instruction, place)
    what, size = f"`{instruction.text}`", dtype.itemsize

    def parameter(bundle: Bundle, mask: Mask) -> None:
        start = base - PARAMETERS
        data = bundle.threads.memory.parameters[start : start + size]
        if start < 0 or len(data) != size:
            raise OutOfBoundsFault(f"{what} reads beyond the parameters")
        bundle.put(slots[0], np.frombuffer(data, dtype), mask)

    def read(bundle: Bundle, mask: Mask) -> None:
        total = size * len(slots)
        if space == "global":
            addresses = _addresses(bundle, slot, base, mask)
            raw = bundle.threads.memory.load(addresses, total, _waited(bundle, mask), what, _threads(bundle, mask))
        else:
            raw = _load_shared(bundle, shared_offsets(bundle, slot, base, mask), total, mask, what)
        held = raw.view(dtype)
        for number, target in enumerate(slots):
            bundle.put(target, held[:, number], mask)

    if space == "param" and symbol == "param" and len(slots) == 1:
        return Step(instruction, act=parameter)
    if (space == "global" and slot >= 0) or (space in ("shared", "shared::cta") and symbol != "param"):
        return Step(instruction, act=read)
    raise instruction.refuse(f"unknown modifier in {instruction.name}")


def store(code: Code, instruction: Instruction) -> Step:
    """st.SPACE[.vN].TYPE [a], b."""
    space, *names = instruction.name.split(".")[1:]
    place, value = code.take(instruction, 2)
    slots, dtype = _parts(code, instruction, names, value)
    symbol, slot, base = code.address(instruction, place)
    what = f"`{instruction.text}`"

    def write(bundle: Bundle, mask: Mask) -> None:
        held = np.stack([bundle.values(source, mask).astype(dtype) for source in slots], axis=1)
        raw = np.ascontiguousarray(held).view(np.uint8)
        threads = bundle.threads
        if space == "global":
            addresses = _addresses(bundle, slot, base, mask)
            numbers = _threads(bundle, mask)
            threads.memory.store(addresses, raw, threads.block.number, _waited(bundle, mask), what, numbers)
            return
        _store_shared(bundle, shared_offsets(bundle, slot, base, mask), raw, mask, what)

    if (space == "global" and slot >= 0) or (space in ("shared", "shared::cta") and symbol != "param"):
        return Step(instruction, act=write)
    raise instruction.refuse(f"unknown modifier in {instruction.name}")


def _threads(bundle: Bundle, mask: Mask) -> Array:
    """The number of each active thread in the launch."""
    return bundle.active(mask) + bundle.threads.block.number * MAX_THREADS


def _waited(bundle: Bundle, mask: Mask) -> bool:
    agents, block = bundle.threads.block.agents, bundle.threads.block
    return all(block.has_waited(agents.known[warp]) for warp, _ in bundle.warps(mask))


def _check_alignment(offsets: Array, size: int, what: str) -> None:
    if (offsets % size).any():
        raise MisalignedFault(f"{what}: a shared address is not a multiple of {size} bytes")


def _load_shared(bundle: Bundle, offsets: Array, size: int, mask: Mask, what: str) -> Array:
    _check_alignment(offsets, size, what)
    block = bundle.threads.block
    for warp, lanes in warp_masks(bundle, mask):
        units, known = granules_of(offsets[lanes]), block.agents.known[warp]
        block.shared.check_read(units, warp, int(known[warp]), known, generic=True, what=what)
    return block.shared.bytes[offsets[:, None] + np.arange(size)]


def _store_shared(bundle: Bundle, offsets: Array, raw: Array, mask: Mask, what: str) -> None:
    _check_alignment(offsets, raw.shape[1], what)
    block = bundle.threads.block
    for warp, lanes in warp_masks(bundle, mask):
        units, known = granules_of(offsets[lanes]), block.agents.known[warp]
        block.shared.check_write(units, warp, int(known[warp]), known, generic=True, what=what)
        block.shared.mark_swizzle(units, ANY_SWIZZLE)
    block.shared.bytes[offsets[:, None] + np.arange(raw.shape[1])] = raw


# --- addresses


def _window(name: str, start: int, to_generic: bool) -> Decoder:
    """cvta: from a space's own addresses to generic ones, or back; an address outside the window is a fault."""

    def decode(code: Code, instruction: Instruction) -> Step:
        destination, source = code.take(instruction, 2)
        target, slot = code.write(instruction, destination, np.uint64), code.read(instruction, source, np.uint64)

        def convert(bundle: Bundle, mask: Mask) -> None:
            held = bundle.values(slot, mask)
            if to_generic:
                bundle.put(target, held + np.uint64(start), mask)
                return
            if (held < start).any() or (held >= start + (1 << 32)).any():
                raise OutOfBoundsFault(f"`{instruction.text}`: the address is not one of {name} memory")
            bundle.put(target, held - np.uint64(start), mask)

        return Step(instruction, act=convert)

    return decode


def _same(code: Code, instruction: Instruction) -> Step:
    destination, source = code.take(instruction, 2)
    target, slot = code.write(instruction, destination, np.uint64), code.read(instruction, source, np.uint64)
    return Step(instruction, lambda rows, mask: np.copyto(rows[target], rows[slot], where=mask))


DECODERS: Mapping[str, Decoder] = MappingProxyType(
    {
        "cvta.param.u64": _window("parameter", PARAMETER_WINDOW, True),
        "cvta.shared.u64": _window("shared", SHARED_WINDOW, True),
        "cvta.to.shared.u64": _window("shared", SHARED_WINDOW, False),
        "cvta.to.shared::cluster.u64": _window("shared", SHARED_WINDOW, False),
        "cvta.to.global.u64": _same,
        "cvta.global.u64": _same,
    }
)
"""By whole name."""
FAMILIES: Mapping[str, Any] = MappingProxyType({"ld": load, "st": store})
"""By opcode."""
