"""`check_pass` catches passes that are wrong on purpose, one for each property."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType, UnknownLoc, f32
from xdsl.utils.exceptions import PassFailedException

import stepwell
from stepwell.dialects import graph
from stepwell.driver.meaning import assert_same_results, difference
from stepwell.driver.modules import weights_of
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import Meaning, PassFailure, StepwellPass, location_of
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ComparisonError, InternalError, ModelError, UsageError
from stepwell.testing.check_pass import check_pass

MODEL = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.onnx"
NETWORK = """
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %y = graph.unary relu %x : tensor<2x4xf32> -> tensor<2x4xf32> loc("act")
  func.return %y : tensor<2x4xf32>
}
"""
CALLS = count()


def make_pass(apply: Callable[[graph.UnaryOp], None], meaning: Meaning = "exact") -> StepwellPass:
    def apply_all(self: StepwellPass, ctx: Context, op: ModuleOp) -> None:
        for found in op.walk():
            if isinstance(found, graph.UnaryOp):
                apply(found)

    namespace: dict[str, Any] = {"name": "test-wrong", "level": "graph", "meaning": meaning, "apply": apply_all}
    made: type[StepwellPass] = dataclass(frozen=True)(type("Wrong", (StepwellPass,), namespace))
    return made()


def does_not_verify(op: graph.UnaryOp) -> None:
    op.results[0]._type = TensorType(f32, [3])


def depends_on_the_run(op: graph.UnaryOp) -> None:
    op.attributes["run"] = StringAttr(str(next(CALLS)))


def grows(op: graph.UnaryOp) -> None:
    grown = op.attributes.get("grown")
    op.attributes["grown"] = StringAttr((grown.data if isinstance(grown, StringAttr) else "") + "x")


def loses_names(op: graph.UnaryOp) -> None:
    op.location = UnknownLoc()


def invents_names(op: graph.UnaryOp) -> None:
    op.location = location_of(["nobody"])


def computes_otherwise(op: graph.UnaryOp) -> None:
    op.properties["kind"] = graph.UnaryOp(op.operand, kind="abs").properties["kind"]


def refuses_too_late(op: graph.UnaryOp) -> None:
    computes_otherwise(op)
    raise PassFailure("too late", op=op)


def refuses(op: graph.UnaryOp) -> None:
    raise PassFailure("cannot", op=op)


def check(apply: Callable[[graph.UnaryOp], None], meaning: Meaning = "exact") -> Any:
    return check_pass(make_pass(apply, meaning), parse_text(make_context(), NETWORK, SourceMap("network")))[0]


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (does_not_verify, "test-wrong: verifies: "),
        (depends_on_the_run, "two runs differ"),
        (grows, "second application"),
        (loses_names, "without source names: graph.unary"),
        (invents_names, "invented source names: nobody"),
        (computes_otherwise, "elements differ"),
        (refuses_too_late, "refused .* but changed"),
    ],
)
def test_wrong_passes_are_caught(apply: Callable[[graph.UnaryOp], None], message: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check(apply)


def test_right_passes_are_not() -> None:
    assert check(lambda op: None).changed is False
    assert check(refuses).refusal == "act: cannot"
    assert check(computes_otherwise, "changes").changed is True


@pytest.mark.parametrize(
    ("meaning", "after", "agrees"),
    [
        ("exact", [1.0, -0.0, 3.0], False),
        ("exact", [1.0, 0.0, 3.0], True),
        ("reassociates", [1.0, 0.0, 3.0000005], True),
        ("reassociates", [1.0, 0.0, 3.01], False),
        ("rounds", [1.0, 0.0, 3.002], True),
        ("rounds", [1.0, 0.0, 3.1], False),
        ("reassociates", [np.nan, 0.0, 3.0], False),
        ("changes", [7.0, 7.0, 7.0], True),
    ],
)
def test_meanings(meaning: Meaning, after: list[float], agrees: bool) -> None:
    before = np.array([1.0, 0.0, 3.0], np.float32)
    reason = difference(before, np.array(after, np.float32), meaning, rtol=1e-3, terms=4)
    assert (reason == "") == agrees


def test_outputs_must_be_the_same_ones() -> None:
    array = np.zeros(2, np.float32)
    with pytest.raises(ComparisonError, match="outputs"):
        assert_same_results({"a": array}, {"b": array})
    with pytest.raises(ComparisonError, match="became"):
        assert_same_results({"a": array}, {"a": array.astype(np.float64)})


def test_only_what_was_checked_is_listed() -> None:
    changed = check(computes_otherwise, "changes")
    assert changed.properties == (
        "verifies",
        "deterministic",
        "round trip",
        "source names",
        "source names in place",
        "level",
        "idempotent",
    )
    nameless = parse_text(make_context(), NETWORK.replace(' loc("act")', ""), SourceMap("network"))
    (report,) = check_pass(make_pass(lambda op: None), nameless)
    assert "no invented names" in report.properties and "source names" not in report.properties


def test_a_module_of_another_level_is_refused() -> None:
    module = parse_text(make_context(), NETWORK, SourceMap("network"))
    module.attributes["stepwell.level"] = StringAttr("tile")
    with pytest.raises(
        UsageError, match="test-wrong: the pass works on level 'graph' and the module is at level 'tile'"
    ):
        check_pass(make_pass(lambda op: None), module)


def fails_by_its_own_fault(op: graph.UnaryOp) -> None:
    raise InternalError("by design")


def refuses_as_xdsl_does(op: graph.UnaryOp) -> None:
    raise PassFailedException("cannot")


def test_refusals() -> None:
    assert check(refuses_as_xdsl_does).refusal == "cannot"
    with pytest.raises(InternalError, match="by design"):
        check(fails_by_its_own_fault)


def test_the_modules_own_weights_are_taken() -> None:
    module = stepwell.import_model(MODEL, shapes={"image": (2, 1, 8, 8)})
    (report,) = check_pass("graph-assign-layout", module)
    assert report.changed and "meaning: reassociates" in report.properties
    bare = module.clone()
    with pytest.raises(ModelError, match="the value of a weight is needed and none was given"):
        check_pass("graph-assign-layout", bare)
    check_pass("graph-assign-layout", bare, make_context(weights_of(module)))


def test_a_pass_that_changes_the_network_is_held_to_its_reference() -> None:
    module = parse_text(make_context(), NETWORK, SourceMap("network"))
    changing = make_pass(computes_otherwise, "changes")
    (report,) = check_pass(changing, module, reference=lambda inputs: {"output0": np.abs(inputs["input0"])})
    assert report.properties[-1] == "reference"
    with pytest.raises(ComparisonError, match="test-wrong, beside its reference: output 'output0': differs by"):
        check_pass(
            changing,
            module,
            reference=lambda inputs: {"output0": np.float32(1.001) * np.abs(inputs["input0"])},
            rtol=1e-4,
        )
    with pytest.raises(ComparisonError, match="became"):
        check_pass(changing, module, reference=lambda inputs: {"output0": np.abs(inputs["input0"]).astype(np.float64)})
    with pytest.raises(ComparisonError, match=r"the outputs are \['output0'\], the reference gives \['y'\]"):
        check_pass(changing, module, reference=lambda inputs: {"y": np.abs(inputs["input0"])})
