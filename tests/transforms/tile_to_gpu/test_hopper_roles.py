"""Kernels of roles go to hopper op by op: the simulator computes what NumPy does, and the PTX is that of the lowering in one leap."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
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
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, Window, conv, gemm
from stepwell.testing.ptx import ptx_plan
from stepwell.testing.ptx_hashes import ptx_of_case
from stepwell.types.targets import SM_90A

PASSES = "tile-split-roles,tile-hoist-constants,tile-allocate-shared"
NAMES = ["gemm_f16", "gemm_f16_residual", "gemm_tf32", "gemm_swizzle32", "conv_f16", "conv_stride", "conv_dilated"]


@cache
def small() -> dict[str, Case]:
    return {case.name: case for case in gpu_kernels.small_cases()}


LOADS = re.compile(
    r"%a = tile.load (?P<x>.*) : !tile.tile<(?P<xt>\S+), ring>\s*%bw = tile.load (?P<w>.*) : !tile.tile<(?P<wt>\S+), ring>\s*"
    r"%d = tile.mma %a, %bw, %c\s*tile.yield %d\s*}"
)


def in_rings(text: str) -> str:
    """The kernel's operands through a ring, its product asynchronous, its epilogue's operands loaded before it."""
    stages, swizzle, copy = (re.search(rf"{key} = (\w+)", text) for key in ("stages", "swizzle", "copy"))
    assert stages and swizzle and copy
    found = LOADS.search(text)
    assert found
    rounded = " as tf32" if found["xt"].endswith("f32") else ""
    text = text.replace(
        found[0],
        f"""tile.fetch {found["w"]} to %ab#1 via tma{rounded}
        tile.fetch {found["x"]} to %ab#0 via {copy[1]}{rounded}
        %a, %bw = tile.await %ab
        %d = tile.mma %a, %bw, %c async
        tile.release %ab behind 1
        tile.yield %d
      }}
      %product = tile.finish %acc
      tile.release %ab""",
    ).replace("%p = %acc", "%p = %product")
    shared = f"#tile.shared<{swizzle[1]}>"
    ring = f"%ab = tile.ring slots {stages[1]} ({found['xt']} {shared}, {found['wt']} {shared})"
    early = re.findall(r"\n +%(?:bias|rr) = tile.load [^\n]*", text)
    for line in early:
        text = text.replace(line, "")
    text = text.replace("\n      %z = ", "".join(early) + "\n      %z = ").replace(
        "    tile.wait_pre", f"    {ring}\n    tile.wait_pre"
    )
    text = re.sub(
        r"(%bias = tile.load [^:]*) : (.*), regs>", r"\1 access 2 : \2, regs, #tile.slice<0, #tile.wgmma>>", text
    )
    text = re.sub(r"(%rr = tile.load [^:]*) : ", r"\1 access 2 : ", text)
    text = re.sub(r"(tile.store .*)", r"\1 access 2", text)
    return re.sub(r"(<\d+x\d+x\w+, regs)>", r"\1, #tile.wgmma>", text)


def planned(text: str, case: Case) -> tuple[StepwellContext, ModuleOp]:
    ctx = make_context(case.weights)
    module = keep_weights(Parser(ctx, text).parse_module(), case.weights)
    return ctx, lower(module, "plan", target="sm_90a")


def run(passes: str, ctx: StepwellContext, module: ModuleOp) -> ModuleOp:
    for step in passes_of(passes):
        step.apply(ctx, module)
        module.verify()
    return module


@pytest.mark.parametrize("name", NAMES)
def test_op_by_op_is_what_the_leap_makes(name: str) -> None:
    case = small()[name]
    ctx, module = planned(in_rings(case.text), case)
    run(PASSES, ctx, module)
    assert all(kernel.roles for kernel in module.ops if isinstance(kernel, tile.KernelOp))
    kernels = run("stepwell-convert-tile-to-hopper", ctx, module)
    assert any(remark.message.startswith("op by op: ") for remark in ctx.remarks.remarks)
    assert emit_ptx(translate(lower(kernels, "llvm"), SM_90A)) == ptx_of_case(case)


@pytest.mark.parametrize("name", ["gemm_f16_residual", "conv_stride"])
def test_the_simulator_agrees_with_numpy(name: str) -> None:
    case = small()[name]
    ctx, module = planned(in_rings(case.text), case)
    run(f"{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


@pytest.mark.parametrize("before", ["", "tile-stage-stores{all=true},"])
def test_products_of_bf16(before: str) -> None:
    case = gemm("bf16", 100, 72, 200, "bf16", ending=Ending("relu", True))
    ctx, module = planned(in_rings(case.text), case)
    run(f"{before}{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)
    assert "m64n64k16.f32.bf16.bf16" in emit_ptx(translate(lower(module, "llvm"), SM_90A))


def test_what_is_not_constant_waits() -> None:
    case = small()["gemm_f16"]
    ctx, module = planned(in_rings(case.text.replace("packed, constant", "packed")), case)
    run(f"{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    ops = list(module.walk())
    wait = next(i for i, op in enumerate(ops) if isinstance(op, warp.WaitPredecessorOp))
    assert not any(isinstance(op, hopper.TmaLoadOp) for op in ops[:wait])
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)


def test_rings_without_a_place_are_refused() -> None:
    case = small()["gemm_f16"]
    ctx, module = planned(in_rings(case.text), case)
    run("tile-split-roles", ctx, module)
    with pytest.raises(PassFailure, match="run tile-allocate-shared"):
        run("stepwell-convert-tile-to-hopper", ctx, module)


def test_a_slot_that_nobody_releases_is_seen() -> None:
    case = small()["conv_stride"]
    ctx, module = planned(in_rings(case.text), case)
    run(PASSES, ctx, module)
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
    ctx, module = planned(in_rings(case.text), case)
    run(f"tile-stage-stores{{all=true slots={slots}}},{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
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
    case = gemm("two", 64 * 133, 64, 64, "f16", Schedule((64, 64), 2))
    ctx, module = planned(in_rings(case.text), case)
    run(f"tile-stage-stores{{all=true}},{PASSES},stepwell-convert-tile-to-hopper", ctx, module)
    without(module, hopper.BulkWaitOp)
    with pytest.raises(RaceFault, match="overwrites data that may still be read"):
        simulate_program(module, case.inputs, case.weights, blocks="first", seed=1)


def in_turns(case: Case, before: str = "") -> tuple[StepwellContext, ModuleOp]:
    """A product whose multiplying role is played twice, on hopper."""
    ctx, module = planned(in_rings(case.text), case)
    passes = PASSES.replace("tile-split-roles", "tile-split-roles{copies=2}")
    return ctx, run(f"{before}{passes},stepwell-convert-tile-to-hopper", ctx, module)


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


def test_more_copies_than_a_block_holds_are_refused() -> None:
    case = TURNS["two warpgroups"]
    ctx, module = planned(in_rings(case.text), case)
    with pytest.raises(PassFailure, match="copies=4: a block has 7 warpgroups beside the one that loads"):
        run("tile-split-roles{copies=4}", ctx, module)
