"""Kernels without products follow the layouts in their text: another layout is another kernel with the same result, an illegal one is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError, VerifyException

import stepwell
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import emit_ptx
from stepwell.dialects import warp
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure
from stepwell.testing import gpu_kernels
from stepwell.testing.check_pass import check_pass
from stepwell.testing.ptx import ptx_plan
from stepwell.transforms.pipelines import LLVM
from stepwell.types.targets import SM_90A

TO_LAYOUTS = "stepwell-convert-tile-to-plan,plan-annotate-refs,plan-assign-offsets,tile-assign-layouts"


@cache
def small() -> dict[str, Any]:
    return {case.name: case for case in gpu_kernels.small_cases()}


@cache
def with_layouts(name: str) -> str:
    """The text of a case's module once layouts are assigned."""
    case = small()[name]
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text).parse_module()
    for step in passes_of(TO_LAYOUTS):
        step.apply(ctx, module)
    return module_text(module)


def changed(name: str, *replaced: tuple[str, str]) -> str:
    """That text, with a decision changed by hand."""
    text = with_layouts(name)
    for old, new in replaced:
        assert old in text, text
        text = text.replace(old, new)
    return text


def kernel_of(name: str, text: str) -> ModuleOp:
    """The text, compiled on to the kernel level."""
    ctx = make_context(small()[name].weights)
    module = Parser(ctx, text).parse_module()
    module.verify()
    passes_of("stepwell-convert-tile-to-warp")[0].apply(ctx, module)
    module.verify()
    return module


def ptx_of(module: ModuleOp) -> str:
    ctx = make_context()
    for step in passes_of(",".join(LLVM["sm_90a"])):
        step.apply(ctx, module)
    return emit_ptx(translate(module, SM_90A))


STEM = "<16x8, width 4>"
CHANGES = [
    ("elementwise", STEM, "<4x8, width 4>", 4, 32),
    ("elementwise", STEM, "<16x4, width 4>", 4, 64),
    ("elementwise", STEM, "<2x16, width 2>", 2, 32),
    ("elementwise", STEM, "<64x4, width 1>", 0, 256),
    ("elementwise", STEM, "<4x2, width 4>", 2, 32),
    ("pool", STEM, "<32x2, width 4>", 4, 64),
    ("pool", STEM, "<8x8, width 4>", 0, 64),
    ("pool_f16", "<32x4, width 8>", "<8x4, width 8>", 2, 32),
    ("stem", STEM, "<32x1, width 4>", 4, 32),
    ("stem", STEM, "<4x4, width 8>", 4, 32),
]


@pytest.mark.parametrize("name, old, new, access, threads", CHANGES)
def test_a_layout_changed_by_hand_is_another_kernel(name: str, old: str, new: str, access: int, threads: int) -> None:
    case, was = small()[name], old[-2]
    at_once = f" access {access}" if access else ""
    module = kernel_of(name, changed(name, (old, new), (f" access {was}", at_once)))
    kernel = next(op for op in module.ops if isinstance(op, warp.KernelOp))
    assert kernel.threads.value.data == threads
    (found,) = simulate_program(module, case.inputs, case.weights, seed=7).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)
    assert ptx_of(module) != ptx_of(kernel_of(name, with_layouts(name)))


def test_every_access_may_be_narrow() -> None:
    """The stores of a kernel whose loads are wide, and the other way round."""
    case, text = small()["elementwise"], with_layouts("elementwise")
    lines = [line.replace(" access 4", " access 2") if "tile.store" in line else line for line in text.splitlines()]
    module = kernel_of("elementwise", "\n".join(lines))
    (found,) = simulate_program(module, case.inputs, case.weights).outputs.values()
    np.testing.assert_array_equal(found.reshape(case.expected.shape), case.expected)
    stores = [op for op in module.walk() if isinstance(op, warp.FragmentStoreOp)]
    assert [op.access.value.data for op in stores] == [2]


