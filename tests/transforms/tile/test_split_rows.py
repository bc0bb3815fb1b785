"""Rows: what the text may not say, and that splitting changes no bit of any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, reject, settings
from xdsl.parser import Parser
from xdsl.utils.exceptions import VerifyException

from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.ir.printing import module_text
from stepwell.passes import PassFailure
from stepwell.passes.target import resolve, write_target
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.transforms.pipelines import stages

BEFORE = [spec for level, specs in stages("cpu") if level not in ("kernel", "llvm") for spec in specs]
ROWS = (Path(__file__).parents[2] / "dialects/tile/rows.mlir").read_text()


def planned(case: GeneratedGraph, level: str) -> GeneratedGraph:
    module = case.module.clone()
    write_target(module, resolve(level))
    try:
        for pass_ in [pass_ for spec in BEFORE for pass_ in passes_of(spec)]:
            pass_.apply(case.context(), module)
    except PassFailure:
        reject()
    return GeneratedGraph(module, case.weights, case.integers)


@given(graphs())
@settings(max_examples=15, deadline=None)
def test_networks_bit_for_bit(case: GeneratedGraph) -> None:
    before = planned(case, "x86-64-v4")
    expected = interpret(before.module, case.inputs(), weights=case.weights)
    check_pass("tile-split-rows", before.module, before.context())
    after = before.module.clone()
    for pass_ in passes_of("tile-split-rows"):
        pass_.apply(before.context(), after)
    after.verify()
    for name, array in interpret(after, case.inputs(), weights=case.weights).items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize(
    ("given_", "other", "reason"),
    [
        ("rows 4 unrolled", "rows 3", "has not 3 rows"),
        ("rows 4 unrolled take (%one = %a)", "rows 0", "a block has 0 rows"),
        ("of %i rows", "of %j rows", "from another offset"),
        ("%y[%r, %j]", "%y[%i, %j]", "writes at the offsets of tile.for_tiles"),
        ("builtin.module {", 'builtin.module attributes {stepwell.target = "sm_90a"} {', "goes row by row"),
    ],
)
def test_what_the_verifier_refuses(given_: str, other: str, reason: str) -> None:
    assert given_ in ROWS
    with pytest.raises(VerifyException, match=reason):
        Parser(
            make_context(),
            ROWS.replace(given_, other).replace("%one,", "%one," if "take" in other or "take" not in given_ else "%a,"),
        ).parse_module().verify()


def test_a_module_for_a_gpu_stays() -> None:
    ctx = make_context()
    module = Parser(
        ctx, ROWS.replace("builtin.module {", 'builtin.module attributes {stepwell.target = "sm_90a"} {')
    ).parse_module()
    text = module_text(module)
    with pytest.raises(PassFailure, match="for a CPU"):
        for pass_ in passes_of("tile-split-rows"):
            pass_.apply(ctx, module)
    assert module_text(module) == text
