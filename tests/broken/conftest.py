"""What the deliberately wrong passes, planners and kernels are tried on: a small network with a residual, at every level."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.ir import Block, Operation, SSAValue

import stepwell
from stepwell.dialects import graph
from stepwell.dialects.weights import WeightStore
from stepwell.driver.modules import keep_weights
from stepwell.passes import location_of
from stepwell.testing.strategies import GeneratedGraph
from stepwell.testing.strategies.network import close_network

ROWS, WIDTH = 70, 20
Lowered = Callable[[str, str], ModuleOp]


def build_network() -> GeneratedGraph:
    """Four dense layers of whole numbers with bias and relu, the third with the first one's output added."""
    rng = np.random.default_rng(0)
    block, weights = Block(arg_types=[TensorType(f32, [ROWS, WIDTH])]), WeightStore()

    def emit(op: Operation, name: str) -> SSAValue:
        op.location = location_of([name])
        block.add_op(op)
        return op.results[0]

    def layer(name: str, x: SSAValue, residual: SSAValue | None = None) -> SSAValue:
        matrix = rng.choice([-1, 0, 0, 1], (WIDTH, WIDTH)).astype(np.float32)
        bias = rng.integers(-3, 4, WIDTH).astype(np.float32)
        w = emit(graph.WeightOp(weights.add(f"{name}.weight", matrix)), f"{name}.weight")
        b = emit(graph.WeightOp(weights.add(f"{name}.bias", bias)), f"{name}.bias")
        y = emit(graph.MatmulOp(x, w), name)
        repeated = emit(graph.BroadcastOp(b, dims=[1], shape=(ROWS, WIDTH)), f"{name}/bias")
        y = emit(graph.BinaryOp(y, repeated, kind="add"), f"{name}/bias")
        y = y if residual is None else emit(graph.BinaryOp(y, residual, kind="add"), f"{name}/add")
        return emit(graph.UnaryOp(y, kind="relu"), f"{name}/relu")

    first = layer("fc1", block.args[0])
    third = layer("fc3", layer("fc2", first), residual=first)
    return close_network(block, [layer("fc4", third)], weights, integers=True)


@pytest.fixture(scope="session")
def network() -> GeneratedGraph:
    """The network; every executor gives the same bits."""
    return build_network()


@pytest.fixture(scope="session")
def lowered(network: GeneratedGraph) -> Lowered:
    """(level, target) -> a fresh copy of the network there."""

    @cache
    def once(level: str, target: str) -> ModuleOp:
        return stepwell.lower(keep_weights(network.module.clone(), network.weights), to=level, target=target)

    return lambda level, target: once(level, target).clone()
