"""ONNX: files and ModelProtos to graph-level modules.

>>> from onnx import helper
>>> x, y = (helper.make_tensor_value_info(name, 1, [2, 3]) for name in "xy")
>>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="act")], "net", [x], [y])
>>> module, weights = import_onnx(helper.make_model(graph))
>>> print(module.body.block.first_op.body.block.first_op)
%y = graph.unary relu %x : tensor<2x3xf32> -> tensor<2x3xf32>
"""

from __future__ import annotations

from stepwell.frontends.onnx.converters import CONVERTERS
from stepwell.frontends.onnx.importer import import_onnx
from stepwell.frontends.onnx.model_file import OPSETS, ModelSource

SUPPORTED_OPS = tuple(sorted([*CONVERTERS, "Constant"]))
"""ONNX operators that can be imported."""

__all__ = ["OPSETS", "SUPPORTED_OPS", "ModelSource", "import_onnx"]
