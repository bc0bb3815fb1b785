"""What the verifier of `tile.kernel` asks of a kernel with rings on sm_90a: copies, layouts and accesses that the machine has."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import Float32Type
from xdsl.ir import Region

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile.attributes import TileType
from stepwell.dialects.tile.layouts import SharedAttr, SliceAttr, WgmmaAttr
from stepwell.dialects.tile.ops_compute import MmaOp
from stepwell.dialects.tile.ops_copy import FetchOp
from stepwell.dialects.tile.ops_ring import AwaitOp, RingOp
from stepwell.dialects.tile.ops_tiles import LoadOp, StoreOp
from stepwell.types.targets import SM_90A

COPIES = ("tma", "tma_im2col")
"""How rings are filled: the copy engine signals the slot's barrier itself."""
PAIR = 2
"""Columns that one thread holds side by side in an accumulator of wgmma (PTX ISA, wgmma, layout of D)."""
WIDEST = 128
"""Bytes of the widest swizzle: wider rows lie in panels of it."""
MAX_THREADS = 2048
SHARED_PER_MULTIPROCESSOR = 228 * 1024
RESERVED_SHARED = 1024
"""Threads and shared memory of a multiprocessor, and what the system takes of each block's (CUDA C++ Programming Guide, compute capability 9.0)."""


def machine_reasons(body: Region, threads: int, blocks: int) -> Iterator[str]:
    """One sentence per thing that sm_90a does not do; nothing for kernels without rings."""
    rings = [op for op in body.block.ops if isinstance(op, RingOp)]
    if not rings:
        return
    yield from _fits(rings, threads, blocks)
    for op in body.walk():
        if isinstance(op, FetchOp):
            yield from _fetched(op)
        if isinstance(op, MmaOp):
            yield from _multiplied(op)
        if isinstance(op, LoadOp | StoreOp):
            yield from _accessed(op)


def _fits(rings: list[RingOp], threads: int, blocks: int) -> Iterator[str]:
    shared = sum(ring.slot_count * ring.slot_bytes for ring in rings) + RESERVED_SHARED
    most = max(1, min(MAX_THREADS // threads, SHARED_PER_MULTIPROCESSOR // shared))
    if blocks > most:
        yield f"blocks_per_multiprocessor = {blocks}: blocks of {threads} threads and {shared} bytes of shared memory: a multiprocessor holds {most}"


def _fetched(op: FetchOp) -> Iterator[str]:
    if op.via.data not in COPIES:
        yield f"via {op.via.data}: rings of {SM_90A.name} are filled via {' or '.join(COPIES)}"


def _row_bytes(kind: TileType) -> int:
    return kind.get_shape()[-1] * element_bytes(kind.element_type)


def _multiplied(op: MmaOp) -> Iterator[str]:
    for name, operand in (("a", op.a), ("b", op.b)):
        kind = operand.type
        assert isinstance(kind, TileType)
        row = _row_bytes(kind)
        if isinstance(kind.layout, SharedAttr) and kind.layout.swizzle.data not in (0, min(row, WIDEST)):
            yield f"{kind} has rows of {row} bytes: the swizzle is as long as a row, #tile.shared<{min(row, WIDEST)}>"
        if isinstance(kind.layout, SharedAttr) and not kind.layout.swizzle.data:
            yield f"wgmma reads operand {name} from {kind}: its rows are swizzled, #tile.shared<{row}>"
        if isinstance(operand.owner, AwaitOp) and isinstance(kind.element_type, Float32Type):
            number = next(n for n, result in enumerate(operand.owner.results) if result is operand)
            yield from _rounded(operand.owner, number)
    kind = op.c.type
    assert isinstance(kind, TileType)
    if kind.has_layout and not isinstance(kind.layout, WgmmaAttr):
        yield f"wgmma holds its result as #tile.wgmma, not as {kind.layout}: put tile.relayout behind it"


def _rounded(op: AwaitOp, number: int) -> Iterator[str]:
    """f32 operands are tf32 to the tensor cores: they are rounded on their way, or cut."""
    fetches = [use.operation for use in op.ring.uses if isinstance(use.operation, FetchOp)]
    if any(fetch.number == number and fetch.as_type is None for fetch in fetches):
        yield f"wgmma takes f32 operands as tf32: fetch element #{number} `as tf32`, or multiply without mma = wgmma"


def _accessed(op: LoadOp | StoreOp) -> Iterator[str]:
    kind = op.result.type if isinstance(op, LoadOp) else op.tile.type
    assert isinstance(kind, TileType)
    pairs = kind.layout == WgmmaAttr() or kind.layout == SliceAttr(0, WgmmaAttr())
    if pairs and op.access is not None and op.access.value.data > PAIR:
        yield f"{op.name} with access {op.access.value.data} of {kind}: a thread holds {PAIR} columns side by side, access {PAIR} is the most"
