"""Folds of register tiles over threads: lanes, warps, parts; stores of vectors; the simulator and the PTX give NumPy's bits on whole numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, TensorType, bf16, f16, i8, i32
from xdsl.ir import Attribute
from xdsl.parser import Parser

import stepwell
from stepwell.dialects import graph, tile, warp
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure
from stepwell.testing.ptx import ptx_plan
from stepwell.testing.strategies import GeneratedGraph

HEAD = """
  tile.kernel @rows(%x: !tile.ref<2xELEMENT, plain>) -> (%y: !tile.ref<2xELEMENT, plain>, %m: !tile.ref<1xELEMENT, plain>, %s: !tile.ref<1xELEMENT, plain>) config #tile.config<block = [ROWS, *], warps = WARPS> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %x block [ROWS, *] {
"""
"""Rows of the block; their maximum and their sum go to outputs of their own."""
LOW = """
      %low = tile.map (%a = %v, %b = %in) {
        %0 = arith.constant -99.0 : ELEMENT
        %1 = arith.select %b, %a, %0 : ELEMENT
        tile.yield %1
      } : FULL
"""
"""What does not exist is no maximum."""
OUT = """
      %mb = tile.broadcast %most dims [0] : FULL
      %sb = tile.broadcast %sum dims [0] : FULL
      %n = tile.iota 1 at COLUMN : COUNTS
      %r = tile.iota 0 at %i : COUNTS
      %o = tile.map (%a = %v, %b = %mb, %c = %sb, %d = %n, %e = %r) {
        %0 = arith.subf %a, %b : ELEMENT
        %1 = arith.addf %0, %c : ELEMENT
        %2 = arith.addi %d, %e : i32
        %3 = arith.sitofp %2 : i32 to ELEMENT
        %4 = arith.addf %1, %3 : ELEMENT
        tile.yield %4
      } : FULL
      tile.store %o, %y[%i, COLUMN]
"""
"""The rows, less their maximum, more their sum and their place."""
IN_REGISTERS = """HEAD
      %v = tile.load %x[%i, %j] : FULL
      %in = tile.inside %x[%i, %j] : MASK
LOW
      %most = tile.reduce max %low dims [1]
      %part = tile.reduce add %v dims [1] partial
      %sum = tile.reduce add %part dims []
