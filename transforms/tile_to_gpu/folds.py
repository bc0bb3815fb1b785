"""Folds of register tiles: in a thread, between the lanes of a warp, between warps through shared memory. Sums of a row are added in one order in
every thread that holds it, so all of them have the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import cast

from xdsl.dialects import arith, llvm
from xdsl.dialects.builtin import IntegerType, VectorType, bf16, f32, i1, i32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects import tile, warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import SliceAttr, TileType
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.fragments import fragment_of

WARP = 32
_FLOATS: Mapping[str, Callable[[SSAValue, SSAValue], Operation]] = {
    "add": arith.AddfOp, "mul": arith.MulfOp, "max": arith.MaximumfOp, "min": arith.MinimumfOp,
}  # fmt: skip
_INTEGERS: Mapping[str, Callable[[SSAValue, SSAValue], Operation]] = {
    "add": arith.AddiOp, "mul": arith.MuliOp, "max": arith.MaxSIOp, "min": arith.MinSIOp, "and": arith.AndIOp, "or": arith.OrIOp,
}  # fmt: skip


def folded(emit: GpuEmitter, kind: str, a: SSAValue, b: SSAValue) -> SSAValue:
    """Two vectors, element by element; numbers of bf16 as f32, as `tile-expand-math` writes their arithmetic."""
    of = cast(VectorType[Attribute], a.type)
    if of.element_type == bf16:
        wide = VectorType(f32, of.get_shape())
        both = [emit.insert(arith.ExtFOp(value, wide)).result for value in (a, b)]
        return emit.insert(arith.TruncFOp(folded(emit, kind, *both), of)).result
    whole = isinstance(of.element_type, IntegerType)
    return emit.insert((_INTEGERS if whole else _FLOATS)[kind](a, b)).results[0]


def lost_dim(op: tile.ReduceOp) -> int:
    """The dim of the whole tile that a fold takes away, or that its operand lacks already."""
    if op.get_dims():
        return op.get_dims()[0]
    assert isinstance(op.source.type, TileType) and isinstance(op.source.type.layout, SliceAttr)
    return op.source.type.layout.dim.data


def fold_in_thread(emit: GpuEmitter, op: tile.ReduceOp, value: SSAValue) -> SSAValue:
    """Each of this thread's rows (or columns) folded: halves of them meet until one element is left."""
    assert isinstance(op.source.type, TileType)
    fragment = fragment_of(op.source.type)
    if not op.get_dims() or fragment is None:
        return value
    kept = 1 - lost_dim(op)
    line_of = fragment.fragment().line_of(kept)
    members = [[r for r, line in enumerate(line_of) if line == number] for number in range(max(line_of) + 1)]
    extras: list[SSAValue] = []
    while (count := len(members[0])) > 1:
        half = count // 2
        if count % 2:
            extras.append(emit.shuffle(value, value, (line[-1] for line in members)))
        low = emit.shuffle(value, value, (register for line in members for register in line[:half]))
        high = emit.shuffle(value, value, (register for line in members for register in line[half : 2 * half]))
        value = folded(emit, op.kind.data, low, high)
        members = [list(range(number * half, (number + 1) * half)) for number in range(len(members))]
    for extra in extras:
        value = folded(emit, op.kind.data, value, extra)
    return value


def fold_in_warp(emit: GpuEmitter, kind: str, value: SSAValue, lanes: Sequence[int]) -> SSAValue:
    """Lanes whose numbers differ in these bits, one bit after the other."""
    for bit in lanes:
        other = carried(emit, value, lambda v, bit=bit: emit.insert(warp.ShuffleOp(v, bit)).result)  # type: ignore[misc]
        value = folded(emit, kind, value, other)
    return value


def fold_between_warps(emit: GpuEmitter, kind: str, value: SSAValue, bits: Sequence[int], threads: int) -> SSAValue:
    """Threads whose numbers differ in these bits: each writes its vector at its number, and reads those of all the others once all have written;
    then they meet again, before the next one is written."""
    size = shared_bytes(value, 1)
    thread = emit.insert(warp.ThreadIdOp()).result
    first = emit.mul(emit.bit_and(thread, emit.i32(~sum(bits))), emit.i32(size))
    found: list[SSAValue] = []

    def exchange(carried: SSAValue) -> SSAValue:
        emit.insert(warp.SharedStoreOp(carried, emit.mul(thread, emit.i32(size))))
        emit.insert(warp.BarrierOp(0, threads))
        assert isinstance(carried.type, VectorType)
        for number in sorted(sum(chosen) for count in range(len(bits) + 1) for chosen in combinations(bits, count)):
            place = emit.add(first, emit.i32(number * size)) if number else first
            found.append(emit.insert(warp.SharedLoadOp(place, carried.type)).result)
        emit.insert(warp.BarrierOp(0, threads))
        return carried

    carried(emit, value, exchange)
    parts = [_back(emit, part, value.type) for part in found]
    while len(parts) > 1:
        parts = [folded(emit, kind, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def shared_bytes(value: SSAValue, threads: int) -> int:
    """Bytes of shared memory that an exchange of a vector between so many threads takes."""
    of = cast(VectorType[Attribute], value.type)
    return threads * of.get_shape()[0] * element_bytes(i32 if of.element_type == i1 else of.element_type)


def carried(emit: GpuEmitter, value: SSAValue, exchange: Callable[[SSAValue], SSAValue]) -> SSAValue:
    """What an exchange gives, of bools as numbers."""
    of = cast(VectorType[Attribute], value.type)
    if of.element_type != i1:
        return exchange(value)
    wide = emit.insert(llvm.ZExtOp(value, VectorType(i32, of.get_shape()))).res
    return _back(emit, exchange(wide), of)


def _back(emit: GpuEmitter, value: SSAValue, of: Attribute) -> SSAValue:
    return value if value.type == of else emit.insert(llvm.TruncOp(value, of)).res
