"""Parameters of a contraction kernel on Hopper: tensor maps for the operands, pointers for the rest, extents as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from stepwell.dialects import hopper, plan
from stepwell.dialects.tile import RefType
from stepwell.transforms.tile_to_gpu._tile_to_hopper_match import Contraction
from stepwell.transforms.tile_to_gpu.launch import (
    MULTIPROCESSORS,
    LaunchSite,
    Parameter,
    divisor,
    number,
    pointer,
)


def parameters_of(c: Contraction) -> list[Parameter]:
    """All parameters, in order: maps of A and B, pointers of the other refs, then numbers."""
    a, b = c.a_position, c.b_position
    listed = [
        Parameter("map_a", _map_type(c, "a"), lambda site: _map_a(c, site), "r"),
        Parameter("map_b", _map_type(c, "b"), lambda site: _map_b(c, site), "r"),
    ]
    refs = (*c.kernel.inputs, *c.kernel.outputs)
    others = [ref for ref in refs if ref.index not in (a, b)]
    for ref in others:
        assert isinstance(ref.type, RefType)
        effect = "w" if ref in c.kernel.outputs else "r"
        listed.append(pointer(f"p{ref.index}", ref.index, ref.type.element_type, effect))
    listed += [
        number(f"ld{r.index}", _pitch(r.index)) for r in others if isinstance(r.type, RefType) and r.type.rank == 2
    ]
    output = c.kernel.grid.output
    position = next(ref.index for ref in c.kernel.outputs if ref is output)
    listed += [
        number("m", lambda site: site.shape(position)[0]),
        number("n", lambda site: site.shape(position)[1]),
        number("channels", lambda site: site.shape(a)[2]),
        number("steps", lambda site: steps_of(c, site)),
        number("tiles", lambda site: prod(tiles_of(c, site))),
        *divisor("inner", lambda site: tiles_of(c, site)[0 if c.config.order == "columns" else 1]),
    ]
    return listed + (_window_parameters(a) if c.window else [])


def _pitch(position: int):  # type: ignore[no-untyped-def]
    return lambda site: site.pitch(position)


def _window_parameters(a: int) -> list[Parameter]:
    """Where the pixels of a window lie, as numbers."""

    def geometry(entry: int, index: int):  # type: ignore[no-untyped-def]
        return lambda site: site.window(a).parameters()[entry][index]

    return [
        *divisor("image", lambda site: prod(site.window_shapes(a)[1])),
        *divisor("row", lambda site: site.window_shapes(a)[1][1]),
        number("stride_h", geometry(1, 0)),
        number("stride_w", geometry(1, 1)),
        number("pad_h", geometry(2, 0)),
        number("pad_w", geometry(2, 1)),
        number("dilation_h", geometry(3, 0)),
        number("dilation_w", geometry(3, 1)),
        number("end_w", lambda site: site.window(a).parameters()[0][1] * site.window(a).parameters()[3][1]),
    ]


def tiles_of(c: Contraction, site: LaunchSite) -> tuple[int, int]:
    """Output tiles along rows and columns."""
    m, n = site.shape(len(site.op.args))
    return ceil(m / c.rows), ceil(n / c.columns)


def steps_of(c: Contraction, site: LaunchSite) -> int:
    """k-tiles of one output tile; at least one."""
    _, taps, channels = site.shape(c.a_position)
    if taps * channels == 0:
        raise site.refuse("the reduction is empty: there is nothing to multiply")
    return taps * ceil(channels / c.config.k)


def grid_of(c: Contraction, site: LaunchSite, blocks: int) -> int:
    """Blocks of the persistent grid: no more than run at once."""
    return min(prod(tiles_of(c, site)), MULTIPROCESSORS * blocks)


def _map_type(c: Contraction, operand: str) -> hopper.TensorMapType:
    element, k, swizzle = c.element.element_type, c.config.k, c.config.swizzle
    if operand == "b":
        return hopper.TensorMapType.make("tiled", element, [k, 1, c.columns], swizzle)
    if c.window:
        return hopper.TensorMapType.make("im2col", element, [k, c.rows], swizzle)
    return hopper.TensorMapType.make("tiled", element, [k, 1, c.rows], swizzle)


def _data_type(c: Contraction) -> str | None:
    """tf32 maps round f32 elements on their way in."""
    return "tf32" if str(c.element.element_type) == "f32" else None


def _map_b(c: Contraction, site: LaunchSite) -> plan.TensorMapOp:
    return _tiled(c, site, c.b_position, c.columns)


def _tiled(c: Contraction, site: LaunchSite, position: int, rows: int) -> plan.TensorMapOp:
    _check_rows(c, site, position, site.shape(position)[-1])
    box = [rows, 1, c.config.k]
    source = site.operands[position]
    return plan.TensorMapOp(source, "tiled", box, swizzle=c.config.swizzle, data_type=_data_type(c))


def _check_rows(c: Contraction, site: LaunchSite, position: int, channels: int) -> None:
    size = c.config.swizzle // c.config.k
    if channels * size % 16:
        hint = "pad the channels to a multiple of 16 bytes, or compile this layer with mma = none"
        raise site.refuse(f"operand {position} has rows of {channels * size} bytes: TMA takes multiples of 16", hint)


def _map_a(c: Contraction, site: LaunchSite) -> plan.TensorMapOp:
    if not c.window:
        return _tiled(c, site, c.a_position, c.rows)
    window = site.window(c.a_position)
    (_, _, _, channels), _ = site.window_shapes(c.a_position)
    _check_rows(c, site, c.a_position, channels)
    kernel, strides, pads, dilations = window.parameters()
    _check_offsets(site, kernel, strides, dilations)
    if float(window.fill.value.data) != 0.0:
        raise site.refuse("the window fills with something else than 0: TMA cannot")
    return plan.TensorMapOp(
        window.source,
        "im2col",
        [c.rows, c.config.k],
        lower=[-pads[0], -pads[1]],
        upper=[pads[2 + d] - dilations[d] * (kernel[d] - 1) for d in range(2)],
        strides=[1, strides[0], strides[1], 1],
        swizzle=c.config.swizzle,
        data_type=_data_type(c),
    )


def _check_offsets(site: LaunchSite, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> None:
    """Limits of im2col maps (CUDA driver API, cuTensorMapEncodeIm2col; filter offsets are bytes)."""
    if any(dilations[d] * (kernel[d] - 1) > 255 for d in range(2)) or max(strides) > 8:
        raise site.refuse(f"a window of {list(kernel)} with strides {list(strides)} exceeds what an im2col map can say")
