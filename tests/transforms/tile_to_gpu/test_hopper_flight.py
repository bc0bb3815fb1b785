"""Products in flight: slots released several products later, accumulators that end while others run; simulator and PTX give NumPy's bits."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import stepwell
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import compile_module, find_assembler
from stepwell.dialects import hopper
from stepwell.dialects.hopper.simulator import Fault, simulate_program
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.ir.printing import module_text
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, gemm
from stepwell.testing.ptx import ptx_plan
from stepwell.types.targets import SM_90A

BEFORE = "tile-assign-copies,tile-assign-layouts"
AFTER = "tile-split-roles,tile-hoist-constants,tile-allocate-shared"


def planned(text: str, weights: WeightStore) -> ModuleOp:
    ctx = make_context(weights)
    return stepwell.lower(keep_weights(Parser(ctx, text).parse_module(), weights), "plan", target="sm_90a")


def run(passes: str, module: ModuleOp) -> None:
    for step in passes_of(passes):
        step.apply(make_context(WeightStore()), module)
        module.verify()


def deep(case: Case, in_flight: int) -> ModuleOp:
    """The case's kernel with so many products in flight."""
    module = planned(case.text, case.weights)
    run(f"{BEFORE},tile-pipeline-loops{{in_flight={in_flight}}},{AFTER},stepwell-convert-tile-to-hopper", module)
    return module


@pytest.mark.parametrize("in_flight", [2, 3])
@pytest.mark.parametrize("k", [64, 192, 448])
def test_slots_are_released_products_later(in_flight: int, k: int) -> None:
    """Fewer iterations than products in flight, as many, and rings that start over."""
    case = gemm(f"deep_{k}", 150, 72, k, "f16", Schedule((64, 64), 4), Ending("none"))
    module = deep(case, in_flight)
    waits = [op.pending.value.data for op in module.walk() if isinstance(op, hopper.WgmmaWaitOp)]
    assert waits == [in_flight, 0]
    for found in (
        simulate_program(module, case.inputs, case.weights, seed=k).outputs,
        run_plan(ptx_plan(module), case.inputs).outputs,
    ):
        (output,) = found.values()
        np.testing.assert_array_equal(output.reshape(case.expected.shape), case.expected)


def test_a_slot_released_a_product_early_is_a_race() -> None:
    case = gemm("early", 70, 64, 448, "f16", Schedule((64, 64), 4), Ending("none"))
    module = planned(case.text, case.weights)
    run(f"{BEFORE},tile-pipeline-loops{{in_flight=3}},{AFTER}", module)
    run("stepwell-convert-tile-to-hopper", module)
    wait = next(op for op in module.walk() if isinstance(op, hopper.WgmmaWaitOp) and op.pending.value.data == 3)
    wait.accumulator.replace_uses_with_if(wait.accumulator, lambda use: False)
    wait.result.replace_all_uses_with(wait.accumulator)
    wait.detach()
    wait.erase(safe_erase=False)
    with pytest.raises(Fault):
        for seed in range(8):
            simulate_program(module, case.inputs, case.weights, seed=seed)


TWO = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @both(%x: !tile.ref<2xf16, plain>, %w: !tile.ref<2xf16, plain>, %v: !tile.ref<2xf16, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [64, 64], k = 64, stages = 2, warps = 8, copy = tma, mma = wgmma, swizzle = 128> {
    %xr = tile.ring slots 2 (64x64xf16)
    %wr = tile.ring slots 2 (64x64xf16)
    %vr = tile.ring slots 2 (64x64xf16)
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [64, 64] {
      %c0 = arith.constant 0 : index
      tile.fetch %x[%i, %c0] to %xr#0 via tma
      tile.fetch %w[%j, %c0] to %wr#0 via tma
      tile.fetch %v[%j, %c0] to %vr#0 via tma
      %z = tile.fill 0.0 : f32 -> !tile.tile<64x64xf32, regs>
      %a = tile.await %xr
      %b = tile.await %wr
      %first = tile.mma %a, %b, %z async
      %c = tile.await %vr
      %second = tile.mma %a, %c, %z async
      %one = tile.finish %first
      tile.release %wr
      %twice = tile.map (%1 = %one) {
        %2 = arith.constant 2.0 : f32
        %3 = arith.mulf %1, %2 : f32
        tile.yield %3
      } : !tile.tile<64x64xf32, regs>
      %two = tile.finish %second
      tile.release %vr
      tile.release %xr
      %o = tile.map (%1 = %twice, %2 = %two) {
        %3 = arith.addf %1, %2 : f32
        tile.yield %3
      } : !tile.tile<64x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<130x64xf16> {stepwell.name = "x"}, %w: tensor<72x64xf16> {stepwell.name = "w"}, %v: tensor<72x64xf16> {stepwell.name = "v"}) -> (tensor<130x72xf32> {stepwell.name = "y"}) {
    %y = tile.apply @both(%x, %w, %v) : (tensor<130x64xf16>, tensor<72x64xf16>, tensor<72x64xf16>) -> tensor<130x72xf32>
    func.return %y : tensor<130x72xf32>
  }
}"""


def two(text: str = TWO) -> ModuleOp:
    module = planned(text, WeightStore())
    run(f"tile-assign-layouts,{AFTER},stepwell-convert-tile-to-hopper", module)
    return module


def test_a_product_ends_while_the_next_one_runs() -> None:
    """The first accumulator is waited for with one group running, and its epilogue overlaps with the second product."""
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.integers(-3, 4, (rows, 64)).astype(np.float16) for name, rows in (("x", 130), ("w", 72), ("v", 72))
    }
    x, w, v = (inputs[name].astype(np.float32) for name in "xwv")
    module = two()
    waits = [op for op in module.walk() if isinstance(op, hopper.WgmmaWaitOp)]
    assert [op.pending.value.data for op in waits] == [1, 0]
    assert not any(isinstance(op.result.type, hopper.PendingType) for op in waits)
    assert sum(isinstance(op, hopper.WgmmaZeroOp) for op in module.walk()) == 2
    for found in (
        simulate_program(module, inputs, WeightStore(), seed=2).outputs,
        run_plan(ptx_plan(module), inputs).outputs,
    ):
        np.testing.assert_array_equal(found["y"].reshape(130, 72), 2 * x @ w.T + x @ v.T)


def test_one_group_too_many_left_running_is_refused() -> None:
    text = re.sub(r"(hopper.wgmma_wait %\S+ pending) 1", r"\1 2", module_text(two()))
    with pytest.raises(
        Exception, match="pending 2 hands out an accumulator that may still be written: 1 products begin after its own"
    ):
        Parser(make_context(WeightStore()), text).parse_module().verify()


@pytest.mark.skipif(find_assembler() is None, reason="needs ptxas")
@pytest.mark.parametrize("make", [two, lambda: deep(gemm("deep", 150, 256, 448, "f16", Schedule((128, 128), 4)), 2)])
def test_the_assembler_waits_for_nothing_by_itself(make: Callable[[], ModuleOp]) -> None:
    """No note that products are serialized, no spills: accumulators are written by the products, and by nothing while one runs."""
    assembler = find_assembler()
    assert assembler is not None
    compiled = compile_module(translate(stepwell.lower(make(), "llvm"), SM_90A), assembler=assembler)
    assert [kernel.stack for kernel in compiled.kernels] == [0]
