"""Generated networks through the whole ladder: every pass of every pipeline keeps its promises, and whole numbers give the same bits everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings

import stepwell
from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.driver.modules import keep_weights
from stepwell.passes.levels import set_level
from stepwell.passes.target import resolve, write_target
from stepwell.runtime.errors import StepwellError
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.transforms import pipelines
from stepwell.types.targets import CPU_LEVELS, supports

LEVEL = "x86-64-v3"
REFUSED = 3
"""Exit code of a compiler that says which node it has no kernel for, and why."""


@pytest.mark.parametrize("target, precision", [(LEVEL, "model"), ("sm_90a", "model"), ("sm_90a", "fp16")])
def test_every_pass_of_a_pipeline_keeps_its_promises(target: str, precision: str) -> None:
    """Each pass, down to the plan level, on what the passes before it made of a generated network."""
    family = resolve(target).family if target == LEVEL else "sm_90a"
    steps = [
        (level, spec)
        for level, specs in pipelines.stages(family, precision)
        if level not in ("kernel", "llvm")
        for spec in specs
    ]

    @settings(max_examples=settings().max_examples // 5)
    @given(graphs(4, shape=(2, 1, 5, 5)))
    def check(case: GeneratedGraph) -> None:
        module, ctx = case.module.clone(), case.context()
        write_target(module, resolve(target))
        for level, spec in steps:
            pass_ = passes_of(spec)[0]
            (report,) = check_pass(pass_, module, ctx)
            if report.refusal:
                return
            pass_.apply(ctx, module)
            set_level(module, level)

    check()


def on_the_simulator(case: GeneratedGraph, precision: str) -> dict[str, np.ndarray]:
    module = keep_weights(case.module.clone(), case.weights)
    lowered = stepwell.lower(module, to="kernel", target="sm_90a", precision=precision)
    return interpret(lowered, case.inputs(), weights=case.weights)


def natively(case: GeneratedGraph, precision: str) -> dict[str, np.ndarray]:
    module = keep_weights(case.module.clone(), case.weights)
    return stepwell.compile(module, target=LEVEL, precision=precision).run(case.inputs())


STEPS = ("conv", "matmul", "unary", "binary", "pool", "reshape")
ROADS = [
    pytest.param(natively, marks=pytest.mark.skipif(not supports(CPU_LEVELS[LEVEL]), reason=f"below {LEVEL}")),
    on_the_simulator,
]


@pytest.mark.parametrize("precision", ["model", "fp16"])
@pytest.mark.parametrize("road", ROADS)
def test_whole_numbers_give_the_same_bits(
    road: Callable[[GeneratedGraph, str], dict[str, np.ndarray]], precision: str
) -> None:
    """Machine code and simulated sm_90a kernels against the graph interpreter, in f32 and in half precision: nothing is ever rounded, so
    nothing may differ but the sign of a zero. Networks that a lowering refuses, with a reason, are few."""
    outcomes = []

    @settings(max_examples=settings().max_examples // 2)
    @given(graphs(5, integers=True, shape=(2, 1, 6, 6), steps=STEPS))
    def check(case: GeneratedGraph) -> None:
        expected = interpret(case.module, case.inputs(), weights=case.weights)
        try:
            found = road(case, precision)
        except StepwellError as error:
            if error.exit_code != REFUSED:
                raise
            outcomes.append(str(error))
            return
        outcomes.append("")
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)

    check()
    assert outcomes.count("") > len(outcomes) / 2, "\n".join(outcomes)
