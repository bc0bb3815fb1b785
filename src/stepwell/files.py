"""Output files appear whole or not at all: they are written beside their place and renamed."""

from __future__ import annotations

import os
from pathlib import Path

from stepwell.runtime.errors import UsageError


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` by way of a file beside it; a UsageError (exit 2) says why it cannot be written."""
    target = Path(path)
    data = content.encode() if isinstance(content, str) else content
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)  # a device or a pipe cannot be renamed over
            return
        beside.write_bytes(data)
        os.replace(beside, target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(f"cannot write: {error.strerror}", where=str(target)) from None
