"""Forms of the operators of bits and booleans, of remainders and bounds, and of those that exchange space and depth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from stepwell.testing.conformance.case import NodeSpec
from stepwell.testing.conformance.forms import Data, Form, rows_by_width

SIGNED = ("int8", "int16", "int32", "int64")


def _same(attributes: Mapping[str, object], data: Data, rows: int, width: int) -> NodeSpec:
    shape = rows_by_width(rows, width)
    return NodeSpec([data.of(*shape), data.of(*shape)], attributes=attributes)


def _row(attributes: Mapping[str, object], data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(3, rows, width)], [data.of(width)], attributes)


def pair_forms(**attributes: object) -> tuple[Form, ...]:
    """Two operands of one shape, and one that is repeated."""
    return (Form("same shape", partial(_same, attributes)), Form("row weight", partial(_row, attributes)))


def _shift(direction: str, data: Data, rows: int, width: int) -> NodeSpec:
    shape = rows_by_width(rows, width)
    return NodeSpec([data.of(*shape), data.positive(*shape)], attributes={"direction": direction}, opset=20)


def _modulo(fmod: int, data: Data, rows: int, width: int) -> NodeSpec:
    shape = rows_by_width(rows, width)
    return NodeSpec([data.of(*shape), data.of(*shape)], attributes={"fmod": fmod})


def _clip(opset: int, data: Data, rows: int, width: int) -> NodeSpec:
    x = data.of(*rows_by_width(rows, width))
    if opset < 11:
        return NodeSpec([x], attributes={"min": -0.5, "max": 0.75}, opset=opset)
    bounds = [np.asarray(value).astype(data.dtype) for value in (1, 4)]
    return NodeSpec([x], bounds, opset=opset)


def _blocks(mode: str, data: Data, rows: int, width: int) -> NodeSpec:
    attributes: dict[str, object] = {"blocksize": 2, **({"mode": mode} if mode else {})}
    shape = (2, 8, rows, width) if mode else (1, 2, 2 * rows, 2 * width)
    return NodeSpec([data.of(*shape)], attributes=attributes)


def _unblocked(mode: str, data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(1, 2, 2 * rows, 2 * width)], attributes={"blocksize": 2, "mode": mode}, opset=28)


def _like(data: Data, rows: int, width: int) -> NodeSpec:
    x = data.of(*rows_by_width(rows, width))
    return NodeSpec([x], [np.ones(1, np.float32)], {"saturate": 1})


def _nothing_to_reduce(data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(rows, width)], attributes={"noop_with_empty_axes": 1, "keepdims": 1}, opset=20)


def _sum(data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(rows, width)], [np.array([-1])], {"keepdims": 0})


LOGIC: Mapping[str, tuple[Form, ...]] = {
    **{op: pair_forms() for op in ("And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Or", "Xor")},
    "BitShift": tuple(Form(side.lower(), partial(_shift, side), fixed=True) for side in ("LEFT", "RIGHT")),
    "CastLike": (Form("to float32", _like),),
    "Clip": (Form("bounds", partial(_clip, 13)), Form("bounds of opset 7", partial(_clip, 7), types=("float32",))),
    "DepthToSpace": tuple(Form(mode, partial(_blocks, mode)) for mode in ("DCR", "CRD")),
    "Mod": (
        Form("fmod", partial(_modulo, 1)),
        Form("sign of the divisor", partial(_modulo, 0), types=SIGNED),
    ),
    "ReduceSum": (
        Form("nothing to reduce", _nothing_to_reduce),
        Form("rows", _sum),
        Form("axes of opset 11", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"axes": [0]}, opset=11)),
    ),
    "Shape": (
        Form("whole", lambda data, r, w: NodeSpec([data.of(r, w)]), types=("float32",)),
        Form("a part", lambda data, r, w: NodeSpec([data.of(2, r, w)], attributes={"start": 1, "end": -1}), types=("float32",)),
    ),
    "SpaceToDepth": (
        Form("blocks", partial(_blocks, "")),
        *(Form(mode, partial(_unblocked, mode), types=("float32",)) for mode in ("DCR", "CRD")),
    ),
    "Swish": (Form("alpha", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"alpha": 1.0}, opset=24)),),
}  # fmt: skip
