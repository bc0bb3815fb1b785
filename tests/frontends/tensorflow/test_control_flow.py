"""V1 control flow whose conditions are constants: branches are chosen, loops unrolled; what is not known is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.runtime.errors import ModelError

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


def test_a_condition_of_the_inputs_is_refused() -> None:
    made = GraphDef()
    made.placeholder("x", [3])
    made.placeholder("condition", [], "bool")
    _branches(made, "condition")
    with pytest.raises(ModelError, match=r"node '\w+' \(Switch\): its condition is computed from the network's inputs"):
        _run(made, "y")


def _loop(made: GraphDef, count: int, *, array: bool = False) -> None:
    """y = x doubled `count` times; with an array each step is written and all are read at the end."""
    for name, value in (("zero", 0), ("count", count), ("one", 1)):
        made.const(name, np.int32(value))

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
        made.node("array", "TensorArrayV3", "count")
        variable("flow", "array:1")
        made.node("handle", "Enter", "array", frame_name="loop", is_constant=True)
        made.node("written", "TensorArrayWriteV3", "handle", "i_switch:1", "v_more", "flow_switch:1")
        made.node("flow_next", "NextIteration", "written")
        made.const("indices", np.arange(count, dtype=np.int32))
        made.node("rows", "TensorArrayGatherV3", "array", "indices", "flow_out")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_counted_loops(count: int) -> None:
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, count)
    np.testing.assert_array_equal(_run(made, "v_out"), X * 2**count)


def test_arrays_that_a_loop_writes() -> None:
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, 4, array=True)
    np.testing.assert_array_equal(_run(made, "rows"), [X * 2, X * 4, X * 8, X * 16])


def test_loops_that_do_not_end() -> None:
    """Too many iterations, and nodes of loops outside of one."""
    made = GraphDef()
    made.placeholder("x", [3])
    _loop(made, 1 << 20)
    with pytest.raises(ModelError, match=r"node 'v_out' \(Exit\): its loop takes more than \d+ iterations"):
        _run(made, "v_out")
    with pytest.raises(ModelError, match="a loop merges an Enter and a NextIteration"):
        _run(made, "v")
    with pytest.raises(ModelError, match="enters a loop that nothing leaves"):
        _run(made, "count_in")
