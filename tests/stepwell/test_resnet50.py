"""What ResNet-50 compiles to, in counts that seconds follow from: distinct kernels, ops of the llvm level in each, passes between plan and kernel."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from xdsl.dialects import llvm
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.dialects import plan, tile
from stepwell.testing.folded import resnet50

KERNELS, LAUNCHES, LLVM_OPS = 25, 57, 450


@cache
def planned(target: str, precision: str) -> ModuleOp:
    return stepwell.lower(stepwell.import_model(resnet50()), to="plan", target=target, precision=precision)


@cache
def kernels(target: str, precision: str) -> ModuleOp:
    return stepwell.lower(planned(target, precision), to="kernel")


def forms(module: ModuleOp) -> Counter[str]:
    """How often a kernel is launched, by its name."""
    programs = [op for op in module.ops if isinstance(op, plan.ProgramOp)]
    return Counter(step.kernel_name for _, step in programs[0].steps() if isinstance(step, plan.LaunchOp))


@pytest.mark.parametrize(("target", "precision"), [("sm_90a", "fp32"), ("sm_90a", "fp16"), ("x86-64-v4", "fp32")])
def test_few_kernels_serve_all_launches(target: str, precision: str) -> None:
    launched = forms(kernels(target, precision))
    assert launched.total() <= LAUNCHES
    assert 5 < len(launched) <= KERNELS, launched


def test_kernels_are_small() -> None:
    module = stepwell.lower(kernels("sm_90a", "fp16"), to="llvm")
    sizes = {op.sym_name.data: sum(1 for _ in op.walk()) for op in module.ops if isinstance(op, llvm.FuncOp)}
    made = {name: size for name, size in sizes.items() if size > 1}
    assert len(made) > 5 and max(made.values()) <= LLVM_OPS, made


def test_no_kernel_is_a_loop_over_elements() -> None:
    assert not [op for op in planned("sm_90a", "fp16").ops if isinstance(op, tile.LoopsOp)]
