"""Refs of a kernel without matrix product: parameters made when they are first needed, and element offsets of tiles.

A dense ref contributes its pointer, strides and extents; a window contributes its image's extents and geometry. Everything is per launch: the kernel
sees numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import ceil, prod

from xdsl.dialects.builtin import i32
from xdsl.ir import Block, BlockArgument, SSAValue

from stepwell.dialects import plan, tile, warp
from stepwell.dialects.tile import RefType
from stepwell.transforms.tile_to_gpu.emitter import Emitter
from stepwell.transforms.tile_to_gpu.launch import LaunchSite, Parameter, divisor, number, pointer


@dataclass
class Parameters:
    """The kernel's parameters in the order of their first use."""

    entry: Block
    kernel: tile.KernelOp
    listed: list[Parameter] = field(default_factory=list)
    _values: dict[str, SSAValue] = field(default_factory=dict)

    def get(self, parameter: Parameter) -> SSAValue:
        """The kernel's argument for `parameter`; made when the name is new."""
        if parameter.name not in self._values:
            argument = self.entry.insert_arg(parameter.type, len(self.entry.args))
            argument.name_hint = parameter.name
            self._values[parameter.name] = argument
            self.listed.append(parameter)
        return self._values[parameter.name]

    def number(self, name: str, host: Callable[[LaunchSite], int]) -> SSAValue:
        """An i32."""
        return self.get(number(name, host))

    def divisor(self, name: str, host: Callable[[LaunchSite], int]) -> tuple[SSAValue, SSAValue, SSAValue]:
        """A number, and its magic pair."""
        value, mul, shift = (self.get(parameter) for parameter in divisor(name, host))
        return value, mul, shift

    def pointer(self, ref: BlockArgument) -> SSAValue:
        """Where a ref's memory begins; of a window: its image."""
        assert isinstance(ref.type, RefType)
        effect = "w" if ref in self.kernel.outputs else "r"
        if ref.type.access.kind != "window":
            return self.get(pointer(f"p{ref.index}", ref.index, ref.type.element_type, effect))
        image = warp.GlobalType(ref.type.element_type)
        return self.get(Parameter(f"p{ref.index}", image, lambda site: site.window(ref.index).source, effect))

    def extent(self, ref: BlockArgument, dim: int) -> SSAValue:
        """The extent of a dim."""
        return self.number(f"n{ref.index}_{dim}", lambda site: site.shape(ref.index)[dim])

    def stride(self, ref: BlockArgument, dim: int) -> SSAValue:
        """Elements between neighbours along a dim of a dense ref."""
        return self.number(f"s{ref.index}_{dim}", lambda site: strides_of(site, ref.index)[dim])


def strides_of(site: LaunchSite, position: int) -> tuple[int, ...]:
    """Element strides of a dense operand, whose last one must be 1."""
    kind = site.operands[position].type
    if not isinstance(kind, plan.BufferType) or kind.get_strides()[-1] != 1:
        raise site.refuse(f"operand {position} is {kind}: its rows must be contiguous")
    return kind.get_strides()


@dataclass(frozen=True)
class Place:
    """Where a block lies: its number of leading indices flattened (None for matrices), each of them, and its first row and column."""

    lead: SSAValue | None
    leading: tuple[SSAValue, ...]
    row: SSAValue
    column: SSAValue


def block_counts(site: LaunchSite, kernel: tile.KernelOp) -> tuple[int, int, int]:
    """Blocks over the leading dims, the rows and the columns of the output."""
    *leading, m, n = site.shape(len(kernel.inputs))
    rows, columns = kernel.config.data.block[-2:]
    return prod(leading), ceil(m / rows), ceil(n / columns)


def block_place(emit: Emitter, parameters: Parameters, kernel: tile.KernelOp) -> Place:
    """From the block's number: columns fastest, then rows, then leading dims."""
    block = emit.insert(warp.BlockIdOp()).result
    rows, columns = kernel.config.data.block[-2:]
    rest, j = _split(emit, block, parameters.divisor("across", lambda site: block_counts(site, kernel)[2]))
    output = kernel.outputs[0]
    lead: SSAValue | None = None
    leading: list[SSAValue] = []
    rank = len(kernel.config.data.block)
    i = rest
    if rank > 2:
        lead, i = _split(emit, rest, parameters.divisor("down", lambda site: block_counts(site, kernel)[1]))
        left = lead
        for dim in range(rank - 3, 0, -1):
            left, index = _split(
                emit, left, parameters.divisor(f"lead{dim}", partial(_extent, position=output.index, dim=dim))
            )
            leading.insert(0, index)
        leading.insert(0, left)
    return Place(lead, tuple(leading), emit.mul(i, emit.i32(rows), "i"), emit.mul(j, emit.i32(columns), "j"))


