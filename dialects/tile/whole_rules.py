"""What the verifier asks of the stores of a kernel whose blocks take dims whole: which loops they stand in, and that every element is written once."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from stepwell.dialects.tile._syntax import WHOLE
from stepwell.dialects.tile.attributes import RefType, TileType
from stepwell.dialects.tile.ops_loop import ForOp, ForTilesOp
from stepwell.dialects.tile.ops_tiles import StoreOp


def whole_write_reasons(store: StoreOp, grid: ForTilesOp) -> Iterator[str]:
    """Why a store does not write each element of its output once. It writes at every offset of the grid that is cut, and at those of all loops
    around it, each along a dim of its own: steps and extents of the tile agree. A dim that a loop does not go along is written by one tile,
    from 0 on, which must be at least as long: the application of the kernel is asked for that (`reach_of`)."""
    loops = list(_loops_around(store))
    if not isinstance(_outermost(store, loops), ForTilesOp):
        yield "tile.store stands in tile.for_tiles, directly or in loops alone"
        return
    cut = [arg for arg, block in zip(grid.body.block.args, grid.get_block(), strict=True) if block != WHOLE]
    steps: dict[SSAValue, int] = {arg: grid.get_block()[arg.index] for arg in cut}
    for loop in loops:
        steps |= dict(zip(loop.offsets, loop.get_steps(), strict=True))
    indices = list(store.indices)
    missing = [value for value in steps if value not in indices]
    if missing:
        yield "tile.store writes at the offsets of tile.for_tiles that are cut and of every loop around it, or elements are written again"
        return
    assert isinstance(store.tile.type, TileType)
    along = dict(zip(store.get_dims(), store.tile.type.get_shape(), strict=True))
    for dim, index in enumerate(indices):
        if index not in steps:
            if not _is_start(index, grid):
                yield f"tile.store writes dim {dim} from an offset that is neither one of the grid, nor of a loop, nor 0"
            continue
        if indices.count(index) > 1:
            yield "tile.store writes at the same offset along two dims"
        if along.get(dim, 1) != steps[index]:
            yield f"tile.store writes {store.tile.type} along steps of {steps[index]}: the tile is as long as a step"


def reach_of(store: StoreOp) -> dict[int, int]:
    """How far a store reaches along each dim of its output that nothing around it goes along."""
    grid: Operation = store
    offsets: set[SSAValue] = set()
    while not isinstance(grid, ForTilesOp):
        parent = grid.parent_op()
        if parent is None:
            return {}
        grid = parent
        if isinstance(grid, ForOp):
            offsets |= set(grid.offsets)
    assert isinstance(store.tile.type, TileType)
    along = dict(zip(store.get_dims(), store.tile.type.get_shape(), strict=True))
    blocks = dict(zip(grid.body.block.args, grid.get_block(), strict=True))
    return {
        dim: along.get(dim, 1)
        for dim, index in enumerate(store.indices)
        if index not in offsets and blocks.get(index, WHOLE) == WHOLE  # type: ignore[call-overload]
    }


def misfit_whole(ref: SSAValue, shape: tuple[int, ...]) -> str:
    """Why a kernel whose blocks take dims whole cannot write a tensor of these extents through `ref`; empty where it can."""
    for use in ref.uses:
        if not isinstance(use.operation, StoreOp) or not isinstance(ref.type, RefType):
            continue
        for dim, reach in reach_of(use.operation).items():
            if shape[dim] > reach:
                return f"it writes {reach} elements along dim {dim}, there are {shape[dim]}"
    return ""


def _loops_around(op: Operation) -> Iterator[ForOp]:
    parent = op.parent_op()
    while isinstance(parent, ForOp):
        yield parent
        parent = parent.parent_op()


def _outermost(op: Operation, loops: list[ForOp]) -> Operation | None:
    return loops[-1].parent_op() if loops else op.parent_op()


def _is_start(index: SSAValue, grid: ForTilesOp) -> bool:
    """The offset of a whole dim, or the constant 0."""
    if index in grid.body.block.args:
        return True
    owner = index.owner
    return isinstance(owner, arith.ConstantOp) and isinstance(owner.value, IntegerAttr) and owner.value.value.data == 0
