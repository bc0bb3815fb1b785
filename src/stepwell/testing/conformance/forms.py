"""What the operator sweep varies: element types, widths beside the vector's, and forms. A form makes one node from `Data` at rows x width."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from stepwell.dialects.numpy_types import Array
from stepwell.testing.conformance.case import NodeSpec

TYPES = ("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64")
"""Element types that the IR has."""
FOREIGN = ("bfloat16", "uint8", "uint16", "uint32", "uint64")
"""Element types of ONNX that the IR lacks: tried once in each operator."""
CODES: Mapping[str, int] = {
    name: onnx.TensorProto.DataType.Value({"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()))
    for name in (*TYPES, *FOREIGN)
}
"""ONNX's numbers of these types."""
WIDTHS: Mapping[str, tuple[int, int, int]] = {
    "1": (1, 0, 1), "l-1": (1, 1, -1), "l": (1, 1, 0), "l+1": (1, 1, 1),
    "2x1": (2, 0, 1), "2xl-1": (2, 1, -1), "2xl": (2, 1, 0), "2xl+1": (2, 1, 1),
}  # fmt: skip
"""Name -> rows, and width as lanes * the second + the third number."""
FIXED = "-"
"""The width of forms whose shape is their own."""


@dataclass
class Data:
    """Arrays of one element type, made from a generator of its own for each case. `lanes`: elements of a vector."""

    type: str
    rng: np.random.Generator
    lanes: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(CODES[self.type]))

    @property
    def is_float(self) -> bool:
        """Whether there are NaN and infinities."""
        return self.type.startswith(("float", "bfloat"))

    def of(self, *shape: int) -> Array:
        """Normal numbers, small integers without 0, or booleans."""
        if self.is_float:
            return self.rng.standard_normal(shape).astype(self.dtype)
        if self.type == "bool":
            return self.rng.random(shape) < 0.5
        signs = self.rng.choice([-1, 1], shape) if self.type.startswith("int") else 1
        return np.asarray(self.rng.integers(1, 8, shape) * signs).astype(self.dtype)

    def positive(self, *shape: int) -> Array:
        """Positive numbers."""
        return np.abs(self.of(*shape).astype(np.float64) if self.is_float else self.of(*shape)).astype(self.dtype)

    def special(self, *shape: int) -> Array:
        """NaN, infinities, both zeros, denormals, the largest and the least; for integers their ends and neighbours of 0."""
        if self.type == "bool":
            return self.of(*shape)
        if self.is_float:
            limits = np.finfo(self.dtype) if self.type != "bfloat16" else np.finfo(np.float32)
            least = float(limits.smallest_subnormal)
            values = [np.nan, np.inf, -np.inf, -0.0, 0.0, least, -least * 3, float(limits.tiny), float(limits.max),
                      -float(limits.max), 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 10.0, -90.0, 88.5]  # fmt: skip
        else:
            ends = np.iinfo(self.dtype)
            values = [0, 1, ends.max, ends.min, ends.max - 1, 2, 3]
        return np.array(list(islice(cycle(values), prod(shape)))).reshape(shape).astype(self.dtype)


@dataclass(frozen=True)
class Form:
    """One way to use an operator. `fixed`: its shape does not follow the width; `types`: only these; `foreign`: tried with types that the IR lacks."""

    name: str
    make: Callable[[Data, int, int], NodeSpec]
    fixed: bool = False
    types: tuple[str, ...] = (*TYPES, *FOREIGN)

    def widths(self, type: str) -> list[str]:
        """All for float32; the others take the same roads, in vectors of another length: four beside that length."""
        if self.fixed:
            return [FIXED]
        return list(WIDTHS) if type == "float32" else ["l+1"] if type in FOREIGN else ["1", "l-1", "l+1", "2xl"]


def rows_by_width(rows: int, width: int) -> tuple[int, ...]:
    """One row is a vector."""
    return (width,) if rows == 1 else (rows, width)


FLOATS = ("float16", "float32", "float64", "bfloat16")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