@pytest.mark.parametrize(
    "new, message",
    [
        (
            "<32x3, width 4>",
            r"covers 32x12 elements at once, tiles of \[64, 32\] are not whole ones; .*<32x2, width 4> fits",
        ),
        ("<24x8, width 4>", r"covers 24x32 elements at once, .*<16x8, width 4> fits"),
        ("<5x8, width 4>", r"5x8 threads: a part of a warp, or whole warps up to 1024 threads"),
        ("<16x8, width 3>", r"a width of 1, 2, 4, 8 or 16 elements, here 3"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused_with_the_nearest(new: str, message: str) -> None:
    with pytest.raises((ParseError, VerifyException), match=message):
        Parser(make_context(), changed("elementwise", (STEM, new))).parse_module()


@pytest.mark.parametrize(
    "old, new, message",
    [
        (STEM, "<16x16, width 2>", "moves 4 elements at once: a thread holds 2 side by side"),
        ("align 16", "align 8", "the ref is aligned to 8 bytes"),
    ],
)
def test_an_access_wider_than_the_layout_or_the_rows_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(PassFailure, match=message) as error:
        kernel_of("elementwise", changed("elementwise", (old, new)))
    assert "access 2" in str(error.value.hint)


def test_tiles_without_a_layout_are_refused() -> None:
    ctx = make_context(small()["pool"].weights)
    module = Parser(ctx, small()["pool"].text).parse_module()
    steps = passes_of("stepwell-convert-tile-to-plan,plan-annotate-refs,plan-assign-offsets")
    for step in steps:
        step.apply(ctx, module)
    with pytest.raises(PassFailure, match="has no layout") as error:
        passes_of("stepwell-convert-tile-to-warp")[0].apply(ctx, module)
    assert error.value.hint == "run tile-assign-layouts"


@pytest.mark.parametrize("name", ["pool_odd", "elementwise_f16_n10"])
def test_the_pass_keeps_its_promises(name: str) -> None:
    case = small()[name]
    ctx = make_context(case.weights)
    module = Parser(ctx, case.text).parse_module()
    for step in passes_of(TO_LAYOUTS)[:-1]:
        step.apply(ctx, module)
    check_pass("tile-assign-layouts", module, ctx)


TURNED = """
builtin.module attributes {stepwell.level = "tile", stepwell.target = "sm_90a"} {
  tile.kernel @turn(%x: !tile.ref<2xELEMENT, plain>) -> (%y: !tile.ref<2xELEMENT, plain>) config #tile.config<block = [ROWS, COLUMNS], warps = 4> {
    tile.wait_predecessor
    tile.for_tiles (%i, %j) of %y block [ROWS, COLUMNS] {
      %a = tile.load %x[%i, %j] : !tile.tile<ROWSxCOLUMNSxELEMENT, regs, #tile.threads<FROM>>
      %b = tile.relayout %a -> #tile.threads<INTO>
      tile.store %b, %y[%i, %j]
    }
  }
  func.func @main(%x: tensor<70x45xELEMENT> {stepwell.name = "x"}) -> (tensor<70x45xELEMENT> {stepwell.name = "y"}) {
    %y = tile.apply @turn(%x) : (tensor<70x45xELEMENT>) -> tensor<70x45xELEMENT>
    func.return %y : tensor<70x45xELEMENT>
  }
}"""


@pytest.mark.parametrize(
    "block, given, into, element",
    [
        ((32, 32), "16x8, width 4", "32x4, width 1", "f32"),
        ((64, 16), "16x8, width 2", "64x2, width 1", "f16"),
        ((8, 24), "8x3, width 8", "4x6, width 1", "f32"),
        ((32, 32), "16x8, width 4", "16x8, width 4", "f32"),
        ((16, 12), "16x2, width 2", "8x4, width 1", "f16"),
    ],
)
def test_tiles_change_hands(block: tuple[int, int], given: str, into: str, element: str) -> None:
    """Through shared memory; the simulator and the PTX give what was loaded."""
    values = {
        "ROWS": str(block[0]),
        "COLUMNS": str(block[1]),
        "ELEMENT": element,
        "FROM": given,
        "INTO": into,
    }
    text = TURNED
    for name, value in values.items():
        text = text.replace(name, value)
    module = keep_weights(Parser(make_context(WeightStore()), text).parse_module(), WeightStore())
    module.verify()
    kernels = stepwell.lower(module, "kernel", target="sm_90a")
    x = np.random.default_rng(3).integers(-9, 9, (70, 45)).astype(np.float32 if element == "f32" else np.float16)
    for found in (
        simulate_program(kernels, {"x": x}, WeightStore()).outputs,
        run_plan(ptx_plan(kernels), {"x": x}).outputs,
    ):
        np.testing.assert_array_equal(found["y"].reshape(70, 45), x)
    moves = [op for op in kernels.walk() if isinstance(op, warp.SharedStoreOp)]
    assert bool(moves) == (given != into)


def test_layouts_of_other_numbers_of_threads_do_not_meet() -> None:
    text = (
        TURNED.replace("ROWS", "32").replace("COLUMNS", "32").replace("ELEMENT", "f32").replace("FROM", "16x8, width 4")
    )
    module = keep_weights(
        Parser(make_context(WeightStore()), text.replace("INTO", "8x8, width 4")).parse_module(), WeightStore()
    )
    with pytest.raises(PassFailure, match="is held by another number of threads than others"):
        stepwell.lower(module, "kernel", target="sm_90a")
