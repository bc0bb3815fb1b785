"""Parameters of a kernel of roles: tensor maps for what is fetched, pointers for what is loaded and stored, extents as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from xdsl.ir import BlockArgument, Operation, SSAValue

from stepwell.dialects import hopper, plan, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import PassFailure
from stepwell.transforms.emit.arguments import (
    Expression,
    Extent,
    OfWindow,
    Stride,
    blocks_along,
    product,
    window_behind,
)
from stepwell.transforms.tile_to_gpu.launch import (
    MULTIPROCESSORS,
    LaunchSite,
    Parameter,
    divisor,
    number,
    pointer,
)


@dataclass(frozen=True)
class Signature:
    """What a kernel of roles asks of its launches: the fetches that need a tensor map each (one for each element of a ring), the refs behind
    pointers, the loop over the reduction, and the grid."""

    kernel: tile.KernelOp
    fetches: tuple[tile.FetchOp, ...]
    drains: tuple[tile.DrainOp, ...]
    loop: tile.ForOp | None
    grid: tile.ForTilesOp

    @property
    def window(self) -> tile.FetchOp | None:
        """The fetch whose rows are pixels of a window."""
        return next((op for op in self.fetches if op.via.data == "tma_im2col"), None)

    def map_name(self, fetch: tile.FetchOp) -> str:
        """The tensor map that a fetch reads through."""
        same = [(op.ring, op.number) for op in self.fetches]
        return f"map_{'abcdefgh'[same.index((fetch.ring, fetch.number))]}"

    def drain_name(self, drain: tile.DrainOp) -> str:
        """The tensor map that a drain writes through."""
        return f"map_{position_of(drain.target)}"

    @property
    def map_names(self) -> tuple[str, ...]:
        """All tensor maps."""
        return (*map(self.map_name, self.fetches), *map(self.drain_name, self.drains))

    @property
    def pointers(self) -> tuple[BlockArgument, ...]:
        """The refs that are neither fetched nor drained to."""
        mapped = {op.source for op in self.fetches} | {op.target for op in self.drains}
        return tuple(ref for ref in (*self.kernel.inputs, *self.kernel.outputs) if ref not in mapped)


def position_of(ref: SSAValue) -> int:
    """Which ref of the kernel it is."""
    assert isinstance(ref, BlockArgument)
    return ref.index


def rank_of(ref: SSAValue) -> int:
    """How many dims it has."""
    assert isinstance(ref.type, RefType)
    return ref.type.rank


def signature_of(kernel: tile.KernelOp) -> Signature:
    """Read a kernel's signature off its ops."""
    ops = list(kernel.body.walk())
    found = {(op.ring, op.number): op for op in ops if isinstance(op, tile.FetchOp)}
    rings: list[SSAValue] = [op.ring for op in ops if isinstance(op, tile.RingOp)]
    keys = sorted(found, key=lambda key: (rings.index(key[0]), key[1]))
    loops = [op for op in ops if isinstance(op, tile.ForOp)]
    kinds = {(op.over, op.get_dims(), op.get_steps()) for op in loops}
    if len(kinds) > 1:
        shown = ", ".join(f"dims {list(dims)} of ref {position_of(over)}" for over, dims, _ in kinds)
        raise PassFailure(
            f"its loops run over {shown}: a kernel of roles has one kind of loop", where=f"@{kernel.sym_name.data}"
        )
    drains = tuple(op for op in ops if isinstance(op, tile.DrainOp))
    return Signature(kernel, tuple(found[key] for key in keys), drains, loops[0] if loops else None, kernel.grid)


