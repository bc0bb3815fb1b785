"""What a failure by our fault leaves: one file each in a folder of its own, `stepwell-reproducers` unless STEPWELL_REPRODUCERS or
`--reproducer-dir` names another. A pass leaves its input with a RUN line; anything else the words of the command and the traceback.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from stepwell.driver.files import write_whole
from stepwell.runtime.errors import UsageError

FOLDER = "stepwell-reproducers"
VARIABLE = "STEPWELL_REPRODUCERS"
FAULT = "this is our fault; please report it"


def reproducers_folder() -> Path:
    """Where reproducers go when nothing else is said."""
    return Path(os.environ.get(VARIABLE) or FOLDER)


def write_reproducer(text: str, key: str, folder: str | Path | None = None, suffix: str = ".mlir") -> Path:
    """Write `text` into `folder`, or where that cannot be written into the temporary folder. What has the same `key` is the same failure
    and has one file."""
    name = f"reproducer-{hashlib.sha256(key.encode(errors='replace')).hexdigest()[:10]}{suffix}"
    for place in (Path(folder) if folder else reproducers_folder(), Path(tempfile.gettempdir()) / FOLDER):
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_whole(place / name, text.encode(errors="backslashreplace"))
        except (OSError, UsageError):
            continue
        return place / name
    return Path(os.devnull)


def write_report(error: BaseException, words: Sequence[str]) -> Path:
    """Write what is known of an unexpected exception of a command: its words, where it ran, and the traceback."""
    trace = "".join(traceback.format_exception(error))
    version = f"python {sys.version.split()[0]}"
    text = f"command: {list(words)}\nfolder: {Path.cwd()}\n{version}\n\n{trace}"
    return write_reproducer(text, f"{list(words)}{_frames(error)}", suffix=".txt")


def _frames(error: BaseException) -> list[str]:
    """Where the exception came from, without what differs from run to run."""
    return [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
