"""Windows that say where their maximum is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import prod

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import lowest_of, numpy_dtype
from stepwell.transforms.graph_to_loops.order import comes_before
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter
from stepwell.transforms.tensors import element_of, shape_of


def write_arg_pool(op: graph.ArgPoolOp, phases: Phases) -> list[Operand]:
    """A run for each window, which goes through its taps in row-major order and keeps the first of the largest."""
    types = [result.type for result in op.results if isinstance(result.type, TensorType)]
    shape, inputs, element = types[0].get_shape(), shape_of(op.input), element_of(op.input)
    first = 1 if op.layout == "channels_last" else 2
    extents, rank = inputs[first : first + len(op.kernel)], len(op.kernel)

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        at = body.unravel(number, shape)
        corner = [body.sub(body.mul(at[first + d], op.strides[d]), op.pads[d]) for d in range(rank)]
        start = (body.falsehood(), body.constant(lowest_of(numpy_dtype(element)), element), body.constant(-1, i64))
        with body.loop(0, prod(op.kernel), *start) as loop:
            found, best, where = loop.carried
            taps = body.unravel(loop.index, op.kernel)
            pixel = [body.add(corner[d], body.mul(taps[d], op.dilations[d])) for d in range(rank)]
            inside = reduce(body.both, [body.inside(p, e) for p, e in zip(pixel, extents, strict=True)], body.truth())
            safe = [body.select(inside, p, 0) for p in pixel]
            value = body.load(ins[0], [*at[:first], *safe, *at[first + rank :]])
            better = body.select(found, comes_before(body, value, best, largest=True), body.truth())
            taken = body.both(inside, better)
            plane: Index = 0
            for p, extent in zip(safe, extents, strict=True):
                plane = body.add(body.mul(plane, extent), p)
            chosen = body.select(taken, value, best), body.select(taken, body.from_index(plane), where)
            loop.next = [body.either(found, inside), *chosen]
        body.store(loop.results[1], outs[0], at)
        body.store(loop.results[2], outs[1], at)

    return phases.kernel(phases.operands, types, prod(shape), write)
