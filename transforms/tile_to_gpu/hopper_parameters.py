"""Parameters of a kernel of roles: tensor maps for what is fetched, pointers for what is loaded and stored, extents as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from xdsl.ir import BlockArgument, SSAValue

from stepwell.dialects import hopper, plan, tile
from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.tile import RefType, TileType
from stepwell.passes import PassFailure
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

    @property
    def output(self) -> int:
        """The position of the ref that the grid runs over."""
        return position_of(self.grid.output)


def position_of(ref: SSAValue) -> int:
    """Which ref of the kernel it is."""
    assert isinstance(ref, BlockArgument)
    return ref.index


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
    matrices = [ref for ref in signature.pointers if isinstance(ref.type, RefType) and ref.type.rank in (2, 3)]
    listed += [_pitch(ref.index) for ref in matrices]
    listed += [_extent("m", signature.output, -2), _extent("n", signature.output, -1)]
    if signature.loop is not None:
        loop = signature.loop
        listed.append(_extent("channels", position_of(loop.over), loop.get_dims()[-1]))
        listed.append(number("steps", lambda site: steps_of(loop, site)))
    columns = signature.kernel.config.data.order == "columns"
    listed += [
        number("tiles", lambda site: prod(tiles_of(signature, site))),
        *divisor("inner", lambda site: tiles_of(signature, site)[-2 if columns else -1]),
    ]
    if len(signature.grid.get_block()) == 3:
        listed += divisor("plane", lambda site: prod(tiles_of(signature, site)[-2:]))
    return listed + (_window_parameters(position_of(signature.window.source)) if signature.window else [])


def _extent(name: str, position: int, dim: int) -> Parameter:
    return number(name, lambda site: site.shape(position)[dim])


def _pitch(position: int) -> Parameter:
    return number(f"ld{position}", lambda site: site.pitch(position))


def _window_parameters(position: int) -> list[Parameter]:
    """Where the pixels of a window lie, as numbers."""
    return [
        *divisor("image", lambda site: prod(site.window_shapes(position)[1])),
        *divisor("row", lambda site: site.window_shapes(position)[1][1]),
        number("stride_h", lambda site: site.geometry(position).strides[0]),
        number("stride_w", lambda site: site.geometry(position).strides[1]),
        number("pad_h", lambda site: site.geometry(position).pads[0]),
        number("pad_w", lambda site: site.geometry(position).pads[1]),
        number("dilation_h", lambda site: site.geometry(position).dilations[0]),
        number("dilation_w", lambda site: site.geometry(position).dilations[1]),
        number("end_w", lambda site: _end_w(site.geometry(position))),
    ]


def _end_w(geometry: plan.Geometry) -> int:
    """Input pixels that the taps of one filter row reach over."""
    return geometry.kernel[1] * geometry.dilations[1]


def tiles_of(signature: Signature, site: LaunchSite) -> tuple[int, ...]:
    """Output tiles along each dim."""
    extents = site.shape(signature.output)
    return tuple(ceil(extent / block) for extent, block in zip(extents, signature.grid.get_block(), strict=True))


def steps_of(loop: tile.ForOp, site: LaunchSite) -> int:
    """Iterations of the loop over the reduction; at least one."""
    shape = site.shape(position_of(loop.over))
    count = prod(ceil(shape[dim] / step) for dim, step in zip(loop.get_dims(), loop.get_steps(), strict=True))
    if count == 0:
        raise site.refuse("the reduction is empty: there is nothing to multiply")
    return count


def grid_of(signature: Signature, site: LaunchSite) -> int:
    """Blocks of the persistent grid: no more than run at once."""
    return min(prod(tiles_of(signature, site)), MULTIPROCESSORS * signature.kernel.config.data.resident)


def _map(signature: Signature, fetch: tile.FetchOp) -> Parameter:
    kind = fetch.tile_type
    swizzle = swizzle_of(kind)
    if fetch.via.data == "tma_im2col":
        rows, k = kind.get_shape()
        of = hopper.TensorMapType.make("im2col", kind.element_type, [k, rows], swizzle)
        return Parameter(signature.map_name(fetch), of, lambda site: _im2col(fetch, kind, site), "r")
    box = box_of(fetch)
    of = hopper.TensorMapType.make("tiled", kind.element_type, box[::-1], swizzle)
    return Parameter(signature.map_name(fetch), of, lambda site: _tiled(fetch, kind, box, site), "r")


def _output_map(signature: Signature, drain: tile.DrainOp) -> Parameter:
    """The map of an output: boxes of its tile's rows, each as wide as the swizzle."""
    kind = drain.tile.type
    assert isinstance(kind, TileType)
    box, swizzle, position = [kind.get_shape()[0], box_columns(kind)], swizzle_of(kind), position_of(drain.target)
    of = hopper.TensorMapType.make("tiled", kind.element_type, box[::-1], swizzle)

    def host(site: LaunchSite) -> plan.TensorMapOp:
        _check_rows(kind, site, position, site.shape(position)[-1])
        return plan.TensorMapOp(site.operands[position], "tiled", box, swizzle=swizzle)

    return Parameter(signature.drain_name(drain), of, host, "w")


