"""Tensors of a network that is being built, and the words for element types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, element_type_named, element_type_of
from stepwell.frontends.emitter import Unsupported, shape_of, tensor_type


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a network: an input, or a result of a layer. `name` is the input's or the layer's, with the result's own name behind a dot where a
    layer has several."""

    name: str
    value: SSAValue
    """Where it is in the graph module that the network writes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents, the batch included."""
        return shape_of(self.value)

    @property
    def dtype(self) -> str:
        """The element type as the IR spells it: f32, f16, bf16, i64, ui8, i1, ..."""
        return str(tensor_type(self.value).element_type)

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


Weights: TypeAlias = Tensor | ArrayLike
"""What a layer takes as weights: an array of the element type of its input, a list of numbers, or a tensor of the network."""


def element_named(dtype: Any) -> Attribute:
    """The element type that a user means by `f32`, `float32` or `numpy.float32`; Unsupported with those that there are."""
    if isinstance(dtype, str) and dtype in ELEMENT_TYPE_NAMES:
        return element_type_named(dtype)
    try:
        return element_type_of(np.dtype({"bool": np.bool_}.get(dtype, dtype) if isinstance(dtype, str) else dtype))
    except (TypeError, KeyError):
        raise Unsupported(f"dtype {dtype!r} is unknown: use one of {', '.join(ELEMENT_TYPE_NAMES)}") from None


def per_dim(what: str, values: int | Sequence[int] | None, rank: int, default: int) -> tuple[int, ...]:
    """A parameter of every spatial dim: one number stands for all, None for the default."""
    if values is None:
        return (default,) * rank
    if isinstance(values, int):
        return (values,) * rank
    found = tuple(int(value) for value in values)
    if len(found) != rank:
        raise Unsupported(
            f"{what} {list(found)} has {len(found)} values: give one number, or {rank}, one a spatial dim"
        )
    return found


def both_sides(pads: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Padding as all begins, then all ends: one number for everything, one of each dim for both of its sides, or all of them."""
    if pads is None or isinstance(pads, int):
        return (pads or 0,) * (2 * rank)
    found = tuple(int(pad) for pad in pads)
    if len(found) not in (rank, 2 * rank):
        raise Unsupported(
            f"pads {list(found)} has {len(found)} values: give one number, {rank}, or {2 * rank} (all begins, then all ends)"
        )
    return found * (2 if len(found) == rank else 1)


def axis_in(axis: int, rank: int) -> int:
    """An axis counted from the front; Unsupported when it is outside."""
    if not -rank <= axis < rank:
        raise Unsupported(f"axis {axis} is outside of the {rank} dims: it lies in [{-rank}, {rank})")
    return axis % rank


def axes_in(axes: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, in increasing order; Unsupported when one is outside or named twice."""
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    found = sorted(axis_in(axis, rank) for axis in given)
    if len(set(found)) < len(found):
        raise Unsupported(f"axes {list(given)} name a dim twice")
    return tuple(found)


def one_of(what: str, word: str, known: Sequence[str]) -> str:
    """A word of a list, whatever its case; Unsupported with the list."""
    found = str(word).upper()
    if found not in known:
        raise Unsupported(f"{what} {word!r} is unknown: use one of {', '.join(known)}")
    return found
