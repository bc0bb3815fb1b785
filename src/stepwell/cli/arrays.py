"""Files on the command line. Arrays: `name=file.npy`, a `.npz` whose members are named as the bindings, a TensorProto (`.pb`) or raw bytes (`.bin`)."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from stepwell.cli.tensor_files import Port, read_raw, read_tensor_proto
from stepwell.runtime.errors import UsageError

READERS = {".pb": read_tensor_proto, ".bin": read_raw, ".raw": read_raw}
"""Files that are neither .npy nor .npz, by their endings."""

LONGEST_NAME = 65_000
"""Bytes of a member's name in a zip archive (its length is 16 bits), less the ending."""


def existing(path: Path) -> Path:
    """`path`, or a UsageError when there is no such file."""
    if not path.is_file():
        raise UsageError("is a folder" if path.is_dir() else "there is no such file", where=str(path))
    return path


def writable(path: Path) -> Path:
    """`path`, or a UsageError when it has no folder to be written into."""
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError("cannot write: no such folder, or a folder itself", where=str(path))
    return path


def input_files(items: Iterable[str], names: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Binding and file of each `--input` word; the name is empty where the word names a file only. Names may hold `=`: those that the plan
    knows (`names`) come first."""
    known = sorted(names, key=len, reverse=True)
    return [_split(item, known) for item in items]


def _split(item: str, known: list[str]) -> tuple[str, str]:
    name = next((name for name in known if item.startswith(f"{name}=")), None)
    if name is not None:
        return name, item[len(name) + 1 :]
    before, sign, after = item.partition("=")
    return (before, after) if sign else ("", item)


def read_inputs(
    items: Iterable[str], ports: Mapping[str, Port] | None = None, what: str = "input"
) -> dict[str, np.ndarray]:
    """The arrays that the `--input` words name; `ports` are shapes and element types by name, which raw files need."""
    arrays: dict[str, np.ndarray] = {}
    for item, (name, path) in zip(items, input_files(items, ports or ())):
        named = item != path
        reader = READERS.get(Path(path).suffix)
        found = _read(path, item) if reader is None else reader(path, name, ports or {}, what)
        if isinstance(found, dict):
            arrays.update({name: found[name]} if named and name in found else found)
        elif named:
            arrays[name] = found
        else:
            raise UsageError("this file needs a name", where=item, hint=f"write NAME={item}")
    return arrays


def _read(path: str, item: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            if not zipfile.is_zipfile(file):
                file.seek(0)
                return _array(file, Path(path).stat().st_size)
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
                return {info.filename.removesuffix(".npy"): _member(archive, info) for info in members}
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise UsageError(f"cannot read: {error.strerror}", where=item) from None
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - archives and headers raise exceptions of every kind when damaged
        reason = str(error) or type(error).__name__
        raise UsageError(f"not a .npy or .npz file, or damaged: {reason}", where=item) from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        array = _array(file, info.file_size)
        file.read()  # to its end, where the checksum is looked at
        return array


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """The array in the NPY format (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html) that `size` bytes hold; ValueError where
    its header says that it is larger."""
    begin = file.tell()
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    held, wanted = size - (file.tell() - begin), math.prod(shape) * dtype.itemsize
    if wanted > held or dtype.hasobject:
        raise ValueError(f"shape {list(shape)} of {dtype} takes {wanted} bytes, the file holds {held}")
    file.seek(begin)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def write_outputs(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a `.npz` of all arrays, or a `.npy` where there is one; whole or not at all."""
    from stepwell.driver.files import write_whole

    stream = io.BytesIO()
    if path.suffix == ".npy":
        if len(arrays) != 1:
            raise UsageError(f"a .npy file holds one array, there are {len(arrays)}", where=str(path), hint="use .npz")
        np.save(stream, next(iter(arrays.values())))
    elif path.suffix == ".npz":
        _write_archive(stream, path, arrays)
    else:
        raise UsageError(f"unknown kind of file '{path.suffix}'", where=str(path), hint="use .npz or .npy")
    write_whole(path, stream.getvalue())


def _write_archive(stream: IO[bytes], path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """As `numpy.savez`, which refuses arrays called `file`; a UsageError for names that a zip archive would cut off."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if "\0" in name or len(name.encode(errors="surrogatepass")) > LONGEST_NAME:
                hint = "write one output to a .npy file, or rename the tensor in the model"
                raise UsageError(f"a .npz file cannot hold the name {name[:40]!r}", where=str(path), hint=hint)
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
