"""Batch norms in filters, factors and sums: the values stay, whatever stands before them."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, f64
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.passes import location_of
from stepwell.testing.strategies.network import GeneratedGraph, close_network

TOLERANCE: dict[Attribute, float] = {f16: 1e-2, f32: 1e-5, f64: 1e-12}


def weight(store: WeightStore, block: Block, name: str, array: np.ndarray) -> SSAValue:
    op = graph.WeightOp(store.add(name, array))
    block.add_op(op)
    return op.result


def case_of(element: Attribute, kind: str, groups: int, last: bool, biased: bool) -> GeneratedGraph:
    """A product with six channels, a bias where it is asked for, and a batch norm."""
    random, store, block = np.random.default_rng(0), WeightStore(), Block()
    dtype = numpy_dtype(element)

    def drawn(name: str, *shape: int, least: float = -1.0) -> SSAValue:
        return weight(store, block, name, random.uniform(least, 1.5, shape).astype(dtype))

    channels = 4
    x = block.insert_arg(TensorType(element, (2, 5, channels) if last else (2, channels, 5)), 0)
    root: Operation
    if kind == "matmul":
        x = block.insert_arg(TensorType(element, (2, 5, channels)), 1)
        root = graph.MatmulOp(x, drawn("w", channels, 6))
        dim = 2
    else:
        inner = channels // groups
        filter = drawn("w", *((6, 3, inner) if last else (6, inner, 3)))
        layout = "channels_last" if last else "channels_first"
        root = graph.ConvOp(x, filter, strides=[1], pads=[1, 0], dilations=[1], groups=groups, layout=layout)
        dim = 2 if last else 1
    root.location = location_of(["root"])
    block.add_op(root)
    value = root.results[0]
    shape = value.type.get_shape()  # type: ignore[attr-defined]
    if biased:
        repeated = graph.BroadcastOp(drawn("bias", 6), dims=[dim], shape=shape)
        added = graph.BinaryOp(repeated, value, kind="add")
        block.add_ops([repeated, added])
        value = added.result
    parameters = [drawn("scale", 6), drawn("offset", 6), drawn("mean", 6), drawn("variance", 6, least=0.1)]
    norm = graph.BatchNormOp(value, *parameters, dim=dim, epsilon=1e-3)
    norm.location = location_of(["norm"])
    block.add_op(norm)
    return GeneratedGraph(close_network(block, [norm.result]).module, store)


@pytest.mark.parametrize("element", TOLERANCE)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(
    ("kind", "groups", "last"), [("conv", 1, False), ("conv", 2, True), ("conv", 2, False), ("matmul", 1, False)]
)
def test_products_take_batch_norms_along(kind: str, groups: int, last: bool, biased: bool, element: Attribute) -> None:
    case = case_of(element, kind, groups, last, biased)
    inputs = case.inputs()
    expected = interpret(case.module, inputs, case.weights, float64=True)
    context = case.context()
    for step in passes_of("graph-fold-batch-norm"):
        step.apply(context, case.module)
    case.module.verify()
    names = [op.name for op in case.module.walk()]
    assert all(op.results[0].uses for op in case.module.walk() if op.name.startswith("graph."))
    assert "graph.batch_norm" not in names and names.count("graph.binary") == 1
    for name, found in interpret(case.module, inputs, context.weights).items():
        tolerance = TOLERANCE[element]
        np.testing.assert_allclose(found.astype(np.float64), expected[name], rtol=tolerance, atol=5 * tolerance)
