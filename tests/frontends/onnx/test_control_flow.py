"""If, Loop and Scan against ONNX Runtime: known and computed conditions, unrolled and structured loops, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import import_onnx
from stepwell.ir.locations import names_of
from stepwell.runtime.errors import ModelError

HEAD = '<ir_version: 10, opset_import: ["" : {opset}]>\n'
X = np.array([[1, -2, 3], [4, 5, -6]], np.float32)


def agrees(text: str, feeds: dict[str, Array], opset: int = 20) -> set[str]:
    """Import, interpret and compare the model; the names of the ops that it became, those of inner regions included."""
    model = onnx.parser.parse_model(HEAD.format(opset=opset) + text)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feeds)
    module, store = import_onnx(model)
    module.verify()
    made = interpret(module, feeds, store)
    for entry, wanted in zip(model.graph.output, expected, strict=True):
        assert made[entry.name].dtype == wanted.dtype
        np.testing.assert_allclose(made[entry.name], wanted, rtol=1e-6)
    return {op.name for op in module.walk()}


def refusal(text: str, opset: int = 20) -> tuple[str, ...]:
    with pytest.raises(ModelError) as caught:
        import_onnx(onnx.parser.parse_model(HEAD.format(opset=opset) + text))
    assert caught.value.exit_code == 3
    return tuple(caught.value.reasons)


BRANCHES = """net (float[2,3] x{inputs}) => (float[2,3] y) {{
  {condition}
  y = If (c) <then_branch = one () => (float[2,3] a) {{ two = Constant <value = float {{2}}> () a = Mul (x, two) }},
              else_branch = other () => (float[2,3] b) {{ b = Neg (x) }}>
}}"""


@pytest.mark.parametrize("truth", [False, True])
def test_a_branch_that_data_picks(truth: bool) -> None:
    names = agrees(BRANCHES.format(inputs=", bool c", condition=""), {"x": X, "c": np.asarray(truth)})
    assert graph.IfOp.name in names


@pytest.mark.parametrize("truth", [0, 1])
def test_a_known_branch_is_put_in_place(truth: int) -> None:
    names = agrees(BRANCHES.format(inputs="", condition=f"c = Constant <value = bool {{{truth}}}> ()"), {"x": X})
    assert graph.IfOp.name not in names


def test_an_unknown_branch_does_not_make_other_shapes() -> None:
    (reason,) = refusal("""net (float[2,3] x, bool c) => (float[n] y) {
      y = If (c) <then_branch = one () => (float[2,3] a) { a = Identity (x) }, else_branch = other () => (float[3,2] b) { b = Transpose (x) }>
    }""")
    assert "from one branch to the other: tensor<2x3xf32> becomes tensor<3x2xf32>" in reason


def loop(count: str, body: str, outputs: str, inputs: str = "") -> str:
    return f"""net (float[3] x{inputs}) => ({outputs}) {{
      {count}
      y, s = Loop (n, c, x) <body = step (int64 i, bool before, float[3] a) => (bool after, float[3] b, float[3] t) {{ {body} }}>
    }}"""


COUNTED = "after = Identity (before) f = Cast <to = 1> (i) b = Add (a, f) t = Mul (a, a)"
COUNT = "n = Constant <value = int64 {{{0}}}> () c = Constant <value = bool {{1}}> ()"
ROWS = "float[3] y, float[k,3] s"


@pytest.mark.parametrize("count", [1, 5, 40])
def test_a_counted_loop(count: int) -> None:
    """A short one is unrolled."""
    names = agrees(loop(COUNT.format(count), COUNTED, ROWS), {"x": X[0]})
    assert (graph.LoopOp.name in names) == (count > 16)


@pytest.mark.parametrize("count", [0, 3, 8])
def test_a_loop_that_data_counts_as_long_as_declared(count: int) -> None:
    text = loop("c = Constant <value = bool {1}> ()", COUNTED, f"float[3] y, float[{count},3] s", ", int64 n")
    assert graph.LoopOp.name in agrees(text, {"x": X[0], "n": np.asarray(count)})


@pytest.mark.parametrize("count", [3, 30])
def test_a_loop_that_ends_itself(count: int) -> None:
    body = "limit = Constant <value = float {2}> () f = Cast <to = 1> (i) after = Less (f, limit) b = Add (a, f) t = Identity (b)"
    agrees(loop(COUNT.format(count), body, ROWS), {"x": X[0]})
    body = "m = ReduceMax <keepdims = 0> (a) limit = Constant <value = float {9}> () after = Less (m, limit) b = Add (a, a) t = Neg (b)"
    agrees(loop(COUNT.format(30), body, ROWS), {"x": X[0]})


def test_a_body_that_cuts_where_the_iteration_says_is_unrolled() -> None:
    """Also where it grows what it carries, and where a loop of 40 iterations therefore is no graph.loop."""
    text = """net (float[40] x) => (float[41] y) {
      n = Constant <value = int64 {40}> () c = Constant <value = bool {1}> () first = Constant <value = float[1] {7}> ()
      y = Loop (n, c, first) <body = step (int64 i, bool before, float[k] a) => (bool after, float[m] b) {
        after = Identity (before) one = Constant <value = int64[1] {1}> () at = Reshape (i, one) end = Add (at, one)
        part = Slice (x, at, end) b = Concat <axis = 0> (a, part) }>
    }"""
    assert graph.LoopOp.name not in agrees(text, {"x": np.arange(40, dtype=np.float32)})


def test_what_no_loop_can_carry() -> None:
    text = loop("c = Constant <value = bool {1}> ()", COUNTED, ROWS, ", int64 n")
    assert "no extent is declared for what it stacks" in refusal(text)[0]
    growing = "after = Identity (before) b = Concat <axis = 0> (a, a) t = Identity (a)"
    assert (
        "what it carries: tensor<3xf32> becomes tensor<6xf32>"
        in refusal(loop("c = Constant <value = bool {1}> ()", growing, "float[k] y, float[4,3] s", ", int64 n"))[0]
    )
    long = "after = Identity (before) b = Concat <axis = 0> (a, a) t = Identity (a)"
    assert "2000 iterations are more than 1024" in refusal(loop(COUNT.format(2000), long, ROWS))[0]


def test_reasons_of_a_body_are_told_once() -> None:
    body = "after = Identity (before) b = Unheard (a) t = StringSplit (a)"
    reasons = refusal(loop(COUNT.format(30), body, ROWS))
    assert [reason.split("'")[1] for reason in reasons] == ["b", "t"]


@pytest.mark.parametrize("length", [1, 4, 20])
@pytest.mark.parametrize(
    "attributes",
    [
        "",
        ", scan_input_axes = [1], scan_output_axes = [-1]",
        ", scan_input_directions = [1], scan_output_directions = [1]",
    ],
)
def test_scan(length: int, attributes: str) -> None:
    shape = f"2,{length}" if "axes" in attributes else f"{length},2"
    text = f"""net (float[2] start, float[{shape}] x) => (float[2] y, float[j,k] z) {{
      y, z = Scan <num_scan_inputs = 1, body = step (float[2] a, float[2] part) => (float[2] b, float[2] t) {{ b = Add (a, part) t = Neg (b) }}{attributes}> (start, x)
    }}"""
    x = np.arange(2 * length, dtype=np.float32).reshape([int(extent) for extent in shape.split(",")])
    names = agrees(text, {"start": X[0, :2], "x": x})
    assert (graph.LoopOp.name in names) == (length > 16)


def test_loops_in_loops() -> None:
    text = """net (float[3] x) => (float[3] y) {
      n = Constant <value = int64 {3}> () c = Constant <value = bool {1}> ()
      y = Loop (n, c, x) <body = outer (int64 i, bool before, float[3] a) => (bool after, float[3] b) {
        after = Identity (before)
        b = Loop (n, c, a) <body = inner (int64 j, bool inside, float[3] d) => (bool on, float[3] e) { on = Identity (inside) e = Add (d, x) }> }>
    }"""
    agrees(text, {"x": X[0]})


def test_ops_are_named_after_the_node_whose_body_was_converted() -> None:
    text = BRANCHES.format(inputs=", bool c", condition="")
    module, _ = import_onnx(onnx.parser.parse_model(HEAD.format(opset=20) + text))
    found = {names_of(op) for op in module.walk() if isinstance(op, graph.IfOp)}
    assert found == {("y",)}
