"""Graph passes on tensors whose batch is a symbol, and on products whose weights have a batch."""

from __future__ import annotations

import numpy as np
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.signature import signature_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context, pass_modules
from stepwell.transforms.pipelines import GRAPH

PASSES = sorted(name for name in pass_modules() if name.startswith("graph-"))
PASSES += [",".join(GRAPH), ",".join([*GRAPH, "graph-set-precision"])]
SYMBOLIC = """
builtin.module attributes {stepwell.level = "graph"} {
func.func @main(%x: IMAGE<3x8x8>, %f: tensor<4x3x3x3xf32>, %w: tensor<64x5xf32>, %b: tensor<4xf32>) -> (IMAGE<5>, IMAGE<4x4x4>) {
  %c = graph.conv %x, %f strides [1, 1] pads [1, 1, 1, 1] dilations [1, 1] channels_first : (IMAGE<3x8x8>, tensor<4x3x3x3xf32>) -> IMAGE<4x8x8>
  %bb = graph.broadcast %b dims [1] : tensor<4xf32> -> IMAGE<4x8x8>
  %a = graph.binary add %c, %bb : (IMAGE<4x8x8>, IMAGE<4x8x8>) -> IMAGE<4x8x8>
  %r = graph.unary relu %a : IMAGE<4x8x8> -> IMAGE<4x8x8>
  %p = graph.pool max %r kernel [2, 2] strides [2, 2] pads [0, 0, 0, 0] dilations [1, 1] channels_first : IMAGE<4x8x8> -> IMAGE<4x4x4>
  %t = graph.transpose %p [0, 2, 3, 1] : IMAGE<4x4x4> -> IMAGE<4x4x4>
  %n = graph.unary neg %t : IMAGE<4x4x4> -> IMAGE<4x4x4>
  %u = graph.transpose %n [0, 3, 1, 2] : IMAGE<4x4x4> -> IMAGE<4x4x4>
  %l = graph.reshape %u : IMAGE<4x4x4> -> IMAGE<64>
  %m = graph.matmul %l, %w : (IMAGE<64>, tensor<64x5xf32>) -> IMAGE<5>
  func.return %m, %u : IMAGE<5>, IMAGE<4x4x4>
}
}"""
BATCHED = """
builtin.module attributes {stepwell.level = "graph"} {
func.func @main(%x: tensor<2x4x3xf32>) -> tensor<2x3x5xf32> {
  %w = graph.weight #graph.weight<"w", "HASH", tensor<2x4x5xf32>, []> : tensor<2x4x5xf32>
  %t = graph.transpose %x [0, 2, 1] : tensor<2x4x3xf32> -> tensor<2x3x4xf32>
  %f = graph.reshape %t : tensor<2x3x4xf32> -> tensor<2x3x4xf32>
  %m = graph.matmul %f, %w : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  func.return %m : tensor<2x3x5xf32>
}
}"""


def symbolic() -> str:
    """The text with IMAGE<..> written out: a first extent that is a symbol."""
    text = SYMBOLIC
    for extents in ("3x8x8", "4x8x8", "4x4x4", "64", "5"):
        type = f'tensor<?x{extents}xf32, #graph.extents<["batch" * 1 in [1, 8]]>>'
        text = text.replace(f"IMAGE<{extents}>", type)
    return text


@pytest.mark.parametrize("specs", PASSES)
@pytest.mark.parametrize("which", ["symbolic", "batched"])
def test_passes_keep_what_the_network_computes(which: str, specs: str) -> None:
    store = WeightStore()
    ref = store.add("w", np.random.default_rng(0).standard_normal((2, 4, 5)).astype(np.float32))
    text = symbolic() if which == "symbolic" else BATCHED.replace("HASH", ref.sha256.data)
    module = parse_text(make_context(), text, SourceMap(which))
    module.verify()
    inputs = signature_of(module).random_inputs(0)
    if which == "symbolic":
        inputs["input0"] = inputs["input0"][:3]
    expected = interpret(module, inputs, store)
    try:
        for pass_ in passes_of(specs):
            pass_.apply(make_context(store), module)
    except PassFailure:
        assert specs == "graph-set-precision", "it needs fusions"
        return
    module.verify()
    tolerance = 2e-2 if "precision" in specs else 1e-5
    for name, array in interpret(module, inputs, store).items():
        assert which == "batched" or array.shape[0] == 3
        np.testing.assert_allclose(array, expected[name], rtol=tolerance, atol=tolerance)
