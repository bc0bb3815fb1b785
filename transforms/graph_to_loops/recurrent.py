"""Recurrent layers: a run for each row, which goes through the steps. The states of all steps are outputs that nothing else reads, in the type that sums are
made in; the products with the inputs are done before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.ops_recurrent import Recurrence
from stepwell.transforms.graph_to_loops.activations import activation
from stepwell.transforms.graph_to_loops.order import wide_type
from stepwell.transforms.graph_to_loops.phases import Operand, Phases
from stepwell.transforms.graph_to_loops.writer import Index, LoopWriter
from stepwell.transforms.tensors import element_of, shape_of


@dataclass
class _Row:
    """One step of one row. `state` holds h of all steps, the initial one first; `refs` are operands and outputs by name."""

    body: LoopWriter
    op: Recurrence
    wide: Attribute
    refs: dict[str, SSAValue]
    row: SSAValue
    step: Index = 0
    time: Index = 0
    exists: SSAValue = field(init=False)

    def load(self, name: str, *at: Index) -> SSAValue:
        """An element in the wide type."""
        return self.body.cast(self.body.load(self.refs[name], at), self.wide)

    def gate(self, gate: int, hidden: int, unit: Index, *, bias: bool = True) -> SSAValue:
        """gates[t] + bias of one unit of a gate."""
        at = self.body.add(gate * hidden, unit)
        given = self.load("gates", self.time, self.row, at)
        return self.body.binary("add", given, self.load("bias", at)) if bias else given

    def dots(self, rows: Sequence[Index], width: int, of: Callable[[Index], SSAValue], weights: str) -> list[SSAValue]:
        """The products of rows of the weights with a vector."""
        body = self.body
        with body.loop(0, width, *(body.constant(0, self.wide) for _ in rows)) as loop:
            value = of(loop.index)
            terms = [body.binary("mul", self.load(weights, row, loop.index), value) for row in rows]
            loop.next = [body.binary("add", a, b) for a, b in zip(loop.carried, terms, strict=True)]
        return loop.results

    def hidden(self, unit: Index) -> SSAValue:
        """h before this step."""
        return self.load("state", self.step, self.row, unit)

    def output(self, unit: Index) -> SSAValue:
        """What a unit of a cell gives in this step."""
        return self.load("output", self.step, self.row, unit)

    def activated(self, number: int, *terms: SSAValue) -> SSAValue:
        """An activation of a sum."""
        total = terms[0]
        for term in terms[1:]:
            total = self.body.binary("add", total, term)
        return activation(self.body, self.op, number, total)

    def keep(self, name: str, value: SSAValue, unit: Index, before: SSAValue) -> SSAValue:
        """Store the next state, which is the one before where the row is at its end."""
        chosen = self.body.select(self.exists, value, before)
        self.body.store(chosen, self.refs[name], [self.body.add(self.step, 1), self.row, unit])
        return chosen

    def give(self, value: SSAValue, unit: Index) -> None:
        """Store the new h and what the sequence shows of it."""
        self.keep("state", value, unit, self.hidden(unit))
        shown = self.body.select(self.exists, value, self.body.constant(0, self.wide))
        element = element_of(self.op.results[0])
        self.body.store(self.body.cast(shown, element), self.refs["sequence"], [self.time, self.row, unit])


Step = Callable[[_Row], None]
"""Writes one step of a row."""


def _layer(phases: Phases, names: Sequence[str], scratch: dict[str, Sequence[int]], step: Step) -> list[Operand]:
    """The kernel of a layer: `names` of its operands, the shapes of what else each step keeps."""
    op = phases.op
    assert isinstance(op, Recurrence)
    steps, rows, _ = shape_of(op.operands[0])
    wide, width = wide_type(element_of(op.operands[0])), shape_of(op.operands[3])[1]
    given = [result.type for result in op.results if isinstance(result.type, TensorType)]
    kept = {"state": (steps + 1, rows, width), **scratch}
    types = [*given, *(TensorType(wide, shape) for shape in kept.values())]
    results = ["sequence", "last_h", "last_c"][: len(given)]

    def write(body: LoopWriter, ins: Sequence[SSAValue], outs: Sequence[SSAValue], number: SSAValue) -> None:
        refs = dict(zip((*names, *results, *kept), (*ins, *outs), strict=True))
        row = _Row(body, op, wide, refs, number)
        states = {"h": "state"} | ({"c": "cell"} if "cell" in kept else {})
        for initial, name in states.items():
            with body.loop(0, kept[name][2]) as units:
                body.store(row.load(initial, number, units.index), refs[name], [0, number, units.index])
        with body.loop(0, steps) as loop:
            row.step = loop.index
            row.time = body.sub(steps - 1, loop.index) if op.reverse else loop.index
            row.exists = body.truth()
            if "lengths" in refs:
                end = body.cast(body.load(refs["lengths"], [number]), i64)
                row.exists = body.compare("lt", body.from_index(row.time), end)
            step(row)
        for (_, name), result in zip(states.items(), results[1:], strict=True):
            with body.loop(0, kept[name][2]) as units:
                last = body.load(refs[name], [steps, number, units.index])
                body.store(body.cast(last, element_of(op.results[0])), refs[result], [number, units.index])

    return phases.kernel(phases.operands, types, rows, write)[: len(given)]


def write_rnn(op: graph.RnnOp, phases: Phases) -> list[Operand]:
    """h' = f(gates + R h + bias)"""
    width = shape_of(op.h)[1]

    def step(row: _Row) -> None:
        with row.body.loop(0, width) as units:
            (product,) = row.dots([units.index], width, row.hidden, "recurrence")
            row.give(row.activated(0, row.gate(0, width, units.index), product), units.index)

    names = ["gates", "recurrence", "bias", "h", *(["lengths"] if op.lengths is not None else [])]
    return _layer(phases, names, {}, step)


