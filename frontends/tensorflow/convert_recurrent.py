"""TensorFlow's block cells: one step, or all steps, of an LSTM or a GRU, said with products and functions of elements."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.tensorflow.node import Node, Values, needs

MOST_STEPS = 1024


@dataclass(frozen=True)
class _Cell:
    """The weights of an LSTM; gates stand in w as input, candidate, forget, output."""

    w: SSAValue
    peepholes: Values
    b: SSAValue
    forget_bias: float
    clip: float

    def step(self, build: GraphBuilder, x: SSAValue, c: SSAValue, h: SSAValue) -> list[SSAValue]:
        """i, c', f, o, candidate, tanh(c'), h'."""
        gates = _affine(build, [x, h], self.w, self.b)
        units = shape_of(c)[1]
        i, g, f, o = (build.cut(gates, 1, n * units, (n + 1) * units) for n in range(4))
        f = build.binary("add", f, build.number(self.forget_bias, f))
        i, f = (build.unary("sigmoid", self._peeped(build, gate, c, n)) for n, gate in ((0, i), (1, f)))
        g = build.unary("tanh", g)
        following = build.binary("add", build.binary("mul", g, i), build.binary("mul", c, f))
        if self.clip > 0:
            low, high = build.number(-self.clip, c), build.number(self.clip, c)
            following = build.binary("min", build.binary("max", following, low), high)
        o = build.unary("sigmoid", self._peeped(build, o, following, 2))
        squashed = build.unary("tanh", following)
        return [i, following, f, o, g, squashed, build.binary("mul", squashed, o)]

    def _peeped(self, build: GraphBuilder, gate: SSAValue, c: SSAValue, number: int) -> SSAValue:
        if not self.peepholes:
            return gate
        return build.binary("add", gate, build.binary("mul", c, self.peepholes[number]))


def _affine(build: GraphBuilder, parts: Values, w: SSAValue, b: SSAValue) -> SSAValue:
    """The parts side by side, times w, plus b."""
    product = build.emit(graph.MatmulOp(build.joined(parts, 1), w))
    return build.binary("add", product, b)


def _cell(node: Node, weights: Values, clip: float) -> _Cell:
    w, wci, wcf, wco, b = weights
    peepholes = [wci, wcf, wco] if node.flag("use_peephole") else []
    return _Cell(w, peepholes, b, node.number("forget_bias", 1), node.number("cell_clip", clip))


def _check(x: SSAValue, state: SSAValue, rank: int) -> None:
    if len(shape_of(x)) != rank or len(shape_of(state)) != 2:
        raise Unsupported(f"its input has shape {list(shape_of(x))} and its state {list(shape_of(state))}")


def lstm_cell(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """LSTMBlockCell: one step."""
    needs(inputs, 8)
    x, c, h, *weights = inputs
    _check(x, c, 2)
    return _cell(node, weights, 3).step(build, x, c, h)


def lstm(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """BlockLSTM: every step of [T, N, I]; from seq_len_max on the results are zeros."""
    needs(inputs, 9)
    length, x, c, h, *weights = inputs
    _check(x, c, 3)
    steps, (used,) = shape_of(x)[0], build.integers(length, "seq_len_max")
    if not 0 < steps <= MOST_STEPS:
        raise Unsupported(f"it has {steps} steps: 1 to {MOST_STEPS}")
    cell, rows = _cell(node, weights, 3), list[list[SSAValue]]()
    for step in range(min(steps, used)):
        rows.append(cell.step(build, build.reshape(build.cut(x, 0, step, step + 1), shape_of(x)[1:]), c, h))
        c, h = rows[-1][1], rows[-1][6]
    zero = build.zeros(c, shape_of(c))
    rows += [[zero] * 7] * (steps - len(rows))
    return [
        build.joined([build.reshape(v, [1, *shape_of(v)]) for v in column], 0) for column in zip(*rows, strict=True)
    ]


def gru_cell(build: GraphBuilder, node: Node, inputs: Values) -> list[SSAValue]:
    """GRUBlockCell: r, u, the candidate and h'."""
    needs(inputs, 6)
    x, h, w_gates, w_candidate, b_gates, b_candidate = inputs
    _check(x, h, 2)
    gates, units = build.unary("sigmoid", _affine(build, [x, h], w_gates, b_gates)), shape_of(h)[1]
    r, u = build.cut(gates, 1, 0, units), build.cut(gates, 1, units, 2 * units)
    candidate = build.unary("tanh", _affine(build, [x, build.binary("mul", h, r)], w_candidate, b_candidate))
    kept = build.binary("mul", build.binary("sub", build.number(1, u), u), candidate)
    return [r, u, candidate, build.binary("add", build.binary("mul", u, h), kept)]
