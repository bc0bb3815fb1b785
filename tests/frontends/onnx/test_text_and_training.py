"""Words through StringNormalizer, derivatives through Gradient, parts whose extents come with the data."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import stepwell
from stepwell.dialects.graph.interpreter import interpret
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError, UsageError

HEAD = '<ir_version: 10, opset_import: ["" : 20, "ai.onnx.preview.training" : 1]>\n'


def run(text: str, **feeds: object) -> dict[str, np.ndarray]:
    module, store = import_onnx(onnx.parser.parse_model(HEAD + text))
    module.verify()
    return interpret(module, {name: np.asarray(value) for name, value in feeds.items()}, store)


NET = (
    'net (string[3] x) => (string[n] y) { y = StringNormalizer <case_change_action = "UPPER", stopwords = ["b"]> (x) }'
)


def test_words() -> None:
    assert run(NET, x=["a", "B", "ä"])["y"].tolist() == ["A", "Ä"]
    assert run(NET, x=np.array([b"a", b"b", b"c"]))["y"].tolist() == ["A", "C"]
    with pytest.raises(UsageError, match="the array holds int64, the network takes object"):
        run(NET, x=[1, 2, 3])


def test_text_is_not_compiled() -> None:
    with pytest.raises(ModelError, match="graph.normalize_text is not lowered"):
        stepwell.compile(onnx.parser.parse_model(HEAD + NET), target="cpu")


STEPS = [
    ("c = Add (a, b)", 1.0, 1.0),
    ("m = Mul (a, b) n = Sub (m, b) c = Neg (n)", -4.0, -2.0),
    ("c = Div (a, b)", 0.25, -0.1875),
    ("e = Exp (a) l = Log (b) s = Sqrt (b) t = Mul (e, l) c = Add (t, s)", np.exp(3) * np.log(4), np.exp(3) / 4 + 0.25),
    ("t = Tanh (a) c = Mul (t, t)", 2 * np.tanh(3) * (1 - np.tanh(3) ** 2), 0.0),
    ("s = Constant <value_ints = [1]> () r = Reshape (a, s) c = Mul (r, r)", 6.0, 0.0),
]


@pytest.mark.parametrize("steps, by_a, by_b", STEPS)
def test_derivatives(steps: str, by_a: float, by_b: float) -> None:
    text = f'net (float a, float b) => (float c, float da, float db) {{ {steps} da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "c"> (a, b) }}'
    made = run(text, a=np.float32(3), b=np.float32(4))
    np.testing.assert_allclose([made["da"], made["db"]], [by_a, by_b], rtol=1e-5)


def test_derivatives_of_what_is_repeated_and_moved() -> None:
    text = """net (float[2,3] a, float[3] b) => (float[2,3] da, float[3] db) {
        t = Transpose (a) s = Transpose (t) p = Mul (s, b) c = ReduceSum <keepdims = 0> (p)
        da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "c"> (a, b) }"""
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2, 4], np.float32)
    made = run(text, a=a, b=b)
    np.testing.assert_array_equal(made["da"], np.broadcast_to(b, (2, 3)))
    np.testing.assert_array_equal(made["db"], a.sum(0))


@pytest.mark.parametrize(
    "steps, reason",
    [
        (
            'c = Sin (a) d = ai.onnx.preview.training.Gradient <xs = ["a"], y = "c"> (a)',
            "graph.unary sin has no derivative here",
        ),
        (
            'c = Neg (a) d = ai.onnx.preview.training.Gradient <xs = ["a"], y = "c"> (c)',
            "are not the tensors a themselves",
        ),
        ('d = ai.onnx.preview.training.Gradient <xs = ["a"], y = "c"> (a)', "no earlier node computes"),
    ],
)
def test_refused(steps: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        import_onnx(onnx.parser.parse_model(HEAD + f"net (float a) => (float d) {{ {steps} }}"))


@pytest.mark.parametrize("sizes", [[1, 2, 1], [4, 0, 0], [0, 1, 3]])
def test_parts_whose_extents_come_with_the_data(sizes: list[int]) -> None:
    text = """net (float[4] x, int64[3] s) => (float[p] y, int64 n) {
        parts = SplitToSequence (x, s) one = Constant <value_int = 1> () y = SequenceAt (parts, one) n = SequenceLength (parts) }"""
    made = run(text, x=np.arange(4, dtype=np.float32), s=np.array(sizes))
    assert made["y"].tolist() == list(range(sizes[0], sizes[0] + sizes[1])) and made["n"] == 3
