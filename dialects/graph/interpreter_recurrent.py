"""Recurrent layers and attention on arrays: float64, rounded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.interpreter_reduction import softmax
from stepwell.dialects.graph.ops_attention import AttentionOp, LinearAttentionOp
from stepwell.dialects.graph.ops_recurrent import GruOp, LstmOp, Recurrence, RnnOp
from stepwell.dialects.numpy_types import Array

ACTIVATIONS: Mapping[str, Callable[[Array, float, float], Array]] = {
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "elu": lambda x, alpha, beta: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "leaky_relu": lambda x, alpha, beta: np.where(x >= 0, x, alpha * x),
    "relu": lambda x, alpha, beta: np.maximum(x, 0),
    "scaled_tanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "sigmoid": lambda x, alpha, beta: 1 / (1 + np.exp(-x)),
    "softplus": lambda x, alpha, beta: np.logaddexp(x, 0),
    "softsign": lambda x, alpha, beta: x / (1 + np.abs(x)),
    "tanh": lambda x, alpha, beta: np.tanh(x),
    "thresholded_relu": lambda x, alpha, beta: np.where(x > alpha, x, 0),
}


def _functions(op: Recurrence) -> list[Callable[[Array], Array]]:
    """The activations with their parameters, behind the clip."""

    def bound(kind: str, alpha: float, beta: float) -> Callable[[Array], Array]:
        function = ACTIVATIONS[kind]
        return lambda x: function(np.clip(x, -op.clip, op.clip) if op.clip else x, alpha, beta)

    return [bound(*each) for each in zip(op.activations, op.alphas, op.betas, strict=True)]


def _steps(op: Recurrence, gates: Array, lengths: Array | None) -> Iterator[tuple[int, Array]]:
    """Each step, and which rows it exists in, as a column."""
    count = gates.shape[0]
    ends = np.full(gates.shape[1], count) if lengths is None else lengths.astype(np.int64)
    for t in reversed(range(count)) if op.reverse else range(count):
        yield t, (t < ends)[:, None]


def _operand(op: Recurrence, value: SSAValue | None, operands: Sequence[Array]) -> Array | None:
    """The array of an operand that may be absent."""
    return None if value is None else operands[list(op.operands).index(value)]


def _rnn(op: RnnOp, operands: Sequence[Array], settings: Settings) -> Results:
    gates, weights, bias, h = (array.astype(np.float64) for array in operands[:4])
    (f,) = _functions(op)
    sequence = np.zeros((*gates.shape[:2], h.shape[1]))
    for t, exists in _steps(op, gates, operands[4] if op.lengths is not None else None):
        h = np.where(exists, f(gates[t] + h @ weights.T + bias), h)
        sequence[t] = np.where(exists, h, 0)
    return _rounded(op, (sequence, h), settings)


def _gru(op: GruOp, operands: Sequence[Array], settings: Settings) -> Results:
    gates, weights, bias, h = (array.astype(np.float64) for array in operands[:4])
    f, g = _functions(op)
    width = h.shape[1]
    rz, rr, rn = weights.reshape(3, width, width)
    bz, br, bn = bias.reshape(3, width)
    sequence = np.zeros((*gates.shape[:2], width))
    for t, exists in _steps(op, gates, operands[4] if op.lengths is not None else None):
        gz, gr, gn = np.split(gates[t], 3, axis=1)
        z, r = f(gz + h @ rz.T + bz), f(gr + h @ rr.T + br)
        inner = r * (h @ rn.T + bn) if op.linear_before_reset else (r * h) @ rn.T + bn
        h = np.where(exists, (1 - z) * g(gn + inner) + z * h, h)
        sequence[t] = np.where(exists, h, 0)
    return _rounded(op, (sequence, h), settings)


def _lstm(op: LstmOp, operands: Sequence[Array], settings: Settings) -> Results:
    gates, weights, bias, h, c = (array.astype(np.float64) for array in operands[:5])
    absent = iter(operands[5:])
    lengths, peepholes, projection = (
        None if value is None else next(absent) for value in (op.lengths, op.peepholes, op.projection)
    )
    pi, po, pf = np.zeros((3, c.shape[1])) if peepholes is None else peepholes.astype(np.float64).reshape(3, -1)
    f, g, k = _functions(op)
    sequence = np.zeros((*gates.shape[:2], h.shape[1]))
    for t, exists in _steps(op, gates, lengths):
        gi, go, gf, gc = np.split(gates[t] + h @ weights.T + bias, 4, axis=1)
        i = f(gi + pi * c)
        forget = 1 - i if op.input_forget else f(gf + pf * c)
        made = forget * c + i * g(gc)
        out = f(go + po * made) * k(made)
        out = out if projection is None else out @ projection.astype(np.float64).T
        c, h = np.where(exists, made, c), np.where(exists, out, h)
        sequence[t] = np.where(exists, h, 0)
    return _rounded(op, (sequence, h, c), settings)


def _rounded(op: Recurrence | LinearAttentionOp, arrays: Sequence[Array], settings: Settings) -> Results:
    return tuple(settings.rounded(array, result.type) for array, result in zip(arrays, op.results, strict=True))


def _attention(op: AttentionOp, operands: Sequence[Array], settings: Settings) -> Results:
    q, k, v = (array.astype(np.float64) for array in operands[:3])
    rest = iter(operands[3:])
    bias, lengths = (None if value is None else next(rest) for value in (op.bias, op.lengths))
    shared = q.shape[1] // max(1, k.shape[1])
    k, v = k.repeat(shared, axis=1), v.repeat(shared, axis=1)
    scores = op.scale * (q @ np.swapaxes(k, -1, -2))
    scores = op.softcap * np.tanh(scores / op.softcap) if op.softcap else scores
    scores = np.where(_seen(op, scores.shape, lengths), scores, -np.inf)
    if bias is not None:
        scores = np.where(bias, scores, -np.inf) if bias.dtype == np.bool_ else scores + bias.astype(np.float64)
    blind = np.all(np.isneginf(scores), axis=-1, keepdims=True)
    shares = softmax(np.where(blind, 0.0, scores), [3])
    return (settings.rounded(np.where(blind, 0.0, shares) @ v, op.result.type),)


def _seen(op: AttentionOp, shape: tuple[int, ...], lengths: Array | None) -> Array:
    """Which keys each query may see: [B, 1, S, T]."""
    batch, _, queries, keys = shape
    ends = np.full(batch, keys) if lengths is None else lengths.astype(np.int64)
    shift = op.offset + (ends - queries if op.from_end else 0 * ends)
    place = np.arange(queries)[:, None] + shift[:, None, None, None]
    key = np.arange(keys)
    seen = key < ends[:, None, None, None]
    ahead = 0 if op.causal else op.ahead
    if ahead >= 0:
        seen = seen & (key <= place + ahead)
    seen = seen & (key > place - op.window) if op.window else seen
    return np.broadcast_to(seen, shape[:1] + (1,) + shape[2:])


def _linear_attention(op: LinearAttentionOp, operands: Sequence[Array], settings: Settings) -> Results:
    q, k, v, state = (array.astype(np.float64) for array in operands[:4])
    rest = iter(operands[4:])
    decay, beta = (None if value is None else next(rest).astype(np.float64) for value in (op.decay, op.beta))
    shared = q.shape[1] // max(1, k.shape[1])
    made = np.zeros((*q.shape[:3], v.shape[3]))
    for t in range(q.shape[2]):
        key, value = k[:, :, t, :, None], v[:, :, t, None, :]
        if decay is not None:
            state = state * np.exp(decay[:, :, t, :, None])
        if beta is not None:
            value = (value - (key * state).sum(axis=2, keepdims=True)) * beta[:, :, t, :, None]
        state = state + key * value
        made[:, :, t] = op.scale * (q[:, :, t, :, None] * state.repeat(shared, axis=1)).sum(axis=2)
    return _rounded(op, (made, state), settings)


TABLE: Table = {
    RnnOp: _rnn,
    GruOp: _gru,
    LstmOp: _lstm,
    AttentionOp: _attention,
    LinearAttentionOp: _linear_attention,
}
