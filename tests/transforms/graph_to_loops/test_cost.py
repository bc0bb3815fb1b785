"""Blocks of kernels of plain loops: runs that do much are taken one by one."""

import pytest
from xdsl.dialects.builtin import TensorType, f32
from xdsl.utils.test_value import create_ssa_value

import stepwell
from stepwell.dialects import graph, tile
from stepwell.testing.every_level import network_of


@pytest.mark.parametrize(("extent", "block"), [(2, 1024), (1000, 32), (100_000, 1)])
def test_blocks_follow_the_work_of_a_run(extent: int, block: int) -> None:
    op = graph.CumulativeOp(create_ssa_value(TensorType(f32, [30, extent])), kind="sum", dim=1)
    (kernel,) = [
        k for k in stepwell.lower(network_of(op), to="tile", target="x86-64-v3").ops if isinstance(k, tile.ParallelOp)
    ]
    assert kernel.config.data.block == (block,)
