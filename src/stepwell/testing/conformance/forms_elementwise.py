"""Forms of elementwise operators: every way to broadcast, special values, scalars and empty tensors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from stepwell.testing.conformance.case import NodeSpec
from stepwell.testing.conformance.forms import CODES, FLOATS, INTEGERS, TYPES, Data, Form, rows_by_width

UNARY = ("Abs", "Ceil", "Erf", "Exp", "Floor", "Identity", "Log", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sqrt", "Tanh")  # fmt: skip
POSITIVE = ("Log", "Sqrt")
BINARY = ("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum")
VARIADIC = ("Max", "Min", "Sum")


def _one(positive: bool, data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([(data.positive if positive else data.of)(*rows_by_width(rows, width))])


def unary_forms(positive: bool = False, attributes: Mapping[str, object] | None = None) -> tuple[Form, ...]:
    """One operand: of each width, a scalar, without elements, special values, rank 5."""
    more = attributes or {}

    def form(name: str, *shape: int) -> Form:
        return Form(name, lambda data, r, w: NodeSpec([data.positive(*shape)], attributes=more), fixed=True)

    return (
        Form("operand", lambda data, r, w: NodeSpec(_one(positive, data, r, w).inputs, attributes=more)),
        form("scalar"),
        form("no elements", 0, 5),
        form("rank 6", 2, 1, 3, 2, 1, 5),
        Form("special values", lambda data, r, w: NodeSpec([data.special(3, 2 * data.lanes + 1)], attributes=more), fixed=True),
    )  # fmt: skip


def _pair(left: tuple[object, ...], right: tuple[object, ...], weight: str, data: Data, rows: int, width: int) -> NodeSpec:  # fmt: skip
    """Shapes may hold "r" and "w", and begin with the rows only where there are two. `weight`: "left", "right" or "" for what is a weight."""
    extents = {"r": rows, "w": width}

    def array(shape: tuple[object, ...]) -> np.ndarray:
        return data.of(*(extents[e] if isinstance(e, str) else int(str(e)) for e in shape))

    a, b = array(left), array(right)
    if weight == "right":
        return NodeSpec([a], [b])
    return NodeSpec([b], [a], order=["w0", "x0"]) if weight == "left" else NodeSpec([a, b])


PAIRS = {
    "same shape": (("r", "w"), ("r", "w"), ""),
    "vectors": (("w",), ("w",), ""),
    "same shape, a weight": (("r", "w"), ("r", "w"), "right"),
    "scalar weight": (("r", "w"), (), "right"),
    "scalar weight on the left": (("r", "w"), (), "left"),
    "scalar input": (("r", "w"), (), ""),
    "one element": (("r", "w"), (1,), "right"),
    "row weight": (("r", "w"), ("w",), "right"),
    "row input on the left": (("w",), ("r", "w"), ""),
    "column": (("r", "w"), ("r", 1), ""),
    "channel [3, 1, 1]": ((2, 3, "r", "w"), (3, 1, 1), "right"),
    "channel input": ((2, 3, "r", "w"), (3, 1, 1), ""),
    "middle": ((2, 3, "w"), (2, 1, "w"), ""),
    "first and last": ((2, "r", "w"), (1, "r", 1), "right"),
    "column with row": (("r", 1), (1, "w"), ""),
    "both stretch": ((2, 1, "w"), ("r", 1), ""),
}
"""Form of broadcasting -> shapes of the operands and which is a weight."""


def _special_pairs(data: Data, rows: int, width: int) -> NodeSpec:
    line = data.special(19)
    return NodeSpec([np.repeat(line, 19).reshape(19, 19), np.tile(line, 19).reshape(19, 19)])


def _divisors(value: int, data: Data, rows: int, width: int) -> NodeSpec:
    dividend = np.full((2, data.lanes + 1), np.iinfo(data.dtype).min, data.dtype)
    return NodeSpec([dividend, np.full_like(dividend, value)], survives=True)


def binary_forms(op: str) -> tuple[Form, ...]:
    """Two operands in every form of broadcasting; integer division by 0 and -1 may give anything and must not kill."""
    whole_division = op == "Div"
    special = FLOATS if whole_division else (*FLOATS, *INTEGERS)
    found = [Form(name, partial(_pair, *pair)) for name, pair in PAIRS.items()]
    found += [
        Form("scalars", lambda data, r, w: NodeSpec([data.of(), data.of()]), fixed=True),
        Form("no elements", lambda data, r, w: NodeSpec([data.of(0, 5), data.of(5)]), fixed=True),
        Form("special values", _special_pairs, fixed=True, types=special),
    ]
    if whole_division:
        signed = tuple(name for name in INTEGERS if name in TYPES)
        found += [
            Form(f"integers by {value}", partial(_divisors, value), fixed=True, types=signed) for value in (0, -1)
        ]
    if op in VARIADIC:
        found += [
            Form("one operand", lambda data, r, w: NodeSpec([data.of(r, w)])),
            Form("three operands", lambda data, r, w: NodeSpec([data.of(r, w), data.of(w), data.of(r, 1)])),
        ]
    return tuple(found)


def _cast(target: str, data: Data, rows: int, width: int) -> NodeSpec:
    values = data.of(*rows_by_width(rows, width))
    if data.is_float:
        values = (values.astype(np.float64) * 4).astype(data.dtype)
    if target == "bool":
        values = values * (values > 0)
    if target.startswith("uint"):
        values = np.abs(values)
    return NodeSpec([values], attributes={"to": CODES[target]})


def _cast_special(target: str, data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.special(2, data.lanes + 1)], attributes={"to": CODES[target]})


def cast_forms() -> tuple[Form, ...]:
    """To every element type; values that the result cannot hold only where ONNX says what they become."""
    wide = [Form(f"to {target}", partial(_cast, target)) for target in TYPES]
    foreign = [
        Form(f"to {target}", partial(_cast, target), fixed=True, types=("float32",)) for target in ("bfloat16", "uint8")
    ]
    special = [
        Form(f"special values to {target}", partial(_cast_special, target), fixed=True, types=FLOATS)
        for target in (*FLOATS[:3], "bool")
    ]
    float8 = Form(
        "to float8", lambda data, r, w: NodeSpec([data.of(5)], attributes={"to": 17, "saturate": 1}),
        fixed=True, types=("float32",),
    )  # fmt: skip
    return (*wide, *foreign, *special, float8)


ELEMENTWISE: Mapping[str, tuple[Form, ...]] = {
    **{op: unary_forms(op in POSITIVE) for op in UNARY},
    **{op: binary_forms(op) for op in BINARY},
    "Gelu": (
        *unary_forms(),
        Form("tanh", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"approximate": "tanh"})),
    ),
    "Cast": cast_forms(),
    "Dropout": (
        *unary_forms(),
        Form("ratio and training mode", lambda data, r, w: NodeSpec(
            [data.of(r, w)], [np.array(0.3, np.float32), np.array(False)], {"seed": 3}, order=["x0", "w0", "w1"]), types=FLOATS),
        Form("ratio of opset 7", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"ratio": 0.5}, opset=7), fixed=False, types=FLOATS),
    ),
}  # fmt: skip
