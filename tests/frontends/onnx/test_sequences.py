"""Sequences and optionals against ONNX Runtime: known while importing, they leave no trace."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from stepwell.dialects.graph.interpreter import interpret
from stepwell.frontends.onnx import import_onnx
from stepwell.runtime.errors import ModelError

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
X = np.arange(24, dtype=np.float32).reshape(4, 6)
INTS = " ".join(f"i{n} = Constant <value_int = {n}> ()" for n in range(3)) + " last = Constant <value_int = -1> ()"

BODIES = [
    "s = SequenceConstruct (x, z) y = SequenceAt (s, i1)",
    "s = SequenceConstruct (x, z) y = SequenceAt (s, last)",
    "s = SequenceConstruct (x, z, x) y = ConcatFromSequence <axis = -1> (s)",
    "s = SequenceConstruct (x, z) y = ConcatFromSequence <axis = 1, new_axis = 1> (s)",
    "e = SequenceEmpty () s = SequenceInsert (e, x) t = SequenceInsert (s, z, i0) y = ConcatFromSequence <axis = 0> (t)",
    "s = SequenceConstruct (x, z, x) t = SequenceErase (s) u = SequenceErase (t, i0) y = SequenceAt (u, i0)",
    "s = SplitToSequence <axis = 1> (x, i2) n = SequenceLength (s) f = Cast <to = 1> (n) y = Add (x, f)",
    "s = SplitToSequence <axis = 0, keepdims = 0> (x) y = SequenceAt (s, i2)",
    "p = Constant <value_ints = [1, 3]> () s = SplitToSequence <axis = 0> (x, p) y = SequenceAt (s, i1)",
    "s = SplitToSequence <axis = 0> (x) t = SequenceMap <body = f (float[1,6] a, float[4,6] b) => (float[4,6] c) { c = Mul (a, b) }> (s, z) y = ConcatFromSequence <axis = 0> (t)",
    "o = Optional (x) h = OptionalHasElement (o) g = OptionalGetElement (o) f = Cast <to = 1> (h) y = Add (g, f)",
]


@pytest.mark.parametrize("body", BODIES)
def test_what_is_known_while_importing(body: str) -> None:
    model = onnx.parser.parse_model(HEAD + f"net (float[4,6] x) => (y) {{ z = Neg (x) {INTS} {body} }}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    (expected,) = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": X})
    module, store = import_onnx(model)
    module.verify()
    made = interpret(module, {"x": X}, store)["y"]
    assert made.dtype == expected.dtype
    np.testing.assert_array_equal(made, expected)


def test_a_sequence_that_a_loop_fills() -> None:
    text = """net (float[4,6] x) => (y) {
      n = Constant <value = int64 {4}> () c = Constant <value = bool {1}> () e = SequenceEmpty ()
      s = Loop (n, c, e) <body = step (int64 i, bool before, seq(float[m]) a) => (bool after, seq(float[k]) b) {
        after = Identity (before) one = Constant <value_ints = [1]> () at = Reshape (i, one) end = Add (at, one)
        part = Slice (x, at, end) b = SequenceInsert (a, part) }>
      y = ConcatFromSequence <axis = 1> (s)
    }"""
    module, store = import_onnx(onnx.parser.parse_model(HEAD + text))
    np.testing.assert_array_equal(interpret(module, {"x": X}, store)["y"], X.reshape(1, 24))


@pytest.mark.parametrize(
    "body, message",
    [
        ("s = SequenceConstruct (x, z) y = SequenceAt (s, i2)", "position 2 is outside of 2 tensors"),
        ("s = SequenceConstruct (x, z) y = Neg (s)", "'s' is a sequence, and a tensor is needed"),
        ("s = SequenceConstruct (x, z) y = Identity (s)", "output 'y' is a sequence"),
        ("y = SequenceAt (x, i0)", "'x') is no sequence that is known while importing"),
        ("s = SequenceEmpty () y = ConcatFromSequence <axis = 0> (s)", "the sequence is empty"),
        ("a = Constant <value_ints = [1]> () b = Sum (a) k = Shape (z) s = SplitToSequence <axis = 0> (x, k) y = SequenceAt (s, i0)", "sizes [4, 6] do not divide extent 4"),
    ],
)  # fmt: skip
def test_what_is_refused(body: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        import_onnx(
            onnx.parser.parse_model(HEAD + f"net (float[4,6] x) => (float[a] y) {{ z = Neg (x) {INTS} {body} }}")
        )
    assert message in caught.value.reasons[0]
