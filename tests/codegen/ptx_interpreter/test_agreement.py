"""The PTX of whole plans: the interpreter gives the simulator's bits, on whole and on random numbers, and NumPy's on whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import stepwell
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.driver.modules import keep_weights, make_context, weights_of
from stepwell.driver.run_ptx import run_plan
from stepwell.runtime.plan_file import Plan
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case
from stepwell.testing.ptx import ptx_plan

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
SHORT = [
    "gemm_n10_f16",
    "gemm_swizzle32",
    "conv_dilated",
    "conv_gelu",
    "stem_rgb_f16",
    "pool_odd",
    "elementwise_f16_n10",
]


@cache
def small() -> dict[str, Case]:
    return {case.name: case for case in gpu_kernels.small_cases()}


def agree(module: ModuleOp, inputs: Mapping[str, np.ndarray], plan: Plan, seed: int) -> dict[str, np.ndarray]:
    """The interpreter's outputs, which are the simulator's."""
    weights = weights_of(module)
    assert weights is not None
    simulated = simulate_program(module, inputs, weights, seed=seed)
    executed = run_plan(plan, inputs, seed=seed)
    for name, array in simulated.outputs.items():
        np.testing.assert_array_equal(executed.outputs[name].reshape(array.shape), array)
    counts = [
        [(r.statistics.copies, r.statistics.copied_bytes, r.statistics.products) for r in report.launches]
        for report in (simulated, executed)
    ]
    assert counts[0] == counts[1]
    return executed.outputs


def check(name: str) -> None:
    case = small()[name]
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    kernels = stepwell.lower(module, "kernel")
    plan = ptx_plan(kernels)
    (output,) = agree(kernels, case.inputs, plan, 0).values()
    if case.rtol == 0:
        np.testing.assert_array_equal(output.reshape(case.expected.shape), case.expected)
    random = np.random.default_rng(1)
    others = {key: random.standard_normal(a.shape).astype(a.dtype) for key, a in case.inputs.items()}
    agree(kernels, others, plan, 1)


@pytest.mark.parametrize("name", SHORT)
def test_interpreter_and_simulator_give_the_same_bits(name: str) -> None:
    check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in gpu_kernels.small_cases() if case.name not in SHORT])
def test_interpreter_and_simulator_give_the_same_bits_everywhere(name: str) -> None:
    check(name)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_few_blocks_do_all_tiles_of_a_persistent_kernel(blocks: int) -> None:
    case = small()["gemm_tf32"]
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    report = run_plan(ptx_plan(module), case.inputs, persistent=blocks, seed=blocks)
    np.testing.assert_array_equal(report.outputs["y"].reshape(case.expected.shape), case.expected)
    assert [launch.grid for launch in report.launches] == [min(blocks, 2)]


def digits(precision: str) -> None:
    images = np.load(DIGITS / "heldout.npz")["images"][:2].astype(np.float32).reshape(2, 1, 8, 8)
    module = stepwell.import_model(DIGITS / "digits.onnx", shapes={"image": (2, 1, 8, 8)})
    kernels = stepwell.lower(module, "kernel", target="sm_90a", precision=precision)
    agree(kernels, {"image": images}, ptx_plan(kernels), 3)


def test_the_digit_network_agrees() -> None:
    digits("fp16")


@pytest.mark.slow
def test_the_digit_network_agrees_in_its_own_precision() -> None:
    digits("model")
