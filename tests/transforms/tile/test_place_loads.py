"""Loads of an epilogue are placed by the registers that the role has been given, whatever tile-split-roles was asked for."""

from __future__ import annotations

import pytest
from xdsl.parser import Parser

from stepwell.api.compile import lower
from stepwell.dialects import tile
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights
from stepwell.plugins.universe import make_context
from stepwell.testing.gpu_contractions import Ending, Schedule, gemm

BEFORE = "tile-assign-copies,tile-assign-layouts,tile-pipeline-loops,"
HALVES = gemm("halves", 300, 256, 64, "f16", Schedule((128, 128), 3), Ending("relu", True))


@pytest.mark.parametrize(("load_registers", "budget", "early"), [(40, 232, True), (64, 224, True), (160, 176, False)])
def test_the_budget_of_the_role_decides(load_registers: int, budget: int, early: bool) -> None:
    ctx = make_context(HALVES.weights)
    module = keep_weights(Parser(ctx, HALVES.text).parse_module(), HALVES.weights)
    module = lower(module, "plan", target="sm_90a")
    for step in passes_of(f"{BEFORE}tile-split-roles{{load_registers={load_registers}}},tile-place-loads"):
        step.apply(ctx, module)
    module.verify()
    (role,) = [op for op in module.walk() if isinstance(op, tile.RoleOp) and op.label.data == "multiply"]
    assert role.registers is not None and role.registers.value.data == budget
    names = [op.name for op in role.walk() if isinstance(op, tile.LoadOp | tile.ForOp) and op.parent_op() is not None]
    assert names.index("tile.for") == (names.count("tile.load") if early else 0)
    (remark,) = ctx.remarks.matching("tile-place-loads")
    assert remark.kind == ("passed" if early else "missed") and f"of {budget} registers" in remark.message