def box_columns(kind: TileType) -> int:
    """Columns of one copy of a tile: a row of its swizzle."""
    swizzle = swizzle_of(kind)
    return swizzle // element_bytes(kind.element_type) if swizzle else kind.get_shape()[1]


def swizzle_of(kind: TileType) -> int:
    """Bytes of the swizzle of a tile in shared memory; 0 without."""
    return kind.layout.swizzle.data if isinstance(kind.layout, tile.SharedAttr) else 0


def box_of(fetch: tile.FetchOp) -> list[int]:
    """The extents of the box that one fetch brings, for each dim of the ref."""
    assert isinstance(fetch.source.type, RefType)
    extents = (*fetch.tile_type.get_shape()[:-1], box_columns(fetch.tile_type))
    along = dict(zip(fetch.get_dims(), extents, strict=True))
    return [along.get(dim, 1) for dim in range(fetch.source.type.rank)]


def _data_type(fetch: tile.FetchOp) -> str | None:
    """tf32 maps round f32 elements on their way in."""
    return None if fetch.as_type is None else fetch.as_type.data


def _tiled(fetch: tile.FetchOp, kind: TileType, box: Sequence[int], site: LaunchSite) -> plan.TensorMapOp:
    position = position_of(fetch.source)
    _check_rows(kind, site, position, site.shape(position)[-1])
    source = site.operands[position]
    return plan.TensorMapOp(source, "tiled", box, swizzle=swizzle_of(kind), data_type=_data_type(fetch))


def _check_rows(kind: TileType, site: LaunchSite, position: int, channels: int) -> None:
    size = element_bytes(kind.element_type)
    if channels * size % 16:
        hint = "pad the channels to a multiple of 16 bytes, or compile this layer with mma = none"
        raise site.refuse(f"operand {position} has rows of {channels * size} bytes: TMA takes multiples of 16", hint)


def _im2col(fetch: tile.FetchOp, kind: TileType, site: LaunchSite) -> plan.TensorMapOp:
    position = position_of(fetch.source)
    window = site.window(position)
    (_, _, _, channels), _ = site.window_shapes(position)
    _check_rows(kind, site, position, channels)
    kernel, strides, pads, dilations = window.geometry()
    _check_offsets(site, kernel, strides, dilations)
    if float(window.fill.value.data) != 0.0:
        raise site.refuse("the window fills with something else than 0: TMA cannot")
    return plan.TensorMapOp(
        window.source,
        "im2col",
        list(kind.get_shape()),
        lower=[-pads[0], -pads[1]],
        upper=[pads[2 + d] - dilations[d] * (kernel[d] - 1) for d in range(2)],
        strides=[1, strides[0], strides[1], 1],
        swizzle=swizzle_of(kind),
        data_type=_data_type(fetch),
    )


def _check_offsets(site: LaunchSite, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> None:
    """Limits of im2col maps (CUDA driver API, cuTensorMapEncodeIm2col; filter offsets are bytes)."""
    if any(dilations[d] * (kernel[d] - 1) > 255 for d in range(2)) or max(strides) > 8:
        raise site.refuse(f"a window of {list(kernel)} with strides {list(strides)} exceeds what an im2col map can say")