OUT
      tile.store %most, %m[%i]
      tile.store %sum, %s[%i]
    }
  }"""
IN_CHUNKS = """HEAD
      %z = tile.fill 0.0 : ELEMENT -> VECTOR
      %l = tile.fill -99.0 : ELEMENT -> VECTOR
      %most, %part = tile.for (%k) of %x dims [1] step [COLUMNS] iter (%c = %l, %d = %z) -> VECTOR, VECTOR {
        %v = tile.load %x[%i, %k] : FULL
        %in = tile.inside %x[%i, %k] : MASK
LOW
        %c1 = tile.reduce max %low dims [1] init %c
        %d1 = tile.reduce add %v dims [1] init %d partial
        tile.yield %c1, %d1
      }
      %sum = tile.reduce add %part dims []
      tile.for (%k) of %y dims [1] step [COLUMNS] {
        %v = tile.load %x[%i, %k] : FULL
OUT
      }
      tile.store %most, %m[%i]
      tile.store %sum, %s[%i]
    }
  }"""
MAIN = """
  func.func @main(%x: tensor<MxNxELEMENT> {stepwell.name = "x"}) -> (tensor<MxNxELEMENT> {stepwell.name = "y"}, tensor<MxELEMENT> {stepwell.name = "m"}, tensor<MxELEMENT> {stepwell.name = "s"}) {
    %y, %m, %s = tile.apply @rows(%x) : (tensor<MxNxELEMENT>) -> (tensor<MxNxELEMENT>, tensor<MxELEMENT>, tensor<MxELEMENT>)
    func.return %y, %m, %s : tensor<MxNxELEMENT>, tensor<MxELEMENT>, tensor<MxELEMENT>
  }"""


def text_of(
    kernel: str, shape: tuple[int, int], block: tuple[int, int], warps: int = 4, element: str = "f32", layout: str = ""
) -> str:
    """The module; with `layout` all its tiles have that one."""
    (m, n), (rows, columns) = shape, block
    vector = f", #tile.slice<1, {layout}>" if layout else ""
    whole = f", {layout}" if layout else ""
    values = {
        "FULL": f"!tile.tile<{rows}x{columns}x{element}, regs{whole}>",
        "MASK": f"!tile.tile<{rows}x{columns}xi1, regs{whole}>",
        "COUNTS": f"!tile.tile<{rows}x{columns}xi32, regs{whole}>",
        "VECTOR": f"!tile.tile<{rows}x{element}, regs{vector}>",
        "COLUMNS": str(columns), "ROWS": str(rows), "WARPS": str(warps), "ELEMENT": element, "MxNx": f"{m}x{n}x", "Mx": f"{m}x",
    }  # fmt: skip
    at = "%j" if kernel is IN_REGISTERS else "%k"
    text = kernel.replace("HEAD", HEAD).replace("LOW", LOW).replace("OUT", OUT.replace("COLUMN", at)) + MAIN
    for name, value in values.items():
        text = text.replace(name, value)
    return f'builtin.module attributes {{stepwell.level = "tile", stepwell.target = "sm_90a"}} {{{text}\n}}'


def kernels_of(text: str) -> ModuleOp:
    ctx = make_context(WeightStore())
    module = keep_weights(Parser(ctx, text).parse_module(), WeightStore())
    module.verify()
    return stepwell.lower(module, "kernel", target="sm_90a")


def check(text: str, shape: tuple[int, int], element: str = "f32") -> ModuleOp:
    """Simulator and PTX against NumPy."""
    dtype = {"f32": np.float32, "f16": np.float16}[element]
    x = np.random.default_rng(sum(shape)).integers(-3, 4, shape).astype(dtype)
    most, total = x.max(axis=1), x.astype(np.float32).sum(axis=1).astype(dtype)
    expected = x - most[:, None] + total[:, None] + np.indices(shape).sum(axis=0).astype(dtype)
    module = kernels_of(text)
    plan = ptx_plan(module)
    simulated = simulate_program(module, {"x": x}, WeightStore(), seed=3).outputs
    for found in (simulated, run_plan(plan, {"x": x}).outputs):
        np.testing.assert_array_equal(found["m"].reshape(-1), most)
        np.testing.assert_array_equal(found["s"].reshape(-1), total)
        np.testing.assert_array_equal(found["y"].reshape(shape), expected)
    return module


@pytest.mark.parametrize(
    "shape, block, warps, element",
    [
        ((5, 100), (4, 128), 4, "f32"),
        ((9, 128), (8, 128), 4, "f16"),
        ((3, 1000), (1, 1024), 4, "f32"),
        ((1, 1), (1, 1), 4, "f32"),
        ((7, 5), (4, 8), 4, "f16"),
        ((6, 33), (2, 64), 1, "f32"),
        ((4, 12), (4, 12), 2, "f32"),
    ],
)
def test_rows_in_registers(shape: tuple[int, int], block: tuple[int, int], warps: int, element: str) -> None:
    check(text_of(IN_REGISTERS, shape, block, warps, element), shape, element)


@pytest.mark.parametrize(
    "shape, block, warps, element",
    [
        ((5, 300), (4, 128), 4, "f32"),
        ((3, 129), (2, 64), 2, "f16"),
        ((2, 515), (1, 256), 4, "f32"),
        ((4, 31), (4, 32), 4, "f32"),
    ],
)
def test_rows_in_chunks(shape: tuple[int, int], block: tuple[int, int], warps: int, element: str) -> None:
    check(text_of(IN_CHUNKS, shape, block, warps, element), shape, element)


@pytest.mark.parametrize(
    "layout, shuffles, shared",
    [
        ("4x32, width 4", 5, 0),
        ("16x2, width 1", 1, 0),
        ("2x64, width 1", 5, 128 * 8 * 4),
        ("1x128, width 1", 5, 128 * 16 * 4),
        ("4x8, width 2", 3, 0),
        ("16x1, width 8", 0, 0),
    ],
)
@pytest.mark.parametrize("kernel", [IN_REGISTERS, IN_CHUNKS])
def test_every_layout_folds(kernel: str, layout: str, shuffles: int, shared: int) -> None:
    """Written by hand: lanes meet, then warps through shared memory, or one thread has it all."""
    text = text_of(kernel, (17, 120), (16, 128), layout=f"#tile.threads<{layout}>")
    module = check(text, (17, 120))
    (made,) = (op for op in module.ops if isinstance(op, warp.KernelOp))
    found = [op.lanes.value.data for op in made.walk() if isinstance(op, warp.ShuffleOp)]
    assert len(found) == 2 * shuffles and made.shared.value.data == shared


def test_columns_fold_too() -> None:
    """Along the rows of threads; what is left lies along columns."""
    text = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @columns(%x: !tile.ref<2xf32, plain>) -> (%y: !tile.ref<1xf32, plain>) config #tile.config<block = [*, 32], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %x block [*, 32] {
      %v = tile.load %x[%i, %j] : !tile.tile<64x32xf32, regs>
      %s = tile.reduce add %v dims [0]
      tile.store %s, %y[%j]
    }
  }
  func.func @main(%x: tensor<50x70xf32> {stepwell.name = "x"}) -> (tensor<70xf32> {stepwell.name = "y"}) {
    %y = tile.apply @columns(%x) : (tensor<50x70xf32>) -> tensor<70xf32>
    func.return %y : tensor<70xf32>
  }
}"""
    x = np.random.default_rng(1).integers(-3, 4, (50, 70)).astype(np.float32)
    module = kernels_of(text)
    for found in (
        simulate_program(module, {"x": x}, WeightStore()).outputs,
        run_plan(ptx_plan(module), {"x": x}).outputs,
    ):
        np.testing.assert_array_equal(found["y"].reshape(-1), x.sum(axis=0))


