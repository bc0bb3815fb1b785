"""Forms of the operators that a target runs as loops over steps, lines or regions: every attribute once, in shapes of their own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stepwell.testing.conformance.case import NodeSpec
from stepwell.testing.conformance.forms import Data, Form

STEPS, BATCH, FEATURES, HIDDEN = 3, 2, 4, 5
WIDE = ("float32", "float64")
NUMBERS = ("float16", "float32", "float64", "int32", "int64")


def _cumulative(name: str, shape: tuple[int, ...], axis: int, opset: int, **attributes: int) -> Form:
    def make(data: Data, rows: int, width: int) -> NodeSpec:
        return NodeSpec([data.of(*shape)], [np.array(axis, np.int64)], attributes, opset)

    return Form(name, make, fixed=True, types=NUMBERS)


def _cumulatives(opset: int) -> tuple[Form, ...]:
    return (
        _cumulative("line", (7,), 0, opset),
        _cumulative("columns", (3, 5), 0, opset),
        _cumulative("last axis", (2, 3, 5), -1, opset),
        _cumulative("exclusive", (3, 5), 1, opset, exclusive=1),
        _cumulative("reverse", (3, 5), 1, opset, reverse=1),
        _cumulative("exclusive, reverse", (3, 5), 0, opset, exclusive=1, reverse=1),
    )


def _dft(name: str, shape: tuple[int, ...], axis: int | None = None, length: int = 0, **attributes: int) -> Form:
    """`axis` and `length` are inputs that may be left out. An inverse has 2 ** n elements: ONNX Runtime's 1 / n is an f32 number for f64 too."""

    def make(data: Data, rows: int, width: int) -> NodeSpec:
        weights = [np.array(value, np.int64) for value in (length or None, axis) if value is not None]
        order = ["x0", "w0" if length else "", *([f"w{len(weights) - 1}"] if axis is not None else [])]
        return NodeSpec([data.of(*shape)], weights, attributes, order=order if weights else ())

    return Form(name, make, fixed=True, types=WIDE)


def _dft_17(data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(5, 2, 1)], attributes={"axis": 0}, opset=17)


GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def _layer(
    op: str, name: str, given: str = "", types: tuple[str, ...] = ("float32",), layout: int = 0, **attributes: object
) -> Form:
    """`given`: letters of the operands that may be left out, B, l (lengths), h, c and P."""
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    gated = GATES[op] * HIDDEN
    more: dict[str, object] = {**attributes, "hidden_size": HIDDEN, **({"layout": 1} if layout else {})}

    def make(data: Data, rows: int, width: int) -> NodeSpec:
        state = (BATCH, directions, HIDDEN) if layout else (directions, BATCH, HIDDEN)
        inputs = [data.of(BATCH, STEPS, FEATURES) if layout else data.of(STEPS, BATCH, FEATURES)]
        weights = [data.of(directions, gated, FEATURES), data.of(directions, gated, HIDDEN)]
        order = ["x0", "w0", "w1"]
        for letter in "BlhcP":
            if letter not in given:
                order.append("")
            elif letter in "BP":
                order.append(f"w{len(weights)}")
                weights.append(data.of(directions, 2 * gated if letter == "B" else 3 * HIDDEN))
            else:
                order.append(f"x{len(inputs)}")
                inputs.append(np.array([3, 2], np.int32) if letter == "l" else data.of(*state))
        order = order[: max(n for n, name in enumerate(order) if name) + 1]
        outputs = ("y", "last", "cell") if op == "LSTM" else ("y", "last")
        return NodeSpec(inputs, weights, more, order=order, outputs=outputs)

    return Form(name, make, fixed=True, types=types)


def _layers(op: str, activations: list[str], *more: Form) -> tuple[Form, ...]:
    """What the three share. `activations`: their functions, HardSigmoid the one with parameters."""
    return (
        _layer(op, "forward", types=("float16", *WIDE)),
        _layer(op, "bias", "B"),
        _layer(op, "initial state", "Bh"),
        _layer(op, "lengths", "Bl"),
        _layer(op, "reverse", "Blh", direction="reverse"),
        _layer(op, "bidirectional", "Blh", direction="bidirectional"),
        _layer(op, "batch first", layout=1),
        _layer(op, "clip", "B", clip=0.5),
        _layer(op, "activations", "B", activations=activations, activation_alpha=[0.3], activation_beta=[0.4]),
        *more,
    )


def _roi_align(name: str, opset: int = 20, types: tuple[str, ...] = ("float32",), **attributes: object) -> Form:
    def make(data: Data, rows: int, width: int) -> NodeSpec:
        regions = np.array([[0, 0, 5, 4], [1, 1, 4, 5], [1.5, 0.5, 6, 3]], data.dtype)
        return NodeSpec(
            [data.of(2, 3, 6, 7), regions, np.array([0, 1, 1], np.int64)], attributes=attributes, opset=opset
        )

    return Form(name, make, fixed=True, types=types)


