"""The activations of recurrent layers on one value of f32 or f64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xdsl.ir import SSAValue

from stepwell.dialects.graph.ops_recurrent import Recurrence
from stepwell.transforms.graph_to_loops.writer import LoopWriter


def _affine(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.binary("add", body.binary("mul", x, alpha), beta)


def _elu(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    power = body.binary("sub", body.unary("exp", body.binary("min", x, 0)), 1)
    return body.select(body.compare("ge", x, 0), x, body.binary("mul", power, alpha))


def _hard_sigmoid(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.binary("min", body.binary("max", _affine(body, x, alpha, beta), 0), 1)


def _leaky_relu(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.select(body.compare("ge", x, 0), x, body.binary("mul", x, alpha))


def _scaled_tanh(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.binary("mul", body.unary("tanh", body.binary("mul", x, beta)), alpha)


def _softplus(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    power = body.unary("exp", body.unary("neg", body.unary("abs", x)))
    return body.binary("add", body.binary("max", x, 0), body.unary("log", body.binary("add", power, 1)))


def _softsign(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.binary("div", x, body.binary("add", body.unary("abs", x), 1))


def _thresholded_relu(body: LoopWriter, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return body.select(body.compare("gt", x, alpha), x, 0)


_KINDS: Mapping[str, Callable[[LoopWriter, SSAValue, float, float], SSAValue]] = {
    "affine": _affine,
    "elu": _elu,
    "hard_sigmoid": _hard_sigmoid,
    "leaky_relu": _leaky_relu,
    "relu": lambda body, x, alpha, beta: body.binary("max", x, 0),
    "scaled_tanh": _scaled_tanh,
    "sigmoid": lambda body, x, alpha, beta: body.unary("sigmoid", x),
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": lambda body, x, alpha, beta: body.unary("tanh", x),
    "thresholded_relu": _thresholded_relu,
}


def activation(body: LoopWriter, op: Recurrence, number: int, x: SSAValue) -> SSAValue:
    """The layer's activation with this number, behind its clip."""
    if op.clip:
        x = body.binary("min", body.binary("max", x, -op.clip), op.clip)
    return _KINDS[op.activations[number]](body, x, op.alphas[number], op.betas[number])
