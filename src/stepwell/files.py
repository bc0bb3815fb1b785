"""Output files appear whole or not at all; what cannot be written is the user's mistake."""

from __future__ import annotations

from pathlib import Path

from stepwell.runtime.errors import UsageError
from stepwell.runtime.files import whole_file


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` by way of a file beside it; a UsageError (exit 2) says why it cannot be written."""
    try:
        with whole_file(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror}", where=str(path)) from None
