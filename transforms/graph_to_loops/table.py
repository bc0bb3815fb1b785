"""Which writer writes which op: an op of the graph level that stands here has no form in linalg; alone in its fusion it stays as it is at the linalg level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xdsl.ir import Operation

from stepwell.dialects import graph, tile
from stepwell.transforms.graph_to_loops.counted import Counted, Ending, write_extent, write_fill_tail
from stepwell.transforms.graph_to_loops.linear_attention import write_linear_attention
from stepwell.transforms.graph_to_loops.order import write_cumulative, write_top_k
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.recurrent import write_gru, write_lstm, write_rnn
from stepwell.transforms.graph_to_loops.region import write_roi_pool
from stepwell.transforms.graph_to_loops.scatter import write_scatter
from stepwell.transforms.graph_to_loops.transform import write_determinant, write_dft, write_random
from stepwell.transforms.graph_to_loops.window import write_arg_pool

Writer = Callable[[Any, Phases], Sequence[Operand]]
"""Asks for the kernels of an op; what stands for its results."""
WRITERS: Mapping[type[Operation], Writer] = {
    graph.ArgPoolOp: write_arg_pool,
    graph.CumulativeOp: write_cumulative,
    graph.DeterminantOp: write_determinant,
    graph.DftOp: write_dft,
    graph.ExtentOp: write_extent,
    graph.FillTailOp: write_fill_tail,
    graph.GruOp: write_gru,
    graph.LinearAttentionOp: write_linear_attention,
    graph.LstmOp: write_lstm,
    graph.RandomOp: write_random,
    graph.RnnOp: write_rnn,
    graph.RoiPoolOp: write_roi_pool,
    graph.ScatterOp: write_scatter,
    graph.TopKOp: write_top_k,
}


def ops_of_loops(fusion: graph.FusionOp) -> tuple[Operation, ...]:
    """The ops of a fusion that is written as loops: one with a writer, behind the op that counts what it ends; none for another fusion."""
    *ops, _ = fusion.body.block.ops
    counts = len(ops) == 2 and isinstance(ops[0], Counted) and isinstance(ops[1], Ending)
    known = len(ops) == 1 or (counts and ops[1].operands[0] is ops[0].results[0])
    return tuple(ops) if known and type(ops[-1]) in WRITERS else ()


def op_of_loops(fusion: graph.FusionOp) -> Operation | None:
    """The op of a fusion whose results are written as loops."""
    return next(reversed(ops_of_loops(fusion)), None)


def write_phases(fusion: graph.FusionOp, op: Operation, config: tile.ConfigAttr, name: str) -> Phases:
    """The kernels of a fusion that holds `op` alone, all of one name."""
    phases = Phases(fusion, op, config, name)
    phases.results = WRITERS[type(op)](op, phases)
    return phases
