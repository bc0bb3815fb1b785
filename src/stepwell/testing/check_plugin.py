"""`check_plugin`: a plugin's meaning in ops is its meaning in NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stepwell.dialects.numpy_types import Array, is_float_dtype
from stepwell.frontends.plugins import Plugin

STEPS = 64
"""How many roundings of the element type may lie between the two."""


def check_plugin(
    plugin: Plugin, inputs: Sequence[Array], parameters: Mapping[str, Any] | None = None, *, rtol: float | None = None
) -> str:
    """Run both on the inputs: types and shapes agree, integers exactly, floats within `rtol` of the largest (64 roundings unless it is said). AssertionError with the result that
    differs."""
    held = plugin.parameters(parameters or {})
    wanted, found = plugin.run(inputs, held), plugin.run_ops(inputs, held)
    for place, (a, b) in enumerate(zip(found, wanted, strict=True)):
        where = f"{plugin}: result {place}"
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{where} is {a.dtype}{list(a.shape)} in ops"
        exact = not is_float_dtype(b.dtype)
        left, right = (array if exact else array.astype(np.float64) for array in (a, b))
        largest = 0.0 if exact else float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
        limit = 0.0 if exact else largest * (rtol if rtol is not None else STEPS * _rounding(b))
        np.testing.assert_allclose(left, right, rtol=0, atol=limit, err_msg=where)
    count = f"{len(wanted)} result{'s' if len(wanted) != 1 else ''}"
    return f"{plugin}: {count}, in ops as in NumPy"


def _rounding(array: Array) -> float:
    import ml_dtypes

    return float(ml_dtypes.finfo(array.dtype).eps)
