"""How the threads of a kernel without matrix product hold its tiles: rows of threads, each with a few contiguous columns."""

from __future__ import annotations

from collections.abc import Iterable

from stepwell.dialects import tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, SliceAttr, ThreadsAttr, TileType

ACCESS_BYTES = 16
"""The widest access of one thread (PTX ISA, ld: vectors of up to 128 bits)."""
WARP = 32
Access = tile.LoadOp | tile.StoreOp


def ref_of(op: Access) -> RefType:
    """The ref that is read or written."""
    kind = op.source.type if isinstance(op, tile.LoadOp) else op.target.type
    assert isinstance(kind, RefType)
    return kind


def tile_of(op: Access) -> TileType:
    """The tile that is read or written."""
    kind = op.result.type if isinstance(op, tile.LoadOp) else op.tile.type
    assert isinstance(kind, TileType)
    return kind


def in_rows(op: Access, kind: TileType) -> bool:
    """Whether columns that a thread holds side by side are neighbours in memory: a tile of rows, or a vector along them."""
    last = op.get_dims()[-1] == len(op.indices) - 1
    along = kind.rank == 2 or (isinstance(kind.layout, SliceAttr) and kind.layout.dim.data == 0)
    return last and along and kind.get_shape()[-1] > 1


def widest_access(kernel: tile.KernelOp, columns: int, moved: Iterable[Access]) -> int:
    """Contiguous columns per thread: what every operand that runs along the columns allows in one access."""
    sizes = [element_bytes(ref.type.element_type) for ref in kernel.body.block.args if isinstance(ref.type, RefType)]
    width = min(ACCESS_BYTES // max(sizes), columns & -columns)
    for op in moved:
        ref = ref_of(op)
        width = ref.access.elements_at_once(element_bytes(ref.element_type), width)
    return width


def threads_over(kernel: tile.KernelOp, shape: tuple[int, int], width: int) -> ThreadsAttr:
    """As many threads as the config's warps have, fewer for small tiles, so that each has at least two elements. What is folded along its rows
    lies in one warp, where that leaves no thread without rows: lanes exchange values faster than warps."""
    rows, columns = shape
    threads = WARP * kernel.config.data.warps
    if any(isinstance(op, tile.ReduceOp) and 1 in op.get_dims() for op in kernel.body.walk()):
        return _over_rows(shape, width, threads)
    while threads > 1 and (rows * columns // width < threads or rows % max(1, threads * width // columns)):
        threads //= 2
    if rows * columns // threads < 2 and threads > 1:
        threads //= 2
    across = columns // width
    down = max(threads, across) // across
    whole = down * across <= WARP or down * across % WARP == 0
    return ThreadsAttr(down, across, width) if whole else _over_rows(shape, width, threads)


def _over_rows(shape: tuple[int, int], width: int, threads: int) -> ThreadsAttr:
    """Powers of two, so that lanes meet in pairs."""
    rows, columns = shape
    most = _power(columns // width)
    down = min(_power(rows), max(1, threads // min(most, WARP)))
    return ThreadsAttr(down, min(most, threads // down), width)


def _power(number: int) -> int:
    """The largest power of two that divides a number."""
    return number & -number
