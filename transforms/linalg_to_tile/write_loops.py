"""The writer of loops: the body of a fusion as a kernel of its own."""

from __future__ import annotations

from functools import partial

from xdsl.builder import Builder
from xdsl.ir import SSAValue

from stepwell.dialects import graph, tile
from stepwell.passes import inherit_location
from stepwell.transforms.linalg_to_tile.written import Written
from stepwell.transforms.tensors import shape_of


def write_loops(fusion: graph.FusionOp, config: tile.Config, name: str) -> Written:
    """A `tile.loops` of the same body, on the fusion's operands."""
    body = fusion.body.clone()
    last = body.block.last_op
    assert isinstance(last, graph.YieldOp)
    end = tile.YieldOp(*last.values)
    end.location = last.location
    body.block.add_op(end)
    last.detach()
    last.erase()
    types = [value.type for value in fusion.inputs], [result.type for result in fusion.outputs]
    loops = tile.LoopsOp(name, *types, tile.ConfigAttr(config), body)
    inherit_location(loops, fusion)
    shapes = tuple(shape_of(result) for result in fusion.outputs)
    return Written(fusion, loops, partial(_inputs, fusion), shapes, "element by element")


def _inputs(fusion: graph.FusionOp, build: Builder) -> list[SSAValue]:
    return list(fusion.inputs)
