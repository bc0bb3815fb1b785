"""What a kernel's refs are bound to while it is interpreted: arrays that are read and written at index arrays, with a
fill beyond the extents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np

from stepwell.dialects.numpy_types import Array
from stepwell.dialects.tile.ops_host import output_extents
from stepwell.runtime.errors import InternalError

Indices = Sequence[Any]


class Readable(Protocol):
    """A bound input ref: logical extents, and the element at each of the indices (which broadcast and lie inside)."""

    @property
    def extents(self) -> tuple[int, ...]: ...

    def at(self, indices: Indices) -> Array: ...


@dataclass(frozen=True)
class Dense:
    """A tensor as it is."""

    array: Array

    @property
    def extents(self) -> tuple[int, ...]:
        return self.array.shape

    def at(self, indices: Indices) -> Array:
        return self.array[tuple(indices)]


@dataclass(frozen=True)
class Panels:
    """Weights [N, T, K] that are stored as panels [N/P, T, K, P]."""

    array: Array

    @property
    def extents(self) -> tuple[int, ...]:
        panels, taps, channels, width = self.array.shape
        return panels * width, taps, channels

    def at(self, indices: Indices) -> Array:
        n, t, k = indices
        width = self.array.shape[-1]
        return self.array[n // width, t, k, n % width]


@dataclass(frozen=True)
class Window:
    """The view [M, T, C] that `tile.window` makes of a channels-last array: kernel, strides, pads (begins then ends),
    dilations, fill."""

    array: Array
    geometry: tuple[tuple[int, ...], ...]
    fill: Any
    padded: Array = field(init=False)

    def __post_init__(self) -> None:
        pads = self.geometry[2]
        spatial = len(pads) // 2
        widths = [(0, 0), *((pads[d], pads[spatial + d]) for d in range(spatial)), (0, 0)]
        object.__setattr__(self, "padded", np.pad(self.array, widths, constant_values=self.fill))

    @property
    def pixels(self) -> tuple[int, ...]:
        """Output extents of the spatial dims."""
        kernel, strides, pads, dilations = self.geometry
        return output_extents(self.array.shape[1:-1], kernel, strides, pads, dilations)

    @property
    def extents(self) -> tuple[int, ...]:
        return self.array.shape[0] * prod(self.pixels), prod(self.geometry[0]), self.array.shape[-1]

    def at(self, indices: Indices) -> Array:
        m, t, c = indices
        kernel, strides, _, dilations = self.geometry
        image, *outputs = coordinates(m, (self.array.shape[0], *self.pixels))
        taps = coordinates(t, kernel)
        spatial = [o * s + r * d for o, s, r, d in zip(outputs, strides, taps, dilations, strict=True)]
        return self.padded[(image, *spatial, c)]


def coordinates(flat: Any, shape: Sequence[int]) -> list[Any]:
    """Row-major coordinates of flat indices of any shape (NumPy 2.4's unravel_index gives wrong ones for arrays of two
    or more dims with more than 8192 elements)."""
    found: list[Any] = []
    for extent in reversed(shape[1:]):
        flat, at = np.divmod(flat, extent)
        found.insert(0, at)
    return [flat, *found]


def read(ref: Readable, indices: Indices, fill: Any) -> Array:
    """Elements at the indices; `fill` where one lies beyond the extents."""
    outside = [(index < 0) | (index >= extent) for index, extent in zip(indices, ref.extents, strict=True)]
    if not any(np.any(mask) for mask in outside):
        return ref.at(indices)
    if not all(ref.extents):
        shape = np.broadcast_shapes(*(np.shape(index) for index in indices))
        return np.full(shape, fill)
    inside = [np.where(mask, 0, index) for mask, index in zip(outside, indices, strict=True)]
    masked = outside[0]
    for mask in outside[1:]:
        masked = masked | mask
    values = ref.at(inside)
    return np.where(masked, np.asarray(fill, values.dtype), values)


@dataclass
class Output:
    """An output array, poisoned before the kernel runs, with a count of the writes of each element."""

    array: Array
    writes: Array

    @classmethod
    def poisoned(cls, shape: Sequence[int], dtype: np.dtype[Any]) -> Output:
        """NaN, or the lowest integer, everywhere; no element written."""
        array: Array = np.empty(tuple(shape), dtype)
        array[...] = np.nan if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind == "i" else 0
        return cls(array, np.zeros(array.size, np.int64))

    @property
    def extents(self) -> tuple[int, ...]:
        return self.array.shape

    def write(self, indices: Indices, values: Array) -> None:
        """Store the values at the indices that lie inside, and count them."""
        inside: Any = True
        for index, extent in zip(indices, self.array.shape, strict=True):
            inside = inside & (index >= 0) & (index < extent)
        *indices, kept, values = np.broadcast_arrays(*indices, inside, values)
        flat = np.ravel_multi_index([index[kept] for index in indices], self.array.shape)
        self.array.reshape(-1)[flat] = values[kept]
        self.writes += np.bincount(flat, minlength=self.writes.size)

    def check(self, name: str) -> None:
        """Raise InternalError unless each element was written exactly once."""
        wrong = np.flatnonzero(self.writes != 1)
        if wrong.size:
            place = [int(i) for i in np.unravel_index(wrong[0], self.array.shape)]
            raise InternalError(
                f"{wrong.size} of {self.writes.size} output elements are not written exactly once; "
                f"the first is {place}, {self.writes[wrong[0]]} times",
                where=name,
            )
