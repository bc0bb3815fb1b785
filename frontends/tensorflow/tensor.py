"""TensorProtos as arrays: the bytes of `tensor_content`, or a list of values whose last one repeats."""

from __future__ import annotations

import sys
from math import prod

import ml_dtypes
import numpy as np
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.shapes import MOST_MADE
from stepwell.frontends.tensorflow.schema import DTYPES, type_name

LARGEST = 1 << 31
"""Most elements of one tensor."""
_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val", "uint32": "uint32_val",
    "uint64": "uint64_val", "float16": "half_val", "bfloat16": "half_val",
}  # fmt: skip
_BITS = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))


def dtype_of(number: int) -> np.dtype[np.generic]:
    """NumPy's type of a DataType; Unsupported for strings, complex numbers, resources, variants."""
    if number not in DTYPES:
        raise Unsupported(
            f"its type is {type_name(number)}: strings, complex numbers and resources have no tensor here"
        )
    return DTYPES[number]


def shape_of_proto(shape: Message) -> tuple[int, ...] | None:
    """The extents, -1 where one is unknown; None for an unknown rank."""
    return None if shape.unknown_rank else tuple(dim.size for dim in shape.dim)


def array_of(tensor: Message) -> Array:
    """The tensor's array; Unsupported where type, shape and values do not fit each other."""
    dtype = dtype_of(tensor.dtype)
    shape = shape_of_proto(tensor.tensor_shape)
    if shape is None or any(extent < 0 for extent in shape) or prod(shape) > LARGEST:
        raise Unsupported(f"a constant has shape {list(shape) if shape is not None else 'unknown'}")
    if tensor.tensor_content:
        return _from_bytes(tensor.tensor_content, dtype, shape)
    values = getattr(tensor, _FIELDS.get(dtype.name, "int_val"))
    elements = prod(shape)
    if elements > max(MOST_MADE, len(values)):
        raise Unsupported(
            f"a constant of shape {list(shape)} has {len(values)} values: at most {MOST_MADE} elements are filled up"
        )
    if len(values) > elements:
        raise Unsupported(f"a constant has {len(values)} values for {elements} elements")
    if dtype in _BITS:
        given = np.array(values, np.int64).astype(np.uint16).view(dtype)
    else:
        given = np.array(values, np.uint64 if dtype.name == "uint64" else None).astype(dtype)
    result = np.empty(shape, dtype).reshape(-1)
    result[: len(given)] = given
    result[len(given) :] = given[-1] if len(given) else 0
    return result.reshape(shape)


def _from_bytes(content: bytes, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Array:
    wanted = prod(shape) * dtype.itemsize
    if len(content) != wanted:
        raise Unsupported(f"a constant has {len(content)} bytes, {wanted} are needed for {list(shape)} of {dtype}")
    held = np.frombuffer(content, dtype).reshape(shape)
    return held if sys.byteorder == "little" else held.byteswap()
