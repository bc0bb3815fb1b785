"""Caffe's LSTM and RNN layers, one step after the other: `cont` says for each step and row whether the sequence goes on."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.emitter import Unsupported, shape_of

MOST_STEPS = 1024
"""Most steps that are written one after the other."""


def _inputs(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> tuple[SSAValue, SSAValue]:
    """x as [T, N, I] and cont as [T, N]."""
    if layer.recurrent_param.expose_hidden:
        raise Unsupported("expose_hidden is set: hidden states as bottoms and tops are not supported")
    x, cont = bottoms
    steps, rows = shape_of(x)[:2]
    if shape_of(cont) != (steps, rows) or not 0 < steps <= MOST_STEPS:
        raise Unsupported(
            f"cont has shape {list(shape_of(cont))} for {steps} steps (at most {MOST_STEPS}) of {rows} rows"
        )
    return build.reshape(x, [steps, rows, prod(shape_of(x)[2:])]), cont


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
    x, cont = _inputs(build, layer, bottoms)
    (steps, rows, width), hidden = shape_of(x), layer.recurrent_param.num_output
    projected = _projected(build, x, build.blob(layer, 0, [4 * hidden, width]), build.blob(layer, 1, [4 * hidden]))
    recurrent = build.blob(layer, 2, [4 * hidden, hidden])
    h = c = build.zeros(x, [rows, hidden])
    found = []
    for step in range(steps):
        gate = build.along(_step(build, cont, step), 0, h)
        product = build.emit(graph.MatmulOp(build.binary("mul", gate, h), recurrent, transpose_b=True))
        gates = build.binary("add", _step(build, projected, step), product)
        i, f, o = (build.unary("sigmoid", build.cut(gates, 1, k * hidden, (k + 1) * hidden)) for k in range(3))
        g = build.unary("tanh", build.cut(gates, 1, 3 * hidden, 4 * hidden))
        c = build.binary("add", build.binary("mul", gate, build.binary("mul", f, c)), build.binary("mul", i, g))
        h = build.binary("mul", o, build.unary("tanh", c))
        found.append(h)
    return [_stacked(build, found)]


def rnn(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """RNN: h = tanh(W h + projected x), the result is tanh of a projection of h."""
    x, cont = _inputs(build, layer, bottoms)
    (steps, rows, width), hidden = shape_of(x), layer.recurrent_param.num_output
    projected = _projected(build, x, build.blob(layer, 0, [hidden, width]), build.blob(layer, 1, [hidden]))
    recurrent = build.blob(layer, 2, [hidden, hidden])
    output, bias = build.blob(layer, 3, [hidden, hidden]), build.blob(layer, 4, [hidden])
    h = build.zeros(x, [rows, hidden])
    found = []
    for step in range(steps):
        gate = build.along(_step(build, cont, step), 0, h)
        product = build.emit(graph.MatmulOp(build.binary("mul", gate, h), recurrent, transpose_b=True))
        h = build.unary("tanh", build.binary("add", _step(build, projected, step), product))
        found.append(build.unary("tanh", _projected(build, h, output, bias)))
    return [_stacked(build, found)]
