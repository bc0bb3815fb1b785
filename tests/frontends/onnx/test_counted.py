"""Results whose number data decides, and what is computed from them, against ONNX Runtime; one import, inputs of several counts."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
X = np.array([[0, -2, 0], [4, 0, 0], [0, -2, 0], [7, 7, 7]], np.float32)
MASKS = [np.array(mask, bool) for mask in ([1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1])]


def agrees(text: str, *many: dict[str, Array]) -> None:
    """Import once, run with each of the inputs."""
    model = onnx.parser.parse_model(HEAD + text)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    module, store = import_onnx(model)
    module.verify()
    for feeds in many:
        made = interpret(module, feeds, store)
        for entry, wanted in zip(model.graph.output, session.run(None, feeds), strict=True):
            assert made[entry.name].dtype == wanted.dtype
            np.testing.assert_allclose(made[entry.name], wanted, rtol=1e-6)


def test_non_zero() -> None:
    agrees("net (float[4,3] x) => (int64[r,n] y) { y = NonZero (x) }", {"x": X}, {"x": 0 * X}, {"x": X + 9})
    agrees("net (bool[4] x) => (int64[r,n] y) { y = NonZero (x) }", *({"x": mask} for mask in MASKS))


@pytest.mark.parametrize("axis", ["<axis = 0>", "<axis = -2>", ""])
def test_compress(axis: str) -> None:
    agrees(
        f"net (float[4,3] x, bool[4] m) => (float[a{', b' * bool(axis)}] y) {{ y = Compress {axis} (x, m) }}",
        *({"x": X, "m": mask} for mask in MASKS),
    )


@pytest.mark.parametrize("attributes", ["", "<sorted = 0>", "<axis = 0>", "<axis = 0, sorted = 0>", "<axis = -1>"])
def test_unique(attributes: str) -> None:
    shape = "a, b" if "axis" in attributes else "a"
    agrees(
        f"net (float[4,3] x) => (float[{shape}] y, int64[c] f, int64[d] i, int64[e] n) {{ y, f, i, n = Unique {attributes} (x) }}",
        {"x": X},
        {"x": 0 * X},
        {"x": np.arange(12, dtype=np.float32)[::-1].reshape(4, 3)},
    )


def test_what_follows_a_count() -> None:
    """Elementwise functions, reductions, a product, the count itself, and its use as data."""
    agrees(
        """net (float[4,3] x, bool[4] m) => (float[a,3] y, float[3] s, int64[r] n, int64 z, float[b,2] p) {
          k = Compress <axis = 0> (x, m) e = Exp (k) o = Constant <value = float {1}> () y = Add (e, o)
          d = Constant <value = int64[1] {0}> () s = ReduceSum <keepdims = 0> (y, d) n = Shape (y) z = Size (y)
          w = Constant <value = float[3,2] {1, 2, 3, 4, 5, 6}> () p = MatMul (y, w)
        }""",
        *({"x": X, "m": mask} for mask in MASKS),
    )


def test_two_counts_do_not_meet() -> None:
    text = """net (float[4,3] x, bool[4] m, bool[4] l) => (float[a,3] y) {
      k = Compress <axis = 0> (x, m) j = Compress <axis = 0> (x, l) y = Add (k, j) }"""
    with pytest.raises(ModelError) as caught:
        import_onnx(onnx.parser.parse_model(HEAD + text))
    assert "do not broadcast" in caught.value.reasons[0]
