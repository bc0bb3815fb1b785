"""The plan interpreter: what the program says is what happens to the bytes, and poison shows a wrong plan."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.parser import Parser

from stepwell.dialects import plan
from stepwell.dialects.plan.interpreter import run_program
from stepwell.dialects.tile.interpreter import run_function
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import UsageError
from stepwell.transforms.plan.assign_offsets import PASS as ASSIGN
from stepwell.transforms.tile_to_plan.convert_tile_to_plan import PASS as CONVERT

KERNELS = """
  tile.kernel @add(%x: !tile.ref<2xf32, plain>, %z: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<2xf32, plain>)
      config #tile.config<block = [4, 16]> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [4, 16] {
      %t = tile.load %x[%i, %j] : !tile.tile<4x16xf32, regs>
      %u = tile.load %z[%i, %j] : !tile.tile<4x16xf32, regs>
      %o = tile.map (%p = %t, %q = %u) {
        %s = arith.addf %p, %q : f32
        tile.yield %s
      } : !tile.tile<4x16xf32, regs>
      tile.store %o, %y[%i, %j]
    }
  }
"""


@st.composite
def chains(draw: st.DrawFn) -> list[tuple[int, int]]:
    """For each step the two earlier values that it adds; value 0 is the input."""
    count = draw(st.integers(1, 8))
    return [(draw(st.integers(max(0, n - 3), n)), draw(st.integers(0, n))) for n in range(count)]


def tile_module(steps: list[tuple[int, int]]) -> ModuleOp:
    """A tile-level module that adds values as told and returns the last one and one from the middle."""
    body = [
        f"%v{n + 1} = tile.apply @add(%v{a}, %v{b}) : (tensor<5x20xf32>, tensor<5x20xf32>) -> tensor<5x20xf32>"
        for n, (a, b) in enumerate(steps)
    ]
    middle = len(steps) // 2
    text = f"""
    builtin.module attributes {{stepwell.level = "tile", stepwell.target = "cpu"}} {{
      {KERNELS}
      func.func @main(%v0: tensor<5x20xf32>) -> (tensor<5x20xf32>, tensor<100xf32>) {{
        {chr(10).join(body)}
        %flat = graph.reshape %v{middle} : tensor<5x20xf32> -> tensor<100xf32>
        func.return %v{len(steps)}, %flat : tensor<5x20xf32>, tensor<100xf32>
      }}
    }}"""
    module = Parser(make_context(), text).parse_module()
    module.verify()
    return module


def planned(steps: list[tuple[int, int]]) -> ModuleOp:
    """The same at the plan level, with offsets."""
    module = tile_module(steps)
    for made in (CONVERT(), ASSIGN()):
        made.apply(make_context(), module)
        module.verify()
    return module


X = np.arange(100, dtype=np.float32).reshape(5, 20)


@given(chains())
def test_plans_compute_what_the_tile_level_computes(steps: list[tuple[int, int]]) -> None:
    last, middle = run_function(tile_module(steps), [X])
    found = run_program(planned(steps), {"input0": X})
    np.testing.assert_array_equal(found["output0"], last)
    np.testing.assert_array_equal(found["output1"], middle)


def test_a_lifetime_that_is_too_short_shows_as_nan() -> None:
    """The interpreter does not verify: it executes, and poison tells."""
    module = planned([(0, 0), (1, 1), (2, 1)])
    slices = [op for op in module.walk() if isinstance(op, plan.SliceOp)]
    slices[0].properties["live"] = plan.SliceOp(slices[0].type, (0, 1)).live
    assert np.isnan(run_program(module, {"input0": X})["output0"]).all()


def test_an_overlap_shows() -> None:
    module = planned([(0, 0), (1, 1), (2, 1), (3, 3)])
    good = run_program(module, {"input0": X})["output0"]
    for op in module.walk():
        if isinstance(op, plan.SliceOp):
            op.at = IntegerAttr(0, i64)
    assert not np.array_equal(run_program(module, {"input0": X})["output0"], good)


def test_refusals() -> None:
    module = planned([(0, 0)])
    with pytest.raises(UsageError, match='input "input0" is missing\n  hint: it is float32'):
        run_program(module, {})
    with pytest.raises(UsageError, match=r'"input0" is float64\[5, 20\], the plan takes float32\[5, 20\]'):
        run_program(module, {"input0": X.astype(np.float64)})
    with pytest.raises(UsageError, match="no plan.program @other"):
        run_program(module, {}, name="other")
    unplaced = tile_module([(0, 0)])
    CONVERT().apply(make_context(), unplaced)
    with pytest.raises(UsageError, match="has no offsets yet\n  hint: run plan-assign-offsets"):
        run_program(unplaced, {"input0": X})
