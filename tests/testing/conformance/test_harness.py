"""The conformance harness: deaths, hangs and wrong numbers are seen and blamed on one case; records grow only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import defs, helper

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.onnx import SUPPORTED_OPS
from stepwell.runtime.errors import ModelError
from stepwell.testing.conformance import executors, worker
from stepwell.testing.conformance.__main__ import main
from stepwell.testing.conformance.case import Case, Check, NodeSpec, Outcome, load_case, merged, node_model
from stepwell.testing.conformance.forms import Form
from stepwell.testing.conformance.journal import journal
from stepwell.testing.conformance.node_tests import node_tests, operators_of
from stepwell.testing.conformance.oracle import close, difference, expected_of
from stepwell.testing.conformance.record import general, losses, read, record_path, written
from stepwell.testing.conformance.report import Result
from stepwell.testing.conformance.run import MakeModel, Runner
from stepwell.testing.conformance.suites import recorded
from stepwell.testing.conformance.sweep import OPERATORS, sweep_cases

X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
DYING = (sys.executable, str(Path(__file__).with_name("dying_worker.py")))


def case(name: str, op: str = "Relu", x: Array = X) -> Case:
    return Case(name, node_model(op, NodeSpec([x])), {"x0": x})


def named(*names: str) -> dict[str, MakeModel]:
    return {name: partial(case, name) for name in names}


# --- the table


def test_every_operator_that_compiles_is_swept() -> None:
    """An operator of which a node test is right on a target has forms: add them to `forms_*.py`. The others run at the graph level only."""
    assert set(OPERATORS) <= set(SUPPORTED_OPS)
    assert operators_of(right_node_tests("x86-64-v4", "sm_90a")) & set(SUPPORTED_OPS) <= set(OPERATORS)


def right_node_tests(*executors: str) -> set[str]:
    """Names of the node tests that are recorded as right on one of these."""
    folder = Path(__file__).resolve().parents[2] / "conformance"
    cases = node_tests()
    return {
        name
        for executor in executors
        for name, outcome in recorded(record_path(folder, "nodes", executor), cases).items()
        if outcome.status == "right"
    }


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_every_attribute_of_an_operator_is_in_a_form(op: str) -> None:
    versions = [s for s in defs.get_all_schemas_with_history() if s.name == op and s.domain == ""]
    oldest = max((s.since_version for s in versions if s.since_version <= OLDEST), default=0)
    known = {name for schema in versions if schema.since_version >= oldest for name in schema.attributes}
    tried: set[str] = set()
    for name, make in sweep_cases("graph", {op: OPERATORS[op]}).items():
        if name.endswith(("/2xl", "/-")):
            tried |= {attribute.name for node in make().model.graph.node for attribute in node.attribute}
    assert not known - tried - OUTSIDE, f"no form of {op} has {', '.join(sorted(known - tried))}"


OLDEST = 7
"""The first operator set whose forms the sweep has: those before it are tried in tests/frontends/onnx/test_old_forms.py."""
OUTSIDE = {"consumed_inputs", "round_mode", "sparse_value", "spatial"}
"""Attributes of operator sets before those that are imported, of types that no tensor here has, or without effect on those that are."""


# --- the parent


def test_a_case_that_kills_is_found_in_its_batch_and_the_others_are_right() -> None:
    seen = Runner("graph", command=DYING).run(named("a", "die", "b", "c"), [["a", "die"], ["b", "c"]])
    assert {name: outcome.status for name, outcome in seen.items()} == {
        "a": "right", "die": "died", "b": "right", "c": "right"
    }  # fmt: skip
    assert seen["die"].reason == "SIGFPE"


def test_a_child_that_leaves_is_replaced() -> None:
    seen = Runner("graph", jobs=2, command=DYING).run(named("leave", "a"), [["leave"], ["a"]])
    assert seen == {"leave": Outcome("died", "exit 3: Traceback: left"), "a": Outcome("right")}


def test_a_child_that_hangs_is_killed() -> None:
    seen = Runner("graph", command=DYING, seconds=1.0).run(named("hang"), [["hang"]])
    assert seen == {"hang": Outcome("died", "no answer in time")}


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    kept = tmp_path / "journal"
    Runner("graph", command=DYING, journal=kept).run(named("a"), [["a"]])
    gone = (sys.executable, "-c", "raise SystemExit(1)")
    seen = Runner("graph", command=gone, journal=kept).run(named("a"), [["a"]])
    assert seen == {"a": Outcome("right")}


def test_an_interrupted_line_is_run_again(tmp_path: Path) -> None:
    kept = tmp_path / "journal"
    kept.write_text('["a", "right", ""]\n["b", "refused", "not y')
    seen = Runner("graph", command=DYING, journal=kept).run(named("a", "b"), [["a", "b"]])
    assert seen == {"a": Outcome("right"), "b": Outcome("right")}
    assert kept.read_text() == '["a", "right", ""]\n["b", "right", ""]\n'


# --- the child


def ends(outcome: Outcome) -> Outcome:
    return outcome


def refuse() -> Outcome:
    raise ModelError("not this")


def fault() -> Outcome:
    raise KeyError("lost")


def test_checks_say_how_they_ended(tmp_path: Path) -> None:
    """Between models of a batch; what they raise is judged as what a model raises."""
    Check("b", partial(ends, Outcome("wrong", "off"))).save(tmp_path / "check")
    checks = [load_case(tmp_path / "check"), Check("c", refuse), Check("d", fault)]
    outcomes = worker.run_batch("graph", [case("a"), *checks, case("e", "Abs")])
    assert [outcome.status for outcome in outcomes] == ["right", "wrong", "refused", "fault", "right"]
    assert outcomes[1].reason == "off"


def test_a_wrong_executor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(model: onnx.ModelProto) -> executors.Run:
        run = executors.graph_interpreter(model)
        return lambda feeds: {name: array + 1 for name, array in run(feeds).items()}

    monkeypatch.setattr(worker, "EXECUTORS", {"graph": off_by_one})
    assert worker.run_batch("graph", [case("a"), case("b", "Abs")]) == [
        Outcome("wrong", "y[0, 0] is np.float32(1.0), expected np.float32(0.0) (6 of 6 differ)"),
        Outcome("wrong", "y[0, 0] is np.float32(3.0), expected np.float32(2.0) (6 of 6 differ)"),
    ]


def test_a_refused_case_does_not_spoil_its_batch() -> None:
    outcomes = worker.run_batch("graph", [case("a"), case("b", "ImageDecoder"), case("c")])
    assert [outcome.status for outcome in outcomes] == ["right", "refused", "right"]
    assert outcomes[1].reason == "node 'node' (ImageDecoder, inputs 'x0'): this operator is not supported"


def test_cases_of_different_operator_sets_do_not_meet() -> None:
    """Squeeze has its axes as an attribute before version 13, as an input since."""
    old = Case("old", node_model("Squeeze", NodeSpec([X[None]], attributes={"axes": [0]}, opset=11)), {"x0": X[None]})
    assert worker.run_batch("graph", [case("a"), old, case("b")]) == [Outcome("right")] * 3


def test_our_own_faults_are_no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: onnx.ModelProto) -> executors.Run:
        raise KeyError("lost")

    monkeypatch.setattr(worker, "EXECUTORS", {"graph": broken})
    outcomes = worker.run_batch("graph", [case("a"), case("b")])
    assert outcomes == [Outcome("fault", "KeyError: 'lost'")] * 2


def test_denormals_may_be_zeros_on_a_machine_that_flushes_them() -> None:
    tiny = np.array([1e-45, 1.0], np.float32)
    whole = Case("a", node_model("Cast", NodeSpec([tiny], attributes={"to": 9})), {"x0": tiny})
    ends = {
        (executor, first): worker.compared(executor, whole, {"y": np.array([first, True])}).status
        for executor in ("x86-64-v4", "graph")
        for first in (False, True)
    }
    assert [pair for pair, status in ends.items() if status == "wrong"] == [("graph", False)]
    assert worker.compared("x86-64-v4", whole, {"y": np.array([True, False])}).status == "wrong"


def test_cases_travel_and_merge(tmp_path: Path) -> None:
    case("a").save(tmp_path / "case")
    again = load_case(tmp_path / "case")
    assert isinstance(again, Case)
    np.testing.assert_array_equal(again.feeds["x0"], X)
    both = merged([again, case("b", "Abs")])
    assert [entry.name for entry in both.graph.output] == ["c0_y", "c1_y"]
    onnx.checker.check_model(both, full_check=True)


def test_the_oracle_computes_what_onnxruntime_does_not_implement() -> None:
    whole = case("a", "Abs", X.astype(np.int16))
    np.testing.assert_array_equal(expected_of(whole)["y"], np.abs(X).astype(np.int16))


def test_comparison() -> None:
    line = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    assert close(line, line, 0.0, 0.0).all()
    assert not close(np.array([0, -np.inf, 3e38, 1.1]), line.astype(np.float64), 0.05, 0.0).any()
    feeds: Mapping[str, Array] = {"y": X}
    assert "expected float32[2, 3]" in difference(case("a"), feeds, {"y": X.astype(np.float64)})


# --- reports


def test_reports_count_what_passed_failed_and_was_refused() -> None:
    seen = {"a": Outcome("right"), "b": Outcome("refused", "no"), "c": Outcome("fault", "oh"), "d": Outcome("right")}
    result = Result("nodes", "graph", {"b": Outcome("right")}, seen, {"d": "strings"})
    assert result.summary() == (
        "nodes on graph: 1 of 3 passed, 1 failed, 1 refused; strings: 1 of 1 passed, 0 failed, 0 refused"
    )
    assert list(result.lines()) == [
        "fault   c: oh",
        "lost: b: right -> refused: no",
        "lost: c: refused -> fault: oh",
        "     1 refused: no",
    ]
    assert result.is_bad
    assert not Result("nodes", "graph", {}, {"b": Outcome("refused", "no")}, {}).is_bad


def test_a_journal_is_good_for_its_sources_only(tmp_path: Path) -> None:
    (tmp_path / "light-graph-000000000000.jsonl").write_text("")
    path = journal(tmp_path, "light", "graph")
    assert path.stem.startswith("light-graph-")
    assert not list(tmp_path.iterdir())


def test_suites_on_all_executors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command in one piece, on a few cases; a record that says that more was right makes it fail."""
    words = ["operator", "--jobs", "1", "--only", "test_operator_max*", "--records", str(tmp_path)]
    assert main([*words, "--update"]) == 0
    assert "operator on graph: " in capsys.readouterr().out
    record = tmp_path / "operator-graph.txt"
    record.write_text(record.read_text().replace("# refused", "# right"))
    assert main([*words, "--journal", str(tmp_path / "kept")]) in (0, 1)
    assert len(list((tmp_path / "kept").iterdir())) == 1


