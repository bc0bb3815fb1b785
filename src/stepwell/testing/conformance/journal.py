"""Where a run keeps its outcomes: one file for each suite and executor, good for the sources that it was made with and for no others."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

import stepwell


@cache
def sources() -> str:
    """A number of the package's sources: it changes with every line of them."""
    root = Path(stepwell.__file__).parent
    digest = hashlib.sha256()
    folders = os.walk(root, followlinks=True)  # a checkout joins the folders of the package by links
    for path in sorted(Path(folder) / name for folder, _, names in folders for name in names if name.endswith(".py")):
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def journal(folder: Path, suite: str, executor: str) -> Path:
    """The file of a suite on an executor; those of older sources are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{suite}-{executor}-{sources()}.jsonl"
    for old in folder.glob(f"{suite}-{executor}-*.jsonl"):
        if old != path:
            old.unlink()
    return path
