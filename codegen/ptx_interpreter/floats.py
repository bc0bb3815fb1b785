"""Floating-point arithmetic (PTX ISA, "Floating Point Instructions", "Half Precision"): IEEE 754, subnormals kept.

`add`, `sub` and `mul` are known with `.rn` only: without it the assembler may contract them into an fma, and what the machine computes is open.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from stepwell.codegen.ptx_interpreter.operation import Operation, uniform
from stepwell.codegen.ptx_interpreter.registers import Array
from stepwell.dialects import approximate, numerics

_FLOATS = ("f16", "f16x2", "f32", "f64")
_CONTRACTED = frozenset(f"{op}.{type}" for op in ("add", "sub", "mul") for type in _FLOATS)


def contractible(name: str) -> bool:
    """Whether the assembler may merge this instruction with its neighbours, so that it means nothing by itself."""
    return name in _CONTRACTED


def _copy_sign(sign: Array, magnitude: Array) -> Array:
    """copysign d, a, b: b with the sign of a."""
    return np.copysign(magnitude, sign)


def _table() -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for type in _FLOATS:
        found |= {
            f"add.rn.{type}": uniform(np.add, type, 2),
            f"sub.rn.{type}": uniform(np.subtract, type, 2),
            f"mul.rn.{type}": uniform(np.multiply, type, 2),
            f"fma.rn.{type}": uniform(numerics.fma, type, 3),
            f"neg.{type}": uniform(np.negative, type, 1),
            f"abs.{type}": uniform(np.abs, type, 1),
            f"min.{type}": uniform(numerics.minnumf, type, 2),
            f"max.{type}": uniform(numerics.maxnumf, type, 2),
        }
    for type in ("f16", "f16x2", "f32"):
        found[f"min.NaN.{type}"] = uniform(numerics.minimumf, type, 2)
        found[f"max.NaN.{type}"] = uniform(numerics.maximumf, type, 2)
    for type in ("f32", "f64"):
        found |= {
            f"div.rn.{type}": uniform(np.divide, type, 2),
            f"rcp.rn.{type}": uniform(np.reciprocal, type, 1),
            f"sqrt.rn.{type}": uniform(np.sqrt, type, 1),
            f"copysign.{type}": uniform(_copy_sign, type, 2),
        }
    for name, model in approximate.MODELS.items():
        found[name] = uniform(model.function, "f32", model.operands)
    return found


OPERATIONS: Mapping[str, Operation] = MappingProxyType(_table())
"""By whole name."""
