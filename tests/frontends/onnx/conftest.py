"""`make_model`: small ONNX models made with onnx.helper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference


def build_model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Any],
    outputs: Sequence[str] = ("y",),
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    opset: int = 20,
    ir_version: int = 10,
    infer: bool = True,
    **more: Any,
) -> onnx.ModelProto:
    """A model whose inputs are declared like the given arrays, or as float of the given shapes; outputs get inferred types."""
    declared = []
    for name, value in inputs.items():
        is_array = isinstance(value, np.ndarray)
        element = helper.np_dtype_to_tensor_dtype(value.dtype) if is_array else TensorProto.FLOAT
        declared.append(helper.make_tensor_value_info(name, element, value.shape if is_array else value))
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "net",
            declared,
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version,
        **more,
    )
    return shape_inference.infer_shapes(made, strict_mode=True, data_prop=True) if infer else made


@pytest.fixture
def make_model() -> Callable[..., onnx.ModelProto]:
    """The function that builds a model."""
    return build_model
