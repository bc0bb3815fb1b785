"""Networks of which a target takes a part: segments, and the same results as the interpreter's."""

from __future__ import annotations

import numpy as np
import pytest

import stepwell
from stepwell import Network
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.transforms.legality import refused_ops

RANDOM = np.random.default_rng(0)


def network() -> Network:
    """Products and activations that are compiled, with a scan, a sort and a branch between them that are not."""

    def weights(*shape: int) -> np.ndarray:
        return RANDOM.standard_normal(shape).astype(np.float32)

    made = Network("mixed")
    x = made.add_input("x", (4, 8))
    first = made.add_activation(made.add_fully_connected(x, 8, weights(8, 8), weights(8), name="first"), "RELU")
    chances = made.add_cumulative(first, "SUM", 1, name="chances")
    second = made.add_fully_connected(chances, 6, weights(6, 8), name="second")
    best, _ = made.add_top_k(made.add_elementwise("SUM", first, x), "MAX", 2, 1, name="best")
    (third,) = made.add_if(
        made.add_constant(np.array(True)), lambda: made.add_activation(second, "TANH"), lambda: second
    )
    made.mark_output(made.add_activation(third, "RELU", name="last"), "y")
    made.mark_output(best, "best")
    return made


@pytest.mark.parametrize("smallest", [1, 3, 1000])
def test_the_results_are_those_of_the_interpreter(smallest: int) -> None:
    module = network().module()
    x = RANDOM.standard_normal((4, 8)).astype(np.float32)
    with pytest.raises(ModelError, match="graph.if"):
        stepwell.compile_plan(module, target="cpu")
    engine = stepwell.compile_partial(module, target="cpu", smallest=smallest)
    wanted = stepwell.interpret(module, {"x": x})
    found = engine.run({"x": x})
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name].astype(np.float64), array.astype(np.float64), 1e-5, 1e-5)
    compiled = [segment for segment in engine.segments if segment.engine is not None]
    assert bool(compiled) == (smallest < 1000) and (
        smallest > 1 or {"first", "last"} <= {n for s in compiled for n in s.names}
    )
    assert any("if1" in segment.names for segment in engine.segments if segment.engine is None)
    assert str(engine).startswith("compiled: " if smallest < 1000 else "interpreted: ")


def test_a_network_that_is_taken_whole_is_one_segment() -> None:
    made = Network("whole")
    x = made.add_input("x", (2, 3))
    made.mark_output(made.add_unary(made.add_activation(x, "RELU"), "neg"), "y")
    engine = stepwell.compile_partial(made, target="cpu")
    assert len(engine.segments) == 1 and engine.segments[0].engine is not None
    values = np.array([[1, -2, 3], [0, 4, -5]], np.float32)
    np.testing.assert_array_equal(engine.run({"x": values})["y"], -np.maximum(values, 0))
    with pytest.raises(UsageError, match="input 'x' is missing"):
        engine.run({})
    with pytest.raises(UsageError, match="there is no input 'z'"):
        engine.run({"x": values, "z": values})
    with pytest.raises(UsageError, match="segments of 0 ops are none"):
        stepwell.compile_partial(made, target="cpu", smallest=0)


def test_an_output_that_is_an_input_or_named_twice() -> None:
    made = Network("odd")
    x = made.add_input("x", (2,))
    y = made.add_softmax(x, 0)
    made.mark_output(y, "a")
    made.mark_output(y, "b")
    engine = stepwell.compile_partial(made, target="cpu")
    found = engine.run({"x": np.zeros(2, np.float32)})
    assert found["a"].tolist() == found["b"].tolist() == [0.5, 0.5]


def test_what_only_a_branch_reads_is_asked_about() -> None:
    made = Network("branch")
    x = made.add_input("x", (4,))
    always = made.add_input("always", (), "i1")
    (first,) = made.add_if(always, lambda: made.add_unary(x, "neg"), lambda: x, name="first")
    (y,) = made.add_if(always, lambda: made.add_unary(first, "neg"), lambda: x, name="second")
    made.mark_output(y, "y")
    asked = {name for refused in refused_ops(made.module(), "cpu") for name in refused.names}
    assert asked >= {"first", "second"}
