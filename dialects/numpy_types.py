"""Builtin element types and their NumPy equivalents, joined by the names in `stepwell.types.elements`: what importers, recipes and interpreters share.

The types that NumPy lacks (bf16, 8-bit floats, what is narrower than a byte) are ml_dtypes' extensions of it; an element narrower than a
byte takes a whole one in an array.
"""

from __future__ import annotations

from typing import Any, TypeGuard

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from xdsl.dialects import builtin
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    Signedness,
    TensorType,
    VectorType,
    bf16,
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

from stepwell.dialects.strings import StringType
from stepwell.types.elements import ELEMENTS, ElementType

Array = NDArray[Any]
"""A NumPy array of any element type; interpreters carry every value as one."""

ui8, ui16, ui32, ui64 = (IntegerType(width, Signedness.UNSIGNED) for width in (8, 16, 32, 64))
f8E4M3FN, f8E5M2 = builtin.Float8E4M3FNType(), builtin.Float8E5M2Type()

FLOATS: tuple[Attribute, ...] = (f16, bf16, f32, f64)
"""Element types of float arithmetic."""
SIGNED: tuple[Attribute, ...] = (i8, i16, i32, i64)
UNSIGNED: tuple[Attribute, ...] = (ui8, ui16, ui32, ui64)
INTEGERS: tuple[Attribute, ...] = (*SIGNED, *UNSIGNED)
"""Element types of integer arithmetic."""
FLOATS8: tuple[Attribute, ...] = (f8E4M3FN, f8E5M2)
"""Element types that contractions take and everything else only moves, casts, quantises and dequantises."""
STORAGE: tuple[Attribute, ...] = (
    IntegerType(4),
    IntegerType(4, Signedness.UNSIGNED),
    IntegerType(2),
    IntegerType(2, Signedness.UNSIGNED),
    builtin.Float4E2M1FNType(),
    builtin.Float6E2M3FNType(),
    builtin.Float6E3M2FNType(),
    builtin.Float8E8M0FNUType(),
    builtin.Float8E4M3FNUZType(),
    builtin.Float8E5M2FNUZType(),
)
"""Element types that values are stored in: moved, cast, quantised and dequantised."""

_BY_NAME = {str(element): element for element in (*FLOATS, i1, *INTEGERS, *FLOATS8, *STORAGE)}
_ROW_OF = {element: ELEMENTS[name] for name, element in _BY_NAME.items()}
_DTYPE_OF = {element: np.dtype(getattr(ml_dtypes, row.numpy, row.numpy)) for element, row in _ROW_OF.items()}
_ELEMENT_OF = {dtype: element for element, dtype in _DTYPE_OF.items()}
ELEMENT_TYPE_NAMES = tuple(_BY_NAME)
"""The element types that have a NumPy equivalent, as MLIR spells them."""


def row_of(element: Attribute) -> ElementType | None:
    """The row of an element type in the table, if it has one."""
    return _ROW_OF.get(element)


def element_bytes(element: Attribute) -> int:
    """Bytes of an element in memory, by the table; an index takes 8. TypeError for a type that has no row."""
    row = ELEMENTS["i64"] if isinstance(element, IndexType) else row_of(element)
    if row is None:
        raise TypeError(
            f"type {element} has no size in memory; known element types are {', '.join(ELEMENT_TYPE_NAMES)}"
        )
    return row.bytes


def numpy_dtype(type: Attribute) -> np.dtype[np.generic]:
    """The NumPy dtype of an element type or of the elements of a tensor or vector type (`index` is int64, `i1` is bool, text is object).

    Raises TypeError for types without an equivalent."""
    element = type.element_type if isinstance(type, TensorType | VectorType) else type
    if isinstance(element, IndexType):
        return np.dtype(np.int64)
    if isinstance(element, StringType):
        return np.dtype(object)
    if element not in _DTYPE_OF:
        raise TypeError(f"type {type} has no NumPy equivalent; known element types are {', '.join(ELEMENT_TYPE_NAMES)}")
    return _DTYPE_OF[element]


def element_type_of(dtype: np.dtype[np.generic]) -> Attribute:
    """The builtin element type of a NumPy dtype; TypeError where there is none (complex, strings)."""
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


def is_float(type: Attribute) -> TypeGuard[BFloat16Type | Float16Type | Float32Type | Float64Type]:
    """True for f16, bf16, f32 and f64 element types (not for tensors of them)."""
    return isinstance(type, BFloat16Type | Float16Type | Float32Type | Float64Type)


def is_signless_integer(type: Attribute) -> TypeGuard[IntegerType]:
    """True for iN element types, whose arithmetic is signed."""
    return isinstance(type, IntegerType) and type.signedness.data == Signedness.SIGNLESS


def is_unsigned(type: Attribute) -> bool:
    """True for uiN element types, and for i1, which counts as 0 and 1."""
    return isinstance(type, IntegerType) and (type.signedness.data == Signedness.UNSIGNED or type.width.data == 1)


def signless(of: Attribute) -> Attribute:
    """The integer of the same width without a sign; any other type as it is."""
    return IntegerType(of.width.data) if isinstance(of, IntegerType) and of in UNSIGNED else of


def wrapped(value: int, width: int) -> int:
    """The number of the same bits with a sign."""
    value %= 1 << width
    return value - (1 << width) if value >> (width - 1) else value


def is_float_dtype(dtype: np.dtype[Any]) -> bool:
    """True for arrays of floats, ml_dtypes' too."""
    return dtype.kind == "f" or (dtype.kind == "V" and "float" in dtype.name)


def lowest_of(dtype: np.dtype[Any]) -> Any:
    """The value that no element is below: -inf, false, or the least integer."""
    return _limit(dtype, -1)


def highest_of(dtype: np.dtype[Any]) -> Any:
    """The value that no element is above: inf, true, or the greatest integer."""
    return _limit(dtype, 1)


def _limit(dtype: np.dtype[Any], sign: int) -> Any:
    if is_float_dtype(dtype):
        return dtype.type(sign * np.inf)
    if dtype.kind == "b":
        return dtype.type(sign > 0)
    limits = ml_dtypes.iinfo(dtype)
    return dtype.type(limits.max if sign > 0 else limits.min)
