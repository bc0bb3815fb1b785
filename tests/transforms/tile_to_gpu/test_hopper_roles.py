"""Kernels of roles go to hopper op by op: the simulator computes what NumPy does, and the PTX is that of the lowering in one leap."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

from stepwell.api.compile import lower
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import emit_ptx
from stepwell.dialects import hopper, tile, warp
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights
from stepwell.passes import PassFailure, StepwellContext
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ComparisonError, StepwellError
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case
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
