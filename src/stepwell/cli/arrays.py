"""Files on the command line. Arrays: `name=file.npy`, or a `.npz` whose members are named as the bindings."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from stepwell.runtime.errors import UsageError


def existing(path: Path) -> Path:
    """`path`, or a UsageError when there is no such file."""
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    return path


def writable(path: Path) -> Path:
    """`path`, or a UsageError when it has no folder to be written into."""
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError("cannot be written: no such folder, or a folder itself", where=str(path))
    return path


def read_inputs(items: list[str]) -> dict[str, np.ndarray]:
    """The arrays that the `--input` words name."""
    arrays: dict[str, np.ndarray] = {}
    for item in items:
        name, sign, path = item.partition("=")
        found = _read(path if sign else name)
        if isinstance(found, dict):
            arrays.update({name: found[name]} if sign and name in found else found)
        elif sign:
            arrays[name] = found
        else:
            raise UsageError("a .npy file needs a name", where=item, hint=f"write NAME={item}")
    return arrays


def _read(path: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror or error}", where=path) from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"not a .npy or .npz file: {error}", where=path) from None
    if isinstance(loaded, np.ndarray):
        return loaded
    try:
        with loaded as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"damaged: {error}", where=path) from None


def write_outputs(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a `.npz` of all arrays, or a `.npy` where there is one; whole or not at all."""
    import io

    from stepwell.files import write_whole

    stream = io.BytesIO()
    if path.suffix == ".npy":
        if len(arrays) != 1:
            raise UsageError(f"a .npy file holds one array, there are {len(arrays)}", where=str(path), hint="use .npz")
        np.save(stream, next(iter(arrays.values())))
    elif path.suffix == ".npz":
        np.savez(stream, allow_pickle=False, **arrays)
    else:
        raise UsageError(f"unknown kind of file '{path.suffix}'", where=str(path), hint="use .npz or .npy")
    write_whole(path, stream.getvalue())
