"""The approximate instructions of CUDA machines: one model function each, for the interpreters of every level.

The hardware's bits are not published. A model is the nearest float32 to the exact value; `error` is how far the hardware may lie from that (PTX ISA, the
instruction's own section). So levels agree bit for bit among themselves, and with the machine within `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from stepwell.dialects import numerics


@dataclass(frozen=True)
class Model:
    """What an approximate instruction of `operands` float32 operands is taken to compute; `error` in words of the PTX ISA."""

    function: Callable[..., Any]
    operands: int
    error: str


exp2 = numerics.through_float64(np.exp2)
log2 = numerics.through_float64(np.log2)
reciprocal_root = numerics.through_float64(lambda x: 1.0 / np.sqrt(x))

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "ex2.approx.f32": Model(exp2, 1, "2 units in the last place"),
        "lg2.approx.f32": Model(log2, 1, "absolute 2^-22 for x in [0.5, 2], else 2^-22 of the result"),
        "rcp.approx.f32": Model(np.reciprocal, 1, "1 unit in the last place"),
        "rsqrt.approx.f32": Model(reciprocal_root, 1, "2^-22.9 of the result"),
        "sqrt.approx.f32": Model(np.sqrt, 1, "2^-23 of the result"),
        "tanh.approx.f32": Model(numerics.tanh, 1, "2^-11 of the result"),
        "div.full.f32": Model(np.divide, 2, "2 units in the last place"),
        "div.approx.f32": Model(np.divide, 2, "2 units in the last place for divisors up to 2^126"),
    }
)
"""By PTX name."""
