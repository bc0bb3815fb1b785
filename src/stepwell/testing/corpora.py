"""Files that others made, beside the checkout: trained networks, graphs and definitions with the results that other programs computed for them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stepwell.dialects.numpy_types import Array

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: this file lies at src/stepwell/testing in it."""


def corpora() -> Path:
    """The folder of the corpora: STEPWELL_CORPORA, or ../shared/corpora beside the checkout. It may be absent."""
    return Path(os.environ.get("STEPWELL_CORPORA") or ROOT.parent / "shared" / "corpora")


def absent() -> str:
    """Why nothing of the corpora can be run here; empty when they are there."""
    folder = corpora()
    return "" if folder.is_dir() else f"there are no corpora at {folder}: set STEPWELL_CORPORA"


def manifest(corpus: str) -> Any:
    """What `manifest.json` of a corpus lists."""
    return json.loads((corpora() / corpus / "manifest.json").read_text())


def references(folder: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Inputs and expected outputs by name, from `io.npz`: members `in__NAME` and `out__NAME`."""
    with np.load(folder / "io.npz") as held:
        arrays: Mapping[str, Array] = {key: held[key] for key in held.files}
    inputs = {key.removeprefix("in__"): array for key, array in arrays.items() if key.startswith("in__")}
    return inputs, {key.removeprefix("out__"): array for key, array in arrays.items() if key.startswith("out__")}


def relative_difference(got: Array, wanted: Array, tolerance: float, absolute: float = 0.0) -> str:
    """What differs, or nothing: types, shapes and integers exactly, NaN and infinities in place and by sign, other numbers within `tolerance` of the
    largest finite one and `absolute`."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {wanted.dtype}{list(wanted.shape)}"
    if wanted.dtype.kind not in "fV":
        return "" if np.array_equal(got, wanted) else "integers differ"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    ours, theirs = [np.where(np.isfinite(side), 0, side) for side in (a, b)]
    if not np.array_equal(ours, theirs, equal_nan=True):
        return "infinities or NaN differ"
    error = np.abs(np.where(np.isfinite(a), a - b, 0)).max(initial=0)
    largest = np.abs(b[np.isfinite(b)]).max(initial=0)
    return "" if error <= tolerance * largest + absolute else f"off by {error:.3g}, the largest is {largest:.3g}"