def _scatter(
    name: str,
    indices: object,
    opset: int = 20,
    types: tuple[str, ...] = ("float32",),
    each: int | None = None,
    **attributes: object,
) -> Form:
    """Into 4 x 5. `each`: elements of the updates for one index of ScatterND, where an index is a row of `indices`; 0 for one element without a dim."""

    def make(data: Data, rows: int, width: int) -> NodeSpec:
        at = np.array(indices, np.int64)
        shape = at.shape if each is None else (*at.shape[:-1], *([each] if each else []))
        return NodeSpec([data.of(4, 5), at, data.of(*shape)], attributes=attributes, opset=opset)

    return Form(name, make, fixed=True, types=types)


STORED = ("float16", "float32", "float64", "bool", "int8", "int32", "int64")
REDUCED = ("float16", "float32", "int64")
REDUCTIONS = ("add", "mul", "max", "min")


def _top_k(name: str, k: int, shape: tuple[int, ...] = (3, 7), **attributes: int) -> Form:
    def make(data: Data, rows: int, width: int) -> NodeSpec:
        return NodeSpec([data.of(*shape)], [np.array([k], np.int64)], attributes, outputs=("y", "places"))

    return Form(name, make, fixed=True, types=("float16", *WIDE, "int32", "int64"))


def _top_k_9(data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(3, 7)], attributes={"k": 3, "axis": 1}, opset=9, outputs=("y", "places"))


LOOPS: Mapping[str, tuple[Form, ...]] = {
    "CumProd": _cumulatives(26),
    "CumSum": _cumulatives(20),
    "DFT": (
        _dft("real", (2, 8, 1)),
        _dft("complex", (2, 6, 2)),
        _dft("axis", (2, 5, 3, 2), axis=1),
        _dft("length", (2, 6, 1), axis=1, length=8),
        _dft("inverse", (2, 8, 2), axis=1, inverse=1),
        _dft("onesided", (2, 8, 1), axis=1, onesided=1),
        Form("axis of opset 17", _dft_17, fixed=True, types=WIDE),
    ),
    "Det": (
        Form("matrix", lambda data, r, w: NodeSpec([data.of(3, 3)]), fixed=True, types=WIDE),
        Form("batch", lambda data, r, w: NodeSpec([data.of(2, 3, 4, 4)]), fixed=True, types=WIDE),
        Form("one element", lambda data, r, w: NodeSpec([data.of(2, 1, 1)]), fixed=True, types=WIDE),
    ),
    "GRU": _layers(
        "GRU", ["HardSigmoid", "Tanh"], _layer("GRU", "linear_before_reset", "B", linear_before_reset=1)
    ),
    "LSTM": _layers(
        "LSTM",
        ["HardSigmoid", "Tanh", "Softsign"],
        _layer("LSTM", "both states", "Blhc"),
        _layer("LSTM", "peepholes", "BhcP"),
        _layer("LSTM", "input_forget", "B", input_forget=1),
    ),
    "RNN": _layers("RNN", ["HardSigmoid"]),
    "RoiAlign": (
        _roi_align("default", types=("float16", *WIDE)),
        _roi_align("bins", output_height=3, output_width=2, sampling_ratio=2),
        _roi_align("spatial_scale", output_height=2, output_width=2, spatial_scale=0.5),
        _roi_align("output_half_pixel", output_height=2, output_width=3, coordinate_transformation_mode="output_half_pixel"),
        _roi_align("max", output_height=2, output_width=2, sampling_ratio=2, mode="max"),
        _roi_align("opset 10", opset=10, output_height=2, output_width=2),
    ),
    "Scatter": (
        _scatter("rows", [[1, 0, 2], [0, 3, 1]], opset=10, types=STORED),
        _scatter("columns", [[1, 4], [0, 2]], opset=10, axis=1),
    ),
    "ScatterElements": (
        _scatter("rows", [[1, 0, 2], [0, 3, 1]], types=STORED),
        _scatter("columns", [[1, -1], [0, 2]], axis=1),
        _scatter("last axis", [[1, 3], [0, 2], [4, 3]], axis=-1),
        *(_scatter(kind, [[1, 0, 2], [1, 3, 2]], types=REDUCED, reduction=kind) for kind in REDUCTIONS),
    ),
    "ScatterND": (
        _scatter("rows", [[2], [0]], types=STORED, each=5),
        _scatter("elements", [[2, 1], [0, -1], [3, 4]], each=0),
        *(_scatter(kind, [[2], [0], [2]], types=REDUCED, each=5, reduction=kind) for kind in REDUCTIONS),
    ),
    "TopK": (
        _top_k("last axis", 3),
        _top_k("axis", 2, axis=0),
        _top_k("least", 3, largest=0),
        _top_k("not sorted", 1, sorted=0),
        _top_k("all", 7, shape=(7,)),
        Form("k of opset 9", _top_k_9, fixed=True, types=WIDE),
    ),
}  # fmt: skip
