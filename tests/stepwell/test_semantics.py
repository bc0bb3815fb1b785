"""`--check-semantics` says how far each pass moved the results, and where they first differ."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from stepwell.dialects import graph
from stepwell.driver.driver import Driver
from stepwell.driver.meaning import largest_gap
from stepwell.driver.node_values import first_differing, values_of
from stepwell.driver.semantics import SemanticsCheck
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import Meaning, Rewriter, StepwellPass, names_of, rewrite
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ComparisonError
from stepwell.testing.run_line import call

NETWORK = """
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %a = graph.unary neg %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("first")
  %b = graph.unary relu %a : tensor<2x4xf32> -> tensor<2x4xf32> loc("second")
  %c = graph.unary tanh %b : tensor<2x4xf32> -> tensor<2x4xf32> loc("third")
  %d = graph.unary relu %c : tensor<2x4xf32> -> tensor<2x4xf32> loc("fourth")
  func.return %d : tensor<2x4xf32>
}
"""


def second_becomes(kind: str, meaning: Meaning, rtol: float = 0.0) -> StepwellPass:
    """The op called second gets another kind."""

    @rewrite("test-second", level="graph", meaning=meaning, rtol=rtol, recursive=False)
    def replace_second(op: graph.UnaryOp, rewriter: Rewriter) -> None:
        """relu becomes another kind."""
        if names_of(op) == ("second",):
            rewriter.replace(op, graph.UnaryOp(op.operand, kind=kind))

    return replace_second()


def report(pass_: StepwellPass) -> str:
    ctx, said = make_context(), StringIO()
    module = parse_text(ctx, NETWORK, SourceMap("network"))
    Driver(ctx, [SemanticsCheck(ctx, stream=said)]).run(module, [pass_])
    return said.getvalue()


def test_every_pass_says_its_difference_and_the_first_source_name() -> None:
    assert report(second_becomes("relu", "exact")) == "check-semantics: test-second (exact): the results are the same\n"
    assert report(second_becomes("gelu", "changes")).startswith(
        "check-semantics: test-second (changes): the results differ by 0."
    )
    assert report(second_becomes("gelu", "rounds", 1.0)).endswith("; first differing: second\n")


def test_a_wrong_pass_is_told_with_the_first_source_name() -> None:
    with pytest.raises(
        ComparisonError, match=r"test-second: output 'output0': .* as 'exact'; first differing: second$"
    ):
        report(second_becomes("gelu", "exact"))


@pytest.mark.parametrize("level", ["graph", "linalg", "tile"])
def test_nodes_keep_their_values_down_to_the_tile_level(level: str, tmp_path: Path) -> None:
    source, lowered = tmp_path / "a.mlir", tmp_path / "b.mlir"
    source.write_text(NETWORK)
    words = [str(source), "--arch", "x86-64-v3", "--to", level, "--print-debuginfo", "-o", str(lowered)]
    assert call(["stepwell-opt", *words])[0] == 0
    inputs = {"input0": np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)}
    first, second = (
        values_of(parse_text(make_context(), path.read_text(), SourceMap("x")), inputs, None)
        for path in (source, lowered)
    )
    assert list(first.nodes) == ["first", "second", "third", "fourth"] and "fourth" in second.nodes
    assert largest_gap(first.outputs, second.outputs) < 1e-6
    np.testing.assert_array_equal(first.nodes["fourth"], first.outputs["output0"])


def test_first_differing() -> None:
    values = np.arange(6.0).reshape(2, 3)
    before = {"a": values, "b": values, "c": np.array([np.nan])}
    assert first_differing(before, {**before, "a": values.T}) == ""
    assert first_differing(before, {"b": values + 1, "c": before["c"]}) == "b"
    assert first_differing(before, {"b": values[:1]}) == ""
    assert first_differing(before, {"c": np.array([0.0])}) == "c"


def test_largest_gap() -> None:
    before = {"a": np.array([1.0, np.nan, np.inf])}
    assert largest_gap(before, {"a": np.array([1.5, np.nan, np.inf])}) == 0.5
    assert largest_gap(before, {"a": np.array([1.0, 0.0, np.inf])}) == np.inf
    assert largest_gap(before, {"a": np.array([1.0, np.nan, -np.inf])}) == np.inf
    assert largest_gap({"e": np.zeros(0)}, {"e": np.zeros(0)}) == 0.0
