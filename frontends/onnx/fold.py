"""Nodes whose operands are known, computed while importing by ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper
from onnx.reference import ReferenceEvaluator

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.model_file import first_line
from stepwell.frontends.onnx.node import Node


def evaluated(node: Node, constants: Mapping[str, Array], opset: int, ir_version: int) -> dict[str, Array]:
    """The results of a node by name; Unsupported where the evaluator stumbles."""
    feeds: dict[str, Array] = {name: constants[name] for name in node.inputs if name}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.outputs]
    small = helper.make_graph([node.proto], "fold", infos, outputs)
    model = helper.make_model(small, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    try:
        with np.errstate(all="ignore"):
            results = ReferenceEvaluator(model).run(None, feeds)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise Unsupported(f"its constant inputs cannot be evaluated: {first_line(error)}") from None
    return dict(zip(node.outputs, (np.asarray(result) for result in results)))
