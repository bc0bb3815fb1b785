"""How much a kernel of plain loops does in one run: what its schedule is chosen by."""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.ir import Block

from stepwell.dialects import graph, tile
from stepwell.dialects.tile.ops_parallel import constant_of
from stepwell.transforms.graph_to_loops.table import op_of_loops, write_phases

UNKNOWN_TRIPS = 8
"""Of a loop whose end is computed."""
OPS_A_STEP = 8
"""Scalar ops that take about as long as a step of a sum: a load, its index, a product."""


def runs_and_steps(fusion: graph.FusionOp) -> tuple[int, int] | None:
    """Runs of the kernel that runs most, and steps of a run of the one that does most in one; None for a fusion that is not written as plain loops."""
    op = op_of_loops(fusion)
    if op is None:
        return None
    kernels = write_phases(fusion, op, tile.ConfigAttr(tile.Config(block=(1,), form="loops")), "cost").kernels
    ops = max((_ops_of(kernel.body.block) for kernel in kernels), default=0)
    return max((kernel.threads for kernel in kernels), default=0), max(1, ops // OPS_A_STEP)


def _ops_of(block: Block) -> int:
    """Scalar ops that a block executes."""
    total = 0
    for op in block.ops:
        total += 1
        if isinstance(op, scf.IfOp):
            total += _ops_of(op.true_region.block)
        if isinstance(op, scf.ForOp):
            start, end = constant_of(op.lb), constant_of(op.ub)
            trips = max(0, end - start) if start is not None and end is not None else UNKNOWN_TRIPS
            total += trips * _ops_of(op.body.block)
    return total
