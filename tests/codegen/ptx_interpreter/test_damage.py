"""Faults that the text between the kernel level and the machine may have: each is caught when the PTX is executed."""

from __future__ import annotations

import re
from functools import cache

import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import stepwell
from stepwell.codegen.ptx import emit_ptx
from stepwell.modules import keep_weights, make_context
from stepwell.runtime.plan_file import Plan
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case, Ending, Schedule, gemm
from stepwell.testing.ptx import judge_ptx, llvm_text, ptx_plan, run_plan, substituted


@cache
def case_of(name: str) -> Case:
    deep = gemm("gemm_deep", 64, 256, 160, "f32", Schedule((64, 256), 5), Ending("none"))  # a ring beyond byte 131072
    odd = gpu_kernels.elementwise("elementwise_odd", 37, 9, "f16")  # rows that only halves reach
    return next(case for case in (*gpu_kernels.small_cases(), deep, odd) if case.name == name)


@cache
def kernels_of(name: str) -> ModuleOp:
    case = case_of(name)
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    return stepwell.lower(module, "kernel")


@cache
def plan_of(name: str) -> Plan:
    return ptx_plan(kernels_of(name))


def judged(name: str, pattern: str, replacement: str, site: int | None = None) -> str:
    case = case_of(name)
    expected = {"y": case.expected}
    return judge_ptx(plan_of(name), case.inputs, substituted(pattern, replacement, site), expected)


DAMAGES = {
    "wait branch inverted": ("gemm_n10", r"@!p bra", "@p bra"),
    "descriptor B step": ("gemm_n10", r"add\.s64 b, b, 2;", "add.s64 b, b, 4;"),
    "descriptor A step": ("gemm_n10", r"add\.s64 a, a, 2; add\.s64 b", "add.s64 b"),
    "transposed B bit": ("gemm_n10_f16", r"1, 1, 1, 0, 0;", "1, 1, 1, 0, 1;"),
    "transposed A bit": ("gemm_n10_f16", r"1, 1, 1, 0, 0;", "1, 1, 1, 1, 0;"),
    "arrive predicate": ("gemm_n10", r"@(%p\d+) mbarrier\.arrive", r"@!\1 mbarrier.arrive"),
    "row bound": ("gemm_tf32", r"setp\.gt\.s32 p, (%r\d+), 8;", r"setp.gt.s32 p, \1, 0;"),
    "column bound": ("gemm_n10", r"setp\.gt\.and\.s32 q, (%r\d+), 8, p;", r"setp.gt.and.s32 q, \1, 0, p;"),
    "gather scale for f16": ("stem_rgb_f16", r"(mad\.wide\.s32 a, %r\d+), 2,", r"\1, 4,"),
    "store halves swapped": ("elementwise_odd", r"mov\.b32 \{h0, h1\}", "mov.b32 {h1, h0}"),
    "load halves swapped": ("elementwise_odd", r"(mov\.b32 %r\d+), \{h0, h1\}", r"\1, {h1, h0}"),
    "tf32 scale -1": ("gemm_n10", r"a, b, 1, 1, 1;", "a, b, 1, -1, 1;"),
    "descriptor mask": ("gemm_deep", r"(bfe\.u32 \t%r\d+, %r\d+, 4), 14;", r"\1, 13;"),
    "im2col offsets reversed": ("conv_dilated", r"\{(%rs\d+), (%rs\d+)\};", r"{\2, \1};"),
    "fragment row steps": ("gemm_n10", r"add\.s64 a, a, %rd\d+;", ""),
    "signed bound": ("gemm_tf32", r"setp\.gt\.s32 p,", "setp.gt.u32 p,"),
    "sign-extended magic number": ("conv_dilated", r"mul\.wide\.u32", "mul.wide.s32"),
    "sign-extended tile number": ("gemm_n10", r"cvt\.u64\.u32", "cvt.s64.s32"),
    "parity never flips": ("conv_dilated", r"xor\.b32 \t(%r\d+), %r\d+, %r\d+;", r"mov.b32 \1, \1;"),
    "expects too few bytes": ("gemm_n10", r"mov\.b32 \t(%r\d+), 8192;", r"mov.b32 \1, 4096;"),
    "no initialisation fence": ("gemm_n10", r"fence\.mbarrier_init[^;]*;", ""),
    "no block barrier": ("gemm_n10", r"bar\.sync[^;]*;", ""),
    "no predecessor wait": ("gemm_n10", r"griddepcontrol\.wait;", ""),
    "no product wait": ("gemm_n10", r"wgmma\.wait_group\.sync\.aligned \d;", ""),
    "no product fence": ("gemm_n10", r"wgmma\.fence\.sync\.aligned;", ""),
    "no commit": ("gemm_n10", r"wgmma\.commit_group\.sync\.aligned;", ""),
    "wait dropped": ("conv_dilated", r"\{ \.reg \.pred p; WAIT[^}]*\}", ""),
    "arrive dropped": ("conv_dilated", r"@%p\d+ mbarrier\.arrive[^;]*;", ""),
    "expectation dropped": ("gemm_n10", r"mbarrier\.arrive\.expect_tx[^;]*;", ""),
    "store dropped": ("gemm_n10", r"@q st\.global[^;]*;", ""),
    "load dropped": ("gemm_n10", r"@q ld\.global[^;]*;", ""),
    "contracted sum": ("gemm_n10", r"add\.rn\.f32", "add.f32"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_the_damage_is_caught(name: str) -> None:
    caught = judged(*DAMAGES[name])
    assert caught
    print(f"{name}: {caught}")


@pytest.mark.parametrize("name", ["gemm_n10", "stem_rgb_f16", "conv_dilated"])
def test_a_dropped_sideeffect_changes_no_ptx(name: str) -> None:
    """LLVM keeps an inline instruction that clobbers memory, and its O0 pipeline removes none at all: so that damage is none. What a lost instruction does is among
    the damages above."""
    text = llvm_text(kernels_of(name))
    assert text.count("asm sideeffect") > 3
    emitted = [re.sub(r"WAIT_\d+", "WAIT", emit_ptx(t)) for t in (text, text.replace("asm sideeffect", "asm"))]
    assert emitted[0] == emitted[1]


def test_what_is_not_damaged_is_right() -> None:
    for name in {name for name, *_ in DAMAGES.values()} - {"gemm_deep"}:
        case = case_of(name)
        for seed in range(3):
            outputs = run_plan(plan_of(name), case.inputs, seed=seed).outputs
            assert (outputs["y"].reshape(case.expected.shape) == case.expected).all()
        assert judge_ptx(plan_of(name), case.inputs, lambda text: text + "// unchanged", {"y": case.expected}) == ""


def test_a_damage_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="changes nothing"):
        judged("gemm_n10", "no such text", "")
