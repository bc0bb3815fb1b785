"""V1 control flow: branches by known conditions are chosen, by others a graph.if; loops are unrolled where they are short, else a graph.loop."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.frontends.tensorflow.control_flow import CONTROL
from stepwell.frontends.tensorflow.tensor_list import OPERATORS
from stepwell.runtime.errors import ModelError, StepwellError

X = np.array([1.0, -2.0, 3.0], np.float32)


def _run(made: GraphDef, output: str, x: np.ndarray = X) -> np.ndarray:
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=[output])
    return stepwell.interpret(module, {"x": x}, weights=weights)[output]


def _branches(made: GraphDef, condition: str) -> None:
    """x + 1 where the condition holds, else a constant."""
    made.node("switch", "Switch", "x", condition)
    made.node("choice", "Switch", condition, condition)
    made.node("chosen_not", "Identity", "choice")
    made.const("one", np.float32(1))
    made.node("more", "Add", "switch:1", "one")
    made.const("fallback", np.array([7, 7, 7], np.float32))
    made.proto.node[-1].input.append("^chosen_not")
    made.node("y", "Merge", "fallback", "more")


@pytest.mark.parametrize("taken", [True, False])
def test_branches(taken: bool) -> None:
    """The constant of the other branch is dead although nothing flows into it."""
    made = GraphDef()
    made.placeholder("x", [3])
    made.const("condition", np.bool_(taken))
    _branches(made, "condition")
    np.testing.assert_array_equal(_run(made, "y"), X + 1 if taken else [7, 7, 7])


def test_a_condition_of_the_inputs() -> None:
    """A graph.if, in which the sum stands: only the branch that is taken runs."""
    made = GraphDef()
    made.placeholder("x", [3])
    made.placeholder("condition", [], "bool")
    _branches(made, "condition")
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["y"])
    text = str(module)
    assert text.count("graph.if") == 1
    assert text.index("graph.if") < text.index("graph.binary")
    for condition, wanted in ((True, X + 1), (False, [7, 7, 7])):
        got = stepwell.interpret(module, {"x": X, "condition": np.asarray(condition)}, weights=weights)["y"]
        np.testing.assert_array_equal(got, wanted)


def test_branches_in_branches() -> None:
    """Two values chosen by one condition are one graph.if; a condition in a branch stands in it."""
    made = GraphDef()
    made.placeholder("x", [3])
    made.placeholder("limit", [])
    made.const("zero", np.array([0], np.int32))
    made.node("sum", "Sum", "x", "zero")
    made.node("outer", "Less", "sum", "limit")
    made.node("in", "Switch", "x", "outer")
    made.node("sums", "Switch", "sum", "outer")
    made.const("nothing", np.float32(0))
    made.node("inner", "Less", "sums:1", "nothing")
    made.node("deep", "Switch", "in:1", "inner")
    made.node("negative", "Neg", "deep:1")
    made.node("positive", "Exp", "deep")
    made.node("then", "Merge", "positive", "negative")
    made.node("else", "Abs", "in")
    made.node("y", "Merge", "else", "then")
    made.node("sign", "Neg", "sums:1")
    made.node("z", "Merge", "sums", "sign")
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["y", "z"])
    assert str(module).count("graph.if") == 2
    for limit in (10.0, -10.0):
        for x in (X, -X):
            results = stepwell.interpret(module, {"x": x, "limit": np.array(limit, np.float32)}, weights=weights)
            taken = x.sum() < limit
            wanted = (-x if x.sum() < 0 else np.exp(x)) if taken else np.abs(x)
            assert np.allclose(results["y"], wanted, rtol=1e-6)
            assert results["z"] == (-x.sum() if taken else x.sum())


def test_a_branch_behind_another_by_the_same_condition() -> None:
    """The second takes what the first gives: two graph.ifs, one after the other."""
    made = GraphDef()
    made.placeholder("x", [3])
    made.placeholder("condition", [], "bool")
    for name, source in (("y", "x"), ("z", "y")):
        made.node(f"{name}_in", "Switch", source, "condition")
        made.node(f"{name}_no", "Neg", f"{name}_in")
        made.node(f"{name}_yes", "Exp", f"{name}_in:1")
        made.node(name, "Merge", f"{name}_no", f"{name}_yes")
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["z"])
    module.verify()
    for condition, wanted in ((True, np.exp(np.exp(X))), (False, X)):
        got = stepwell.interpret(module, {"x": X, "condition": np.asarray(condition)}, weights=weights)["z"]
        assert np.allclose(got, wanted)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (
            [("wide", "Concat", "zero", "switch:1", "switch:1"), ("y", "Merge", "switch", "wide")],
            "both must have one type",
        ),
        ([("y", "Merge", "switch", "x")], "values that may both be there"),
        ([("y", "Identity", "switch:1")], "in a branch that the network's inputs may not take"),
        ([("y", "Merge", "switch", "switch:1", "x")], "at most two"),
        ([("y", "Switch", "x")], "it has 1 inputs, 2 are needed"),
    ],
)
def test_branches_that_are_none(nodes: list[tuple[str, ...]], reason: str) -> None:
    made = GraphDef()
    made.placeholder("x", [3])
    made.placeholder("condition", [], "bool")
    made.const("zero", np.int32(0))
    made.node("switch", "Switch", "x", "condition")
    for name, op, *inputs in nodes:
        made.node(name, op, *inputs)
    with pytest.raises(ModelError, match=reason):
        import_tensorflow(made.proto.SerializeToString(), outputs=["y"])


def _loop(made: GraphDef, count: int | None, *, array: int = 0) -> None:
    """y = x doubled `count` times (None: as an input says); with an array of that size each step is written and all are read at the end."""
    for name, value in (("zero", 0), ("one", 1), ("size", array)):
        made.const(name, np.int32(value))
    if count is None:
        made.placeholder("count", [], "int32")
    else:
        made.const("count", np.int32(count))

    def variable(name: str, start: str) -> None:
        made.node(f"{name}_in", "Enter", start, frame_name="loop")
        made.node(f"{name}", "Merge", f"{name}_in", f"{name}_next")
        made.node(f"{name}_switch", "Switch", name, "go")
        made.node(f"{name}_out", "Exit", f"{name}_switch")

    variable("i", "zero")
    variable("v", "x")
    made.node("count_in", "Enter", "count", frame_name="loop", is_constant=True)
    made.node("less", "Less", "i", "count_in")
    made.node("go", "LoopCond", "less")
    made.node("one_in", "Enter", "one", frame_name="loop", is_constant=True)
    made.node("i_more", "Add", "i_switch:1", "one_in")
    made.node("i_next", "NextIteration", "i_more")
    made.node("v_more", "Add", "v_switch:1", "v_switch:1")
    made.node("v_next", "NextIteration", "v_more")
    if array:
        made.node("array", "TensorArrayV3", "size", dtype=np.dtype(np.float32))
        made.proto.node[-1].attr["element_shape"].shape.dim.add(size=3)
        variable("flow", "array:1")
        made.node("handle", "Enter", "array", frame_name="loop", is_constant=True)
        made.node("written", "TensorArrayWriteV3", "handle", "i_switch:1", "v_more", "flow_switch:1")
        made.node("flow_next", "NextIteration", "written")
        made.const("indices", np.arange(array, dtype=np.int32))
        made.node("rows", "TensorArrayGatherV3", "array", "indices", "flow_out")


@pytest.mark.parametrize("count", [0, 1, 5, 32, 33, 100])
def test_counted_loops(count: int) -> None:
    """Short ones stand as a chain, longer ones are a graph.loop that runs so often."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, count)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["v_out"])
    assert (f"bound {count}" in str(module)) == (count > 32)
    assert "while" not in str(module)
    got = stepwell.interpret(module, {"x": X}, weights=weights)["v_out"]
    np.testing.assert_array_equal(got, X * np.float32(2) ** count)


