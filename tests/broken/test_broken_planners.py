"""Memory planners that are wrong on purpose: caught by marks in a poisoned arena, by the plan's verifier, and by NaN in the outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from xdsl.dialects.builtin import ModuleOp
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import plan
from stepwell.dialects.plan.interpreter import run_program
from stepwell.driver.execute import interpret
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError
from stepwell.testing.strategies import GeneratedGraph, MemoryProblem, assert_keeps_values, memory_problems
from stepwell.transforms.plan import _offsets, assign_offsets

Lowered = Callable[[str, str], ModuleOp]
Assign = Callable[[Sequence[tuple[int, int]], Sequence[int], int], list[int]]

# --- the wrong planners


def reuses_a_slice_in_its_last_step(
    lifetimes: Sequence[tuple[int, int]], sizes: Sequence[int], alignment: int
) -> list[int]:
    """Takes the last step as exclusive, so a kernel may write over what it still reads."""
    shorter = [(2 * first, max(2 * first, 2 * last - 1)) for first, last in lifetimes]
    return _offsets.assign(shorter, sizes, alignment)


def reuses_a_live_slice(lifetimes: Sequence[tuple[int, int]], sizes: Sequence[int], alignment: int) -> list[int]:
    """Thinks that every value dies at its first use: right for a chain, wrong for a residual."""
    return _offsets.assign([(first, min(first + 1, last)) for first, last in lifetimes], sizes, alignment)


def forgets_the_alignment(lifetimes: Sequence[tuple[int, int]], sizes: Sequence[int], alignment: int) -> list[int]:
    """Packs bytes without gaps."""
    return _offsets.assign(lifetimes, sizes, 1)


def rounds_sizes_down(lifetimes: Sequence[tuple[int, int]], sizes: Sequence[int], alignment: int) -> list[int]:
    """The neighbour begins inside of a value's last bytes."""
    return _offsets.assign(lifetimes, [size // alignment * alignment for size in sizes], alignment)


WRONG: list[Assign] = [
    reuses_a_slice_in_its_last_step,
    reuses_a_live_slice,
    forgets_the_alignment,
    rounds_sizes_down,
]


def keeps_values(assign: Assign, examples: int = 300) -> None:
    """The property of a planner, on generated problems."""

    @settings(max_examples=examples, phases=[Phase.generate], database=None, report_multiple_bugs=False)
    @given(memory_problems())
    def check(problem: MemoryProblem) -> None:
        offsets = assign(problem.lifetimes, problem.sizes, plan.ALIGNMENT)
        total = _offsets.total(offsets, problem.sizes, plan.ALIGNMENT)
        assert_keeps_values(problem, offsets, total, plan.ALIGNMENT)

    check()


@pytest.mark.parametrize("wrong", WRONG, ids=lambda f: f.__name__)
def test_every_wrong_planner_loses_a_value(wrong: Assign) -> None:
    with pytest.raises(AssertionError, match=r"was overwritten by value|is not a multiple of"):
        keeps_values(wrong)


def test_the_right_planner_does_not() -> None:
    keeps_values(_offsets.assign)


# --- in a program: the verifier sees it, and the poisoned arena would show it


def place(module: ModuleOp, assign: Assign, monkeypatch: pytest.MonkeyPatch) -> None:
    """plan-assign-offsets with another planner."""
    monkeypatch.setattr(assign_offsets, "assign", assign)
    assign_offsets.AssignOffsetsPass().apply(make_context(), module)


@pytest.mark.parametrize("wrong", [reuses_a_slice_in_its_last_step, reuses_a_live_slice], ids=lambda f: f.__name__)
def test_the_verifier_and_the_interpreter_catch_the_plan(
    wrong: Assign, network: GeneratedGraph, lowered: Lowered, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = lowered("plan", "sm_90a")
    expected = interpret(network.module, network.inputs(), weights=network.weights)["y0"]
    np.testing.assert_array_equal(run_program(module, network.inputs(), network.weights)["y0"], expected)
    place(module, wrong, monkeypatch)
    with pytest.raises(VerifyException, match="live at the same time"):
        module.verify()
    if wrong is reuses_a_live_slice:
        found = run_program(module, network.inputs(), network.weights)["y0"]
        assert not np.array_equal(found, expected), "the residual was overwritten and nobody noticed"


def test_lifetimes_that_end_too_early_are_caught(network: GeneratedGraph, lowered: Lowered) -> None:
    """The residual's slice ends before the step that adds it."""
    module = lowered("plan", "sm_90a")
    slices = [op for op in module.walk() if isinstance(op, plan.SliceOp)]
    residual = max(slices, key=lambda op: op.lifetime[1] - op.lifetime[0])
    first, last = residual.lifetime
    assert last - first == 2
    residual.properties["live"] = plan.SliceOp(residual.type, (first, last - 1)).live
    with pytest.raises(VerifyException, match=r"uses a slice that is live \[0, 1\]: widen it"):
        module.verify()
    assert np.isnan(_outputs(module, network)).any(), "what a dead slice held was poisoned"


def _outputs(module: ModuleOp, network: GeneratedGraph) -> np.ndarray:
    try:
        return np.asarray(run_program(module, network.inputs(), network.weights)["y0"])
    except StepwellError as error:
        raise AssertionError("the interpreter refused before it could show NaN") from error
