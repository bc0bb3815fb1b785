"""Layers that are functions of single elements: activation, elementwise, unary, scale, select, cast."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.numpy_types import is_float
from stepwell.frontends.emitter import Unsupported, shape_of
from stepwell.frontends.network.activations import ACTIVATIONS, EXACT, activation, parameters_of
from stepwell.frontends.network.build import NetworkBuilder
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor, Weights, axis_in, element_named, one_of

BINARY = {
    "SUM": "add",
    "PROD": "mul",
    "MAX": "max",
    "MIN": "min",
    "SUB": "sub",
    "DIV": "div",
    "POW": "pow",
    "FLOOR_DIV": "div",
    "AND": "and",
    "OR": "or",
    "XOR": "xor",
    "EQUAL": "eq",
    "GREATER": "gt",
    "LESS": "lt",
}
"""Kinds of add_elementwise, and the graph ops' kinds they become."""
COMPARISONS = ("EQUAL", "GREATER", "LESS")
_SAME_WORD = "exp log sqrt abs neg sin cos tan sinh cosh asin acos atan asinh acosh atanh ceil floor trunc erf not sign"
UNARY = {
    **{kind.upper(): kind for kind in _SAME_WORD.split()},
    "ROUND": "round_even",
    "EXPM1": "expm1",
    "LOG1P": "log1p",
    "RECIP": "div",
}
"""Kinds of add_unary, and the graph ops' kinds they become."""
SCALES = ("UNIFORM", "CHANNEL", "ELEMENTWISE")


def _floor_div(build: NetworkBuilder, a: SSAValue, b: SSAValue) -> SSAValue:
    """a / b rounded down: integers divide toward zero, so one less where the rest is not 0 and has another sign than b."""
    quotient = build.binary("div", a, b)
    if is_float(build.element(a)):
        return build.unary("floor", quotient)
    rest = build.binary("rem", a, b)
    zero = build.number(0, quotient)
    apart = build.binary("xor", build.compare("lt", rest, zero), build.compare("lt", b, zero))
    below = build.binary("and", apart, build.compare("ne", rest, zero))
    return build.select(below, build.binary("sub", quotient, build.number(1, quotient)), quotient)


class ElementwiseLayers(NetworkCore):
    """Where a layer has several inputs they have one element type, and shapes that NumPy's rule broadcasts."""

    def add_activation(
        self, input: Tensor, kind: str, *, alpha: float | None = None, beta: float | None = None, name: str = ""
    ) -> Tensor:
        """RELU SIGMOID TANH GELU_ERF GELU_TANH SOFTSIGN MISH; with alpha LEAKY_RELU (0.01) ELU (1) THRESHOLDED_RELU (1); with alpha and beta SELU,
        SOFTPLUS alpha log(1 + exp(beta x)), CLIP (both are needed: the bounds), HARD_SIGMOID (0.2, 0.5), SCALED_TANH alpha tanh(beta x), SWISH
        x sigmoid(beta x)."""
        with self._layer("activation", name, input) as build:
            word = one_of("kind", kind, tuple(ACTIVATIONS))
            x = input.value if word in EXACT else build.floating(input.value, word)
            return self._result(activation(build, word, x, *parameters_of(word, alpha, beta)))

    def add_elementwise(self, kind: str, a: Tensor, b: Tensor, *, name: str = "") -> Tensor:
        """SUM PROD MAX MIN SUB DIV POW FLOOR_DIV of two tensors, AND OR XOR (of bool, or the bits of integers), EQUAL GREATER LESS (the result is bool)."""
        with self._layer("elementwise", name, a, b) as build:
            word = one_of("kind", kind, tuple(BINARY))
            if a.dtype != b.dtype:
                raise Unsupported(f"{a.dtype} and {b.dtype} are not one element type: add_cast one of them")
            if word in COMPARISONS:
                return self._result(build.compare(BINARY[word], a.value, b.value))
            if word == "FLOOR_DIV":
                return self._result(_floor_div(build, *build.broadcast_all([a.value, b.value])))
            return self._result(build.binary(BINARY[word], a.value, b.value))

    def add_unary(self, input: Tensor, kind: str, *, name: str = "") -> Tensor:
        """EXP LOG SQRT RECIP ABS NEG SIN COS TAN SINH COSH ASIN ACOS ATAN ASINH ACOSH ATANH CEIL FLOOR ROUND (halves to even) TRUNC ERF EXPM1
        LOG1P SIGN, and NOT of bool."""
        with self._layer("unary", name, input) as build:
            word = one_of("kind", kind, tuple(UNARY))
            if word == "RECIP":
                x = build.floating(input.value, "a reciprocal")
                return self._result(build.binary("div", build.number(1, x), x))
            return self._result(build.unary(UNARY[word], input.value))

    def add_scale(
        self,
        input: Tensor,
        mode: str,
        shift: Weights | None = None,
        scale: Weights | None = None,
        power: Weights | None = None,
        *,
        channel_axis: int = 1,
        name: str = "",
    ) -> Tensor:
        """(input * scale + shift) ** power, each left out where it is None. `mode` says how many numbers each has: UNIFORM one, CHANNEL one for each
        index of `channel_axis`, ELEMENTWISE one for each element."""
        with self._layer("scale", name, input, also=(shift, scale, power)) as build:
            x, word = input.value, one_of("mode", mode, SCALES)
            axis = axis_in(channel_axis, len(input.shape)) if word == "CHANNEL" else 0
            shape = {"UNIFORM": (), "CHANNEL": input.shape[axis : axis + 1], "ELEMENTWISE": input.shape}[word]
            for kind, what, given in (("mul", "scale", scale), ("add", "shift", shift), ("pow", "power", power)):
                if given is None:
                    continue
                factor = build.parameter(what, given, x, shape)
                if shape_of(factor) != shape_of(x):
                    factor = build.along(factor, axis, x)
                x = build.emit(graph.BinaryOp(x, factor, kind=kind))
            return self._result(x)

    def add_select(self, condition: Tensor, chosen: Tensor, other: Tensor, *, name: str = "") -> Tensor:
        """`chosen` where the condition (bool) is true, `other` elsewhere."""
        with self._layer("select", name, condition, chosen, other) as build:
            return self._result(build.select(condition.value, chosen.value, other.value))

    def add_cast(self, input: Tensor, dtype: Any, *, name: str = "") -> Tensor:
        """The values with another element type: nearest even, toward zero to integers."""
        with self._layer("cast", name, input) as build:
            return self._result(build.cast(input.value, element_named(dtype)))

    def add_identity(self, input: Tensor, *, name: str = "") -> Tensor:
        """The input under another name; no op is written."""
        with self._layer("identity", name, input):
            return self._result(input.value)

    def add_constant(self, array: Any, *, name: str = "") -> Tensor:
        """An array as a tensor; its element type is the array's."""
        with self._layer("constant", name) as build:
            found = np.array(array)
            if found.dtype == np.dtype(object):
                raise Unsupported("that is no array of numbers")
            return self._result(build.weight(build.node_name, found))
