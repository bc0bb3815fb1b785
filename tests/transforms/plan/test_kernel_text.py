"""Equal kernel text gives equal code: what a kernel becomes is decided by its text and its target alone, whatever launches it, in whatever network."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from stepwell.dialects import plan, tile
from stepwell.driver.driver import passes_of
from stepwell.driver.pipeline import pipeline
from stepwell.passes import StepwellContext
from stepwell.passes.target import resolve, write_target
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs, op_modules
from stepwell.transforms.legality import refusals

STEPS = ("conv", "matmul", "unary", "pool", "binary", "transpose")
LOOPS = ("graph.cumulative", "graph.gather", "graph.resize")
Kernels = dict[str, Operation]


def run(module: ModuleOp, context: StepwellContext, target: str, start: str, end: str) -> None:
    for step in passes_of(str(pipeline(target).between(start, end))):
        step.apply(context, module)
    module.verify()


def planned(case: GeneratedGraph, target: str) -> ModuleOp:
    module = case.module.clone()
    write_target(module, resolve(target))
    run(module, case.context(), target, "graph", "plan")
    return module


def kernels_of(module: ModuleOp) -> Kernels:
    named = {op.properties.get("sym_name"): op for op in module.ops if not isinstance(op, plan.ProgramOp)}
    return {name.data: op for name, op in named.items() if isinstance(name, StringAttr)}


def alone(kernel: Operation, module: ModuleOp) -> ModuleOp:
    """A module that holds nothing else, for the same target."""
    attributes = {name: module.attributes[name] for name in module.attributes if name != "stepwell.weights"}
    return ModuleOp([kernel.clone()], attributes)


def assert_text_decides(case: GeneratedGraph, target: str) -> int:
    module = planned(case, target)
    whole = module.clone()
    run(whole, case.context(), target, "plan", "kernel")
    made, kernels = kernels_of(whole), kernels_of(module)
    assert made.keys() == kernels.keys()
    for name, kernel in kernels.items():
        single = alone(kernel, module)
        run(single, case.context(), target, "plan", "kernel")
        assert str(kernels_of(single)[name]) == str(made[name]), name
    return len(kernels)


@pytest.mark.parametrize("target", ["sm_90a", "x86-64-v3"])
def test_a_kernel_alone_becomes_what_it_becomes_in_its_network(target: str) -> None:
    counts = []

    @given(graphs(4, integers=True, steps=STEPS, shape=(2, 8, 5, 6)))
    @settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(case: GeneratedGraph) -> None:
        counts.append(assert_text_decides(case, target))

    check()
    assert max(counts) > 1


@pytest.mark.parametrize("target", ["sm_90a", "x86-64-v4"])
def test_loops_alone_become_what_they_become_in_their_network(target: str) -> None:
    """Kernels of loops over elements and of loops over whole operands: gathers, ways to resize, scans."""
    forms: set[str] = set()

    @given(st.sampled_from(LOOPS).flatmap(op_modules).filter(lambda case: not list(refusals(case.module, target))))
    @settings(max_examples=10, deadline=None, suppress_health_check=[*HealthCheck])
    def check(case: GeneratedGraph) -> None:
        assert_text_decides(case, target)
        forms.update(op.name for op in planned(case, target).ops)

    check()
    assert {"tile.loops", "tile.parallel"} <= forms


@given(graphs(3, integers=True, steps=STEPS))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_pass_keeps_its_promises(case: GeneratedGraph) -> None:
    module = case.module.clone()
    write_target(module, resolve("sm_90a"))
    run(module, case.context(), "sm_90a", "graph", "tile")
    for step in passes_of("stepwell-convert-tile-to-plan"):
        step.apply(case.context(), module)
    check_pass("plan-annotate-refs", module, case.context())
    for kernel in [op for op in module.ops if isinstance(op, tile.KernelOp)]:
        assert not any(ref.type.access.align for ref in kernel.inputs if isinstance(ref.type, tile.RefType))