def parameters_of(signature: Signature) -> list[Parameter]:
    """All parameters, in order: tensor maps, pointers of the other refs, their pitches, then extents and what follows from them."""
    listed = [_map(signature, fetch) for fetch in signature.fetches]
    listed += [_output_map(signature, drain) for drain in signature.drains]
    for ref in signature.pointers:
        assert isinstance(ref.type, RefType)
        effect = "w" if ref in signature.kernel.outputs else "r"
        listed.append(pointer(f"p{ref.index}", ref.index, ref.type.element_type, effect))
    matrices = [ref for ref in signature.pointers if rank_of(ref) in (2, 3)]
    listed += [number(f"ld{ref.index}", Stride(ref.index, rank_of(ref) - 2)) for ref in matrices]
    listed += [_extent("m", signature.grid.output, -2), _extent("n", signature.grid.output, -1)]
    if signature.loop is not None:
        loop = signature.loop
        listed += [_extent("channels", loop.over, loop.get_dims()[-1]), number("steps", steps_of(loop))]
    tiles = tiles_of(signature)
    columns = signature.kernel.config.data.order == "columns"
    listed += [number("tiles", product(tiles)), *divisor("inner", tiles[-2 if columns else -1])]
    if len(tiles) == 3:
        listed += divisor("plane", product(tiles[-2:]))
    ops = list(signature.kernel.body.walk())
    placed = [op for op in ops if isinstance(op, tile.InsideOp) or is_somewhere(op)]
    pairs = [(position_of(op.source), dim) for op in placed for dim in op.get_dims()]
    rows = [op for op in ops if is_row_somewhere(op)]
    asked = dict.fromkeys([*pairs, *((position_of(op.source), dim) for op in rows for dim in (1, 2))])
    listed += [number(f"n{position}_{dim}", Extent(position, dim)) for position, dim in asked]
    return listed + (_window_parameters(position_of(signature.window.source)) if signature.window else [])


def is_somewhere(op: Operation) -> TypeGuard[tile.LoadOp]:
    """Whether an op loads rows and columns of a ref at other places than those of the output's block."""
    if not isinstance(op, tile.LoadOp) or not isinstance(op.result.type, TileType):
        return False
    grid: Operation | None = op.parent_op()
    while grid is not None and not isinstance(grid, tile.ForTilesOp):
        grid = grid.parent_op()
    at_grid = grid is not None and list(op.indices) == list(grid.body.block.args)
    rank = rank_of(op.source)
    return not at_grid and op.result.type.rank == 2 and rank in (2, 3) and op.get_dims() == (rank - 2, rank - 1)


def is_row_somewhere(op: Operation) -> TypeGuard[tile.LoadOp]:
    """Whether an op loads a part of one row of a ref of planes."""
    if not isinstance(op, tile.LoadOp) or not isinstance(op.result.type, TileType):
        return False
    return op.result.type.rank == 1 and rank_of(op.source) == 3 and op.get_dims() == (2,)


def _extent(name: str, ref: SSAValue, dim: int) -> Parameter:
    return number(name, extent_of(ref, dim))


def extent_of(ref: SSAValue, dim: int) -> Extent:
    """The extent of a ref's dim, counted from the end where negative."""
    return Extent(position_of(ref), dim % rank_of(ref))


def _window_parameters(position: int) -> list[Parameter]:
    """Where the pixels of a window lie, as numbers."""
    of = plan.WindowField
    height, width = (OfWindow(position, of.OUTPUT, dim) for dim in range(2))
    named = {"stride": of.STRIDES, "pad": of.PADS, "dilation": of.DILATIONS}
    return [
        *divisor("image", height.times(width)),
        *divisor("row", width),
        *(
            number(f"{name}_{axis}", OfWindow(position, field, dim))
            for name, field in named.items()
            for dim, axis in enumerate("hw")
        ),
        number("end_w", OfWindow(position, of.KERNEL, 1).times(OfWindow(position, of.DILATIONS, 1))),
    ]


def tiles_of(signature: Signature) -> list[Expression]:
    """Output tiles along each dim."""
    blocks = enumerate(signature.grid.get_block())
    return [blocks_along(extent_of(signature.grid.output, dim), block) for dim, block in blocks]


def steps_of(loop: tile.ForOp) -> Expression:
    """Iterations of the loop over the reduction."""
    pairs = zip(loop.get_dims(), loop.get_steps(), strict=True)
    return product(extent_of(loop.over, dim).ceil_div(step) for dim, step in pairs)


def grid_of(signature: Signature) -> Expression:
    """Blocks of the persistent grid: no more than run at once."""
    return product(tiles_of(signature)).at_most(
        MULTIPROCESSORS * signature.kernel.config.data.blocks_per_multiprocessor
    )


def check_launch(signature: Signature, site: LaunchSite) -> None:
    """Refuse a reduction over nothing: the ring would wait for copies that never come."""
    loop = signature.loop
    if loop is not None and not all(site.shape(position_of(loop.over))[dim] for dim in loop.get_dims()):
        raise site.refuse("the reduction is empty: there is nothing to multiply")


