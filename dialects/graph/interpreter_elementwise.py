"""Elementwise ops on arrays: functions of floats in float64, rounded once; the rest by the sequences of `elementwise.py`, op by op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block

from stepwell.dialects import numerics
from stepwell.dialects.conversions import convert
from stepwell.dialects.evaluate import evaluate_block
from stepwell.dialects.graph import elementwise
from stepwell.dialects.graph.interpretation import Results, Settings, Table
from stepwell.dialects.graph.ops_elementwise import BinaryOp, BitcastOp, CastOp, CompareOp, SelectOp, UnaryOp
from stepwell.dialects.graph.ops_fusion import YieldOp
from stepwell.dialects.numpy_types import Array, is_float_dtype

EXACT: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "neg": np.negative,
    "relu": lambda x: numerics.maximumf(x, np.zeros((), x.dtype)),
}
"""Unary kinds that round nothing, in the elements' own type."""

ORACLE: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "neg": np.negative,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * (0.5 * numerics.erfc(-x / sqrt(2))),
    "gelu_tanh": lambda x: x / (1 + np.exp(-2 * sqrt(2 / pi) * (x + 0.044715 * x**3))),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": numerics.erf,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "softplus": lambda x: np.logaddexp(x, 0),
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round_even": np.rint,
    "sign": lambda x: np.where(x == 0, x, np.sign(x)),
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}
"""Unary kinds of floats by formula, in float64: gelu and gelu_tanh in the forms that do not cancel below zero."""


def _unary(op: UnaryOp, operands: Sequence[Array], settings: Settings) -> Results:
    (x,) = operands
    if not is_float_dtype(x.dtype):
        return _sequence(op, operands, settings)
    if op.kind in EXACT:
        return (np.asarray(EXACT[op.kind](x)),)
    return (settings.rounded(np.asarray(ORACLE[op.kind](x.astype(np.float64))), op.result.type),)


def _sequence(op: elementwise.Elementwise, operands: Sequence[Array], settings: Settings) -> Results:
    block = Block(arg_types=[settings.element(value.type) for value in op.operands])
    if isinstance(op, CastOp):
        ops, result = elementwise.expand_cast(block.args[0], settings.element(op.result.type))
    else:
        ops, result = elementwise.expand(op, block.args)
    block.add_ops([*ops, YieldOp(result)])
    return evaluate_block(block, operands)


def _binary(op: BinaryOp, operands: Sequence[Array], settings: Settings) -> Results:
    if elementwise.has_expansion(op):
        return _sequence(op, operands, settings)
    remainder = numerics.remainder if op.kind == "mod" else np.fmod
    return (remainder(*operands),)


def _cast(op: CastOp, operands: Sequence[Array], settings: Settings) -> Results:
    """By the sequence that the lowering inserts; what has none, by conversion."""
    (x,) = operands
    if not elementwise.has_expansion(op):
        return (convert(x, settings.dtype(op.result.type), saturate=op.saturate, rounding=op.rounding),)
    same = settings.element(op.operand.type) == settings.element(op.result.type)
    return (x,) if same else _sequence(op, operands, settings)


def _select(op: SelectOp, operands: Sequence[Array], settings: Settings) -> Results:
    return (np.where(operands[0], operands[1], operands[2]),)


def _bitcast(op: BitcastOp, operands: Sequence[Array], settings: Settings) -> Results:
    """Bits of the types in the IR: the oracle's float64 values are rounded to them first."""
    before, after = op.operand.type, op.result.type
    exact = Settings()
    x = convert(np.asarray(operands[0]), exact.dtype(before))
    bits = np.ascontiguousarray(x).reshape(x.shape).view(exact.dtype(after))
    return (_masked(bits, exact.element(after)).astype(settings.dtype(after), copy=False),)


def _masked(bits: Array, element: object) -> Array:
    """Integers narrower than their byte keep their sign in the upper bits."""
    if isinstance(element, IntegerType) and element.width.data < 8 and element.width.data > 1:
        return bits.view(np.uint8).astype(np.int64).astype(bits.dtype)
    return bits


TABLE: Table = {
    UnaryOp: _unary,
    BinaryOp: _binary,
    CompareOp: _sequence,
    SelectOp: _select,
    CastOp: _cast,
    BitcastOp: _bitcast,
}
