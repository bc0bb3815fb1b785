"""Converters: recurrent layers. The products with the input are one matrix product over all steps; the rest is one op for each direction."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder, shape_of
from stepwell.frontends.onnx.node import Node

FUNCTIONS = {
    "affine": ("affine", 1.0, 0.0),
    "elu": ("elu", 1.0, 0.0),
    "hardsigmoid": ("hard_sigmoid", 0.2, 0.5),
    "leakyrelu": ("leaky_relu", 0.01, 0.0),
    "relu": ("relu", 0.0, 0.0),
    "scaledtanh": ("scaled_tanh", 1.0, 1.0),
    "sigmoid": ("sigmoid", 0.0, 0.0),
    "softplus": ("softplus", 0.0, 0.0),
    "softsign": ("softsign", 0.0, 0.0),
    "tanh": ("tanh", 0.0, 0.0),
    "thresholdedrelu": ("thresholded_relu", 1.0, 0.0),
}
"""ONNX's name in small letters -> ours, and the defaults of alpha and beta."""
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction runs backwards."""


def _functions(node: Node, defaults: Sequence[str], directions: int) -> list[dict[str, list[object]]]:
    """For each direction the activations with their alphas and betas."""
    count = len(defaults)
    names = (
        [bytes(name).decode() for name in node.value("activations")]
        if node.has("activations")
        else [*defaults] * directions
    )
    if len(names) != count * directions or any(name.lower() not in FUNCTIONS for name in names):
        raise Unsupported(f"activations {names}: {count} of {', '.join(FUNCTIONS)} for each direction are needed")
    found = [FUNCTIONS[name.lower()] for name in names]
    alphas = _parameters(node, "activation_alpha", names, [entry[1] for entry in found], ALPHA)
    betas = _parameters(node, "activation_beta", names, [entry[2] for entry in found], BETA)
    parts = [slice(d * count, (d + 1) * count) for d in range(directions)]
    return [{"activations": [e[0] for e in found[p]], "alphas": alphas[p], "betas": betas[p]} for p in parts]


ALPHA = {"affine", "elu", "hardsigmoid", "leakyrelu", "scaledtanh", "thresholdedrelu"}
BETA = {"affine", "hardsigmoid", "scaledtanh"}
"""Functions that take the one and the other parameter."""


def _parameters(
    node: Node, attribute: str, names: Sequence[str], defaults: Sequence[float], takers: set[str]
) -> list[object]:
    """One parameter for each activation: those that take it get the values in order, then their defaults (as ONNX Runtime has it)."""
    given = list(node.value(attribute)) if node.has(attribute) else []
    if len(given) > len(names) or not all(isinstance(value, float) for value in given):
        raise Unsupported(f"{attribute} must be at most {len(names)} numbers, one for each activation")
    values = iter(given)
    return [
        next(values, default) if name.lower() in takers else default
        for name, default in zip(names, defaults, strict=True)
    ]


def _part(build: GraphBuilder, value: SSAValue, direction: int) -> SSAValue:
    """What one direction has of a value whose first dim is the direction."""
    return build.reshape(build.cut(value, 0, direction, direction + 1), shape_of(value)[1:])


def _gates(node: Node, build: GraphBuilder, x: SSAValue, direction: int, width: int) -> tuple[SSAValue, SSAValue]:
    """The input's part of the gates [T, N, G] and the recurrence's bias [G]."""
    steps, batch, features = shape_of(x)
    weights = build.transpose(_part(build, build.value(node, 1), direction), [1, 0])
    flat = build.emit(graph.MatmulOp(build.reshape(x, [steps * batch, features]), weights))
    if not node.has_input(3):
        return build.reshape(flat, [steps, batch, width]), build.zeros(x, [width])
    both = _part(build, build.value(node, 3), direction)
    flat = build.binary("add", flat, build.cut(both, 0, 0, width))
    return build.reshape(flat, [steps, batch, width]), build.cut(both, 0, width, 2 * width)


def recurrent(node: Node, build: GraphBuilder) -> list[SSAValue]:
    """RNN, GRU and LSTM: graph.rnn, graph.gru or graph.lstm for each direction."""
    node.ignore("hidden_size", "output_sequence")
    op_class, gates, defaults = LAYERS[node.op_type]
    batch_first = bool(node.integer("layout", 0))
    direction = node.text("direction", "forward")
    if direction not in DIRECTIONS:
        raise Unsupported(f"direction {direction!r} is none of {', '.join(DIRECTIONS)}")
    backwards = DIRECTIONS[direction]
    x = build.value(node, 0)
    x = build.transpose(x, [1, 0, 2]) if batch_first else x
    hidden = shape_of(build.value(node, 2))[2]
    batch = shape_of(x)[1]
    lengths = build.value(node, 4) if node.has_input(4) else None
    functions = _functions(node, defaults, len(backwards))
    clip = node.number("clip", 0.0)
    results = []
    for number, reverse in enumerate(backwards):
        inputs, bias = _gates(node, build, x, number, gates * hidden)
        states = [
            _state(node, build, k, number, batch_first, [batch, hidden], x) for k in ((5, 6) if gates == 4 else (5,))
        ]
        more: dict[str, object] = {**functions[number], "clip": clip, "reverse": reverse}
        if node.op_type == "GRU":
            more["linear_before_reset"] = bool(node.integer("linear_before_reset", 0))
        operands: list[SSAValue | None] = [inputs, _part(build, build.value(node, 2), number), bias, *states, lengths]
        if node.op_type == "LSTM":
            more["input_forget"] = bool(node.integer("input_forget", 0))
            operands.append(_part(build, build.value(node, 7), number) if node.has_input(7) else None)
        results.append(build.emit_all(op_class(*operands, **more)))
    return [
        _joined(build, [made[k] for made in results], 1 if k == 0 else 0, batch_first) for k in range(len(results[0]))
    ]


def _state(
    node: Node, build: GraphBuilder, index: int, number: int, batch_first: bool, shape: list[int], like: SSAValue
) -> SSAValue:
    """The initial state of a direction, zeros where it is left out."""
    if not node.has_input(index):
        return build.zeros(like, shape)
    given = build.value(node, index)
    return _part(build, build.transpose(given, [1, 0, 2]) if batch_first else given, number)


def _joined(build: GraphBuilder, parts: list[SSAValue], dim: int, batch_first: bool) -> SSAValue:
    """The directions side by side: [T, D, N, H] of all steps, [D, N, H] of the last; with the batch first [N, T, D, H] and [N, D, H]."""
    spread = [build.reshape(p, [*shape_of(p)[:dim], 1, *shape_of(p)[dim:]]) for p in parts]
    whole = spread[0] if len(spread) == 1 else build.emit(graph.ConcatOp(spread, dim=dim))
    if not batch_first:
        return whole
    return build.transpose(whole, [2, 0, 1, 3] if dim == 1 else [1, 0, 2])


LAYERS = {
    "RNN": (graph.RnnOp, 1, ("Tanh",)),
    "GRU": (graph.GruOp, 3, ("Sigmoid", "Tanh")),
    "LSTM": (graph.LstmOp, 4, ("Sigmoid", "Tanh", "Tanh")),
}
"""Operator -> op, its gates, its activations."""
