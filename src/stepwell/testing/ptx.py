"""The PTX of modules under test: `run_plan` executes that of a plan without a GPU, `ptx_plan` makes a plan that holds it, `judge_ptx` says what catches a damaged text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

import stepwell
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx_interpreter import PtxRefused
from stepwell.codegen.ptx_interpreter.program import run_section
from stepwell.dialects.hopper.simulator.faults import Fault
from stepwell.driver.build import build_section
from stepwell.driver.driver import Driver
from stepwell.driver.modules import weights_of
from stepwell.driver.pipeline import pipeline
from stepwell.driver.run_ptx import find_section, launches_of, ptx_of, run_plan
from stepwell.plugins.universe import make_context
from stepwell.runtime.plan_file import Plan
from stepwell.types.targets import SM_90A

__all__ = ["Damage", "judge_ptx", "llvm_text", "ptx_plan", "run_plan", "substituted"]

Damage = Callable[[str], str]


def ptx_plan(module: ModuleOp, *, precision: str = "model") -> Plan:
    """A plan of a module of any level with PTX for sm_90a and no cubin, so that no assembler is needed; a module at level `kernel` (see `stepwell.lower`)
    is taken as it is, so whoever damages one sees what its translation does."""
    kernels = stepwell.lower(module, "kernel", target="sm_90a", precision=precision)
    weights = weights_of(kernels)
    driver = Driver(make_context(weights))
    steps = pipeline("sm_90a", precision)
    return Plan((build_section("sm_90a", kernels, SM_90A, weights, steps, driver, assemble=False),))


def llvm_text(module: ModuleOp, *, precision: str = "model") -> str:
    """The LLVM text that the PTX of a module is made from."""
    return translate(stepwell.lower(module, "llvm", target="sm_90a", precision=precision), SM_90A)


def substituted(pattern: str, replacement: str, site: int | None = None) -> Damage:
    """The damage that replaces what matches a regular expression: the match number `site`, or all of them."""

    def damage(text: str) -> str:
        found = list(re.finditer(pattern, text))
        for match in reversed(found if site is None else found[site : site + 1]):
            text = text[: match.start()] + match.expand(replacement) + text[match.end() :]
        return text

    return damage


def judge_ptx(
    plan: Plan,
    inputs: Mapping[str, Any],
    damage: Damage,
    expected: Mapping[str, np.ndarray],
    *,
    rtol: float = 0.0,
    seeds: Sequence[int] = (0, 1, 2),
    limit: int = 1_000_000,
) -> str:
    """What catches the plan when `damage` has changed its PTX: the kind of a fault, `refused`, `wrong result`, or nothing: it survived.

    It runs with each of `seeds`, and with one block for all tiles of a persistent kernel. Outputs must be those of `expected` within `rtol` of the largest magnitude (0: bit for bit). A damage that changes nothing is a ValueError."""
    text = ptx_of(plan)
    damaged = damage(text)
    if damaged == text:
        raise ValueError("the damage changes nothing")
    section = find_section(plan)
    memory = launches_of(section)
    for seed, persistent in [*((seed, None) for seed in seeds), (0, 1)]:
        try:
            report = run_section(section, inputs, memory, ptx=damaged, seed=seed, limit=limit, persistent=persistent)
        except Fault as fault:
            return fault.kind
        except PtxRefused:
            return "refused"
        if any(not _agree(report.outputs[name], array, rtol) for name, array in expected.items()):
            return "wrong result"
    return ""


def _agree(found: np.ndarray, expected: np.ndarray, rtol: float) -> bool:
    if rtol == 0.0:
        return np.array_equal(found, expected.reshape(found.shape))
    error = np.abs(found.astype(np.float64) - expected.astype(np.float64).reshape(found.shape)).max(initial=0.0)
    return bool(error <= rtol * np.abs(expected).max(initial=0.0))
