"""The passes of this level on generated networks: what holds for every pass, and that memory does not change what is
computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, reject

from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.passes.target import resolve, write_target
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.transforms.pipelines import stages

UNTIL_TILE = [spec for level, specs in stages("cpu") if level in ("graph", "linalg", "tile") for spec in specs]
CONVERT, ASSIGN = "stepwell-convert-tile-to-plan", "plan-assign-offsets"


def after(case: GeneratedGraph, *specs: str) -> GeneratedGraph:
    """The module after these passes, for the CPU."""
    module = case.module.clone()
    write_target(module, resolve("x86-64-v3"))
    for spec in specs:
        for pass_ in passes_of(spec):
            pass_.apply(case.context(), module)
    return GeneratedGraph(module, case.weights, case.integers)


def at_tile(case: GeneratedGraph) -> GeneratedGraph:
    """The network at the tile level; networks that the earlier levels refuse are left out."""
    try:
        return after(case, *UNTIL_TILE)
    except PassFailure:
        reject()


@given(graphs(integers=True))
def test_networks_bit_for_bit(case: GeneratedGraph) -> None:
    made = at_tile(case)
    expected = interpret(made.module, case.inputs(), weights=case.weights)
    planned = after(made, CONVERT, ASSIGN)
    planned.module.verify()
    for name, array in interpret(planned.module, case.inputs(), weights=case.weights).items():
        np.testing.assert_array_equal(array, expected[name])


@given(graphs(max_steps=4))
def test_what_holds_for_every_pass(case: GeneratedGraph) -> None:
    made = at_tile(case)
    (report,) = check_pass(CONVERT, made.module, made.context())
    assert not report.refusal and report.changed
    planned = after(made, CONVERT)
    (report,) = check_pass(ASSIGN, planned.module, planned.context())
    assert not report.refusal and report.changed


HOST = """
builtin.module attributes {{stepwell.level = "tile", stepwell.target = "cpu"}} {{
  func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {{
    {body}
  }}
}}
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "%y = arith.addf %x, %x : tensor<2x3xf32>\n    func.return %y : tensor<2x3xf32>",
            "arith.addf has no place in a plan: at the tile level every computation is a tile.apply",
        ),
        (
            "func.return %x : tensor<2x3xf32>\n  }\n  func.func @other() {\n    func.return",
            "a module at the tile level has one host function, here: @main, @other",
        ),
    ],
)
def test_refusals(body: str, message: str) -> None:
    ctx = make_context()
    module = parse_text(ctx, HOST.format(body=body), SourceMap("host"))
    (report,) = check_pass(CONVERT, module, ctx)
    assert message in report.refusal