def test_threads_that_do_not_meet_in_pairs_are_refused() -> None:
    text = text_of(IN_REGISTERS, (4, 12), (4, 12), layout="#tile.threads<4x6, width 2>").replace("4x6", "4x3")
    with pytest.raises(PassFailure, match="3 threads, 1 apart, do not meet in pairs"):
        kernels_of(text.replace("width 2", "width 4"))


def test_a_missing_exchange_is_a_wrong_sum() -> None:
    """The check sees a fold that stops in the thread."""
    text = text_of(IN_REGISTERS, (5, 100), (4, 128)).replace("%sum = tile.reduce add %part dims []", "")
    with pytest.raises(AssertionError):
        check(text.replace("%sum", "%part"), (5, 100))


def test_layouts_are_spread_from_tiles_to_vectors() -> None:
    ctx = make_context(WeightStore())
    module = keep_weights(Parser(ctx, text_of(IN_CHUNKS, (5, 300), (4, 128))).parse_module(), WeightStore())
    for step in passes_of("stepwell-convert-tile-to-plan,plan-annotate-refs,plan-assign-offsets,tile-assign-layouts"):
        step.apply(ctx, module)
    kinds = [result.type for op in module.walk() for result in op.results if isinstance(result.type, tile.TileType)]
    assert all(kind.has_layout for kind in kinds)
    assert len(re.findall(r"#tile.slice<1, #tile.threads<4x32, width 4>>", module_text(module))) == 4


@pytest.mark.parametrize("element", [f16, bf16, i8, i32], ids=str)
@pytest.mark.parametrize("shape", [(5, 33), (2, 700)])
def test_maxima_of_every_element(
    network: Callable[..., GeneratedGraph], element: Attribute, shape: tuple[int, int]
) -> None:
    """From the graph level down; elements narrower than a register travel in one."""
    case = network(lambda x: [graph.ReduceOp(x, kind="max", dims=[1])], TensorType(element, shape))
    kernels = stepwell.lower(keep_weights(case.module.clone(), case.weights), to="kernel", target="sm_90a")
    rng = np.random.default_rng(shape[1])
    inputs = {name: rng.integers(-9, 9, array.shape).astype(array.dtype) for name, array in case.inputs().items()}
    ((name, expected),) = interpret(case.module, inputs, weights=case.weights).items()
    for found in (interpret(kernels, inputs, weights=case.weights), run_plan(ptx_plan(kernels), inputs).outputs):
        np.testing.assert_array_equal(found[name].reshape(expected.shape).astype(float), expected.astype(float))
    assert any(isinstance(op, warp.ShuffleOp) for op in kernels.walk())
