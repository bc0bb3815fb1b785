"""Each family of kernels on a GPU against the graph level's interpreter: rows, attention, products of every type, loops, movement."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import stepwell
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime import PlanError
from stepwell.runtime.cuda_driver import check_device

pytestmark = pytest.mark.gpu
HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
ATTENTION = """k_ = Transpose <perm = [0, 1, 3, 2]> (k) s = MatMul (q, k_) c = Constant <value_float = 0.125> () t = Mul (s, c)
    p = Softmax <axis = -1> (t) y = MatMul (p, v)"""

CASES = {
    "softmax": ("float[64,1000] x", "y = Softmax <axis = -1> (x)"),
    "softmax of long rows": ("float[3,20011] x", "y = Softmax <axis = -1> (x)"),
    "softmax of short rows": ("float[999,7] x", "y = LogSoftmax <axis = -1> (x)"),
    "softmax of a middle dim": ("float[3,33,50] x", "y = Softmax <axis = 1> (x)"),
    "layer norm": ("float[64,768] x, float[768] g, float[768] b", "y = LayerNormalization <axis = -1> (x, g, b)"),
    "layer norm of long rows": ("float[3,9001] x, float[9001] g", "y = LayerNormalization <axis = -1> (x, g)"),
    "group norm": ("float[2,32,9,9] x, float[32] g, float[32] b", "y = InstanceNormalization (x, g, b)"),
    "sums": ("float[5,129,33] x", "y = ReduceSum (x)"),
    "sums of rows": ("float[5,129,1033] x", "a = Constant <value_ints = [2]> () y = ReduceMean <keepdims = 0> (x, a)"),
    "maxima of columns": ("float[130,65] x", "a = Constant <value_ints = [0]> () y = ReduceMax <keepdims = 0> (x, a)"),
    "places": ("float[40,1000] x", "p = ArgMax <axis = 1> (x) y = Cast <to = 1> (p)"),
    "attention": ("float[2,4,197,64] q, float[2,4,197,64] k, float[2,4,197,64] v", ATTENTION),
    "short attention": ("float[1,3,50,32] q, float[1,3,77,32] k, float[1,3,77,32] v", ATTENTION),
    "a batched product": ("float[3,70,64] a, float[3,64,96] b", "y = MatMul (a, b)"),
    "a product of integers": ("int8[70,64] a, int8[64,96] b", "i = MatMulInteger (a, b) y = Cast <to = 1> (i)"),
    "top k": ("float[9,300] x", "k = Constant <value_ints = [5]> () y, i = TopK (x, k)"),
    "running sums": ("float[9,300] x", "a = Constant <value_int = 1> () y = CumSum (x, a)"),
    "concatenation": ("float[3,40] x, float[3,60] z", "c = Concat <axis = 1> (x, z) y = Relu (c)"),
    "padding": ("float[3,40] x", "p = Constant <value_ints = [1, 2, 0, 3]> () y = Pad (x, p)"),
    "comparison": ("float[30,41] x, float[30,41] z", "c = Less (x, z) y = Where (c, x, z)"),
    "rows that are picked": (
        "float[30,41] x",
        "i = Constant <value_ints = [3, 0, 29]> () y = Gather <axis = 0> (x, i)",
    ),
    "local response": ("float[2,16,9,9] x", "y = LRN <size = 5> (x)"),
    "global average": ("float[2,64,7,7] x", "y = GlobalAveragePool (x)"),
    "average of cut windows": ("float[2,16,9,9] x", "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)"),
}
TOLERANCE = {"model": 2e-3, "fp32": 2e-5, "fp16": 5e-3, "bf16": 4e-2}
"""Beside the largest result: f32 products are rounded to tf32 in `model`."""


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_on_the_device(name: str, precision: str) -> None:
    try:
        check_device("sm_90")
    except PlanError as error:
        pytest.skip(str(error))
    inputs, body = CASES[name]
    model = onnx.parser.parse_model(HEAD + f"net ({inputs}) => (y) {{ {body} }}")
    module, store = import_onnx(model)
    rng = np.random.default_rng(0)
    feeds = {}
    for entry in model.graph.input:
        shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        whole = entry.type.tensor_type.elem_type == onnx.TensorProto.INT8
        feeds[entry.name] = (
            rng.integers(-9, 10, shape).astype(np.int8) if whole else rng.standard_normal(shape).astype(np.float32)
        )
    wanted = stepwell.interpret(module, feeds, weights=store)["y"]
    engine = stepwell.compile(model, target="sm_90a", precision=precision)
    got = engine.run(feeds)["y"]
    assert got.shape == wanted.shape
    exact = name in ("a product of integers",) or (name in ("places",) and precision in ("model", "fp32"))
    limit = 0 if exact else TOLERANCE[precision] * max(1.0, float(np.abs(wanted).max()))
    if name == "places" and not exact:
        return
    assert float(np.abs(got.astype(np.float64) - wanted.astype(np.float64)).max()) <= limit
