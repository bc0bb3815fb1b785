"""The activations of recurrent layers on one value of f32 or f64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from xdsl.ir import Attribute, SSAValue

from stepwell.dialects.graph.ops_recurrent import Recurrence
from stepwell.transforms.graph_to_loops.writer import LoopWriter


@dataclass(frozen=True)
class _Scalar:
    """Arithmetic with numbers on values of one type."""

    body: LoopWriter
    element: Attribute

    def number(self, value: float) -> SSAValue:
        """A constant."""
        return self.body.constant(value, self.element)

    def with_number(self, kind: str, x: SSAValue, value: float) -> SSAValue:
        """x and a constant by a binary kind."""
        return self.body.binary(kind, x, self.number(value))

    def unless_negative(self, x: SSAValue, negative: SSAValue) -> SSAValue:
        """x >= 0 ? x : negative"""
        return self.body.select(self.body.compare("ge", x, self.number(0)), x, negative)


def _affine(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.with_number("add", s.with_number("mul", x, alpha), beta)


def _elu(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    power = s.with_number("sub", s.body.unary("exp", s.with_number("min", x, 0)), 1)
    return s.unless_negative(x, s.with_number("mul", power, alpha))


def _hard_sigmoid(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.with_number("min", s.with_number("max", _affine(s, x, alpha, beta), 0), 1)


def _leaky_relu(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.unless_negative(x, s.with_number("mul", x, alpha))


def _scaled_tanh(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.with_number("mul", s.body.unary("tanh", s.with_number("mul", x, beta)), alpha)


def _softplus(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    power = s.body.unary("exp", s.body.unary("neg", s.body.unary("abs", x)))
    return s.body.binary("add", s.with_number("max", x, 0), s.body.unary("log", s.with_number("add", power, 1)))


def _softsign(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.body.binary("div", x, s.with_number("add", s.body.unary("abs", x), 1))


def _thresholded_relu(s: _Scalar, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return s.body.select(s.body.compare("gt", x, s.number(alpha)), x, s.number(0))


_KINDS: Mapping[str, Callable[[_Scalar, SSAValue, float, float], SSAValue]] = {
    "affine": _affine,
    "elu": _elu,
    "hard_sigmoid": _hard_sigmoid,
    "leaky_relu": _leaky_relu,
    "relu": lambda s, x, alpha, beta: s.with_number("max", x, 0),
    "scaled_tanh": _scaled_tanh,
    "sigmoid": lambda s, x, alpha, beta: s.body.unary("sigmoid", x),
    "softplus": _softplus,
    "softsign": _softsign,
    "tanh": lambda s, x, alpha, beta: s.body.unary("tanh", x),
    "thresholded_relu": _thresholded_relu,
}


def activation(body: LoopWriter, op: Recurrence, number: int, x: SSAValue) -> SSAValue:
    """The layer's activation with this number, behind its clip."""
    s = _Scalar(body, x.type)
    if op.clip:
        x = s.with_number("min", s.with_number("max", x, -op.clip), op.clip)
    return _KINDS[op.activations[number]](s, x, op.alphas[number], op.betas[number])
