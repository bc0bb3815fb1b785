"""The functions of add_activation, by name, with the defaults of alpha and beta."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, nan

from xdsl.ir import SSAValue

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.network.build import NetworkBuilder

Function = Callable[[NetworkBuilder, SSAValue, float, float], SSAValue]
Default = float | None
NEEDED = nan
"""Stands for a parameter that has no default."""


def _unary(kind: str) -> Function:
    return lambda build, x, alpha, beta: build.unary(kind, x)


def _times(build: NetworkBuilder, x: SSAValue, factor: float) -> SSAValue:
    return x if factor == 1 else build.binary("mul", x, build.number(factor, x))


def _positive(build: NetworkBuilder, x: SSAValue, otherwise: SSAValue) -> SSAValue:
    return build.select(build.compare("gt", x, build.number(0, x)), x, otherwise)


def _leaky(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _positive(build, x, build.binary("mul", x, build.number(alpha, x)))


def _elu(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _positive(build, x, _times(build, build.unary("expm1", x), alpha))


def _selu(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _times(build, _elu(build, x, alpha, 0), beta)


def _thresholded(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return build.select(build.compare("gt", x, build.number(alpha, x)), x, build.number(0, x))


def _softsign(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return build.binary("div", x, build.binary("add", build.number(1, x), build.unary("abs", x)))


def _softplus(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _times(build, build.unary("softplus", _times(build, x, beta)), alpha)


def _clip(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return build.binary("min", build.binary("max", x, build.number(alpha, x)), build.number(beta, x))


def _hard_sigmoid(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _clip(build, build.binary("add", _times(build, x, alpha), build.number(beta, x)), 0, 1)


def _scaled_tanh(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return _times(build, build.unary("tanh", _times(build, x, beta)), alpha)


def _swish(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return build.binary("mul", x, build.unary("sigmoid", _times(build, x, beta)))


def _mish(build: NetworkBuilder, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    return build.binary("mul", x, build.unary("tanh", build.unary("softplus", x)))


ACTIVATIONS: dict[str, tuple[Function, Default, Default]] = {
    "RELU": (_unary("relu"), None, None),
    "SIGMOID": (_unary("sigmoid"), None, None),
    "TANH": (_unary("tanh"), None, None),
    "LEAKY_RELU": (_leaky, 0.01, None),
    "ELU": (_elu, 1.0, None),
    "SELU": (_selu, 1.6732632423543772, 1.0507009873554805),
    "SOFTSIGN": (_softsign, None, None),
    "SOFTPLUS": (_softplus, 1.0, 1.0),
    "CLIP": (_clip, NEEDED, NEEDED),
    "HARD_SIGMOID": (_hard_sigmoid, 0.2, 0.5),
    "SCALED_TANH": (_scaled_tanh, 1.0, 1.0),
    "THRESHOLDED_RELU": (_thresholded, 1.0, None),
    "GELU_ERF": (_unary("gelu"), None, None),
    "GELU_TANH": (_unary("gelu_tanh"), None, None),
    "SWISH": (_swish, None, 1.0),
    "MISH": (_mish, None, None),
}
"""Function, and the defaults of alpha and beta: None where it has no such parameter, NEEDED where there is no default."""
EXACT = ("RELU", "CLIP", "THRESHOLDED_RELU")
"""The functions that integers have too: their results are elements or bounds."""


def parameters_of(kind: str, alpha: float | None, beta: float | None) -> tuple[float, float]:
    """What alpha and beta are; Unsupported where one is given that the function does not have, or is missing."""
    return _parameter(kind, "alpha", alpha, ACTIVATIONS[kind][1]), _parameter(kind, "beta", beta, ACTIVATIONS[kind][2])


def _parameter(kind: str, what: str, given: float | None, default: Default) -> float:
    if given is not None and default is None:
        raise Unsupported(f"{kind} has no {what}: leave it out")
    found = default if given is None else given
    if found is not None and isnan(found):
        raise Unsupported(f"{kind} needs {what}, a number")
    return 0.0 if found is None else float(found)


def activation(build: NetworkBuilder, kind: str, x: SSAValue, alpha: float, beta: float) -> SSAValue:
    """The function `kind` of every element."""
    return ACTIVATIONS[kind][0](build, x, alpha, beta)
