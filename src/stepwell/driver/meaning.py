"""Whether two results agree as a pass's declared meaning says.

- `exact`: bit for bit (the sign of zero and the payload of a NaN too).
- `reassociates`: a sum of n products in another order. Higham, Accuracy and Stability of Numerical Algorithms (2002), (3.5): each of two
  orders is within gamma_n * sum |x_i y_i| of the exact sum, gamma_n = n u / (1 - n u). The sum of magnitudes is not known here; it is taken
  as at most `SPREAD` times the largest result, and NaN and infinite elements must be at the same places. Where values on the way are kept in a
  coarser type (`between`: its unit roundoff), a sum that comes out differently may be rounded to its neighbour there.
- `rounds`: within `rtol` of the largest result.
- `changes`: anything; what such a pass computes is compared with a reference where one is given (`check_pass(..., reference=)`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stepwell.passes import Meaning
from stepwell.runtime.errors import ComparisonError

Array = NDArray[np.generic]
SPREAD = 4.0
"""Bound on (sum of magnitudes) / (largest result), for sums of terms of both signs as networks have them."""


def tolerance(before: Array, meaning: Meaning, rtol: float, terms: int, between: float = 0.0) -> float:
    """The largest difference that `meaning` allows between an element of `before` and its successor."""
    if meaning == "exact" or before.dtype.kind != "f":
        return 0.0
    finite = np.abs(before[np.isfinite(before)].astype(np.float64))
    scale = float(finite.max()) if finite.size else 0.0
    if meaning == "rounds":
        return rtol * scale
    unit = float(np.finfo(before.dtype.name).eps) / 2
    gamma = terms * unit / max(1 - terms * unit, 0.5)
    return (2 * gamma + 2 * between) * SPREAD * scale


def difference(
    before: Array, after: Array, meaning: Meaning, *, rtol: float = 0.0, terms: int = 1, between: float = 0.0
) -> str:
    """Why the two arrays do not agree; the empty string where they do."""
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return f"{before.dtype}{list(before.shape)} became {after.dtype}{list(after.shape)}"
    if meaning == "changes":
        return ""
    if meaning == "exact":
        wrong = before.tobytes() != after.tobytes()
        return _first_difference(before, after) if wrong else ""
    if not np.array_equal(np.isfinite(before), np.isfinite(after)):
        return "NaN or infinity at other places"
    allowed = tolerance(before, meaning, rtol, terms, between)
    finite = np.isfinite(before)
    gap = np.abs(before[finite].astype(np.float64) - after[finite].astype(np.float64))
    worst = float(gap.max()) if gap.size else 0.0
    return f"differs by {worst:.3g}, allowed are {allowed:.3g}" if worst > allowed else ""


def largest_gap(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    """The largest difference between elements at one place in two results of the same shapes; infinite where one is NaN or infinite and the
    other is not."""
    return max((_gap(array, after[name]) for name, array in before.items() if array.size), default=0.0)


def _gap(before: Array, after: Array) -> float:
    left, right = before.astype(np.float64), after.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(left - right))
    return float(np.where(np.isnan(gaps), np.inf, gaps).max())


def _first_difference(before: Array, after: Array) -> str:
    width = before.dtype.itemsize
    left = np.frombuffer(before.tobytes(), np.uint8).reshape(-1, width)
    right = np.frombuffer(after.tobytes(), np.uint8).reshape(-1, width)
    wrong = (left != right).any(axis=1)
    at = int(wrong.argmax())
    index = tuple(int(i) for i in np.unravel_index(at, before.shape)) if before.shape else ()
    return f"{int(wrong.sum())} of {wrong.size} elements differ; first at {index}: {before.flat[at]!r} became {after.flat[at]!r}"


def assert_same_results(
    before: Mapping[str, Array],
    after: Mapping[str, Array],
    meaning: Meaning = "exact",
    *,
    rtol: float = 0.0,
    terms: int = 1,
    between: float = 0.0,
    what: str = "",
) -> None:
    """A ComparisonError (exit 1) that names the output and the difference, unless all outputs agree."""
    if list(before) != list(after):
        raise ComparisonError(f"outputs {list(before)} became {list(after)}", where=what)
    for name, array in before.items():
        reason = difference(array, after[name], meaning, rtol=rtol, terms=terms, between=between)
        if reason:
            raise ComparisonError(f"output '{name}': {reason}, but the meaning is declared as '{meaning}'", where=what)