# --- records

OUTCOMES = {
    "Add/column/float32/1": Outcome("right"),
    "Add/column/float32/l": Outcome("right"),
    "Add/column/int8/1": Outcome("right"),
    "Add/column/int8/l": Outcome("refused", "y: shape [3, 4] is not !plan.buffer<3x4xf32>"),
    "test_add": Outcome("right"),
    "test_image_decoder": Outcome("refused", "node 'n' (ImageDecoder, inputs 'x'): this operator is not supported"),
}


def test_records_round_trip() -> None:
    text = written(OUTCOMES, OUTCOMES)
    assert text.splitlines() == [
        "# right",
        "Add/column: float32 int8[1]",
        "test_add",
        "# refused: shape .. is not !plan.buffer..",
        "Add/column: int8[l]",
        "# refused: this operator is not supported",
        "test_image_decoder",
    ]
    again = read(text, OUTCOMES)
    assert {name: outcome.status for name, outcome in again.items()} == {n: o.status for n, o in OUTCOMES.items()}
    more = [*OUTCOMES, "Add/column/float32/2x1"]
    assert set(read(written(OUTCOMES, more), more)) == set(OUTCOMES), "a width that nobody ran is not promised"
    with pytest.raises(ValueError, match="there is no case Add/column/float64/"):
        read(text.replace("float32", "float64"), OUTCOMES)
    long = "sum (graph.add : (tensor<3xui8>) -> tensor<3xui8>): elements of type ui8 are not lowered yet; cast to one of f16"
    assert general(long) == "elements of type ui8 are not lowered yet"
    assert general("/a/b/solver.prototxt: this is a solver") == "this is a solver"
    assert general("c0_node + c1_node: math.log: is gone") == "math.log: is gone"


