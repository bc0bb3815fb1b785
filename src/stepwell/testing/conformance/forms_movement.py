"""Forms of the operators that move or name data."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import numpy_helper

from stepwell.testing.conformance.case import NodeSpec
from stepwell.testing.conformance.forms import Data, Form, rows_by_width


def _moved(name: str, shape: str, target: list[int] | None = None, opset: int = 20, **attributes: object) -> Form:
    """`shape` as letters and digits; `target`, where there is one, is the constant second input."""

    def make(data: Data, rows: int, width: int) -> NodeSpec:
        x = data.of(
            *({"r": rows, "w": width, "zero": 0}.get(e, -1) if not e.isdigit() else int(e) for e in shape.split())
        )
        return NodeSpec([x], [] if target is None else [np.array(target, np.int64)], attributes, opset)

    fixed = not set(shape.split()) & {"r", "w"}
    return Form(name, make, fixed=fixed)  # fmt: skip


def _constant(data: Data, rows: int, width: int) -> NodeSpec:
    value = numpy_helper.from_array(data.of(*rows_by_width(rows, width)))
    return NodeSpec([], attributes={"value": value})


def _literal(name: str, value: object, types: tuple[str, ...]) -> Form:
    return Form(name, lambda data, r, w: NodeSpec([], attributes={name: value}), fixed=True, types=types)


MOVEMENT: Mapping[str, tuple[Form, ...]] = {
    "Constant": (
        Form("value", _constant),
        _literal("value_float", 2.5, ("float32",)),
        _literal("value_floats", [1.0, 2.0], ("float32",)),
        _literal("value_int", 3, ("int64",)),
        _literal("value_ints", [3, 4], ("int64",)),
        _literal("value_string", "text", ("float32",)),
        _literal("value_strings", ["a"], ("float32",)),
    ),
    "Flatten": (
        _moved("default axis", "2 r w"),
        *(_moved(f"axis {axis}", "2 r w", axis=axis) for axis in (0, 2, 3, -1)),
        _moved("no elements", "0 5 2"),
    ),
    "Reshape": (
        _moved("merge", "2 r w", [-1]),
        _moved("0 keeps", "2 r w", [0, -1]),
        _moved("to a matrix", "4 r w", [2, -1]),
        _moved("to rank 6", "4 r w", [1, 2, 1, 2, 1, -1]),
        _moved("allowzero", "2 r w", [2, 1, -1], allowzero=1),
        _moved("no elements", "0 5", [5, 0], allowzero=1),
        _moved("to a scalar", "1 1", []),
    ),
    "Squeeze": (
        _moved("all", "1 r 1 w 1"),
        _moved("axes", "2 1 r w 1", [1, -1]),
        _moved("axes of opset 11", "2 1 r w", opset=11, axes=[1]),
        _moved("to a scalar", "1 1"),
    ),
    "Transpose": (
        _moved("default", "r w"),
        _moved("matrix by 3", "w 3 r"),
        _moved("perm 1 0", "w r", perm=[1, 0]),
        _moved("identity", "2 r w", perm=[0, 1, 2]),
        _moved("perm 1 0 2", "3 r w", perm=[1, 0, 2]),
        _moved("perm 0 2 1", "3 r w", perm=[0, 2, 1]),
        _moved("perm 2 0 1", "3 r w", perm=[2, 0, 1]),
        _moved("channels last", "2 w r 5", perm=[0, 2, 3, 1]),
        _moved("channels first", "2 r 5 w", perm=[0, 3, 1, 2]),
        _moved("rank 4, reversed", "2 3 r w"),
        _moved("five groups", "2 3 2 r w", perm=[4, 2, 0, 3, 1]),
        _moved("six groups", "2 3 2 2 r w", perm=[5, 3, 1, 4, 2, 0]),
        _moved("no elements", "0 5", perm=[1, 0]),
        _moved("scalar", ""),
    ),
    "Unsqueeze": (
        _moved("axes", "r w", [0, -1]),
        _moved("axes of opset 11", "r w", opset=11, axes=[1, 3]),
        _moved("a scalar", "", [0]),
    ),
}
