"""graph to linalg on every op of the graph dialect with generated types and attributes, and on whole generated networks."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from stepwell.dialects import graph
from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.ir.source import SourceMap, parse_text
from stepwell.passes import PassFailure
from stepwell.plugins.universe import make_context
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs, op_modules
from stepwell.transforms.graph_to_linalg.graph_ops import CONVERSIONS
from stepwell.transforms.legality import refusals
from stepwell.transforms.pipelines import GRAPH

PASS = "stepwell-convert-graph-to-linalg"
QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def is_lowered(case: GeneratedGraph) -> bool:
    """Whether compiling takes the network: of every op, element types that are lowered."""
    return not list(refusals(case.module, "cpu"))


def fused(case: GeneratedGraph, *specs: str) -> GeneratedGraph:
    """The module after the passes that make fusions."""
    module = case.module.clone()
    for spec in specs:
        for pass_ in passes_of(spec):
            pass_.apply(case.context(), module)
    return GeneratedGraph(module, case.weights, case.integers)


@given(op_modules(among={op.name for op in CONVERSIONS}).filter(is_lowered))
@QUICK
def test_every_op(case: GeneratedGraph) -> None:
    assume(not list(refusals(case.module, "cpu")))
    made = fused(case, "graph-fuse-single")
    (report,) = check_pass(PASS, made.module, made.context())
    assert not report.refusal


@given(graphs(integers=True))
@QUICK
def test_networks_of_integers_bit_for_bit(case: GeneratedGraph) -> None:
    made = fused(case, *GRAPH)
    expected = interpret(made.module, case.inputs(), weights=case.weights)
    after = fused(made, PASS)
    after.module.verify()
    for name, array in interpret(after.module, case.inputs(), weights=case.weights).items():
        assert np.array_equal(array, expected[name])


FUSION = """
builtin.module attributes {{stepwell.level = "graph"}} {{
  func.func @main(%x: {type}) -> {result} {{
    %y = graph.fusion "f" (%a = %x : {type}) -> ({result}) {{
      %0 = {op} : {signature}
      graph.yield %0 : {result}
    }} loc("node")
    func.return %y : {result}
  }}
}}
"""


@pytest.mark.parametrize("count", ["", "count_include_pad "])
@pytest.mark.parametrize("ceil", ["", "ceil "])
def test_average_of_windows_that_are_cut_off(count: str, ceil: str) -> None:
    type, result = "tensor<2x5x7x3xf32>", "tensor<2x3x4x3xf32>"
    op = (
        "graph.pool average %a kernel [3, 2] strides [2, 2] pads [1, 0, 1, 1] dilations [1, 1] "
        f"{ceil}{count}channels_last"
    )
    text = FUSION.format(type=type, result=result, op=op, signature=f"{type} -> {result}")
    module = parse_text(make_context(), text, SourceMap("test"))
    (report,) = check_pass(PASS, module)
    assert report.changed


def test_depthwise_has_no_group_loops() -> None:
    text = """
    func.func @main(%x: tensor<1x4x4x6xf32>, %w: tensor<6x3x3x1xf32>) -> tensor<1x2x2x6xf32> {
      %y = graph.fusion "f" (%a = %x : tensor<1x4x4x6xf32>, %b = %w : tensor<6x3x3x1xf32>) -> (tensor<1x2x2x6xf32>) {
        %0 = graph.conv %a, %b strides [1, 1] pads [0, 0, 0, 0] dilations [1, 1] groups 6 channels_last : (tensor<1x4x4x6xf32>, tensor<6x3x3x1xf32>) -> tensor<1x2x2x6xf32>
        graph.yield %0 : tensor<1x2x2x6xf32>
      }
      func.return %y : tensor<1x2x2x6xf32>
    }"""  # fmt: skip
    module = parse_text(make_context(), text, SourceMap("test"))
    (pass_,) = passes_of(PASS)
    pass_.apply(make_context(), module)
    (generic,) = [op for op in module.walk() if op.name == "linalg.generic"]
    assert str(generic.indexing_maps.data[0].data) == "(d0, d1, d2, d3, d4, d5) -> (d0, (d1 + d4), (d2 + d5), d3)"  # type: ignore[attr-defined]


def test_refuses_what_stands_outside_of_a_fusion() -> None:
    text = """
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = graph.unary relu %x : tensor<4xf32> -> tensor<4xf32> loc("act")
      func.return %y : tensor<4xf32>
    }"""
    module = parse_text(make_context(), text, SourceMap("test"))
    (pass_,) = passes_of(PASS)
    with pytest.raises(
        PassFailure, match=r"act: graph.unary stands outside of a graph.fusion\n  hint: run graph-fuse-single"
    ):
        pass_.apply(make_context(), module)
    assert any(isinstance(op, graph.UnaryOp) for op in module.walk())
