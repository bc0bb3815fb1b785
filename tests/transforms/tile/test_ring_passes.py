"""The passes on tiles one after the other: after each the interpreter gives the same bits, `check_pass` holds, and kernels without rings stay."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, f32
from xdsl.parser import Parser

from stepwell.api.compile import lower
from stepwell.dialects import plan as plan_dialect
from stepwell.dialects import tile
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.dialects.plan.interpreter import run_program
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure, StepwellContext
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError
from stepwell.testing import gpu_kernels
from stepwell.testing.check_pass import check_pass
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, gemm

PASSES = (
    "tile-assign-copies",
    "tile-assign-layouts",
    "tile-pipeline-loops",
    "tile-split-roles",
    "tile-place-loads",
    "tile-hoist-constants",
    "tile-allocate-shared",
)


@cache
def small() -> dict[str, Case]:
    return {case.name: case for case in gpu_kernels.small_cases()}


def planned(case: Case) -> tuple[StepwellContext, ModuleOp]:
    """The case at the plan level."""
    ctx = make_context(case.weights)
    module = keep_weights(Parser(ctx, case.text).parse_module(), case.weights)
    return ctx, lower(module, "plan", target="sm_90a")


def check_bits(case: Case, module: ModuleOp, after: str) -> None:
    """The interpreter gives what NumPy does, bit for bit."""
    (found,) = run_program(module, case.inputs, case.weights).values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected, err_msg=after)


def check_all(case: Case) -> None:
    """Every pass in its place: its properties, and the bits after it."""
    ctx, module = planned(case)
    for name in PASSES:
        check_pass(name, module, ctx)
        for step in passes_of(name):
            step.apply(ctx, module)
        module.verify()
        check_bits(case, module, name)
    kernels = [kernel for kernel in module.ops if isinstance(kernel, tile.KernelOp)]
    assert all([role.label.data for role in kernel.roles] == ["load", "multiply"] for kernel in kernels)


@pytest.mark.parametrize("name", ["gemm_f16_residual", "gemm_tf32", "conv_stride"])
def test_every_pass_keeps_the_bits(name: str) -> None:
    check_all(small()[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in small() if name.startswith(("gemm", "conv")) and "gelu" not in name])
def test_every_pass_keeps_the_bits_of_every_kernel(name: str) -> None:
    check_all(small()[name])


@st.composite
def products(draw: st.DrawFn) -> Case:
    """A product of any extents under any schedule: single elements, odd rows, widths beside those of vectors."""
    rows, columns = draw(st.sampled_from([64, 128])), 8 * draw(st.integers(1, 16))
    swizzle, stages = draw(st.sampled_from([32, 64, 128])), draw(st.integers(2, 4))
    order, element = draw(st.sampled_from(["rows", "columns"])), draw(st.sampled_from(["f16", "f32"]))
    unit = 8 if element == "f16" else 4
    m, n, k = draw(st.integers(1, 2 * rows + 1)), draw(st.integers(1, 2 * columns + 1)), unit * draw(st.integers(1, 20))
    ending = Ending(draw(st.sampled_from(["relu", "none"])), draw(st.booleans()))
    return gemm("generated", m, n, k, element, Schedule((rows, columns), stages, swizzle, order), ending)


@given(products())
@settings(max_examples=4, deadline=None)
def test_generated_products(case: Case) -> None:
    check_all(case)


@pytest.mark.parametrize(("element", "order", "parts"), [("f16", "rows", 4), ("f32", "columns", 2)])
def test_split_reductions(element: str, order: str, parts: int) -> None:
    case = gemm("split", 130, 72, 256, element, Schedule((64, 64), 3, order=order), Ending("relu", residual=True))
    ctx = make_context(case.weights)
    module = keep_weights(Parser(ctx, case.text).parse_module(), case.weights)
    report = check_pass(f"tile-split-reduction{{parts={parts}}}", module, ctx)
    assert report[0].changed
    for step in passes_of(f"tile-split-reduction{{parts={parts}}}"):
        step.apply(ctx, module)
    plan = lower(module, "plan", target="sm_90a")
    check_bits(case, plan, "split")
    for step in passes_of(",".join(PASSES)):
        step.apply(ctx, plan)
    plan.verify()
    check_bits(case, plan, "roles")
    report_ = simulate_program(lower(plan, "kernel"), case.inputs, case.weights)
    (found,) = report_.outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)
    whole, split = (lower(Parser(ctx, case.text).parse_module(), "plan", target="sm_90a"), plan)
    assert launched(split) == launched(whole) + 1


def launched(module: ModuleOp) -> int:
    """How many launches a program has."""
    return sum(isinstance(op, plan_dialect.LaunchOp) for op in module.walk())


@pytest.mark.parametrize("name", ["pool", "elementwise"])
def test_kernels_without_rings_stay(name: str) -> None:
    ctx, module = planned(small()[name])
    passes_of("tile-assign-layouts")[0].apply(ctx, module)
    before = module_text(module)
    for step in passes_of(",".join(PASSES)):
        step.apply(ctx, module)
    assert module_text(module) == before


def test_a_tile_that_meets_no_product_has_no_layout() -> None:
    ctx, module = planned(small()["gemm_f16"])
    for step in passes_of("tile-assign-copies"):
        step.apply(ctx, module)
    kernel = next(op for op in module.ops if isinstance(op, tile.KernelOp))
    block = kernel.grid.body.block
    assert block.first_op is not None
    block.insert_op_before(tile.FillOp(1.0, tile.TileType([16, 16], f32)), block.first_op)
    before = module_text(module)
    with pytest.raises(PassFailure, match="nothing says which thread holds which element"):
        for step in passes_of("tile-assign-layouts"):
            step.apply(ctx, module)
    assert module_text(module) == before


def test_a_product_that_is_released_too_early_is_seen() -> None:
    ctx, module = planned(small()["gemm_f16_residual"])
    for step in passes_of(",".join(PASSES)):
        step.apply(ctx, module)
    early = next(op for op in module.walk() if isinstance(op, tile.ReleaseOp) and op.kept == 1)
    early.behind = None
    with pytest.raises(Exception, match="is released while a product in flight reads it"):
        module.verify()


def test_attention_is_refused_below_with_its_reason() -> None:
    text = (Path(__file__).parents[2] / "dialects" / "tile" / "ring_attention.mlir").read_text()
    kind = "tensor<128x64xf16>"
    main = f"""
  func.func @main(%q: {kind}, %k: {kind}, %v: {kind}) -> {kind} {{
    %y = tile.apply @attention(%q, %k, %v) : ({kind}, {kind}, {kind}) -> {kind}
    func.return %y : {kind}
  }}"""
    module = Parser(make_context(), text[: text.rindex("}")] + main + "}").parse_module()
    with pytest.raises(StepwellError, match="runs backwards: loops of sm_90a run forwards") as error:
        lower(module, "kernel", target="sm_90a")
    assert error.value.exit_code == 3
