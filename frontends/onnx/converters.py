"""The table from ONNX operator to converter. A new operator is one function in a `convert_*` file and one line here."""

from __future__ import annotations

from stepwell.frontends.onnx import convert_elementwise as elementwise
from stepwell.frontends.onnx import convert_matmul as matmul
from stepwell.frontends.onnx import convert_movement as movement
from stepwell.frontends.onnx import convert_window as window

CONVERTERS: dict[str, elementwise.Converter] = {
    "Abs": elementwise.unary("abs"),
    "Add": elementwise.binary("add"),
    "AveragePool": window.average_pool,
    "Cast": elementwise.cast,
    "Conv": window.conv,
    "Div": elementwise.binary("div"),
    "Dropout": movement.dropout,
    "Erf": elementwise.unary("erf"),
    "Exp": elementwise.unary("exp"),
    "Flatten": movement.flatten,
    "Gelu": elementwise.gelu,
    "Gemm": matmul.gemm,
    "GlobalAveragePool": window.global_average_pool,
    "GlobalMaxPool": window.global_max_pool,
    "Identity": movement.identity,
    "Log": elementwise.unary("log"),
    "MatMul": matmul.matmul,
    "Max": elementwise.variadic("max"),
    "MaxPool": window.max_pool,
    "Min": elementwise.variadic("min"),
    "Mul": elementwise.binary("mul"),
    "Neg": elementwise.unary("neg"),
    "Relu": elementwise.unary("relu"),
    "Reshape": movement.reshape,
    "Sigmoid": elementwise.unary("sigmoid"),
    "Sqrt": elementwise.unary("sqrt"),
    "Squeeze": movement.squeeze,
    "Sub": elementwise.binary("sub"),
    "Sum": elementwise.variadic("add"),
    "Tanh": elementwise.unary("tanh"),
    "Transpose": movement.transpose,
    "Unsqueeze": movement.unsqueeze,
}
"""Operators of ONNX's default domain by name; Constant is handled by the importer."""