@dataclass(frozen=True)
class TiledMap:
    """A tensor map over a dense operand, whose box holds whole rows of a swizzle."""

    position: int
    box: tuple[int, ...]
    swizzle: int
    data_type: str | None = None

    def made(self, site: LaunchSite) -> plan.TensorMapOp:
        """The op; TMA takes rows of whole 16 bytes."""
        _check_rows(site, self.position, site.shape(self.position)[-1])
        source = site.operands[self.position]
        return plan.TensorMapOp(source, "tiled", self.box, swizzle=self.swizzle, data_type=self.data_type)


@dataclass(frozen=True)
class Im2colMap:
    """A tensor map over the image under a window: its box holds the pixels and channels of one tap."""

    position: int
    box: tuple[int, ...]
    swizzle: int
    data_type: str | None = None

    def made(self, site: LaunchSite) -> plan.TensorMapOp:
        """The op; the corners of its bounding box follow from the window's geometry."""
        window = window_behind(site.operands[self.position], site.refuse)
        _check_rows(site, self.position, site.shape(self.position)[-1])
        kernel, strides, pads, dilations = window.geometry()
        _check_offsets(site, kernel, strides, dilations)
        if float(window.fill.value.data) != 0.0:
            raise site.refuse("the window fills with something else than 0: TMA cannot")
        return plan.TensorMapOp(
            window.source,
            "im2col",
            self.box,
            lower=[-pads[0], -pads[1]],
            upper=[pads[2 + d] - dilations[d] * (kernel[d] - 1) for d in range(2)],
            strides=[1, strides[0], strides[1], 1],
            swizzle=self.swizzle,
            data_type=self.data_type,
        )


def _map(signature: Signature, fetch: tile.FetchOp) -> Parameter:
    kind = fetch.tile_type
    swizzle, position = kind.swizzle, position_of(fetch.source)
    im2col = fetch.via.data == "tma_im2col"
    box = kind.get_shape() if im2col else tuple(box_of(fetch))
    source = (Im2colMap if im2col else TiledMap)(position, box, swizzle, _data_type(fetch))
    of = hopper.TensorMapType.make("im2col" if im2col else "tiled", kind.element_type, box[::-1], swizzle)
    return Parameter(signature.map_name(fetch), of, source, "r")


def _output_map(signature: Signature, drain: tile.DrainOp) -> Parameter:
    """The map of an output: boxes of its tile's rows, each as wide as the swizzle."""
    kind = drain.tile.type
    assert isinstance(kind, TileType)
    box, swizzle = (kind.get_shape()[0], box_columns(kind)), kind.swizzle
    of = hopper.TensorMapType.make("tiled", kind.element_type, box[::-1], swizzle)
    return Parameter(signature.drain_name(drain), of, TiledMap(position_of(drain.target), box, swizzle), "w")


def box_columns(kind: TileType) -> int:
    """Columns of one copy of a tile: a row of its swizzle."""
    return kind.swizzle // element_bytes(kind.element_type) if kind.swizzle else kind.get_shape()[1]


def box_of(fetch: tile.FetchOp) -> list[int]:
    """The extents of the box that one fetch brings, for each dim of the ref."""
    assert isinstance(fetch.source.type, RefType)
    extents = (*fetch.tile_type.get_shape()[:-1], box_columns(fetch.tile_type))
    along = dict(zip(fetch.get_dims(), extents, strict=True))
    return [along.get(dim, 1) for dim in range(fetch.source.type.rank)]


def _data_type(fetch: tile.FetchOp) -> str | None:
    """tf32 maps round f32 elements on their way in."""
    return None if fetch.as_type is None else fetch.as_type.data


def _check_rows(site: LaunchSite, position: int, channels: int) -> None:
    kind = site.operands[position].type
    assert isinstance(kind, plan.BufferType | plan.WindowType)
    size = element_bytes(kind.element_type)
    if channels * size % 16:
        hint = "pad the channels to a multiple of 16 bytes, or compile this layer with mma = none"
        raise site.refuse(f"operand {position} has rows of {channels * size} bytes: TMA takes multiples of 16", hint)


def _check_offsets(site: LaunchSite, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> None:
    """Limits of im2col maps (CUDA driver API, cuTensorMapEncodeIm2col; filter offsets are bytes)."""
    if any(dilations[d] * (kernel[d] - 1) > 255 for d in range(2)) or max(strides) > 8:
        raise site.refuse(f"a window of {list(kernel)} with strides {list(strides)} exceeds what an im2col map can say")
