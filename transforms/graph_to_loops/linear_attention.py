"""Attention through a state: a run for each column of a state, which goes through the steps. The states of all steps are an output that nothing else reads."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float64Type, TensorType, f32, f64
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import LoopWriter
from stepwell.transforms.tensors import element_of, shape_of


def write_linear_attention(op: graph.LinearAttentionOp, phases: Phases) -> list[Operand]:
    """S' = e^g S + beta k (v - k e^g S), y = scale q S', for one column of S and v."""
    types = [result.type for result in op.results if isinstance(result.type, TensorType)]
    batch, groups, steps, depth = shape_of(op.k)
    width, heads = shape_of(op.v)[3], shape_of(op.q)[1]
    wide = f64 if any(isinstance(element_of(value), Float64Type) for value in op.operands) else f32
    states = TensorType(wide, (steps + 1, batch, groups, depth, width))
    names = ["q", "k", "v", "state"]
    names += [name for name, held in (("decay", op.decay), ("beta", op.beta)) if held is not None]

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        refs, (result, last, kept) = dict(zip(names, ins, strict=True)), outs
        b, g, column = body.unravel(number, (batch, groups, width))

        def load(name: str, *at: object) -> SSAValue:
            return body.cast(body.load(refs[name], at), wide)  # type: ignore[arg-type]

        with body.loop(0, depth) as units:
            start = load("state", b, g, units.index, column)
            body.store(start, kept, [0, b, g, units.index, column])
        with body.loop(0, steps) as loop:
            t, after = loop.index, body.add(loop.index, 1)

            def decayed(unit: SSAValue, t: SSAValue = t) -> SSAValue:
                held = body.load(kept, [t, b, g, unit, column])
                if op.decay is None:
                    return held
                place = unit if shape_of(op.decay)[3] > 1 else 0
                return body.binary("mul", held, body.unary("exp", load("decay", b, g, t, place)))

            value = load("v", b, g, t, column)
            if op.beta is not None:
                with body.loop(0, depth, body.constant(0, wide)) as units:
                    term = body.binary("mul", load("k", b, g, t, units.index), decayed(units.index))
                    units.next = [body.binary("add", units.carried[0], term)]
                rest = body.binary("sub", value, units.results[0])
                value = body.binary("mul", rest, load("beta", b, g, t, 0))
            with body.loop(0, depth) as units:
                added = body.binary("mul", load("k", b, g, t, units.index), value)
                new = body.binary("add", decayed(units.index), added)
                body.store(new, kept, [after, b, g, units.index, column])
            shared = heads // max(1, groups)
            with body.loop(0, shared) as queries:
                head = body.add(body.mul(g, shared), queries.index)
                with body.loop(0, depth, body.constant(0, wide)) as units:
                    held = body.load(kept, [after, b, g, units.index, column])
                    term = body.binary("mul", load("q", b, head, t, units.index), held)
                    units.next = [body.binary("add", units.carried[0], term)]
                made = body.binary("mul", units.results[0], op.scale)
                body.store(body.cast(made, types[0].element_type), result, [b, head, t, column])
        with body.loop(0, depth) as units:
            held = body.load(kept, [steps, b, g, units.index, column])
            body.store(body.cast(held, types[1].element_type), last, [b, g, units.index, column])

    return phases.kernel(phases.operands, [*types, states], batch * groups * width, write)[:2]
