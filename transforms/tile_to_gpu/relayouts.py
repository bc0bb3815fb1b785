"""Register tiles handed from one layout over threads to another, through shared memory: rows lie whole 16 bytes apart, so that warps share no unit of it."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import VectorType, i1, i32
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import warp
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import TileType
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.folds import carried
from stepwell.transforms.tile_to_gpu.fragments import fragment_of

UNIT = 16


def relayout_bytes(kind: TileType) -> int:
    """Bytes of shared memory that the whole tile takes on its way."""
    return kind.get_shape()[0] * _pitch(kind)


def relaid(emit: GpuEmitter, value: SSAValue, source: TileType, result: TileType, threads: int) -> SSAValue:
    """Each thread writes its runs of neighbouring columns, all meet, each reads those of the other layout; they meet again before the next exchange."""

    def exchange(held: SSAValue) -> SSAValue:
        assert isinstance(held.type, VectorType)
        for registers, place in _runs(emit, source):
            part = emit.shuffle(held, held, registers)
            emit.insert(warp.SharedStoreOp(part, place))
        emit.insert(warp.BarrierOp(0, threads))
        parts: list[SSAValue] = []
        for registers, place in _runs(emit, result):
            of = VectorType(held.type.element_type, [len(registers)])
            parts.append(emit.insert(warp.SharedLoadOp(place, of)).result)
        emit.insert(warp.BarrierOp(0, threads))
        return emit.joined(parts)

    return carried(emit, value, exchange)


def _element(kind: TileType) -> Attribute:
    """What carries an element: bools go as numbers."""
    return i32 if kind.element_type == i1 else kind.element_type


def _pitch(kind: TileType) -> int:
    """Bytes from row to row."""
    return -(-kind.get_shape()[1] * element_bytes(_element(kind)) // UNIT) * UNIT


def _runs(emit: GpuEmitter, kind: TileType) -> Iterator[tuple[range, SSAValue]]:
    """The registers of each run of neighbouring columns, and where it lies."""
    fragment = fragment_of(kind)
    assert fragment is not None
    width, size = fragment.width.data, element_bytes(_element(kind))
    rows, columns = (emit.insert(warp.FragmentIndexOp(along, fragment)).result for along in ("rows", "cols"))
    row, column = emit.mul(emit.first(rows), emit.i32(_pitch(kind))), emit.mul(emit.first(columns), emit.i32(size))
    start, places = emit.add(row, column), fragment.fragment()
    first = places.place(0, 0)
    for register in range(0, fragment.registers, width):
        down, across = (a - b for a, b in zip(places.place(0, register), first, strict=True))
        moved = down * _pitch(kind) + across * size
        yield range(register, register + width), emit.add(start, emit.i32(moved)) if moved else start
