"""Models that would take too long or too much memory are refused, with the node and what is too much."""

from __future__ import annotations

import onnx
import pytest

from stepwell.frontends.onnx import import_onnx, importer
from stepwell.runtime.errors import ModelError

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
ONE = "one = Constant <value_int = 1> () zero = Constant <value_int = 0> () huge = Constant <value_int = 4000000000000000000> ()"


def reasons(text: str) -> tuple[str, ...]:
    with pytest.raises(ModelError) as caught:
        import_onnx(onnx.parser.parse_model(HEAD + text))
    assert caught.value.exit_code == 3
    return tuple(caught.value.reasons)


def nested(depth: int, count: int) -> str:
    """Loops in loops, each `count` times."""
    inner = f"after{depth} = Identity (c{depth}) b{depth} = Neg (a{depth})"
    for k in range(depth - 1, -1, -1):
        body = f"l{k} (int64 i{k + 1}, bool c{k + 1}, float[3] a{k + 1}) => (bool after{k + 1}, float[3] b{k + 1}) {{ {inner} }}"
        inner = f"after{k} = Identity (c{k}) b{k} = Loop (n, t, a{k}) <body = {body}>"
    inner = inner.replace("after0 = Identity (c0)", "").replace("b0 =", "y =")
    return f"net (float[3] a0) => (float[3] y) {{ n = Constant <value = int64 {{{count}}}> () t = Constant <value = bool {{1}}> () {inner} }}"


def test_loops_in_loops_that_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MOST_STEPS", 400)
    assert "more than 400 nodes of bodies" in reasons(nested(4, 16))[0]
    import_onnx(onnx.parser.parse_model(HEAD + nested(2, 8)))


@pytest.mark.parametrize(
    "text, reason",
    [
        (f"net (float[3] x) => (int64[n] y) {{ {ONE} y = Range (zero, huge, one) }}", "4000000000000000000 elements"),
        (f"net (float[3] x) => (float[n] y) {{ {ONE} y = HannWindow (huge) }}", "a window of 4000000000000000000 elements"),
        (f"net (float[{','.join(['1'] * 30)}] x, int64[15] p) => (float[{','.join(['1'] * 15)}] y) {{ y = ReduceSum <keepdims = 0> (x, p) }}", "does not say which"),
        ('net (int64[9] x) => (float[n] y) { y = TfIdfVectorizer <mode = "TF", min_gram_length = 1, max_gram_length = 1, max_skip_count = 0, ngram_counts = [0], ngram_indexes = [4000000000000], pool_int64s = [3]> (x) }', "a table of n-grams and columns"),
        ("net (float[1,6,9] x, int64[2] i, int64[2] b) => (float[1,1,4000000000000,4000000000000] y) { y = Col2Im (x, i, b) }", "0 blocks fit"),
        ("net (float[2,2,3] x, int64[4] s) => (float[2,100000,100000,2] y) { y = AffineGrid (x, s) }", "a grid of"),
    ],
    ids=["Range", "HannWindow", "ReduceSum", "TfIdfVectorizer", "Col2Im", "AffineGrid"],
)  # fmt: skip
def test_arrays_that_would_be_too_large(text: str, reason: str) -> None:
    assert reason in reasons(text)[0]
