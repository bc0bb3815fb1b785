"""Kernels of every element type, from a node of ONNX to the PTX that the interpreter executes, against ONNX's reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import stepwell
from stepwell.driver.run_ptx import run_plan
from stepwell.testing.ptx import ptx_plan

SHAPE = (5, 7)
TYPES: Mapping[str, int] = {
    "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16, "f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "i8": TensorProto.INT8, "i16": TensorProto.INT16,
    "i32": TensorProto.INT32, "i64": TensorProto.INT64, "bool": TensorProto.BOOL, "ui8": TensorProto.UINT8, "ui16": TensorProto.UINT16, "ui32": TensorProto.UINT32, "ui64": TensorProto.UINT64,
}  # fmt: skip
TOLERANCE = {"f16": 2e-3, "bf16": 2e-2, "f32": 2e-6, "f64": 1e-12}
FEW = [("Mul", "f64"), ("Div", "i32"), ("Max", "i8"), ("Sub", "i64"), ("Exp", "f64"), ("Cast", "f32", "i8"), ("Cast", "bool", "f16"), ("Cast", "i16", "f64"), ("Mul", "bf16"), ("Cast", "bf16", "f16"), ("Cast", "i64", "bf16"), ("Cast", "f64", "bf16"), ("Max", "ui8"), ("Div", "ui16"), ("Cast", "ui32", "f32"), ("Cast", "ui8", "f64"), ("Cast", "ui64", "i8")]  # fmt: skip
FLOATS = ("f16", "bf16", "f32", "f64")
MORE = [
    *((op, t) for op in ("Add", "Sub", "Mul", "Div", "Max", "Min") for t in TYPES if t != "bool"),
    *((op, t) for op in ("Exp", "Tanh", "Sigmoid", "Erf", "Sqrt", "Relu") for t in FLOATS),
    *((op, t) for op in ("Neg", "Abs") for t in ("f16", "f64", "i8", "i64")),
    *(("Cast", a, b) for a in TYPES for b in TYPES if a != b and not (a[0] in "fb" and b[0] == "u")),
]


def values(type: str, seed: int) -> np.ndarray:
    """Numbers of a type; no zeros among the integers, which are divided by."""
    dtype, random = helper.tensor_dtype_to_np_dtype(TYPES[type]), np.random.default_rng(seed)
    if type in FLOATS:
        return (random.standard_normal(SHAPE) * 2).astype(dtype)
    if type == "bool":
        return random.integers(0, 2, SHAPE).astype(dtype)
    whole = random.integers(0 if type[0] == "u" else -100, 200 if type[0] == "u" else 100, SHAPE)
    return np.where(whole == 0, 3, whole).astype(dtype)


def check(op: str, type: str, to: str = "") -> None:
    """One node of the operator on elements of `type`, or a cast `to` another."""
    names = ["x", "z"] if op in ("Add", "Sub", "Mul", "Div", "Max", "Min") else ["x"]
    node = helper.make_node(op, names, ["y"])
    node.attribute.extend([helper.make_attribute("to", TYPES[to])] if to else [])
    inputs = [helper.make_tensor_value_info(name, TYPES[type], SHAPE) for name in names]
    graph = helper.make_graph([node], "graph", inputs, [helper.make_tensor_value_info("y", TYPES[to or type], SHAPE)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model)
    arrays = {name: values(type, seed) for seed, name in enumerate(names)}
    found = run_plan(ptx_plan(stepwell.import_model(model)), arrays).outputs["y"]
    results: Any = ReferenceEvaluator(model).run(None, arrays)
    expected = np.asarray(results[0])
    assert found.dtype == expected.dtype
    if (to or type) not in FLOATS:
        np.testing.assert_array_equal(found, expected)
        return
    tolerance = max(TOLERANCE[to or type], 2e-7 if op == "Erf" else 0.0)  # ONNX's reference of Erf is float32
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("words", FEW, ids="-".join)
def test_a_node_of_the_type(words: tuple[str, ...]) -> None:
    check(*words)


@pytest.mark.slow
@pytest.mark.parametrize("words", [words for words in MORE if words not in FEW], ids="-".join)
def test_a_node_of_any_type(words: tuple[str, ...]) -> None:
    check(*words)