def test_records_grow_only() -> None:
    worse = {**OUTCOMES, "test_add": Outcome("refused", "why"), "test_image_decoder": Outcome("wrong", "0")}
    assert losses(OUTCOMES, worse) == ["test_add: right -> refused: why", "test_image_decoder: refused -> wrong: 0"]
    assert not losses(OUTCOMES, {**OUTCOMES, "test_image_decoder": Outcome("right")})
    assert losses({"new": Outcome("died")}, {"new": Outcome("wrong")}) == []


def test_forms_make_what_they_say() -> None:
    forms = {"Relu": (Form("operand", lambda data, rows, width: NodeSpec([data.of(rows, width)])),)}
    cases = sweep_cases("x86-64-v4", forms)
    shapes = {name.rpartition("/")[2]: make().feeds["x0"].shape for name, make in cases.items() if "/float32/" in name}
    assert shapes == {
        "1": (1, 1), "l-1": (1, 15), "l": (1, 16), "l+1": (1, 17), "2x1": (2, 1), "2xl-1": (2, 15), "2xl": (2, 16), "2xl+1": (2, 17)
    }  # fmt: skip
    assert helper.tensor_dtype_to_np_dtype(cases["Relu/operand/float16/1"]().model.graph.input[0].type.tensor_type.elem_type) == np.float16  # fmt: skip
