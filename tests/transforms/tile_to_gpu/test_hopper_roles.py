"""Kernels of roles on hopper: the simulator and the PTX interpreter compute what NumPy does, and every missing step is seen."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.ir import Operation
from xdsl.parser import Parser

from stepwell.api.compile import lower
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import compile_module, emit_ptx, find_assembler
from stepwell.dialects import hopper, tile, warp
from stepwell.dialects.hopper.simulator import Fault, MissingFenceFault, RaceFault, UnfinishedFault, simulate_program
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import PassFailure, StepwellContext
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ComparisonError, StepwellError
from stepwell.testing import gpu_kernels
from stepwell.testing.check_pass import check_pass
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, Window, conv, gemm
from stepwell.testing.ptx import ptx_plan
from stepwell.types.targets import SM_90A

RINGS = "tile-assign-copies,tile-assign-layouts,"
PASSES = "tile-pipeline-loops,tile-split-roles,tile-place-loads,tile-hoist-constants,tile-allocate-shared"


@cache
def small() -> dict[str, Case]:
    return {case.name: case for case in gpu_kernels.small_cases()}


def planned(text: str, case: Case) -> tuple[StepwellContext, ModuleOp]:
    ctx = make_context(case.weights)
    module = keep_weights(Parser(ctx, text).parse_module(), case.weights)
    return ctx, lower(module, "plan", target="sm_90a")


def run(passes: str, ctx: StepwellContext, module: ModuleOp) -> ModuleOp:
    for step in passes_of(passes):
        step.apply(ctx, module)
        module.verify()
    return module


@pytest.mark.parametrize("name", ["gemm_f16_residual", "conv_stride"])
def test_the_simulator_agrees_with_numpy(name: str) -> None:
    case = small()[name]
    ctx, module = planned(case.text, case)
    run(f"{RINGS}{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


@pytest.mark.parametrize("before", ["", "tile-stage-stores{all=true},"])
def test_products_of_bf16(before: str) -> None:
    case = gemm("bf16", 100, 72, 200, "bf16", ending=Ending("relu", True))
    ctx, module = planned(case.text, case)
    run(f"{RINGS}{before}{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)
    assert "m64n64k16.f32.bf16.bf16" in emit_ptx(translate(lower(module, "llvm"), SM_90A))


def test_what_is_not_constant_waits() -> None:
    case = small()["gemm_f16"]
    ctx, module = planned(case.text.replace("packed, constant", "packed"), case)
    run(f"{RINGS}{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    ops = list(module.walk())
    wait = next(i for i, op in enumerate(ops) if isinstance(op, warp.WaitPredecessorOp))
    assert not any(isinstance(op, hopper.TmaLoadOp) for op in ops[:wait])
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_rings_without_a_place_are_refused() -> None:
    case = small()["gemm_f16"]
    ctx, module = planned(case.text, case)
    run(RINGS + "tile-pipeline-loops,tile-split-roles", ctx, module)
    with pytest.raises(PassFailure, match="run tile-allocate-shared"):
        run("stepwell-convert-tile-to-hopper", ctx, module)


def test_a_transposed_operand_is_refused_not_ignored() -> None:
    case = small()["gemm_tf32"]
    ctx, module = planned(case.text, case)
    run(RINGS + PASSES, ctx, module)
    product = next(op for op in module.walk() if isinstance(op, tile.MmaOp))
    product.properties["transpose_b"] = UnitAttr()
    with pytest.raises(PassFailure, match=r"takes b as \[K, N\] of f32: wgmma transposes 16-bit elements"):
        run("stepwell-convert-tile-to-hopper", ctx, module)


def test_a_slot_that_nobody_releases_is_seen() -> None:
    case = small()["conv_stride"]
    ctx, module = planned(case.text, case)
    run(RINGS + PASSES, ctx, module)
    for op in [op for op in module.walk() if isinstance(op, tile.ReleaseOp) and op.kept == 1]:
        op.detach()
        op.erase()
    for step in passes_of("stepwell-convert-tile-to-hopper"):
        step.apply(ctx, module)
    with pytest.raises((ComparisonError, StepwellError), match="deadlock|never|waits"):
        simulate_program(module, case.inputs, case.weights, seed=7)


STAGED = {
    "narrow": gemm("narrow", 200, 72, 200, "f16"),
    "wide": gemm("wide", 200, 192, 128, "f16", Schedule((128, 192), 3)),
    "half": conv("half", (2, 9, 7, 64), 40, Window((3, 3), (2, 2)), "f16", Schedule((64, 32), 3)),
    "quarter": gemm("quarter", 60, 16, 72, "f16", Schedule((64, 16), 2), Ending("none")),
}


def staged(name: str, slots: int) -> tuple[StepwellContext, ModuleOp, Case]:
    """A product of rows stored through shared memory, on hopper."""
    case = STAGED[name]
    ctx, module = planned(case.text, case)
    run(f"{RINGS}tile-stage-stores{{all=true slots={slots}}},{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    assert any(isinstance(op, hopper.TmaStoreOp) for op in module.walk())
    return ctx, module, case


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize("slots", [1, 2])
def test_results_leave_through_shared_memory(name: str, slots: int) -> None:
    _, module, case = staged(name, slots)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=slots).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


@pytest.mark.parametrize("name, slots", [pytest.param("wide", 1, marks=pytest.mark.slow), ("half", 2)])
def test_their_ptx_computes_the_same(name: str, slots: int) -> None:
    _, module, case = staged(name, slots)
    (found,) = run_plan(ptx_plan(module), case.inputs, seed=slots).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_their_registers_do_not_spill() -> None:
    assembler = find_assembler()
    if assembler is None:
        pytest.skip("there is no ptxas here")
    _, module, _ = staged("wide", 1)
    (report,) = compile_module(translate(lower(module, "llvm"), SM_90A), assembler=assembler).kernels
    assert (report.spill_stores, report.spill_loads) == (0, 0)


def without(module: ModuleOp, kind: type[Operation], number: int = 0) -> None:
    """Take one op away."""
    op = [op for op in module.walk() if isinstance(op, kind)][number]
    op.detach()
    op.erase()


@pytest.mark.parametrize(
    "kind, number, fault",
    [
        (hopper.ProxyFenceOp, 0, MissingFenceFault),
        (warp.BarrierOp, 2, Fault),
        (hopper.BulkWaitOp, 1, UnfinishedFault),
        (hopper.BulkCommitOp, 0, UnfinishedFault),
    ],
    ids=["fence", "barrier", "last wait", "commit"],
)
def test_a_missing_step_of_a_store_is_seen(kind: type[Operation], number: int, fault: type[Fault]) -> None:
    _, module, case = staged("narrow", 1)
    without(module, kind, number)
    with pytest.raises(fault):
        for seed in range(4):
            simulate_program(module, case.inputs, case.weights, seed=seed)


def test_a_slot_is_not_written_before_its_store_has_read_it() -> None:
    case = gemm("two", 64 * 267, 64, 64, "f16", Schedule((64, 64), 2))
    ctx, module = planned(case.text, case)
    run(f"{RINGS}tile-stage-stores{{all=true}},{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    without(module, hopper.BulkWaitOp)
    with pytest.raises(RaceFault, match="overwrites data that may still be read"):
        simulate_program(module, case.inputs, case.weights, blocks="first", seed=1)


def in_turns(case: Case, before: str = "") -> tuple[StepwellContext, ModuleOp]:
    """A product whose multiplying role is played twice, on hopper."""
    ctx, module = planned(case.text, case)
    passes = PASSES.replace("tile-split-roles", "tile-split-roles{copies=2}")
    return ctx, run(f"{RINGS}{before}{passes},stepwell-convert-tile-to-hopper", ctx, module)


TURNS = {
    "several tiles": gemm("several", 64 * 267, 40, 72, "f16", Schedule((64, 64), 2), Ending("relu", True)),
    "more steps than slots": gemm("steps", 100, 200, 456, "f16", Schedule((64, 64), 2)),
    "two warpgroups": conv("two", (3, 9, 7, 64), 40, Window(), "f16", Schedule((128, 48), 3)),
}


@pytest.mark.parametrize(
    "name, seed", [("several tiles", 1), ("more steps than slots", 2), ("two warpgroups", 1), ("two warpgroups", 2)]
)
def test_copies_in_turn_compute_the_same(name: str, seed: int) -> None:
    case = TURNS[name]
    _, module = in_turns(case, "tile-stage-stores{all=true slots=2}," if seed == 2 else "")
    (found,) = simulate_program(module, case.inputs, case.weights, seed=seed).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_the_ptx_of_copies_in_turn_computes_the_same() -> None:
    case = TURNS["more steps than slots"]
    _, module = in_turns(case, "tile-stage-stores{all=true slots=2},")
    (found,) = run_plan(ptx_plan(module), case.inputs, seed=3).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_what_the_epilogue_of_a_copy_reads_is_loaded_behind_its_products() -> None:
    case = TURNS["more steps than slots"]
    ctx, module = planned(case.text, case)
    run(RINGS + "tile-pipeline-loops,tile-split-roles{copies=2}", ctx, module)
    names = [op.name for op in module.walk() if isinstance(op, tile.LoadOp | tile.FinishOp)]
    assert names == ["tile.finish", "tile.load"]


def test_copies_without_turns_are_seen() -> None:
    """A parity says which of two rounds a slot is in; who is further behind takes one for the other."""
    case = TURNS["several tiles"]
    _, module = in_turns(case)
    for op in [op for op in module.walk() if isinstance(op, warp.BarrierAtOp | warp.BarrierArriveOp)]:
        op.detach()
        op.erase()
    with pytest.raises(Fault):
        for seed in range(6):
            simulate_program(module, case.inputs, case.weights, blocks="first", seed=seed)


def test_slots_of_results_are_shared_out_among_copies() -> None:
    with pytest.raises(PassFailure, match="takes turns in 3 slots among 2 copies"):
        in_turns(TURNS["more steps than slots"], "tile-stage-stores{all=true slots=3},")


def test_copies_whose_epilogue_has_no_registers_are_refused() -> None:
    case = gemm("tight", 300, 256, 64, "f16", Schedule((128, 128), 3), Ending("relu", True))
    ctx, module = planned(case.text, case)
    run(RINGS + "tile-pipeline-loops", ctx, module)
    with pytest.raises(
        PassFailure, match="what the epilogue reads take 160 registers of each thread, its budget is 112"
    ):
        run("tile-split-roles{copies=2}", ctx, module)


def test_more_copies_than_a_block_holds_are_refused() -> None:
    case = TURNS["two warpgroups"]
    ctx, module = planned(case.text, case)
    with pytest.raises(PassFailure, match="copies=4: a block has 7 warpgroups beside the one that loads"):
        run(RINGS + "tile-pipeline-loops,tile-split-roles{copies=4}", ctx, module)


EARLY = {
    "one": gemm("one", 130, 72, 72, "f16", Schedule((64, 64), 3), Ending("relu", True)),
    "panels": conv("panels", (2, 9, 7, 64), 128, Window(), "bf16", Schedule((128, 128), 3), Ending("relu", True)),
    "several tiles": gemm("several", 64 * 267, 40, 72, "f16", Schedule((64, 64), 2), Ending("relu", True)),
}


def early(name: str, slots: int, rest: str = PASSES) -> tuple[ModuleOp, Case]:
    """A product with a residual that comes and goes through shared memory, on hopper."""
    case = EARLY[name]
    ctx, module = planned(case.text, case)
    staged = f"tile-stage-loads{{all=true slots={slots}}},tile-stage-stores{{all=true slots=2}}"
    run(f"{RINGS}{staged},{rest},stepwell-convert-tile-to-hopper", ctx, module)
    assert any(isinstance(op, hopper.FragmentFromSharedOp) for op in module.walk())
    return module, case


@pytest.mark.parametrize("name, slots", [("one", 1), ("panels", 1), ("panels", 2)])
def test_residuals_come_through_shared_memory(name: str, slots: int) -> None:
    module, case = early(name, slots)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=slots).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_residuals_of_copies_in_turn() -> None:
    module, case = early("several tiles", 2, PASSES.replace("tile-split-roles", "tile-split-roles{copies=2}"))
    (found,) = simulate_program(module, case.inputs, case.weights, seed=4).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_the_ptx_of_residuals_computes_the_same() -> None:
    module, case = early("one", 2)
    (found,) = run_plan(ptx_plan(module), case.inputs, seed=2).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_a_residual_that_is_released_too_early_is_seen() -> None:
    module, case = early("several tiles", 1)
    (read,) = [op for op in module.walk() if isinstance(op, hopper.FragmentFromSharedOp)]
    block = read.parent
    assert block is not None
    ops = list(block.ops)
    release = next(op for op in ops[ops.index(read) :] if isinstance(op, hopper.ArriveOp))
    read.detach()
    block.insert_op_after(read, release)
    with pytest.raises(Fault):
        for seed in range(6):
            simulate_program(module, case.inputs, case.weights, blocks="first", seed=seed)


@pytest.mark.parametrize("name, copies", [("one", 2), pytest.param("panels", 1, marks=pytest.mark.slow)])
def test_the_passes_keep_their_promises(name: str, copies: int) -> None:
    """Each is applied to what the one before it left; the NumPy interpreter computes the same bits."""
    case = EARLY[name]
    ctx, module = planned(case.text, case)
    staged = "tile-stage-loads{all=true slots=1},tile-stage-stores{all=true slots=2}"
    rest = PASSES.replace("tile-split-roles", f"tile-split-roles{{copies={copies}}}")
    for step in passes_of(f"{RINGS}{staged},{rest}"):
        (report,) = check_pass(step, module, ctx)
        assert report.changed or (report.pass_name == "tile-place-loads" and copies > 1), report.pass_name
        step.apply(ctx, module)
    assert any(isinstance(op, tile.ReadOp) for op in module.walk())
