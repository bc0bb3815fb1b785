"""Small networks at the graph level for tests of passes and lowerings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Block, Operation, SSAValue

from stepwell.passes import location_of
from stepwell.testing.strategies import GeneratedGraph
from stepwell.testing.strategies.network import close_network

Ops = Callable[..., list[Operation]]
MakeNetwork = Callable[..., GeneratedGraph]


@pytest.fixture(scope="session")
def network() -> MakeNetwork:
    """`network(lambda x, y: [op, ..], type_of_x, type_of_y)`: the ops in order, named n0, n1, ..; the last one's result is the output."""

    def make(ops_of: Ops, *types: TensorType[Attribute]) -> GeneratedGraph:
        block = Block(arg_types=types)
        arguments: list[SSAValue] = list(block.args)
        ops = ops_of(*arguments)
        for position, op in enumerate(ops):
            op.location = location_of([f"n{position}"])
            block.add_op(op)
        return close_network(block, [ops[-1].results[0]])

    return make
