"""`.safetensors` files, by the safetensors package: arrays are memory-mapped, damaged files are refused with the reason.

The package parses the header and refuses whatever does not cover the data exactly once: lengths, overlaps, gaps, negative and huge extents. Its own
arrays are copies, so ours are views of the mapped file, at the offsets that follow from the order which it gives. What it lets through is checked here:
names that occur twice (the last one wins there), element types that NumPy lacks, bools that are neither 0 nor 1, and, when writing, arrays that are
not contiguous.
"""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

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
"""Element types that are read and written; the file is little-endian on every machine."""


def read(path: str | Path) -> dict[str, Array]:
    """Every array of the file by name, memory-mapped and read-only; ModelError when the file is missing or damaged."""
    where = str(path)
    try:
        with safe_open(where, framework="np") as file:
            listed = [(name, file.get_slice(name)) for name in file.offset_keys()]
            entries = [(name, part.get_dtype(), tuple(part.get_shape())) for name, part in listed]
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except SafetensorError as error:
        raise ModelError(f"not a safetensors file, or a damaged one: {error}", where=where) from None
    except (OSError, ValueError) as error:
        reason = "it is a folder" if Path(path).is_dir() else error
        raise ModelError(f"cannot read the weights: {reason}", where=where) from None
    begin = 8 + int.from_bytes(data[:8].tobytes(), "little")
    _check_names(data[8:begin].tobytes(), where)
    arrays: dict[str, Array] = {}
    for name, dtype, shape in entries:
        end = begin + _size(name, dtype, shape, where)
        arrays[name] = np.asarray(data[begin:end]).view(DTYPES[dtype]).reshape(shape)
        begin = end
        if dtype == "BOOL" and arrays[name].view(np.uint8).max(initial=0) > 1:
            raise ModelError(f"array {name!r}: a bool is neither 0 nor 1", where=where)
    return arrays


def _check_names(header: bytes, where: str) -> None:
    """Refuse a header that says an array twice."""
    counts: list[Counter[str]] = []

    def count(pairs: list[tuple[str, object]]) -> None:
        counts.append(Counter(name for name, _ in pairs))

    json.loads(header, object_pairs_hook=count)
    repeated = [name for name, times in counts[-1].items() if times > 1]
    if repeated:
        raise ModelError(f"array {repeated[0]!r} is there twice: the file is damaged", where=where)


def _size(name: str, dtype: str, shape: tuple[int, ...], where: str) -> int:
    """The bytes of an array; ModelError for an element type that NumPy lacks."""
    if dtype not in DTYPES:
        hint = f"convert it; known are {', '.join(DTYPES)}"
        raise ModelError(f"array {name!r} has element type {dtype}", where=where, hint=hint)
    return prod(shape) * np.dtype(DTYPES[dtype]).itemsize


def write(path: str | Path, arrays: Mapping[str, Array]) -> None:
    """Write `arrays` to `path`, beside it first and then renamed. The same arrays give the same bytes. ModelError for element types that the
    format lacks, OSError where it cannot be written."""
    known = {np.dtype(code) for code in DTYPES.values()}
    foreign = [name for name, array in arrays.items() if array.dtype.newbyteorder("<") not in known]
    if foreign:
        raise ModelError(f"arrays of {arrays[foreign[0]].dtype} cannot be stored", where=foreign[0])
    held = {name: np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C") for name, array in arrays.items()}
    with whole_file(path) as file:
        if not stat.S_ISREG(
            os.fstat(file.fileno()).st_mode
        ):  # save_file would put a file in place of a device or a pipe
            file.write(save(held))
            return
        try:
            save_file(held, file.name)
        except SafetensorError as error:
            raise OSError(str(error)) from error