def write_gru(op: graph.GruOp, phases: Phases) -> list[Operand]:
    """z and r of all units, then h' = (1 - z) n + z h."""
    steps, rows, _ = shape_of(op.gates)
    width = shape_of(op.h)[1]

    def step(row: _Row) -> None:
        body = row.body
        with body.loop(0, width) as units:
            at = units.index
            products = row.dots([at, body.add(width, at)], width, row.hidden, "recurrence")
            for gate, (name, product) in enumerate(zip(("update", "reset"), products, strict=True)):
                made = row.activated(0, row.gate(gate, width, at), product)
                body.store(made, row.refs[name], [row.step, row.row, at])
        with body.loop(0, width) as units:
            at = units.index
            z = row.load("update", row.step, row.row, at)
            n = row.activated(1, row.gate(2, width, at, bias=False), candidate(row, at))
            rest = body.binary("sub", body.constant(1, row.wide), z)
            old = body.binary("mul", z, row.hidden(at))
            row.give(body.binary("add", body.binary("mul", rest, n), old), at)

    def candidate(row: _Row, at: Index) -> SSAValue:
        """r (R h + b), or R (r h) + b."""
        body, place = row.body, row.body.add(2 * width, at)

        def reset(unit: Index) -> SSAValue:
            return row.load("reset", row.step, row.row, unit)

        def inside(unit: Index) -> SSAValue:
            return row.hidden(unit) if op.linear_before_reset else body.binary("mul", reset(unit), row.hidden(unit))

        (product,) = row.dots([place], width, inside, "recurrence")
        total = body.binary("add", product, row.load("bias", place))
        return body.binary("mul", reset(at), total) if op.linear_before_reset else total

    names = ["gates", "recurrence", "bias", "h", *(["lengths"] if op.lengths is not None else [])]
    scratch = (steps, rows, width)
    return _layer(phases, names, {"update": scratch, "reset": scratch}, step)


def write_lstm(op: graph.LstmOp, phases: Phases) -> list[Operand]:
    """The cell and its output for all units, then h', which a projection may mix."""
    steps, rows, _ = shape_of(op.gates)
    width, hidden = shape_of(op.h)[1], shape_of(op.c)[1]

    def step(row: _Row) -> None:
        body = row.body
        with body.loop(0, hidden) as units:
            made = cell(row, units.index)
            body.store(made, row.refs["output"], [row.step, row.row, units.index])
        with body.loop(0, width) as units:
            if op.projection is None:
                row.give(row.output(units.index), units.index)
            else:
                (product,) = row.dots([units.index], hidden, row.output, "projection")
                row.give(product, units.index)

    def cell(row: _Row, at: Index) -> SSAValue:
        """The next cell, stored, and what goes out of it."""
        body = row.body
        places = [body.add(gate * hidden, at) for gate in range(4)]
        products = row.dots(places, width, row.hidden, "recurrence")
        sums = [body.binary("add", row.gate(g, hidden, at), product) for g, product in enumerate(products)]
        old = row.load("cell", row.step, row.row, at)

        def seen(gate: int, number: int, through: SSAValue) -> list[SSAValue]:
            """A gate's sum, and what its peephole sees."""
            if op.peepholes is None:
                return [sums[gate]]
            return [sums[gate], body.binary("mul", row.load("peepholes", body.add(number * hidden, at)), through)]

        i = row.activated(0, *seen(0, 0, old))
        one = body.constant(1, row.wide)
        forget = body.binary("sub", one, i) if op.input_forget else row.activated(0, *seen(2, 2, old))
        new = body.binary("mul", i, row.activated(1, sums[3]))
        made = body.binary("add", body.binary("mul", forget, old), new)
        row.keep("cell", made, at, old)
        return body.binary("mul", row.activated(0, *seen(1, 1, made)), row.activated(2, made))

    absent = {"lengths": op.lengths, "peepholes": op.peepholes, "projection": op.projection}
    names = ["gates", "recurrence", "bias", "h", "c", *(name for name, held in absent.items() if held is not None)]
    return _layer(phases, names, {"cell": (steps + 1, rows, hidden), "output": (steps, rows, hidden)}, step)
