"""TMA: tensor maps, the elements that a box or an im2col column names, and where they lie in swizzled shared memory.

Shared memory is written row by row (a row is the innermost box extent, or the channels of one pixel); the swizzle exclusive-ors the 16-byte chunk bits of the
*address* (bits 4 to 6) with bits 7 to 9, as many of them as 128, 64 or 32 bytes have chunks (PTX ISA, "Swizzling modes"; CUDA driver API, cuTensorMapEncode*).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from stepwell.dialects.hopper.simulator.faults import DescriptorFault, MisalignedFault
from stepwell.dialects.hopper.simulator.memory import Array, GlobalBuffer, Granules, granules_of
from stepwell.dialects.numerics import round_to_tf32

_SWIZZLE_MASK = {0: 0, 32: 1, 64: 3, 128: 7}
_MAX_BOX = 256
_MAX_PIXELS = 1024


def frozen(array: Array) -> Array:
    """The array, read-only: it is kept and shared."""
    array.flags.writeable = False
    return array


def swizzle_address(address: Array, swizzle: int) -> Array:
    """Where the hardware puts byte `address` in the mode of `swizzle` bytes (0: as it is)."""
    return address ^ (((address >> 7) & _SWIZZLE_MASK[swizzle]) << 4)


def destination_chunks(base: int, rows: int, row_bytes: int, swizzle: int) -> Array:
    """Byte addresses of the 16-byte chunks of a tile at `base`: [rows, row_bytes / 16]."""
    unit = 128 if swizzle == 0 else 8 * swizzle
    if base % unit:
        raise MisalignedFault(
            f"the shared address {base} of a TMA tile is not a multiple of {unit} (swizzle {swizzle})"
        )
    linear = base + np.arange(rows)[:, None] * row_bytes + np.arange(row_bytes // 16)[None] * 16
    return swizzle_address(linear, swizzle)


@lru_cache(maxsize=4096)
def destination(base: int, rows: int, row_bytes: int, swizzle: int) -> tuple[Array, Granules]:
    """`destination_chunks`, and the units that they are; kept, because a ring has few slots."""
    chunks = frozen(destination_chunks(base, rows, row_bytes, swizzle))
    return chunks, granules_of(chunks)


@dataclass(frozen=True)
class Im2col:
    """The extra fields of an im2col map: corners of the box of base pixels (innermost spatial dimension first), channels and pixels of one column."""

    lower: tuple[int, ...]
    upper: tuple[int, ...]
    channels: int
    pixels: int


@dataclass(frozen=True, eq=False)
class TensorMap:
    """What a 128-byte tensor map says. `dims` in elements, innermost first; `strides` in bytes, of all dims but the innermost. Outside reads are zeros.
    `as_tf32`: f32 elements are rounded to tf32 on their way (to nearest, ties to even, every NaN the same one, as recorded on an H200)."""

    buffer: GlobalBuffer
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...] = ()
    element_strides: tuple[int, ...] = ()
    swizzle: int = 128
    im2col: Im2col | None = None
    as_tf32: bool = False

    def __post_init__(self) -> None:
        if not self.element_strides:
            object.__setattr__(self, "element_strides", (1,) * len(self.dims))
        self._check_global()
        if self.im2col is None:
            self._check_box()
        else:
            self._check_im2col(self.im2col)
        row = self.row_bytes
        if row % 16 or (self.swizzle and row != self.swizzle):
            raise DescriptorFault(f"{self._name}: rows of {row} bytes do not fit the swizzle of {self.swizzle} bytes")

    @property
    def _name(self) -> str:
        return f"tensor map of {self.buffer.name}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one row in shared memory."""
        inner = self.im2col.channels if self.im2col else self.box[0]
        return inner * self.buffer.dtype.itemsize

    @property
    def rows(self) -> int:
        """Rows of one load in shared memory."""
        if self.im2col:
            return self.im2col.pixels
        return prod(-(-extent // step) for extent, step in zip(self.box[1:], self.element_strides[1:], strict=True))

    @property
    def load_bytes(self) -> int:
        """Bytes that one load completes on its barrier, out-of-bounds ones included."""
        return self.rows * self.row_bytes

    def elements(self, coordinates: tuple[int, ...], offsets: tuple[int, ...] = ()) -> tuple[Array, Array]:
        """Element indices [rows, row elements] of a load at `coordinates` (innermost first; im2col: with filter `offsets`), and which are inside."""
        if len(coordinates) != len(self.dims):
            raise DescriptorFault(
                f"{self._name} has {len(self.dims)} dimensions; {len(coordinates)} coordinates are given"
            )
        if self.im2col is None:
            if offsets:
                raise DescriptorFault(f"{self._name} is tiled and takes no filter offsets")
            return self._tiled(coordinates)
        return self._column(self.im2col, coordinates, offsets)

    def fetch(self, index: Array, inside: Array, waited: bool, what: str) -> Array:
        """The elements themselves, zeros outside."""
        values = np.zeros(index.shape, self.buffer.dtype)
        values[inside] = self.buffer.load(index[inside], waited, what)
        if self.as_tf32:
            return round_to_tf32(values)
        return values

    def _tiled(self, coordinates: tuple[int, ...]) -> tuple[Array, Array]:
        steps = (1, *self.element_strides[1:])
        axes = [
            start + np.arange(0, extent, step) for start, extent, step in zip(coordinates, self.box, steps, strict=True)
        ]
        grids = np.meshgrid(*axes[::-1], indexing="ij")[::-1]
        index, inside = self._flatten([grid.reshape(-1, len(axes[0])) for grid in grids])
        return index, inside

    def _column(self, im2col: Im2col, coordinates: tuple[int, ...], offsets: tuple[int, ...]) -> tuple[Array, Array]:
        spatial = len(self.dims) - 2
        if len(offsets) != spatial or any(not 0 <= offset < 256 for offset in offsets):
            raise DescriptorFault(f"{self._name} takes {spatial} filter offsets of 0 to 255, not {offsets}")
        extents = [self.dims[1 + d] + im2col.upper[d] - im2col.lower[d] for d in range(spatial)]
        steps = [self.element_strides[1 + d] for d in range(spatial)]
        counts = [-(-extent // step) for extent, step in zip(extents, steps, strict=True)]
        starts = []
        for d in range(spatial):
            start, rest = divmod(coordinates[1 + d] - im2col.lower[d], steps[d])
            if rest or not 0 <= start < counts[d]:
                raise DescriptorFault(
                    f"{self._name}: coordinate {coordinates[1 + d]} of dimension {1 + d} is no base pixel of the bounding box"
                )
            starts.append(start)
        position, scale = np.arange(im2col.pixels), 1
        for start, count in zip(starts, counts, strict=True):
            position = position + start * scale
            scale *= count
        index: list[Array] = [coordinates[0] + np.arange(im2col.channels)[None]]
        for d in range(spatial):
            index.append((im2col.lower[d] + (position % counts[d]) * steps[d] + offsets[d])[:, None])
            position = position // counts[d]
        index.append((coordinates[-1] + position)[:, None])
        return self._flatten(index)

    def _flatten(self, index: list[Array]) -> tuple[Array, Array]:
        size = self.buffer.dtype.itemsize
        flat = index[0]
        inside = (index[0] >= 0) & (index[0] < self.dims[0])
        for axis, stride, extent in zip(index[1:], self.strides, self.dims[1:], strict=True):
            flat = flat + axis * (stride // size)
            inside = inside & (axis >= 0) & (axis < extent)
        return flat, np.broadcast_to(inside, flat.shape)

    def _check_global(self) -> None:
        size = self.buffer.dtype.itemsize
        if not 1 <= len(self.dims) <= 5 or len(self.strides) != len(self.dims) - 1:
            raise DescriptorFault(
                f"{self._name}: {len(self.dims)} dims and {len(self.strides)} strides; 1 to 5 dims with one stride less are needed"
            )
        if self.swizzle not in _SWIZZLE_MASK:
            raise DescriptorFault(f"{self._name}: there is no swizzle of {self.swizzle} bytes")
        if self.buffer.offset % 16 or any(stride % 16 for stride in self.strides):
            raise MisalignedFault(
                f"{self._name}: address {self.buffer.offset} and strides {self.strides} must be multiples of 16 bytes"
            )
        last = (
            sum((extent - 1) * stride for extent, stride in zip(self.dims[1:], self.strides, strict=True)) // size
            + self.dims[0]
        )
        if last > self.buffer.count:
            raise DescriptorFault(f"{self._name} covers {last} elements; the buffer has {self.buffer.count}")

    def _check_box(self) -> None:
        if len(self.box) != len(self.dims) or any(not 1 <= extent <= _MAX_BOX for extent in self.box):
            raise DescriptorFault(f"{self._name}: the box {self.box} needs {len(self.dims)} extents of 1 to {_MAX_BOX}")

    def _check_im2col(self, im2col: Im2col) -> None:
        spatial = len(self.dims) - 2
        limit = {1: 1 << 15, 2: 1 << 7, 3: 1 << 4}.get(spatial)
        if limit is None or len(im2col.lower) != spatial or len(im2col.upper) != spatial:
            raise DescriptorFault(f"{self._name}: im2col needs 3 to 5 dims and corners of all spatial ones")
        if any(not -limit <= corner < limit for corner in (*im2col.lower, *im2col.upper)):
            raise DescriptorFault(
                f"{self._name}: corners {im2col.lower}, {im2col.upper} outside [{-limit}, {limit - 1}]"
            )
        if not 1 <= im2col.channels <= _MAX_BOX or not 1 <= im2col.pixels <= _MAX_PIXELS:
            raise DescriptorFault(
                f"{self._name}: {im2col.channels} channels (up to {_MAX_BOX}) and {im2col.pixels} pixels (up to {_MAX_PIXELS}) per column"
            )
