"""Output files appear whole or not at all: they are written beside their place and renamed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from stepwell.runtime.errors import UsageError


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write that becomes `path`, with the permissions that a new file gets, when the block ends without an error; else nothing is left
    and `path` is as it was. Raises OSError. A device or a pipe, which cannot be renamed over, is written directly."""
    target = Path(path)
    if target.exists() and not target.is_file() and not target.is_dir():
        with open(target, "wb") as file:
            yield file
        return
    beside = target.with_name(f".{target.name[:60]}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def unwritable(path: str | os.PathLike[str], error: OSError | ValueError) -> UsageError:
    """What every command says (exit 2) of an output that cannot be written: no such folder, no permission, a full disk."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UsageError(f"cannot write: {reason}", where=os.fspath(path))