def test_loops_that_the_inputs_end() -> None:
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, None)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["v_out", "i_out"])
    assert str(module).count("graph.loop") == 1
    for count in (0, 1, 7):
        results = stepwell.interpret(module, {"x": X, "count": np.array(count, np.int32)}, weights=weights)
        np.testing.assert_array_equal(results["v_out"], X * 2**count)
        assert results["i_out"] == count


@pytest.mark.parametrize("count", [3, 40, None])
def test_arrays_that_a_loop_writes(count: int | None) -> None:
    """Elements that were not written are zeros; a graph.loop carries the array as one tensor."""
    made = GraphDef()
    made.placeholder("x", [3])
    size = count or 6
    _loop(made, count, array=size)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["rows"])
    inputs: dict[str, Any] = {"x": X} if count else {"x": X, "count": np.int32(4)}
    wanted = [X * np.float32(2) ** (step + 1) if step < (count or 4) else 0 * X for step in range(size)]
    np.testing.assert_array_equal(stepwell.interpret(module, inputs, weights=weights)["rows"], wanted)


def test_a_loop_that_no_graph_loop_expresses_is_unrolled() -> None:
    """Its variable grows by a row in each of 40 iterations."""
    made = GraphDef()
    made.placeholder("x", [1, 3])
    _loop(made, 40)
    (more,) = (node for node in made.proto.node if node.name == "v_more")
    more.op = "Concat"
    more.input[:] = ["zero_in", "v_switch:1", "v_switch:1"]
    more.input[2] = "x_in"
    made.node("zero_in", "Enter", "zero", frame_name="loop", is_constant=True)
    made.node("x_in", "Enter", "x", frame_name="loop", is_constant=True)
    got = _run(made, "v_out", X[None])
    np.testing.assert_array_equal(got, np.repeat(X[None], 41, 0))


