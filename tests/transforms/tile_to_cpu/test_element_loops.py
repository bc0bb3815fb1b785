"""Loops as machine code beside the interpreter: what the graph level cannot say yet, but a fusion at linalg may hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.types.targets import CPU_LEVELS, supports

LEVELS = [pytest.param(name, marks=() if supports(t) else pytest.mark.skip) for name, t in CPU_LEVELS.items()]
TO_KERNEL = (
    "tile-expand-math,stepwell-convert-tile-to-plan,plan-assign-offsets,tile-split-rows,stepwell-convert-tile-to-cpu"
)
MAPS = """
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
"""
SOFTMAX = """
  %low = arith.constant 0xff800000 : f32
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<5xf32>
  %a = linalg.fill ins(%low : f32) outs(%e : tensor<5xf32>) -> tensor<5xf32>
  %b = linalg.fill ins(%zero : f32) outs(%e : tensor<5xf32>) -> tensor<5xf32>
  %m = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<5x7xf32>) outs(%a : tensor<5xf32>) {
  ^bb0(%p: f32, %c: f32):
    %s = arith.maximumf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<5xf32>
  %full = tensor.empty() : tensor<5x7xf32>
  %u = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %m : tensor<5x7xf32>, tensor<5xf32>) outs(%full : tensor<5x7xf32>) {
  ^bb0(%p: f32, %q: f32, %c: f32):
    %d = arith.subf %p, %q : f32
    %s = math.exp %d : f32
    linalg.yield %s : f32
  } -> tensor<5x7xf32>
  %t = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%u : tensor<5x7xf32>) outs(%b : tensor<5xf32>) {
  ^bb0(%p: f32, %c: f32):
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  } -> tensor<5xf32>
  %r = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%u, %t : tensor<5x7xf32>, tensor<5xf32>) outs(%full : tensor<5x7xf32>) {
  ^bb0(%p: f32, %q: f32, %c: f32):
    %s = arith.divf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<5x7xf32>
"""
PADDED = """
  %zero = arith.constant 0.0 : f32
  %flat = tensor.collapse_shape %x [[0, 1]] : tensor<5x7xf32> into tensor<35xf32>
  %cut = tensor.expand_shape %flat [[0, 1]] output_shape [7, 5] : tensor<35xf32> into tensor<7x5xf32>
  %r = tensor.pad %cut low[1, 0] high[2, 3] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<7x5xf32> to tensor<10x8xf32>
"""


def loops(body: str, results: list[str], level: str) -> str:
    """A network of one kernel of loops."""
    types = [f"tensor<{shape}xf32>" for shape in results]
    names = ["%r", "%m"][: len(results)]
    outputs = ", ".join(f'{type_} {{stepwell.name = "y{i}"}}' for i, type_ in enumerate(types))
    made = ", ".join(f"%o{i}" for i in range(len(types)))
    return f"""{MAPS}
builtin.module attributes {{stepwell.level = "tile", stepwell.target = "cpu", stepwell.cpu = "{level}"}} {{
tile.loops @loops(%x: tensor<5x7xf32>) -> ({", ".join(types)}) config #tile.config<block = [4], form = loops> {{
  {body}
  tile.yield {", ".join(names)}
}}
func.func @main(%x: tensor<5x7xf32> {{stepwell.name = "x"}}) -> ({outputs}) {{
  {made} = tile.apply @loops(%x) : (tensor<5x7xf32>) -> ({", ".join(types)})
  func.return {made} : {", ".join(types)}
}}
}}"""


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("body", "results"), [(SOFTMAX, ["5x7"]), (SOFTMAX, ["5x7", "5"]), (PADDED, ["10x8"])], ids=["softmax", "two results", "padded"]
)  # fmt: skip
def test_native_loops_agree_with_the_interpreter(body: str, results: list[str], level: str) -> None:
    """Reductions of reductions, results of several extents, reshapes and pads, in tiles that cut them anywhere."""
    ctx = make_context()
    module = parse_text(ctx, loops(body, results, level), SourceMap("test"))
    module.verify()
    inputs = {"x": np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)}
    expected: dict[str, Any] = dict(interpret(module, inputs))
    for step in passes_of(TO_KERNEL):
        step.apply(ctx, module)
    module.verify()
    given: dict[str, Any] = dict(interpret(module, inputs))
    for name, found in given.items():
        np.testing.assert_allclose(found, expected[name], rtol=1e-6, atol=1e-7)
