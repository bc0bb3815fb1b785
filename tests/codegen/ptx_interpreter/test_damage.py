"""Damages to the PTX: what is none is seen to be none. The table of those that must be caught is `tests/mutants/ptx.toml`."""

from __future__ import annotations

import re

import pytest
from xdsl.parser import Parser

import stepwell
from stepwell.codegen.ptx import emit_ptx
from stepwell.driver.modules import keep_weights, make_context
from stepwell.testing.mutants import case_of, plan_of
from stepwell.testing.ptx import judge_ptx, llvm_text, substituted


@pytest.mark.parametrize("name", ["gemm_n10", "stem_rgb_f16", "conv_dilated"])
def test_a_dropped_sideeffect_changes_no_ptx(name: str) -> None:
    """LLVM keeps an inline instruction that clobbers memory, and its O0 pipeline removes none at all: so that damage is none. What a lost instruction does is
    among the faults of `tests/mutants`."""
    case = case_of(name)
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    text = llvm_text(stepwell.lower(module, "kernel"))
    assert text.count("asm sideeffect") > 3
    emitted = [re.sub(r"WAIT_\d+", "WAIT", emit_ptx(t)) for t in (text, text.replace("asm sideeffect", "asm"))]
    assert emitted[0] == emitted[1]


def test_a_damage_that_changes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="changes nothing"):
        judge_ptx(plan_of("gemm_n10"), case_of("gemm_n10").inputs, substituted("no such text", ""), {})