def test_loops_that_are_none() -> None:
    """A variable that changes its type where the inputs end the loop, nodes of loops outside of one."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, 1 << 20)
    assert "graph.loop" in str(import_tensorflow(made.proto.SerializeToString(), outputs=["v_out"])[0])
    with pytest.raises(ModelError, match="a loop merges an Enter and a NextIteration"):
        _run(made, "v")
    with pytest.raises(ModelError, match="enters a loop that nothing leaves"):
        _run(made, "count_in")
    grown = GraphDef()
    grown.placeholder("x", [3])
    _loop(grown, None)
    (more,) = (node for node in grown.proto.node if node.name == "v_more")
    more.op = "Concat"
    more.input[:] = ["zero_in", "v_switch:1", "v_switch:1"]
    grown.node("zero_in", "Enter", "zero", frame_name="loop", is_constant=True)
    with pytest.raises(ModelError, match="changes from tensor<3xf32> to tensor<6xf32>"):
        import_tensorflow(grown.proto.SerializeToString(), outputs=["v_out"])


def test_all_reasons_at_once() -> None:
    """Two nodes of a loop's body and one behind it; what hangs on them is not named."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, None)
    by_name = {node.name: node for node in made.proto.node}
    by_name["v_more"].op = "MatMul"
    by_name["i_more"].op = "MatMul"
    made.node("wrong", "MatMul", "x", "x")
    made.node("y", "AddN", "v_out", "i_out", "wrong")
    made.node("z", "Identity", "v_switch:1")
    with pytest.raises(ModelError) as caught:
        import_tensorflow(made.proto.SerializeToString(), outputs=["y"])
    text = str(caught.value)
    assert "3 reasons" in text
    for name in ("v_more", "i_more", "wrong"):
        assert f"node '{name}' (MatMul): operands have shapes" in text


def _exit_in_its_own_loop(made: GraphDef) -> None:
    """A counter that begins with what its own loop leaves."""
    _loop(made, 3)
    (enter,) = (node for node in made.proto.node if node.name == "i_in")
    enter.input[0] = "i_out"


def _waits_for_itself(made: GraphDef) -> None:
    """A loop whose condition is computed from what it leaves."""
    _loop(made, 3)
    (less,) = (node for node in made.proto.node if node.name == "less")
    less.input[1] = "count_in"
    (enter,) = (node for node in made.proto.node if node.name == "count_in")
    enter.input[0] = "i_out"


def _endless(made: GraphDef) -> None:
    """A variable that grows by an element for as long as a counter stays where it is."""
    _loop(made, 3)
    by_name = {node.name: node for node in made.proto.node}
    by_name["i_more"].input[1] = "zero_in"
    made.node("zero_in", "Enter", "zero", frame_name="loop", is_constant=True)
    by_name["v_more"].op = "Concat"
    by_name["v_more"].input[:] = ["zero_in", "v_switch:1", "v_switch:1"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_exit_in_its_own_loop, "begins with what it leaves itself|part of a cycle"),
        (_waits_for_itself, "begins with what it leaves itself|part of a cycle"),
        (_endless, "changes from tensor<3xf32>"),
    ],
)
def test_loops_that_are_knots(change: Callable[[GraphDef], None], reason: str) -> None:
    """Each is refused, in bounded time."""
    made = GraphDef()
    made.placeholder("x", [3])
    change(made)
    with pytest.raises(ModelError, match=reason):
        import_tensorflow(made.proto.SerializeToString(), outputs=["v_out"])


def _rewired(made: GraphDef, random: Random) -> bytes:
    """The graph with an input, an operator or a constant changed."""
    proto = type(made.proto)()
    proto.CopyFrom(made.proto)
    node = random.choice(list(proto.node))
    names = [other.name for other in proto.node]
    for _ in range(random.randint(1, 3)):
        match random.randrange(4):
            case 0 if node.input:
                node.input[random.randrange(len(node.input))] = random.choice(names)
            case 1:
                node.op = random.choice([*CONTROL, *OPERATORS, "Identity", "Concat", "Const"])
            case 2 if node.input:
                del node.input[random.randrange(len(node.input))]
            case _:
                node.input.append(random.choice(names) + random.choice(["", ":1", ":9"]))
        node = random.choice(list(proto.node))
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize("count", [3, 40, None])
@given(seed=st.integers(0, 1 << 32))
def test_any_loop(count: int | None, seed: int) -> None:
    """A module that verifies, or our own error."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, count, array=4)
    try:
        module, _ = import_tensorflow(_rewired(made, Random(seed)), outputs=["v_out", "rows"])
    except StepwellError:
        return
    module.verify()


def test_compile_refuses_what_no_lowering_takes() -> None:
    """By the node's name, before any pass runs."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, None)
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=["v_out"])
    with pytest.raises(ModelError, match=r"v_out \(graph.loop .*not lowered yet"):
        stepwell.compile(module, weights=weights, target="cpu")
