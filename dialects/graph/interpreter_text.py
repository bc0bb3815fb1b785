"""Ops on text, on arrays of Python's strings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.ops_text import NormalizeTextOp
from stepwell.dialects.numpy_types import Array

CHANGES: dict[str | None, Callable[[str], str]] = {"lower": str.lower, "upper": str.upper, None: str}


def _normalize(op: NormalizeTextOp, operands: Sequence[Array], settings: Settings) -> Results:
    key: Callable[[str], str] = str.casefold if op.any_case else str
    unwanted = {key(entry) for entry in op.without}
    kept = [CHANGES[op.to](entry) for entry in operands[0].reshape(-1).tolist() if key(entry) not in unwanted] or [""]
    made = np.empty(len(kept), object)
    made[:] = kept
    return (made.reshape((1,) * (operands[0].ndim - 1) + (len(kept),)),)


TABLE: Table = {NormalizeTextOp: _normalize}