def _extent(site: LaunchSite, *, position: int, dim: int) -> int:
    return site.shape(position)[dim]


def _split(emit: Emitter, n: SSAValue, by: tuple[SSAValue, SSAValue, SSAValue]) -> tuple[SSAValue, SSAValue]:
    """Quotient and remainder."""
    value, mul, shift = by
    quotient = emit.insert(warp.DivideOp(n, mul, shift)).result
    factor = value if n.type == i32 else emit.repeat(value, n.type)
    return quotient, emit.sub(n, emit.mul(quotient, factor))


@dataclass(frozen=True)
class Pixels:
    """A window's rows in this thread: corner pixel (h, w), element offset of the corner, and which rows exist; vectors over rows."""

    h: SSAValue
    w: SSAValue
    offset: SSAValue
    exists: SSAValue


def window_pixels(emit: Emitter, parameters: Parameters, ref: BlockArgument, rows: SSAValue) -> Pixels:
    """Decompose row numbers (n, oh, ow) and find the upper left input pixel of each."""
    a, kind = ref.index, rows.type
    image, inside = _split(emit, rows, parameters.divisor(f"image{a}", lambda site: prod(site.window_shapes(a)[1])))
    line, column = _split(emit, inside, parameters.divisor(f"row{a}", lambda site: site.window_shapes(a)[1][1]))
    numbers = (
        parameters.number(f"stride_h{a}", lambda site: site.geometry(a).strides[0]),
        parameters.number(f"stride_w{a}", lambda site: site.geometry(a).strides[1]),
        parameters.number(f"pad_h{a}", lambda site: site.geometry(a).pads[0]),
        parameters.number(f"pad_w{a}", lambda site: site.geometry(a).pads[1]),
    )
    stride_h, stride_w, pad_h, pad_w = [emit.repeat(value, kind) for value in numbers]
    h = emit.sub(emit.mul(line, stride_h), pad_h, "h")
    w = emit.sub(emit.mul(column, stride_w), pad_w, "w")
    height, width, channels = (emit.repeat(value, kind) for value in image_extents(parameters, ref))
    pixel = emit.add(emit.mul(emit.add(emit.mul(image, height), h), width), w)
    exists = emit.within(rows, parameters.extent(ref, 0), "exists")
    return Pixels(h, w, emit.mul(pixel, channels, "corner"), exists)


def image_extents(parameters: Parameters, ref: BlockArgument) -> tuple[SSAValue, SSAValue, SSAValue]:
    """H, W and C of a window's image."""
    a = ref.index
    height = parameters.number(f"height{a}", lambda site: site.window_shapes(a)[0][1])
    width = parameters.number(f"width{a}", lambda site: site.window_shapes(a)[0][2])
    channels = parameters.number(f"channels{a}", lambda site: site.window_shapes(a)[0][3])
    return height, width, channels


def tap_access(
    emit: Emitter, parameters: Parameters, ref: BlockArgument, pixels: Pixels, tap: SSAValue
) -> tuple[SSAValue, SSAValue]:
    """Element offsets of the pixels under filter tap `tap`, and which of them lie in the image."""
    a, kind = ref.index, pixels.h.type
    line, column = _split(emit, tap, parameters.divisor(f"taps{a}", lambda site: site.geometry(a).kernel[1]))
    down = emit.mul(line, parameters.number(f"dilation_h{a}", lambda site: site.geometry(a).dilations[0]))
    right = emit.mul(column, parameters.number(f"dilation_w{a}", lambda site: site.geometry(a).dilations[1]))
    height, width, channels = image_extents(parameters, ref)
    h = emit.add(pixels.h, emit.repeat(down, kind))
    w = emit.add(pixels.w, emit.repeat(right, kind))
    inside = emit.bit_and(emit.within(h, height), emit.within(w, width))
    moved = emit.mul(emit.add(emit.mul(down, width), right), channels)
    return emit.add(pixels.offset, emit.repeat(moved, kind)), emit.bit_and(inside, pixels.exists, "inside")
