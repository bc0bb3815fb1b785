"""Refs of a kernel without matrix product: parameters made when they are first needed, and element offsets of tiles.

A dense ref contributes its pointer, strides and extents; a window contributes its image's extents and geometry. Everything is per launch: the kernel
sees numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from xdsl.dialects.builtin import i32
from xdsl.ir import Block, BlockArgument, SSAValue

from stepwell.dialects import plan, tile, warp
from stepwell.dialects.tile import RefType
from stepwell.dialects.tile._syntax import WHOLE
from stepwell.transforms.emit.arguments import (
    Expression,
    Extent,
    ImageExtent,
    OfWindow,
    Stride,
    blocks_along,
    product,
)
from stepwell.transforms.tile_to_gpu.emitter import GpuEmitter
from stepwell.transforms.tile_to_gpu.launch import Memory, Parameter, divisor, number, pointer


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

    def number(self, name: str, of: Expression) -> SSAValue:
        """An i32."""
        return self.get(number(name, of))

    def divisor(self, name: str, of: Expression) -> tuple[SSAValue, SSAValue, SSAValue]:
        """A number, and its magic pair."""
        value, mul, shift = (self.get(parameter) for parameter in divisor(name, of))
        return value, mul, shift

    def pointer(self, ref: BlockArgument) -> SSAValue:
        """Where a ref's memory begins; of a window: its image."""
        assert isinstance(ref.type, RefType)
        effect = "w" if ref in self.kernel.outputs else "r"
        if ref.type.access.kind != "window":
            return self.get(pointer(f"p{ref.index}", ref.index, ref.type.element_type, effect))
        image = warp.GlobalType(ref.type.element_type)
        return self.get(Parameter(f"p{ref.index}", image, Memory(ref.index, image=True), effect))

    def extent(self, ref: BlockArgument, dim: int) -> SSAValue:
        """The extent of a dim."""
        return self.number(f"p{ref.index}_d{dim}", Extent(ref.index, dim))

    def stride(self, ref: BlockArgument, dim: int) -> SSAValue:
        """Elements between neighbours along a dim of a dense ref."""
        return self.number(f"p{ref.index}_s{dim}", Stride(ref.index, dim))


@dataclass(frozen=True)
class Place:
    """Where a block lies: the offset along each dim of the grid, and the number of its leading indices flattened (None for matrices, and where a
    leading dim is not cut into single elements)."""

    lead: SSAValue | None
    offsets: tuple[SSAValue, ...]


def blocks_of(kernel: tile.KernelOp) -> Expression:
    """Blocks of a launch."""
    return product(_blocks_along(kernel, dim) for dim in _cut_dims(kernel))


def _cut_dims(kernel: tile.KernelOp) -> list[int]:
    """Dims of the grid that are cut into blocks."""
    return [dim for dim, extent in enumerate(kernel.grid.get_block()) if extent != WHOLE]


def _blocks_along(kernel: tile.KernelOp, dim: int) -> Expression:
    ref = kernel.grid.output
    assert isinstance(ref, BlockArgument)
    return blocks_along(Extent(ref.index, dim), kernel.grid.get_block()[dim])


def block_place(emit: GpuEmitter, parameters: Parameters, kernel: tile.KernelOp) -> Place:
    """From the block's number: columns fastest, then rows, then leading dims."""
    left: SSAValue = emit.insert(warp.BlockIdOp()).result
    block, cut = kernel.grid.get_block(), _cut_dims(kernel)
    rank = len(block)
    names = {rank - 1: "across", rank - 2: "down"}
    lead: SSAValue | None = None
    numbers: dict[int, SSAValue] = {}
    for dim in reversed(cut):
        lead = left if dim == rank - 3 else lead
        if dim == cut[0]:
            numbers[dim] = left
            continue
        left, numbers[dim] = _split(
            emit, left, parameters.divisor(names.get(dim, f"lead{dim}"), _blocks_along(kernel, dim))
        )
    offsets = [_offset(emit, numbers.get(dim), extent, rank - dim) for dim, extent in enumerate(block)]
    whole = any(extent != 1 for extent in block[:-2])
    return Place(None if whole else lead, tuple(offsets))


def _offset(emit: GpuEmitter, number: SSAValue | None, extent: int, last: int) -> SSAValue:
    """The first element of a block; 0 for a dim that is not cut."""
    if number is None:
        return emit.i32(0)
    return number if extent == 1 and last > 2 else emit.mul(number, emit.i32(extent), {2: "i", 1: "j"}.get(last, ""))


def _split(emit: GpuEmitter, n: SSAValue, by: tuple[SSAValue, SSAValue, SSAValue]) -> tuple[SSAValue, SSAValue]:
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


def window_pixels(emit: GpuEmitter, parameters: Parameters, ref: BlockArgument, rows: SSAValue) -> Pixels:
    """Decompose row numbers (n, oh, ow) and find the upper left input pixel of each."""
    a, kind = ref.index, rows.type
    down, across = (OfWindow(a, plan.WindowField.OUTPUT, dim) for dim in range(2))
    image, inside = _split(emit, rows, parameters.divisor(f"image{a}", down.times(across)))
    line, column = _split(emit, inside, parameters.divisor(f"row{a}", across))
    numbers = (
        parameters.number(f"stride_h{a}", OfWindow(a, plan.WindowField.STRIDES, 0)),
        parameters.number(f"stride_w{a}", OfWindow(a, plan.WindowField.STRIDES, 1)),
        parameters.number(f"pad_h{a}", OfWindow(a, plan.WindowField.PADS, 0)),
        parameters.number(f"pad_w{a}", OfWindow(a, plan.WindowField.PADS, 1)),
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
    height = parameters.number(f"height{a}", ImageExtent(a, 1))
    width = parameters.number(f"width{a}", ImageExtent(a, 2))
    channels = parameters.number(f"channels{a}", ImageExtent(a, 3))
    return height, width, channels


def tap_access(
    emit: GpuEmitter, parameters: Parameters, ref: BlockArgument, pixels: Pixels, tap: SSAValue
) -> tuple[SSAValue, SSAValue]:
    """Element offsets of the pixels under filter tap `tap`, and which of them lie in the image."""
    a, kind = ref.index, pixels.h.type
    line, column = _split(emit, tap, parameters.divisor(f"taps{a}", OfWindow(a, plan.WindowField.KERNEL, 1)))
    down = emit.mul(line, parameters.number(f"dilation_h{a}", OfWindow(a, plan.WindowField.DILATIONS, 0)))
    right = emit.mul(column, parameters.number(f"dilation_w{a}", OfWindow(a, plan.WindowField.DILATIONS, 1)))
    height, width, channels = image_extents(parameters, ref)
    h = emit.add(pixels.h, emit.repeat(down, kind))
    w = emit.add(pixels.w, emit.repeat(right, kind))
    inside = emit.bit_and(emit.within(h, height), emit.within(w, width))
    moved = emit.mul(emit.add(emit.mul(down, width), right), channels)
    return emit.add(pixels.offset, emit.repeat(moved, kind)), emit.bit_and(inside, pixels.exists, "inside")
