"""Caffe's LSTM and RNN layers, one step after the other: `cont` says for each step and row whether the sequence goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import Unsupported, shape_of

MOST_STEPS = 1024
"""Most steps that are written one after the other."""


@dataclass(frozen=True)
class _Inputs:
    """x as [T, N, I], cont as [T, N], what is added to every step's projection as [N, S], the state before the first step as [N, H] each."""

    x: SSAValue
    cont: SSAValue
    static: SSAValue | None
    states: Sequence[SSAValue]


def _inputs(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue], states: int) -> _Inputs:
    """Bottoms are x, cont, perhaps a static input, and with expose_hidden the states."""
    (x, cont, *more), hidden = bottoms, layer.recurrent_param.num_output
    exposed = states if layer.recurrent_param.expose_hidden else 0
    if len(more) not in (exposed, exposed + 1):
        raise Unsupported(f"it has {len(bottoms)} bottoms: x, cont, at most one static input and {exposed} states")
    steps, rows = shape_of(x)[:2]
    if shape_of(cont) != (steps, rows) or not 0 < steps <= MOST_STEPS:
        raise Unsupported(
            f"cont has shape {list(shape_of(cont))} for {steps} steps (at most {MOST_STEPS}) of {rows} rows"
        )
    before, static = more[len(more) - exposed :], more[0] if len(more) > exposed else None
    if any(prod(shape_of(state)) != rows * hidden for state in before):
        raise Unsupported(f"states have shapes {[list(shape_of(s)) for s in before]}: [1, {rows}, {hidden}] is needed")
    if static is not None:
        if shape_of(static)[:1] != (rows,):
            raise Unsupported(f"the static input has shape {list(shape_of(static))}: {rows} rows are needed")
        static = build.reshape(static, [rows, prod(shape_of(static)[1:])])
    held = [build.reshape(state, [rows, hidden]) for state in before]
    zeros = [build.zeros(x, [rows, hidden]) for _ in range(states - exposed)]
    return _Inputs(build.reshape(x, [steps, rows, prod(shape_of(x)[2:])]), cont, static, [*held, *zeros])


def _gates(build: CaffeBuilder, layer: Message, inputs: _Inputs, width: int) -> tuple[SSAValue, int]:
    """The projections [T, N, width] of x and of the static input, and the number of the next blob."""
    weights, bias = build.blob(layer, 0, [width, shape_of(inputs.x)[2]]), build.blob(layer, 1, [width])
    projected = _projected(build, inputs.x, weights, bias)
    if inputs.static is None:
        return projected, 2
    own = build.blob(layer, 2, [width, shape_of(inputs.static)[1]])
    always = build.emit(graph.MatmulOp(inputs.static, own, transpose_b=True))
    return build.binary("add", projected, build.along(always, 1, projected)), 3


def _tops(build: CaffeBuilder, layer: Message, steps: Sequence[SSAValue], states: Sequence[SSAValue]) -> list[SSAValue]:
    """All steps as one tensor, and with expose_hidden the states after the last one, [1, N, H] each."""
    last = states if layer.recurrent_param.expose_hidden else []
    return [_stacked(build, steps), *(build.reshape(state, [1, *shape_of(state)]) for state in last)]


def _projected(build: CaffeBuilder, x: SSAValue, weights: SSAValue, bias: SSAValue) -> SSAValue:
    """weights * x + bias of the last dim."""
    shape = shape_of(x)
    rows = build.emit(graph.MatmulOp(build.reshape(x, [prod(shape[:-1]), shape[-1]]), weights, transpose_b=True))
    biased = build.binary("add", rows, build.along(bias, 1, rows))
    return build.reshape(biased, [*shape[:-1], shape_of(weights)[0]])


def _step(build: CaffeBuilder, value: SSAValue, step: int) -> SSAValue:
    return build.reshape(build.cut(value, 0, step, step + 1), shape_of(value)[1:])


def _stacked(build: CaffeBuilder, steps: Sequence[SSAValue]) -> SSAValue:
    rows = [build.reshape(step, [1, *shape_of(step)]) for step in steps]
    return rows[0] if len(rows) == 1 else build.emit(graph.ConcatOp(rows, dim=0))


def lstm(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """LSTM, gates in the order i, f, o, g: c = cont * f * c + i * g, h = o * tanh(c), of h that cont has gated."""
    inputs, hidden = _inputs(build, layer, bottoms, 2), layer.recurrent_param.num_output
    projected, number = _gates(build, layer, inputs, 4 * hidden)
    recurrent = build.blob(layer, number, [4 * hidden, hidden])
    h, c = inputs.states
    found = []
    for step in range(shape_of(inputs.x)[0]):
        gate = build.along(_step(build, inputs.cont, step), 0, h)
        product = build.emit(graph.MatmulOp(build.binary("mul", gate, h), recurrent, transpose_b=True))
        gates = build.binary("add", _step(build, projected, step), product)
        i, f, o = (build.unary("sigmoid", build.cut(gates, 1, k * hidden, (k + 1) * hidden)) for k in range(3))
        g = build.unary("tanh", build.cut(gates, 1, 3 * hidden, 4 * hidden))
        c = build.binary("add", build.binary("mul", gate, build.binary("mul", f, c)), build.binary("mul", i, g))
        h = build.binary("mul", o, build.unary("tanh", c))
        found.append(h)
    return _tops(build, layer, found, [h, c])


def rnn(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """RNN: h = tanh(W h + projected x), the result is tanh of a projection of h."""
    inputs, hidden = _inputs(build, layer, bottoms, 1), layer.recurrent_param.num_output
    projected, number = _gates(build, layer, inputs, hidden)
    recurrent = build.blob(layer, number, [hidden, hidden])
    output, bias = build.blob(layer, number + 1, [hidden, hidden]), build.blob(layer, number + 2, [hidden])
    (h,) = inputs.states
    found = []
    for step in range(shape_of(inputs.x)[0]):
        gate = build.along(_step(build, inputs.cont, step), 0, h)
        product = build.emit(graph.MatmulOp(build.binary("mul", gate, h), recurrent, transpose_b=True))
        h = build.unary("tanh", build.binary("add", _step(build, projected, step), product))
        found.append(build.unary("tanh", _projected(build, h, output, bias)))
    return _tops(build, layer, found, [h])
