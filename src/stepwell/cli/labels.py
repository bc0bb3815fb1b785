"""Names of classes for the scores that a network gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from stepwell.runtime.errors import UsageError

SYNSET = re.compile(r"n\d{8}\s+")
"""What stands before the names in ImageNet's lists."""


def print_classes(outputs: Mapping[str, np.ndarray], file: Path, count: int) -> None:
    """The `count` best classes of every row of each output that has as many classes as the file has lines; UsageError where none has."""
    labels = read_labels(file)
    fitting = {name: rows for name, array in outputs.items() if (rows := _rows(array, len(labels))) is not None}
    if not fitting:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise UsageError(f"the file names {len(labels)} classes, no output has as many", where=str(file), hint=shapes)
    for name, rows in fitting.items():
        for number, row in enumerate(rows):
            print(f"{name}[{number}]:")
            for place in np.argsort(-row.astype(np.float64), kind="stable")[:count]:
                print(f"  {float(row[place]):.6g}  {labels[place]}")


def read_labels(file: Path) -> list[str]:
    """A name a line, without ImageNet's synset numbers; empty lines at the end do not count."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read: {reason}", where=str(file)) from None
    lines = [SYNSET.sub("", line.strip()) for line in text.rstrip().splitlines()]
    if not lines:
        raise UsageError("the file names no class", where=str(file), hint="one name a line")
    return lines


def _rows(array: np.ndarray, classes: int) -> np.ndarray | None:
    """[rows, classes] of an output [classes] or [rows, classes, 1, ..]; None where it has another number of classes."""
    if array.shape == (classes,):
        return array[None]
    if array.ndim < 2 or array.shape[1] != classes or array.size != array.shape[0] * classes:
        return None
    return array.reshape(array.shape[0], classes)
