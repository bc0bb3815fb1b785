"""mov, cvt, selp and setp: what brings values from register to register, type to type, and into predicates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.codegen.ptx_interpreter.operation import TYPES, Operation, compute, decode, uniform
from stepwell.codegen.ptx_interpreter.registers import Array, Mask, Rows
from stepwell.codegen.ptx_interpreter.step import Code, Decoder, Step
from stepwell.codegen.ptx_interpreter.syntax import (
    Immediate,
    Instruction,
    Negated,
    Operand,
    Register,
    Sink,
    Symbol,
    Vector,
)

_NARROW = ("u8", "s8")
_INTEGERS = ("u16", "s16", "u32", "s32", "u64", "s64")
_BITS = ("b16", "b32", "b64")
_VALUES = (*_BITS, *_INTEGERS, "f16", "f32", "f64")


# --- conversions


def _to_integer(rounding: Callable[[Array], Array], dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    """Rounded, clamped to the type's range; NaN gives 0."""
    limits = np.iinfo(dtype)

    def convert(value: Array) -> Array:
        whole = np.nan_to_num(rounding(value.astype(np.float64)), nan=0.0, posinf=np.inf, neginf=-np.inf)
        inside = np.where((whole > limits.min) & (whole < limits.max), whole, 0).astype(dtype)
        return np.where(whole >= limits.max, limits.max, np.where(whole <= limits.min, limits.min, inside)).astype(
            dtype
        )

    return convert


def _to_tf32(value: Array) -> Array:
    """cvt.rna.tf32.f32: the nearest number of 10 mantissa bits, ties away from zero; infinities and NaN stay."""
    bits = value.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(value), rounded, bits)


def _pair(high: Array, low: Array) -> Array:
    """cvt.rn.f16x2.f32 d, a, b: a in the upper half, b in the lower one; every f16 of both, lower first."""
    return np.stack(np.broadcast_arrays(low, high), axis=-1).astype(np.float16).reshape(-1)


def _from_bf16(bits: Array) -> Array:
    """cvt.f32.bf16: the upper half of an f32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _pair_bf16(high: Array, low: Array) -> Array:
    """cvt.rn.bf16x2.f32 d, a, b: a in the upper half, b in the lower one, to the nearest, ties to even; every NaN is 0x7FFF (PTX ISA, cvt)."""
    return (_to_bf16(high) << np.uint32(16)) | _to_bf16(low)


def _to_bf16(value: Array) -> Array:
    bits = value.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(value), np.uint32(0x7FFF), rounded)


_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil,
}  # fmt: skip


def _conversions() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for to in (*_NARROW, *_INTEGERS):
        for source in (*_NARROW, *_INTEGERS):
            found[f"cvt.{to}.{source}"] = Operation(_cast(TYPES[to]), TYPES[to], (TYPES[source],))
        for kind, rounding in _ROUNDINGS.items():
            for source in ("f16", "f32", "f64"):
                found[f"cvt.{kind}.{to}.{source}"] = Operation(
                    _to_integer(rounding, TYPES[to]), TYPES[to], (TYPES[source],)
                )
        for result in ("f16", "f32", "f64"):
            found[f"cvt.rn.{result}.{to}"] = Operation(_cast(TYPES[result]), TYPES[result], (TYPES[to],))
    for kind, rounding in _ROUNDINGS.items():
        for type in ("f16", "f32", "f64"):
            found[f"cvt.{kind}.{type}.{type}"] = uniform(rounding, type, 1)
    for to, source in (("f32", "f16"), ("f64", "f16"), ("f64", "f32")):
        found[f"cvt.{to}.{source}"] = Operation(_cast(TYPES[to]), TYPES[to], (TYPES[source],))
        found[f"cvt.rn.{source}.{to}"] = Operation(_cast(TYPES[source]), TYPES[source], (TYPES[to],))
    found["cvt.rna.tf32.f32"] = Operation(_to_tf32, TYPES["b32"], (TYPES["f32"],))
    found["cvt.rn.f16x2.f32"] = Operation(_pair, TYPES["f16"], (TYPES["f32"], TYPES["f32"]), packed=True)
    found["cvt.f64.bf16"] = Operation(lambda x: _from_bf16(x).astype(np.float64), TYPES["f64"], (TYPES["b16"],))
    found["cvt.f32.bf16"] = Operation(_from_bf16, TYPES["f32"], (TYPES["b16"],))
    found["cvt.rn.bf16.f32"] = Operation(lambda x: _to_bf16(x).astype(np.uint16), TYPES["b16"], (TYPES["f32"],))
    found["cvt.rn.bf16x2.f32"] = Operation(_pair_bf16, TYPES["b32"], (TYPES["f32"], TYPES["f32"]))
    return found


def _cast(dtype: np.dtype[Any]) -> Callable[[Array], Array]:
    return lambda value: value.astype(dtype)


def convert(code: Code, instruction: Instruction) -> Step:
    """cvt: registers may be wider than the types; a source is cut, a result extended by its sign (PTX ISA, "Operand Size Exceeding Instruction-Type Size")."""
    operation = _CONVERSIONS.get(instruction.name)
    if operation is None:
        raise instruction.refuse(f"unknown modifier in {instruction.name}")
    destination, *sources = code.take(instruction, 1 + len(operation.operands))
    if operation.packed or len(sources) > 1:
        return decode(code, instruction, operation)
    read, write = operation.operands[0], operation.result
    held, kept = _register_type(sources[0], read), _register_type(destination, write)
    target, slot = code.write(instruction, destination, kept), code.read(instruction, sources[0], held)
    function = operation.function

    def step(rows: Rows, mask: Mask) -> None:
        value = rows[slot] if held == read else rows[slot].astype(read)
        np.copyto(rows[target], function(value).astype(kept, copy=False), where=mask)

    return Step(instruction, step)


def _register_type(operand: Operand, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What the register of an operand is seen as: `dtype`, or the unsigned integer of a wider register."""
    wider = isinstance(operand, Register) and dtype.kind in "iu" and operand.width > 8 * dtype.itemsize
    return TYPES[f"b{operand.width}"] if wider and isinstance(operand, Register) else dtype


