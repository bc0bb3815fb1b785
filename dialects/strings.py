"""The element type of text. It has no size in memory and no place on a device: only the graph level and its interpreter know it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition


@irdl_attr_definition
class StringType(ParametrizedAttribute, TypeAttribute):
    """`tensor<4x!graph.string>`: elements are text in Unicode. Arrays of them hold Python's strings (`dtype=object`)."""

    name = "graph.string"


string = StringType()


def as_text(array: NDArray[Any]) -> NDArray[Any] | None:
    """An array of strings, of NumPy's strings, or of bytes in UTF-8, as Python's strings; None for what holds anything else."""
    if array.dtype.kind not in "OUST":
        return None
    found = [_text(entry) for entry in array.reshape(-1).tolist()]
    if None in found:
        return None
    made = np.empty(array.size, object)
    made[:] = found
    return made.reshape(array.shape)


def _text(entry: object) -> str | None:
    if isinstance(entry, bytes):
        try:
            return entry.decode()
        except UnicodeDecodeError:
            return None
    return entry if isinstance(entry, str) else None
