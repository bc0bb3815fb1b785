"""The shape of a contraction kernel at the tile level: one product loop with its two loads, then an epilogue on register tiles."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import BlockArgument, Operation

from stepwell.dialects import tile
from stepwell.dialects.tile import Config, RefType, TileType
from stepwell.dialects.warp import element_bytes
from stepwell.passes import PassFailure, names_of
from stepwell.types.elements import element

WARPGROUP_ROWS = 64
"""Rows of one warpgroup's accumulator: M of wgmma."""


@dataclass(frozen=True)
class Contraction:
    """What the lowering needs to know about a kernel; positions count the kernel's refs."""

    kernel: tile.KernelOp
    loop: tile.ForOp
    a: tile.LoadOp
    b: tile.LoadOp
    mma: tile.MmaOp
    init: tile.FillOp
    epilogue: tuple[Operation, ...]

    @property
    def config(self) -> Config:
        """The schedule."""
        return self.kernel.config.data

    @property
    def rows(self) -> int:
        """Rows of the output tile."""
        return self.config.block[0]

    @property
    def columns(self) -> int:
        """Columns of the output tile."""
        return self.config.block[1]

    @property
    def element(self) -> RefType:
        """The type of the operands' elements."""
        assert isinstance(self.a.source.type, RefType)
        return self.a.source.type

    @property
    def operand(self) -> str:
        """What wgmma calls the operands' elements."""
        way = element(str(self.element.element_type)).product("wgmma")
        assert way is not None
        return way.operand

    @property
    def a_position(self) -> int:
        """Which ref A is."""
        return _position(self.a)

    @property
    def b_position(self) -> int:
        """Which ref B is."""
        return _position(self.b)

    @property
    def window(self) -> bool:
        """Whether A's rows are pixels of a window."""
        return self.config.copy == "tma_im2col"

    @property
    def b_constant(self) -> bool:
        """Whether B may be read before the predecessor has ended."""
        assert isinstance(self.b.source.type, RefType)
        return self.b.source.type.access.constant

    @property
    def a_bytes(self) -> int:
        """A's part of a stage."""
        return self.rows * self.config.swizzle

    @property
    def b_bytes(self) -> int:
        """B's part of a stage."""
        return self.columns * self.config.swizzle

    @property
    def instructions(self) -> int:
        """wgmma per k-tile."""
        return self.config.swizzle // 32


def _position(load: tile.LoadOp) -> int:
    assert isinstance(load.source, BlockArgument)
    return load.source.index


def match_contraction(kernel: tile.KernelOp) -> Contraction:
    """Take `kernel` apart; refuses, with the reason, what the lowering cannot do."""
    body = list(kernel.grid.body.block.ops)
    loops = [op for op in body if isinstance(op, tile.ForOp)]
    if len(loops) != 1:
        raise _refuse(kernel, f"{len(loops)} loops: a contraction kernel has one, over taps and channels")
    loop = loops[0]
    inner = list(loop.body.block.ops)
    products = [op for op in inner if isinstance(op, tile.MmaOp)]
    if len(products) != 1 or len(inner) != 4:
        raise _refuse(kernel, "the loop must hold two loads, their product and the yield")
    mma = products[0]
    a, b, init = mma.a.owner, mma.b.owner, loop.inits[0].owner
    if not isinstance(a, tile.LoadOp) or not isinstance(b, tile.LoadOp) or not isinstance(init, tile.FillOp):
        raise _refuse(kernel, "the product takes two tiles loaded in the loop, and starts from tile.fill")
    before = body[: body.index(loop)]
    found = Contraction(kernel, loop, a, b, mma, init, tuple(op for op in body[len(before) + 1 :]))
    _check(found, before)
    return found


def _check(found: Contraction, before: list[Operation]) -> None:
    kernel, config = found.kernel, found.config
    i, j = kernel.grid.body.block.args[0], kernel.grid.body.block.args[-1]
    if len(config.block) != 2 or found.rows != WARPGROUP_ROWS * config.consumers:
        given = f"block {list(config.block)} with {config.consumers} consumer warpgroups"
        raise _refuse(kernel, f"{given}: each of them takes exactly {WARPGROUP_ROWS} rows", "set warps accordingly")
    if any(op is not found.init for op in before):
        raise _refuse(kernel, "only tile.fill may stand before the product loop")
    for load, first in ((found.a, i), (found.b, j)):
        if load.get_dims() != (0, 2) or list(load.indices) != [first, *found.loop.offsets]:
            raise _refuse(kernel, "the operands are loaded at [offset of the block, tap, channel] along dims [0, 2]")
    if found.loop.get_dims() != (1, 2) or found.loop.get_steps() != (1, config.k):
        raise _refuse(kernel, f"the loop runs over dims [1, 2] in steps [1, {config.k}]")
    if found.loop.over is not found.a.source and found.loop.over is not found.b.source:
        raise _refuse(kernel, "the loop runs over the taps and channels of an operand")
    if found.window != (found.element.access.kind == "window"):
        raise _refuse(
            kernel,
            f"copy = {config.copy} does not fit a {found.element.access.kind} operand",
            "tma_im2col is for windows",
        )
    assert isinstance(found.a.result.type, TileType)
    if element_bytes(found.a.result.type.element_type) * config.k != config.swizzle:
        raise _refuse(kernel, f"k = {config.k} is not one swizzle row of {config.swizzle} bytes")
    if float(found.a.fill.value.data) != 0.0 or float(found.b.fill.value.data) != 0.0:
        raise _refuse(kernel, "TMA fills with zeros only")


def _refuse(kernel: tile.KernelOp, reason: str, hint: str = "") -> PassFailure:
    names = " + ".join(names_of(kernel))
    return PassFailure(reason, where=f"@{kernel.sym_name.data}" + (f" ({names})" if names else ""), hint=hint)
