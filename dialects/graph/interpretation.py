"""What the functions of the graph interpreter share: how a run is set up, how types become dtypes and shapes, how results are rounded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import TensorType, f64
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.conversions import round_to
from stepwell.dialects.graph.attributes import WeightAttr
from stepwell.dialects.graph.extents import Extent, shape_of
from stepwell.dialects.numpy_types import Array, is_float, numpy_dtype
from stepwell.runtime.errors import ModelError

Results = tuple[Array, ...]


class Weights(Protocol):
    """What the interpreter needs of a WeightStore."""

    def evaluate(self, ref: WeightAttr) -> Array:
        """The array after all steps of its recipe."""
        ...


RunOp = Callable[[Operation, Sequence[Array]], Results | None]
"""Runs an op of another dialect, or returns None to leave it to the graph interpreter."""

Exchange = Callable[[Any, Array], Array]
"""Runs a graph.collective of several ranks: the op and this rank's operand."""

NARROW = tuple(
    np.dtype(kind) for kind in (np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
"""Floats that contractions and reductions accumulate in float32."""


@dataclass(frozen=True)
class Settings:
    """How to run: where weights come from, whether floats are float64, who runs ops of other dialects, how ranks exchange tensors,
    and the value of each symbolic extent that has been met."""

    weights: Weights | None = None
    float64: bool = False
    run_op: RunOp | None = None
    exchange: Exchange | None = None
    extents: dict[str, int] = field(default_factory=dict)

    def element(self, type: Attribute) -> Attribute:
        """The element type that values of this type are computed in."""
        element = type.element_type if isinstance(type, TensorType) else type
        return f64 if self.float64 and is_float(element) else element

    def dtype(self, type: Attribute) -> np.dtype[Any]:
        """The dtype that values of this tensor type have."""
        return numpy_dtype(self.element(type))

    def shape(self, type: Attribute) -> tuple[int, ...]:
        """The extents of a tensor type, symbols by their values; ModelError for one that nothing has given a value yet."""
        assert isinstance(type, TensorType)
        return tuple(self._extent(extent) for extent in shape_of(type))

    def _extent(self, extent: int) -> int:
        if not isinstance(extent, Extent):
            return extent
        if extent.symbol not in self.extents:
            raise ModelError(f'the extent "{extent.symbol}" is used before an op or input gives it a value')
        return self.extents[extent.symbol] * extent.factor

    def bind(self, value: SSAValue, array: Array) -> None:
        """Take the values of the symbols in a value's type from its array; ModelError where they contradict what is known, or the bounds."""
        type = value.type
        if not isinstance(type, TensorType) or type.has_static_shape():
            return
        for extent, actual in zip(shape_of(type), array.shape, strict=True):
            if not isinstance(extent, Extent):
                continue
            count, rest = divmod(actual, extent.factor)
            if rest or not extent.low <= count <= extent.high:
                raise ModelError(f"{actual} rows do not fit the extent {extent}", hint="raise the bound")
            if self.extents.setdefault(extent.symbol, count) != count:
                raise ModelError(
                    f'the extent "{extent.symbol}" is {self.extents[extent.symbol]} in one place and {count} in another'
                )

    def inside(self) -> Settings:
        """The same for one run of a region: symbols that it defines end with it."""
        return replace(self, extents=dict(self.extents))

    def rounded(self, array: Array, type: Attribute) -> Array:
        """A float result rounded once to the dtype of its tensor type."""
        return round_to(array, self.dtype(type))


Run = Callable[[Any, Sequence[Array], Settings], Results]
"""Runs one op: the op, its operands, how to run."""
Table = Mapping[type[Operation], Run]


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that sums of these elements are made in: float32 for narrow floats, else their own."""
    return np.dtype(np.float32) if dtype in NARROW else dtype
