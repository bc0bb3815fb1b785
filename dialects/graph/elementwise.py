"""What each elementwise kind means: a sequence of arith and math ops on scalars, every step rounded to the element type.

The lowering to linalg inserts these ops and the interpreter evaluates them, so all levels compute the same bits.
`sigmoid(x) = 1/(1 + exp(-x))`, `gelu(x) = 0.5*x*(1 + erf(x*sqrt(1/2)))`, `gelu_tanh(x) = 0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x*x*x)))`
(ONNX Gelu 20).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi, sqrt

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import FixedBitwidthType, FloatAttr, IntegerAttr, IntegerType, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.graph.ops_elementwise import BinaryOp, CastOp, UnaryOp
from stepwell.dialects.numpy_types import is_float

Expansion = tuple[list[Operation], SSAValue]
"""Ops to insert, in order, and the value that they compute."""

_DIRECT: dict[str, type[Operation]] = {
    "abs": math.AbsFOp,
    "neg": arith.NegfOp,
    "exp": math.ExpOp,
    "log": math.LogOp,
    "sqrt": math.SqrtOp,
    "tanh": math.TanhOp,
    "erf": math.ErfOp,
}
_FLOAT_BINARY: dict[str, type[Operation]] = {
    "add": arith.AddfOp,
    "sub": arith.SubfOp,
    "mul": arith.MulfOp,
    "div": arith.DivfOp,
    "max": arith.MaximumfOp,
    "min": arith.MinimumfOp,
}
_INTEGER_BINARY: dict[str, type[Operation]] = {
    "add": arith.AddiOp,
    "sub": arith.SubiOp,
    "mul": arith.MuliOp,
    "div": arith.DivSIOp,
    "max": arith.MaxSIOp,
    "min": arith.MinSIOp,
}


class _Sequence:
    """Collects ops; each method appends one and returns its result."""

    def __init__(self) -> None:
        self.ops: list[Operation] = []

    def op(self, kind: type[Operation], *operands: SSAValue, result: Attribute | None = None) -> SSAValue:
        made = kind.create(operands=operands, result_types=[result or operands[0].type])
        self.ops.append(made)
        return made.results[0]

    def constant(self, value: float, like: SSAValue) -> SSAValue:
        type = like.type
        if is_float(type):
            made = arith.ConstantOp(FloatAttr(value, type))
        else:
            assert isinstance(type, IntegerType)
            made = arith.ConstantOp(IntegerAttr(int(value), type))
        self.ops.append(made)
        return made.result


def _relu(s: _Sequence, x: SSAValue) -> SSAValue:
    return s.op(arith.MaximumfOp if is_float(x.type) else arith.MaxSIOp, x, s.constant(0.0, x))


def _sigmoid(s: _Sequence, x: SSAValue) -> SSAValue:
    one = s.constant(1.0, x)
    return s.op(arith.DivfOp, one, s.op(arith.AddfOp, s.op(math.ExpOp, s.op(arith.NegfOp, x)), one))


def _gelu(s: _Sequence, x: SSAValue) -> SSAValue:
    half = s.op(arith.MulfOp, x, s.constant(0.5, x))
    error = s.op(math.ErfOp, s.op(arith.MulfOp, x, s.constant(sqrt(0.5), x)))
    return s.op(arith.MulfOp, half, s.op(arith.AddfOp, error, s.constant(1.0, x)))


def _gelu_tanh(s: _Sequence, x: SSAValue) -> SSAValue:
    cube = s.op(arith.MulfOp, s.op(arith.MulfOp, x, x), x)
    inner = s.op(arith.AddfOp, x, s.op(arith.MulfOp, cube, s.constant(0.044715, x)))
    curve = s.op(math.TanhOp, s.op(arith.MulfOp, inner, s.constant(sqrt(2 / pi), x)))
    half = s.op(arith.MulfOp, x, s.constant(0.5, x))
    return s.op(arith.MulfOp, half, s.op(arith.AddfOp, curve, s.constant(1.0, x)))


_COMPOSED: dict[str, Callable[[_Sequence, SSAValue], SSAValue]] = {
    "relu": _relu,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}


def expand_unary(kind: str, x: SSAValue) -> Expansion:
    """The ops of a unary kind on the scalar `x`; KeyError for kinds that its type lacks (the verifier rules them out)."""
    s = _Sequence()
    if kind in _COMPOSED:
        return s.ops, _COMPOSED[kind](s, x)
    if is_float(x.type):
        return s.ops, s.op(_DIRECT[kind], x)
    if kind == "neg":
        return s.ops, s.op(arith.SubiOp, s.constant(0, x), x)
    return s.ops, s.op({"abs": math.AbsIOp}[kind], x)


def expand_binary(kind: str, a: SSAValue, b: SSAValue) -> Expansion:
    """The op of a binary kind on two scalars of one type."""
    s = _Sequence()
    return s.ops, s.op((_FLOAT_BINARY if is_float(a.type) else _INTEGER_BINARY)[kind], a, b)


def expand_cast(x: SSAValue, to: Attribute) -> Expansion:
    """The ops that convert the scalar `x` to element type `to`: none when it has it already. i1 counts as 0 and 1; to i1, all but 0 is 1."""
    s = _Sequence()
    before = x.type
    if before == to:
        return s.ops, x
    if isinstance(to, IntegerType) and to.width.data == 1:
        zero = s.constant(0.0, x)
        compare = arith.CmpfOp(x, zero, "une") if is_float(before) else arith.CmpiOp(x, zero, "ne")
        s.ops.append(compare)
        return s.ops, compare.result
    return s.ops, s.op(_conversion(before, to), x, result=to)


def _conversion(before: Attribute, to: Attribute) -> type[Operation]:
    match is_float(before), is_float(to):
        case True, True:
            return arith.ExtFOp if _width(to) > _width(before) else arith.TruncFOp
        case True, False:
            return arith.FPToSIOp
        case False, True:
            return arith.UIToFPOp if _width(before) == 1 else arith.SIToFPOp
    if _width(to) < _width(before):
        return arith.TruncIOp
    return arith.ExtUIOp if _width(before) == 1 else arith.ExtSIOp


def _width(type: Attribute) -> int:
    assert isinstance(type, FixedBitwidthType)
    return type.bitwidth


def expand(op: Operation, operands: Sequence[SSAValue]) -> Expansion:
    """The scalar ops of a graph.unary, graph.binary or graph.cast, given scalars of its operands' element types."""
    match op:
        case UnaryOp():
            return expand_unary(op.kind, operands[0])
        case BinaryOp():
            return expand_binary(op.kind, *operands)
        case CastOp():
            result = op.result.type
            assert isinstance(result, TensorType)
            return expand_cast(operands[0], result.element_type)
    raise TypeError(f"{op.name} is not an elementwise op")
