"""Operators one by one against NumPy: element types, scalars, no elements, one element, extents beside the vector width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow

SHAPES: Sequence[tuple[int, ...]] = ((), (1,), (0, 3), (17,), (2, 3))
FLOATS = ("float32", "float16", "float64")
INTEGERS = ("int32", "int8", "uint8", "int64", "uint16")


@dataclass(frozen=True)
class Case:
    """An operator of one or two operands from `low` to `high`; the reference gets them in f64 where they are floats."""

    op: str
    wanted: Callable[..., Any]
    low: float = -4
    high: float = 4
    types: Sequence[str] = FLOATS


def _no_nan(function: Callable[[Any, Any], Any], at: int) -> Callable[[Any, Any], Any]:
    """0 where one operand is 0."""

    def call(x: Any, y: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.where((x, y)[at] == 0, 0, function(x, y))

    return call


_erf, _erfc = np.vectorize(math.erf, otypes=[float]), np.vectorize(math.erfc, otypes=[float])
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
UNARY = [
    Case("Abs", np.abs, types=(*FLOATS, "int32", "int8")),
    Case("Acos", np.arccos, -1, 1),
    Case("Acosh", np.arccosh, 1, 9),
    Case("Asin", np.arcsin, -1, 1),
    Case("Asinh", np.arcsinh),
    Case("Atan", np.arctan),
    Case("Atanh", np.arctanh, -0.9, 0.9),
    Case("Ceil", np.ceil),
    Case("CheckNumerics", lambda x: x),
    Case("Cos", np.cos),
    Case("Cosh", np.cosh),
    Case("Elu", lambda x: np.where(x > 0, x, np.expm1(x))),
    Case("Erf", _erf),
    Case("Erfc", _erfc, -4, 3),
    Case("Exp", np.exp),
    Case("Expm1", np.expm1),
    Case("Floor", np.floor),
    Case("Inv", lambda x: 1 / x, 1, 9),
    Case("Invert", np.invert, 0, 100, INTEGERS),
    Case("LeakyRelu", lambda x: np.where(x > 0, x, np.float32(0.2) * x)),
    Case("Log", np.log, 0.1, 9),
    Case("Log1p", np.log1p, -0.9, 9),
    Case("Neg", np.negative, types=(*FLOATS, "int32", "int8", "int64")),
    Case("OnesLike", np.ones_like, types=(*FLOATS, "int32", "bool")),
    Case("PreventGradient", lambda x: x),
    Case("Reciprocal", lambda x: 1 / x, 1, 9),
    Case("Relu", lambda x: np.maximum(x, 0), types=(*FLOATS, "int32", "int8")),
    Case("Relu6", lambda x: np.clip(x, 0, 6), -4, 9),
    Case("Rint", np.rint),
    Case("Round", np.rint, types=(*FLOATS, "int32")),
    Case("Rsqrt", lambda x: 1 / np.sqrt(x), 0.1, 9),
    Case("Selu", lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(x))),
    Case("Sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    Case("Sign", np.sign, types=(*FLOATS, "int32", "int64")),
    Case("Sin", np.sin),
    Case("Sinh", np.sinh),
    Case("Snapshot", lambda x: x),
    Case("Softplus", lambda x: np.log1p(np.exp(x))),
    Case("Softsign", lambda x: x / (1 + np.abs(x))),
    Case("Sqrt", np.sqrt, 0, 9),
    Case("Square", np.square, types=(*FLOATS, "int32", "int64")),
    Case("Tan", np.tan, -1, 1),
    Case("Tanh", np.tanh),
    Case("ZerosLike", np.zeros_like, types=(*FLOATS, "int32", "bool", "uint8")),
]
TWO = [
    Case("AddV2", np.add, types=(*FLOATS, *INTEGERS)),
    Case("Atan2", np.arctan2),
    Case("BitwiseAnd", np.bitwise_and, 0, 100, INTEGERS),
    Case("BitwiseOr", np.bitwise_or, 0, 100, INTEGERS),
    Case("BitwiseXor", np.bitwise_xor, 0, 100, INTEGERS),
    Case("Div", np.divide, 1, 9),
    Case("DivNoNan", _no_nan(np.divide, 1), 0, 3),
    Case("Equal", np.equal, 0, 3, types=(*FLOATS, *INTEGERS, "bool")),
    Case("FloorDiv", np.floor_divide, 1, 90, (*FLOATS, *INTEGERS)),
    Case("FloorMod", np.mod, 1, 90, (*FLOATS, *INTEGERS)),
    Case("Greater", np.greater, 0, 3, types=(*FLOATS, *INTEGERS)),
    Case("GreaterEqual", np.greater_equal, 0, 3, types=(*FLOATS, *INTEGERS)),
    Case("LeftShift", np.left_shift, 0, 6, INTEGERS),
    Case("Less", np.less, 0, 3, types=(*FLOATS, *INTEGERS)),
    Case("LessEqual", np.less_equal, 0, 3, types=(*FLOATS, *INTEGERS)),
    Case("LogicalAnd", np.logical_and, types=("bool",)),
    Case("LogicalOr", np.logical_or, types=("bool",)),
    Case("Maximum", np.maximum, types=(*FLOATS, *INTEGERS)),
    Case("Minimum", np.minimum, types=(*FLOATS, *INTEGERS)),
    Case("Mod", np.fmod, 1, 90, (*FLOATS, *INTEGERS)),
    Case("Mul", np.multiply, types=(*FLOATS, *INTEGERS)),
    Case("MulNoNan", _no_nan(np.multiply, 1), 0, 3),
    Case("NotEqual", np.not_equal, 0, 3, types=(*FLOATS, *INTEGERS, "bool")),
    Case("Pow", np.power, 0.5, 3),
    Case("RealDiv", np.divide, 1, 9),
    Case("RightShift", np.right_shift, 0, 6, INTEGERS),
    Case("SquaredDifference", lambda x, y: (x - y) ** 2, types=(*FLOATS, "int32")),
    Case("Sub", np.subtract, types=(*FLOATS, *INTEGERS)),
    Case("TruncateDiv", lambda x, y: np.trunc(x / y).astype(x.dtype), 1, 90, INTEGERS),
    Case("TruncateMod", np.fmod, 1, 90, INTEGERS),
    Case("Xdivy", _no_nan(np.divide, 0), 0, 3),
    Case("Xlog1py", _no_nan(lambda x, y: x * np.log1p(y), 0), 0, 3),
    Case("Xlogy", _no_nan(lambda x, y: x * np.log(y), 0), 1, 3),
]
SIGNED = ("FloorDiv", "FloorMod", "Mod", "TruncateDiv", "TruncateMod")


def _values(case: Case, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    low = max(case.low, 0) if dtype.startswith("u") else case.low
    if not dtype.startswith("float"):
        values: Any = random.integers(int(low), int(case.high) + 1, shape)
        if case.op in SIGNED and not dtype.startswith("u") and seed % 2:
            values = np.where(random.integers(0, 2, shape), values, -values)
        return np.asarray(values).astype(dtype)
    drawn = random.uniform(low, case.high, shape)
    return np.asarray(np.round(drawn) if case.low == 0 else drawn).astype(dtype)


def _tolerance(dtype: str) -> float:
    return {"float16": 4e-3, "float32": 1e-6, "float64": 1e-12}.get(dtype, 0)


@pytest.mark.parametrize("case", [*UNARY, *TWO], ids=lambda case: case.op)
def test_elementwise(case: Case) -> None:
    """Every type in two shapes, and all shapes in the first type, as nodes of one graph; two operands broadcast."""
    count = 1 if case in UNARY else 2
    combinations = [(shape, case.types[0]) for shape in SHAPES] + [((2, 3), dtype) for dtype in case.types[1:]]
    made, inputs, wanted = GraphDef(), dict[str, Any](), dict[str, Any]()
    for number, (shape, dtype) in enumerate(combinations):
        shapes = [shape, shape[1:]][:count]
        arrays = [_values(case, s, dtype, 2 * number + k) for k, s in enumerate(shapes)]
        names = [made.placeholder(f"x{number}_{k}", list(a.shape), dtype) for k, a in enumerate(arrays)]
        inputs.update(zip(names, arrays, strict=True))
        made.node(f"y{number}", case.op, *names)
        wide = [array.astype(np.float64) if dtype.startswith("float") else array for array in arrays]
        result = np.asarray(case.wanted(*wide))
        wanted[f"y{number}"] = result if result.dtype == bool else result.astype(dtype)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=list(wanted))
    results = stepwell.interpret(module, inputs, weights=weights)
    for (name, expected), (_, dtype) in zip(wanted.items(), combinations, strict=True):
        assert (results[name].shape, results[name].dtype) == (expected.shape, expected.dtype), dtype
        np.testing.assert_allclose(
            results[name].astype(np.float64),
            expected.astype(np.float64),
            rtol=_tolerance(dtype),
            atol=_tolerance(dtype),
        )


def test_small_values_of_erfc() -> None:
    """The difference from 1 would be 0 there."""
    x = np.linspace(2, 9, 40)
    made = GraphDef()
    made.placeholder("x", [40], "float64")
    made.node("y", "Erfc", "x")
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["y"])
    np.testing.assert_allclose(
        stepwell.interpret(module, {"x": x}, weights=weights)["y"].astype(float), _erfc(x), rtol=1e-13
    )