# --- choice


def _selections() -> dict[str, Operation]:
    def choose(a: Array, b: Array, chosen: Array) -> Array:
        return np.where(chosen, a, b)

    return {
        f"selp.{type}": Operation(choose, TYPES[type], (TYPES[type], TYPES[type], TYPES["pred"])) for type in _VALUES
    }


# --- comparisons

_ORDERED: Mapping[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
_UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
_COMBINE: Mapping[str, Callable[[Array, Array], Array]] = {
    "and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor,
}  # fmt: skip


def _nan(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


def _float_comparisons() -> dict[str, Callable[[Array, Array], Array]]:
    found: dict[str, Callable[[Array, Array], Array]] = dict(_ORDERED)
    found["ne"] = lambda a, b: (a < b) | (a > b)
    for name, function in _ORDERED.items():
        found[f"{name}u"] = _or_unordered(function)
    return {**found, "num": lambda a, b: ~_nan(a, b), "nan": _nan}


def _or_unordered(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: function(a, b) | _nan(a, b)


_FLOAT_COMPARISONS = _float_comparisons()


def _comparison(instruction: Instruction, name: str, type: str) -> Callable[[Array, Array], Array]:
    if type in ("f16", "f32", "f64") and name in _FLOAT_COMPARISONS:
        return _FLOAT_COMPARISONS[name]
    if type in _BITS and name in ("eq", "ne"):
        return _ORDERED[name]
    if type in _INTEGERS and name in _ORDERED:
        return _ORDERED[name]
    if type in ("u16", "u32", "u64") and name in _UNSIGNED:
        return _ORDERED[_UNSIGNED[name]]
    raise instruction.refuse(f"unknown comparison {instruction.name}")


def set_predicate(code: Code, instruction: Instruction) -> Step:
    """setp.CMP.TYPE p, a, b and setp.CMP.BOOL.TYPE p, a, b, q."""
    words = instruction.name.split(".")[1:]
    if words[1:] == ["f16x2"]:
        return _compare_pairs(code, instruction, words[0])
    combine = _COMBINE.get(words[1]) if len(words) == 3 else None
    if len(words) not in (2, 3) or (len(words) == 3 and combine is None):
        raise instruction.refuse(f"unknown modifier in {instruction.name}")
    compare, dtype = _comparison(instruction, words[0], words[-1]), TYPES[words[-1]]
    destination, a, b, *others = code.take(instruction, 3 if combine is None else 4)
    target = code.write(instruction, destination, np.bool_)
    slots = [code.read(instruction, a, dtype), code.read(instruction, b, dtype)]
    if combine is None:
        return Step(instruction, compute(compare, target, slots))
    (other,) = others
    flipped = isinstance(other, Negated)
    third = code.read(instruction, other.register if isinstance(other, Negated) else other, np.bool_)
    first, second, joined = *slots, combine

    def step(rows: Rows, mask: Mask) -> None:
        flag = ~rows[third] if flipped else rows[third]
        np.copyto(rows[target], joined(compare(rows[first], rows[second]), flag), where=mask)

    return Step(instruction, step)


def _compare_pairs(code: Code, instruction: Instruction, name: str) -> Step:
    """setp.CMP.f16x2 p|q, a, b: p compares the lower halves, q the upper ones."""
    compare = _comparison(instruction, name, "f16")
    low, high, a, b = code.take(instruction, 4)
    targets = [code.write(instruction, destination, np.bool_) for destination in (low, high)]
    first, second = (code.read(instruction, source, TYPES["f16"]) for source in (a, b))

    def step(rows: Rows, mask: Mask) -> None:
        found = compare(rows[first], rows[second])
        for half, target in enumerate(targets):
            np.copyto(rows[target], found[half::2], where=mask)

    return Step(instruction, step)


# --- moves


def move(code: Code, instruction: Instruction) -> Step:
    """mov.TYPE d, a: a register, a number, the address of a variable; halves packed or unpacked with braces."""
    type = instruction.name.removeprefix("mov.")
    if type not in (*_VALUES, "pred"):
        raise instruction.refuse(f"unknown modifier in {instruction.name}")
    destination, source = code.take(instruction, 2)
    if isinstance(destination, Vector) or isinstance(source, Vector):
        return _repack(code, instruction, destination, source, TYPES[type])
    dtype = TYPES[type]
    if isinstance(source, Symbol):
        source = Immediate(code.symbol(instruction, source.name)[1])
        dtype = TYPES["b32" if dtype.itemsize == 4 else "b64"]
    if isinstance(source, Immediate) and source.kind == "f32":
        dtype = TYPES["f32"]
    target, slot = code.write(instruction, destination, dtype), code.read(instruction, source, dtype)
    return Step(instruction, lambda rows, mask: np.copyto(rows[target], rows[slot], where=mask))


def _repack(code: Code, instruction: Instruction, destination: Operand, source: Operand, dtype: np.dtype[Any]) -> Step:
    if isinstance(destination, Vector) == isinstance(source, Vector):
        raise instruction.refuse("braces on both sides")
    vector, whole = (destination, source) if isinstance(destination, Vector) else (source, destination)
    if not isinstance(vector, Vector) or not isinstance(whole, Register) or len(vector.items) not in (2, 4):
        raise instruction.refuse("braces hold two or four parts of one register")
    count = len(vector.items)
    part = TYPES[f"b{8 * dtype.itemsize // count}"] if dtype.itemsize // count in (2, 4) else None
    if part is None:
        raise instruction.refuse(f"{count} parts of {8 * dtype.itemsize} bits")
    one = code.read(instruction, whole, TYPES[f"b{8 * dtype.itemsize}"])
    if vector is source:
        parts = [code.read(instruction, item, part) for item in vector.items]
        return Step(instruction, lambda rows, mask: _joined(rows, mask, one, parts, part))
    wanted = [(i, item) for i, item in enumerate(vector.items) if not isinstance(item, Sink)]
    if not wanted:
        raise instruction.refuse("no part is wanted")
    slots = [(i, code.write(instruction, item, part)) for i, item in wanted]
    return Step(instruction, lambda rows, mask: _split(rows, mask, one, slots, part, count))


def _joined(rows: Rows, mask: Mask, one: int, parts: list[int], part: np.dtype[Any]) -> None:
    whole = rows[one]
    for i, slot in enumerate(parts):
        np.copyto(whole.view(part)[i :: len(parts)], rows[slot], where=mask)


def _split(rows: Rows, mask: Mask, one: int, parts: list[tuple[int, int]], part: np.dtype[Any], count: int) -> None:
    held = np.broadcast_to(rows[one], rows[parts[0][1]].shape).copy().view(part)
    for i, slot in parts:
        np.copyto(rows[slot], held[i::count], where=mask)


_CONVERSIONS = _conversions()
OPERATIONS: Mapping[str, Operation] = MappingProxyType(_selections())
"""By whole name."""
DECODERS: Mapping[str, Decoder] = MappingProxyType({"setp": set_predicate, "mov": move, "cvt": convert})
"""By opcode."""
