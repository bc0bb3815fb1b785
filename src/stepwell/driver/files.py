"""Output files appear whole or not at all, and never in place of an input; what cannot be written is the user's mistake."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from stepwell.runtime.errors import UsageError
from stepwell.runtime.files import unwritable, whole_file


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write `content` to `path` by way of a file beside it; a UsageError (exit 2) says why it cannot be written."""
    try:
        with whole_file(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except (OSError, ValueError) as error:
        raise unwritable(path, error) from None


def same_file(one: str | Path, other: str | Path) -> bool:
    """Whether both names lead to one file: through links too, and where there is no file yet, to one place."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)


def refuse_overwriting(
    outputs: Iterable[tuple[str, str | Path | None]], inputs: Iterable[str | Path | None] = ()
) -> None:
    """A UsageError when one of `outputs` (option, file) is one of `inputs`, or is two outputs at once. Devices and pipes are no files to lose."""
    taken: list[tuple[str, str | Path]] = [("an input", file) for file in inputs if file is not None]
    for option, output in outputs:
        if output is None or _is_no_file(output):
            continue
        for role, file in taken:
            if same_file(output, file):
                raise UsageError(f"{option} would overwrite {role}", where=str(output), hint="name another file")
        taken.append((f"what {option} writes", output))


def _is_no_file(path: str | Path) -> bool:
    """True for what exists and is neither a file nor a folder: `/dev/null`, a pipe, a terminal."""
    try:
        return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    except ValueError:
        return False
