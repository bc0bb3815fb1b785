"""Ops of the graph level as machine code and as PTX, on generated types and attributes: the values are those of the graph level's interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i1, i8, i64
from xdsl.ir import Attribute, Block, Operation

import stepwell
from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import Array
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import location_of
from stepwell.testing.ptx import ptx_plan
from stepwell.testing.strategies import GeneratedGraph, op_modules
from stepwell.testing.strategies.network import close_network
from stepwell.transforms.legality import refusals

NAMES = [
    "graph.arg_pool",
    "graph.arg_reduce",
    "graph.batch_norm",
    "graph.bitcast",
    "graph.compare",
    "graph.concat",
    "graph.constant",
    "graph.conv_transpose",
    "graph.cumulative",
    "graph.dequantize",
    "graph.gather",
    "graph.iota",
    "graph.lrn",
    "graph.normalize",
    "graph.pad",
    "graph.quantize",
    "graph.reduce",
    "graph.resize",
    "graph.reverse",
    "graph.sample",
    "graph.select",
    "graph.slice",
    "graph.softmax",
]
LOOPS = ["determinant", "dft", "gru", "linear_attention", "lstm", "random", "rnn", "roi_pool", "scatter", "top_k"]
"""Written as loops; tests/transforms/graph_to_loops has a few of each."""
TOLERANCE = {"bfloat16": 2e-2, "float16": 4e-3, "float32": 2e-5, "float64": 1e-10}
"""Of functions of floats; what only moves elements has none."""
CPU = "x86-64-v3"


def on_cpu(case: GeneratedGraph, inputs: dict[str, Array]) -> dict[str, Any]:
    """The outputs of the network's machine code."""
    return dict(stepwell.compile(keep_weights(case.module.clone(), case.weights), target=CPU).run(inputs))


def on_ptx(case: GeneratedGraph, inputs: dict[str, Array]) -> dict[str, Any]:
    """The outputs of the network's PTX in the interpreter."""
    return dict(run_plan(ptx_plan(keep_weights(case.module.clone(), case.weights)), inputs).outputs)


ROADS = {"cpu": on_cpu, "ptx": on_ptx}


def check_road(case: GeneratedGraph, road: str) -> None:
    """The network's outputs on a road are the interpreter's."""
    inputs = dict(case.inputs())
    expected = interpret(case.module, inputs, case.weights)
    for name, found in ROADS[road](case, inputs).items():
        wanted = expected[name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        tolerance = TOLERANCE.get(str(wanted.dtype), 0)
        np.testing.assert_allclose(
            found.astype(np.float64),
            wanted.astype(np.float64),
            rtol=tolerance,
            atol=tolerance,
            err_msg=str(case.module),
        )


def is_lowered(case: GeneratedGraph) -> bool:
    return not list(refusals(case.module, "cpu"))


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", [*NAMES, *(pytest.param(f"graph.{name}", marks=pytest.mark.slow) for name in LOOPS)])
def test_an_op_computes_what_the_interpreter_does(name: str, road: str) -> None:
    @settings(max_examples=max(3, settings().max_examples // 10), suppress_health_check=[HealthCheck.filter_too_much])
    @given(op_modules(name).filter(is_lowered))
    def check(case: GeneratedGraph) -> None:
        check_road(case, road)

    check()


def network(ops: list[Operation], block: Block) -> GeneratedGraph:
    """The ops in order; the last one's results are the outputs."""
    for position, op in enumerate(ops):
        op.location = location_of([f"n{position}"])
        block.add_op(op)
    return close_network(block, list(ops[-1].results))


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("element", [f32, f16, f64, i8, i64, i1])
def test_parts_of_nothing_and_of_one_element(element: Attribute, road: str) -> None:
    """Concatenation with empty and single operands, a slice of it backwards, a pad with a value that is computed."""
    block = Block(arg_types=[TensorType(element, shape) for shape in ((2, 0), (2, 1), (2, 3), ())])
    joined = graph.ConcatOp([block.args[0], block.args[1], block.args[0], block.args[2]], dim=1)
    turned = graph.ReverseOp(joined, dims=[0, 1])
    part = graph.SliceOp(turned, begins=[1, 1], extents=[1, 2], strides=[1, 2])
    padded = graph.PadOp(part, block.args[3], low=[0, 1], high=[2, 0])
    check_road(network([joined, turned, part, padded], block), road)


@pytest.mark.parametrize("road", ROADS)
def test_many_operands_are_joined(road: str) -> None:
    block = Block(arg_types=[TensorType(f32, (2, 1 + d % 3)) for d in range(37)])
    check_road(network([graph.ConcatOp(list(block.args), dim=1)], block), road)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("element", [f32, f16])
def test_a_function_that_chooses_is_part_of_the_product(element: Attribute, road: str) -> None:
    """x > 0 ? x : x / 2 behind a product, and x times the logistic function of it: one kernel, in tiles."""
    block = Block(arg_types=[TensorType(element, (7, 16)), TensorType(element, (16, 9))])
    product = graph.MatmulOp(*block.args)
    zero, half = (graph.ConstantOp(np.full((7, 9), number), element) for number in (0.0, 0.5))
    above = graph.CompareOp(product, zero, kind="gt")
    less = graph.BinaryOp(product, half, kind="mul")
    chosen = graph.SelectOp(above, product, less)
    curve = graph.UnaryOp(chosen, kind="sigmoid")
    case = network([product, zero, half, above, less, chosen, curve, graph.BinaryOp(chosen, curve, kind="mul")], block)
    module = stepwell.lower(case.module.clone(), to="tile", target={"cpu": CPU, "ptx": "sm_90a"}[road])
    assert [op.name for op in module.ops if op.name.startswith("tile.")] == ["tile.kernel"]
    check_road(case, road)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_grouped_convolutions_are_products(layout: str, road: str) -> None:
    """Groups of several channels, with a bias and a function behind them."""
    last = layout == "channels_last"
    shapes = [(2, 5, 5, 8), (12, 3, 3, 4)] if last else [(2, 8, 5, 5), (12, 4, 3, 3)]
    block = Block(arg_types=[TensorType(f16, shape) for shape in (*shapes, (12,))])
    x, filter, numbers = block.args
    conv = graph.ConvOp(x, filter, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=2, layout=layout)
    shape = (2, 5, 5, 12) if last else (2, 12, 5, 5)
    bias = graph.BroadcastOp(numbers, dims=[3 if last else 1], shape=shape)
    added = graph.BinaryOp(conv, bias, kind="add")
    check_road(network([conv, bias, added, graph.UnaryOp(added, kind="relu")], block), road)
