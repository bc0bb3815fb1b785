"""Reading and writing `.safetensors` files: arrays stay memory-mapped, damaged files are refused with the reason.

Format (https://github.com/huggingface/safetensors): 8 bytes length n, little endian; n bytes of JSON `{name: {dtype, shape, data_offsets}}`;
the data. We write the names in order of falling item size, then by name, so that every array is aligned and the bytes depend on nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from stepwell.dialects.numpy_types import Array
from stepwell.runtime.errors import ModelError
from stepwell.runtime.files import whole_file

DTYPES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_NAMES = {np.dtype(code): name for name, code in DTYPES.items()}
HEADER_LIMIT = 100_000_000
"""Longest header, the reference implementation's limit."""


def read(path: str | Path) -> dict[str, Array]:
    """Every array of the file by name, memory-mapped and read-only; ModelError when the file is missing or damaged."""
    where = str(path)
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the weights: {error}", where=where) from None
    header, start = _header(data, where)
    return {name: _entry(data[start:], name, entry, where) for name, entry in header.items() if name != "__metadata__"}


def _header(data: Array, where: str) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8].tobytes(), "little") if data.size >= 8 else -1
    if length < 2 or length > min(HEADER_LIMIT, data.size - 8):
        raise ModelError("not a safetensors file: the header's length does not fit the file", where=where)
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
    except (ValueError, RecursionError):
        raise ModelError("not a safetensors file: the header is no JSON text", where=where) from None
    if not isinstance(header, dict):
        raise ModelError("not a safetensors file: the header is no JSON object", where=where)
    return header, 8 + length


def _entry(data: Array, name: str, entry: Any, where: str) -> Array:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise ModelError(
                f"array {name!r}: dtype, shape or data_offsets is missing or of the wrong kind", where=where
            )
    if dtype not in DTYPES:
        raise ModelError(
            f"array {name!r} has element type {dtype}",
            where=where,
            hint=f"convert it; known are {', '.join(DTYPES)}",
        )
    if not all(isinstance(extent, int) and extent >= 0 for extent in shape):
        raise ModelError(f"array {name!r}: shape {shape} has an extent that is no size", where=where)
    wanted = prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if not 0 <= begin <= end <= data.size or end - begin != wanted:
        raise ModelError(
            f"array {name!r}: bytes {begin} to {end} of {data.size} do not hold shape {shape} of {dtype} ({wanted} bytes): "
            "the file is cut off or damaged",
            where=where,
        )
    return np.asarray(data[begin:end]).view(DTYPES[dtype]).reshape(shape)


def write(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write `arrays` to `path`, beside it first and then renamed. The same arrays give the same bytes."""
    order = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {}
    position = 0
    for name in order:
        array = arrays[name]
        size = array.dtype.itemsize * array.size
        header[name] = {
            "dtype": _NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [position, position + size],
        }
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with whole_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            file.write(np.ascontiguousarray(arrays[name], dtype=arrays[name].dtype.newbyteorder("<")).tobytes())
