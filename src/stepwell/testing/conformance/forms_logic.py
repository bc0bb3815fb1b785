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


def _lp_pool(attributes: Mapping[str, object], data: Data, rows: int, width: int) -> NodeSpec:
    return NodeSpec([data.of(1, 2, rows + 2, width + 2)], attributes={"kernel_shape": [2, 2], **attributes}, opset=22)


def _sized(
    shape: tuple[int, ...], sizes: list[int], attributes: Mapping[str, object], data: Data, rows: int, width: int
) -> NodeSpec:
    x = data.of(*(width if e == -1 else rows if e == -2 else e for e in shape))
    return NodeSpec([x], [np.array([width if s == -1 else rows if s == -2 else s for s in sizes])], attributes)


LOGIC: Mapping[str, tuple[Form, ...]] = {
    **{op: pair_forms() for op in ("And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Or", "Xor")},
    "BitShift": tuple(Form(side.lower(), partial(_shift, side), fixed=True) for side in ("LEFT", "RIGHT")),
    "CastLike": (Form("to float32", _like),),
    "Clip": (Form("bounds", partial(_clip, 13)), Form("bounds of opset 7", partial(_clip, 7), types=("float32",))),
    "DepthToSpace": tuple(Form(mode, partial(_blocks, mode)) for mode in ("DCR", "CRD")),
    "Expand": (
        Form("rows", partial(_sized, (1, -1), [-2, -1], {})),
        Form("more dims", partial(_sized, (-2, 1, -1), [2, 1, 3, 1], {})),
    ),
    "LpPool": (
        Form("p 1", partial(_lp_pool, {"p": 1, "strides": [1, 2], "pads": [0, 1, 1, 0]})),
        Form("p 2", partial(_lp_pool, {"dilations": [2, 1], "ceil_mode": 1})),
        Form("same", partial(_lp_pool, {"auto_pad": "SAME_UPPER"})),
    ),
    "Split": (
        Form("one part", partial(_sized, (2, -2, -1), [-1], {"axis": -1})),
        Form("one of opset 11", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"split": [r], "axis": 0}, opset=11)),
        Form("num_outputs", lambda data, r, w: NodeSpec([data.of(r, w)], attributes={"num_outputs": 1})),
    ),
    "Tile": (Form("repeats", partial(_sized, (-2, -1), [2, 3], {})),),
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
