"""Builtin element types and their NumPy equivalents: the one table that importers, recipes and interpreters share."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import (
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    Signedness,
    TensorType,
    VectorType,
    f16,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute

Array = NDArray[Any]
"""A NumPy array of any element type; interpreters carry every value as one."""

_ELEMENT_TYPES: tuple[tuple[str, Attribute], ...] = (
    ("float16", f16),
    ("float32", f32),
    ("float64", f64),
    ("bool", i1),
    ("int8", i8),
    ("int16", i16),
    ("int32", i32),
    ("int64", i64),
)
_DTYPE_OF = {element: np.dtype(name) for name, element in _ELEMENT_TYPES}
_ELEMENT_OF = {np.dtype(name): element for name, element in _ELEMENT_TYPES}
_BY_NAME = {str(element): element for _, element in _ELEMENT_TYPES}
ELEMENT_TYPE_NAMES = tuple(_BY_NAME)
"""The element types that have a NumPy equivalent, as MLIR spells them."""


def numpy_dtype(type: Attribute) -> np.dtype[np.generic]:
    """The NumPy dtype of an element type or of the elements of a tensor or vector type (`index` is int64, `i1` is bool).

    Raises TypeError for types without an equivalent."""
    element = type.element_type if isinstance(type, TensorType | VectorType) else type
    if isinstance(element, IndexType):
        return np.dtype(np.int64)
    if element not in _DTYPE_OF:
        raise TypeError(f"type {type} has no NumPy equivalent; known element types are {', '.join(ELEMENT_TYPE_NAMES)}")
    return _DTYPE_OF[element]


def element_type_of(dtype: np.dtype[np.generic]) -> Attribute:
    """The builtin element type of a NumPy dtype; TypeError where there is none (unsigned integers, complex, strings)."""
    native = dtype.newbyteorder("=")
    if native not in _ELEMENT_OF:
        raise TypeError(f"arrays of {dtype} have no element type; known are {', '.join(str(d) for d in _ELEMENT_OF)}")
    return _ELEMENT_OF[native]


def element_type_named(name: str) -> Attribute:
    """The element type that MLIR spells `name`; ValueError with the known names otherwise."""
    if name not in _BY_NAME:
        raise ValueError(f"unknown element type {name!r}; known are {', '.join(ELEMENT_TYPE_NAMES)}")
    return _BY_NAME[name]


def tensor_type_of(array: Array) -> TensorType[Attribute]:
    """The tensor type of an array."""
    return TensorType(element_type_of(array.dtype), array.shape)


def is_float(type: Attribute) -> TypeGuard[Float16Type | Float32Type | Float64Type]:
    """True for f16, f32 and f64 element types (not for tensors of them)."""
    return isinstance(type, Float16Type | Float32Type | Float64Type)


def is_signless_integer(type: Attribute) -> TypeGuard[IntegerType]:
    """True for iN element types without a sign, the only integers that graph arithmetic accepts."""
    return isinstance(type, IntegerType) and type.signedness.data == Signedness.SIGNLESS
