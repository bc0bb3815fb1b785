"""Register tiles of products: folds along rows, numbers, masks and vectors, by the layout in the tile's type; simulator and PTX give NumPy's bits."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import stepwell
from stepwell.dialects import tile, warp
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import PassFailure
from stepwell.testing.ptx import ptx_plan

KERNEL = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @scores(%x: !tile.ref<3xf16, plain>, %w: !tile.ref<3xf16, plain>, %r: !tile.ref<1xf32, plain>) -> (%y: !tile.ref<2xf32, plain>) config #tile.config<block = [128, 64], k = 64, stages = 2, warps = 12, copy = tma, mma = wgmma, swizzle = 128> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [128, 64] {
      %z = tile.fill 0.0 : f32 -> !tile.tile<128x64xf32, regs>
      %acc = tile.for (%t, %k) of %x dims [1, 2] step [1, 64] iter (%c = %z) -> !tile.tile<128x64xf32, regs> {
        %a = tile.load %x[%i, %t, %k] dims = [0, 2] : !tile.tile<128x64xf16, ring>
        %b = tile.load %w[%j, %t, %k] dims = [0, 2] : !tile.tile<64x64xf16, ring>
        %d = tile.mma %a, %b, %c
        tile.yield %d
      }
      %in = tile.inside %y[%i, %j] : !tile.tile<128x64xi1, regs>
      %low = tile.map (%1 = %acc, %2 = %in) {
        %3 = arith.constant -1000.0 : f32
        %4 = arith.select %2, %1, %3 : f32
        tile.yield %4
      } : !tile.tile<128x64xf32, regs>
      %m = tile.reduce max %low dims [1]
      %part = tile.reduce add %acc dims [1] partial
      %s = tile.reduce add %part dims []
      %rows = tile.load %r[%i] : !tile.tile<128xf32, regs>
      %both = tile.map (%1 = %m, %2 = %s, %3 = %rows) {
        %4 = arith.addf %1, %2 : f32
        %5 = arith.addf %4, %3 : f32
        tile.yield %5
      } : !tile.tile<128xf32, regs>
      %bb = tile.broadcast %both dims [0] : !tile.tile<128x64xf32, regs>
      %ri = tile.iota 0 at %i : !tile.tile<128x64xi32, regs>
      %ci = tile.iota 1 at %j : !tile.tile<128x64xi32, regs>
      %o = tile.map (%1 = %acc, %2 = %bb, %3 = %ri, %4 = %ci) {
        %5 = arith.addf %1, %2 : f32
        %6 = arith.addi %3, %4 : i32
        %7 = arith.sitofp %6 : i32 to f32
        %8 = arith.addf %5, %7 : f32
        tile.yield %8
      } : !tile.tile<128x64xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<Mx1x64xf16> {stepwell.name = "x"}, %w: tensor<Nx1x64xf16> {stepwell.name = "w"}, %r: tensor<Mxf32> {stepwell.name = "r"}) -> (tensor<MxNxf32> {stepwell.name = "y"}) {
    %y = tile.apply @scores(%x, %w, %r) : (tensor<Mx1x64xf16>, tensor<Nx1x64xf16>, tensor<Mxf32>) -> tensor<MxNxf32>
    func.return %y : tensor<MxNxf32>
  }
}"""
RINGS = "tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,tile-split-roles,tile-hoist-constants,tile-allocate-shared"


def text_of(m: int, n: int) -> str:
    return KERNEL.replace("<Mx", f"<{m}x").replace("<Nx", f"<{n}x").replace(f"<{m}xNx", f"<{m}x{n}x")


def planned(text: str) -> tuple[ModuleOp, object]:
    ctx = make_context(WeightStore())
    module = keep_weights(Parser(ctx, text).parse_module(), WeightStore())
    module.verify()
    return stepwell.lower(module, "plan", target="sm_90a"), ctx


def inputs_of(m: int, n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Whole numbers, and what comes out."""
    rng = np.random.default_rng(m + n)
    x, w = (rng.integers(-2, 3, (extent, 1, 64)).astype(np.float16) for extent in (m, n))
    r = rng.integers(-5, 6, m).astype(np.float32)
    scores = x[:, 0].astype(np.float32) @ w[:, 0].astype(np.float32).T
    rows = scores.max(axis=1) + scores.sum(axis=1) + r
    expected = scores + rows[:, None] + np.indices((m, n)).sum(axis=0)
    return {"x": x, "w": w, "r": r}, expected.astype(np.float32)


@pytest.mark.parametrize("m, n", [(150, 64), (7, 40), (128, 1)])
def test_rows_of_products_are_folded(m: int, n: int) -> None:
    module, _ = planned(text_of(m, n))
    kernels = stepwell.lower(module, "kernel", target="sm_90a")
    inputs, expected = inputs_of(m, n)
    simulated = simulate_program(kernels, inputs, WeightStore(), seed=5).outputs
    for found in (simulated, run_plan(ptx_plan(kernels), inputs).outputs):
        np.testing.assert_array_equal(found["y"].reshape(m, n), expected)
    shuffles = [op.lanes.value.data for op in kernels.walk() if isinstance(op, warp.ShuffleOp)]
    assert shuffles == [1, 2, 1, 2]


def through(text: str, change: tuple[str, str]) -> None:
    """The text, with one op changed, through the ring passes and the conversion."""
    old, new = change
    assert old in text
    ctx = make_context(WeightStore())
    module, _ = planned(text.replace(old, new))
    for step in passes_of(RINGS + ",stepwell-convert-tile-to-hopper"):
        step.apply(ctx, module)


def test_columns_of_products_are_not_folded_yet() -> None:
    old = "%both = tile.map"
    new = "%down = tile.reduce add %acc dims [0]\n      %both = tile.map"
    with pytest.raises(PassFailure, match="down its columns, which lie in several warps") as error:
        through(text_of(150, 64), (old, new))
    assert "dims [1]" in str(error.value.hint)


def test_another_layout_in_a_role_is_refused() -> None:
    ctx = make_context(WeightStore())
    module, _ = planned(text_of(150, 64))
    for step in passes_of(RINGS):
        step.apply(ctx, module)
    text = str(module).replace("#tile.wgmma", "#tile.threads<4x32, width 2>")
    other = keep_weights(Parser(make_context(WeightStore()), text).parse_module(), WeightStore())
    with pytest.raises(PassFailure, match="roles hold tiles as products do, #tile.wgmma"):
        for step in passes_of("stepwell-convert-tile-to-hopper"):
            step.apply(ctx, other)


def test_a_relayout_of_halves_costs_nothing_and_one_of_words_is_refused() -> None:
    ctx = make_context(WeightStore())
    module, _ = planned(text_of(150, 64))
    for step in passes_of(RINGS):
        step.apply(ctx, module)
    before = sum(1 for _ in module.walk())
    last = next(op for op in module.walk() if isinstance(op, tile.StoreOp))
    made = tile.RelayoutOp(last.tile, tile.WgmmaAAttr())
    last.parent_block().insert_op_before(made, last)  # type: ignore[union-attr]
    assert sum(1 for _ in module.walk()) == before + 1
    with pytest.raises(PassFailure, match="of 16-bit elements #tile.wgmma becomes #tile.wgmma_a"):
        for step in passes_of("stepwell-convert-tile-to-hopper"):
            step.apply(ctx, module)
