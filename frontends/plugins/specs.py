"""What a shape function sees: shape and element type of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.ir import Attribute

from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Extent
from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, element_type_named
from stepwell.frontends.emitter import Unsupported

LARGEST = 2**62
"""Largest extent that a shape function may give."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor without its elements: `shape` has integers (symbolic ones keep their name under products), `dtype` is f32, f16, i64, ..."""

    shape: tuple[int, ...]
    dtype: str = "f32"

    @property
    def rank(self) -> int:
        """The number of dims."""
        return len(self.shape)

    def like(self, shape: Sequence[int] | None = None, dtype: str | None = None) -> TensorSpec:
        """The same with another shape, element type, or both."""
        return replace(self, shape=self.shape if shape is None else tuple(shape), dtype=dtype or self.dtype)

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def spec_of(tensor: Tensor) -> TensorSpec:
    """What a shape function sees of a tensor type."""
    return TensorSpec(tensor.shape, str(tensor.element))


def type_of(spec: object, place: int) -> Attribute:
    """The tensor type of result `place` of a shape function; Unsupported where it describes none."""
    if not isinstance(spec, TensorSpec):
        raise Unsupported(f"its shape function gives {spec!r} as result {place}: give a TensorSpec")
    if spec.dtype not in ELEMENT_TYPE_NAMES:
        raise Unsupported(f"result {place} has dtype {spec.dtype!r}: use one of {', '.join(ELEMENT_TYPE_NAMES)}")
    for extent in spec.shape:
        if isinstance(extent, bool) or not isinstance(extent, int) or not 0 <= int(extent) < LARGEST:
            raise Unsupported(f"result {place} has shape {list(spec.shape)}: extents are integers from 0")
    shape = tuple(extent if isinstance(extent, Extent) else int(extent) for extent in spec.shape)
    return Tensor(element_type_named(spec.dtype), shape).type
