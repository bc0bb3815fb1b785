"""Maps with long bodies go in parts that the IR says: another number is another kernel with the same result."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

import stepwell
from stepwell.dialects import tile
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights, make_context
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure, remarks_of
from stepwell.testing import gpu_kernels

BEFORE = "tile-assign-copies,tile-assign-layouts"


@cache
def case() -> Any:
    return next(case for case in gpu_kernels.small_cases() if case.name == "gemm_gelu")


def laid_out() -> tuple[str, list[str]]:
    """The case with layouts, and what was said of its maps."""
    ctx = make_context(case().weights)
    module = keep_weights(Parser(ctx, case().text).parse_module(), case().weights)
    module = stepwell.lower(module, "plan", target="sm_90a")
    for step in passes_of(BEFORE):
        step.apply(ctx, module)
    return module_text(module), [remark.message for remark in remarks_of(ctx).remarks]


def kernel_of(text: str) -> ModuleOp:
    """The text, lowered on."""
    module = keep_weights(Parser(make_context(case().weights), text).parse_module(), case().weights)
    module.verify()
    return stepwell.lower(module, "kernel", target="sm_90a")


def test_a_long_body_goes_in_parts_and_is_told() -> None:
    text, said = laid_out()
    assert ") parts 2 {" in text
    assert any("goes in 2 parts: 16 elements of a thread at once" in message for message in said)


@pytest.mark.parametrize("parts", [1, 4, 8])
def test_parts_changed_by_hand_are_another_kernel(parts: int) -> None:
    text, _ = laid_out()
    module = kernel_of(text.replace(") parts 2 {", f") parts {parts} {{" if parts > 1 else ") {"))
    (found,) = simulate_program(module, case().inputs, case().weights, seed=7).outputs.values()
    np.testing.assert_allclose(found.reshape(case().expected.shape), case().expected, rtol=case().rtol, atol=1e-3)
    assert str(module) != str(kernel_of(text))


def test_parts_that_a_thread_has_not_are_refused() -> None:
    text, _ = laid_out()
    with pytest.raises(PassFailure, match="goes in 64 parts, a thread has 32 elements") as error:
        kernel_of(text.replace(") parts 2 {", ") parts 64 {"))
    assert error.value.hint == "parts 32"


def test_uneven_parts_are_no_map() -> None:
    ctx = make_context(case().weights)
    module = Parser(ctx, laid_out()[0]).parse_module()
    made = next(op for op in module.walk() if isinstance(op, tile.MapOp) and op.parts is not None)
    text = module_text(module).replace("parts 2", "parts 3")
    assert made.part_count == 2
    with pytest.raises(VerifyException, match="elements do not go in 3 equal parts"):
        Parser(ctx, text).parse_module().verify()
