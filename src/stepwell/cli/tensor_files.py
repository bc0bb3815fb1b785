"""Arrays from files that hold one tensor: ONNX's TensorProto (the `input_0.pb` of its test data), and raw bytes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from stepwell.runtime.errors import UsageError

Port = tuple[tuple[int, ...], np.dtype[Any]]
"""Shape and element type of an input or output."""


def read_tensor_proto(path: str, name: str, ports: Mapping[str, Port], what: str) -> np.ndarray | dict[str, np.ndarray]:
    """The tensor in a `.pb` file; by its own name where the word has none. UsageError for a file that holds none, or one of another size."""
    try:
        from onnx import TensorProto, numpy_helper
    except ImportError:
        raise UsageError("reading a .pb file needs onnx", where=path, hint="pip install onnx") from None
    tensor = TensorProto()
    try:
        tensor.ParseFromString(read_bytes(path))
        array = np.asarray(numpy_helper.to_array(tensor))
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged messages raise exceptions of many kinds
        raise UsageError(f"couldn't read {what} tensor: no TensorProto, or damaged: {error}", where=path) from None
    known = name or tensor.name
    if known in ports:
        _check_size(path, known, array.size, prod(ports[known][0]), what)
    return array if name else {tensor.name: array}


def read_raw(path: str, name: str, ports: Mapping[str, Port], what: str) -> np.ndarray:
    """The elements of a file of bytes in row-major, little-endian order, with the shape and type of the input `name`."""
    if name not in ports:
        hint = f"write NAME={path} with one of {', '.join(ports) or 'none'}"
        raise UsageError(f"raw bytes need the name of an {what}", where=path, hint=hint)
    (shape, dtype), data = ports[name], read_bytes(path)
    extents = [int(extent) for extent in shape]
    if len(data) != prod(extents) * dtype.itemsize:
        _check_size(path, name, len(data) / dtype.itemsize, prod(extents), what)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(extents)


def read_bytes(path: str) -> bytes:
    """The file's bytes; a UsageError says why it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=path) from None


def _check_size(path: str, name: str, held: float, wanted: int, what: str) -> None:
    if held != wanted:
        raise UsageError(
            f"couldn't read {what} tensor {name!r}: the file holds {held:g} elements, the network has {wanted}",
            where=path,
        )
