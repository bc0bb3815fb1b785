"""What each elementwise kind means: a sequence of arith and math ops on scalars, every step rounded to the element type.

The lowering to linalg inserts these ops, so all levels below compute the same bits; the graph interpreter evaluates them for integers and for
kinds of two operands, and computes functions of one float in float64.
`sigmoid(x) = 1/(1 + exp(-x))`, `softplus(x) = max(x, 0) + log1p(exp(-|x|))`, `gelu(x) = 0.5*x*(1 + erf(x*sqrt(1/2)))`,
`gelu_tanh(x) = 0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x*x*x)))` (ONNX Gelu 20). Scalars of unsigned element types take the unsigned op; a
lowering whose scalars are signless says `unsigned`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import IntegerType, TensorType, f32
from xdsl.ir import Attribute, Operation, SSAValue

from stepwell.dialects.graph.ops_elementwise import SHIFT_KINDS, BinaryOp, CastOp, CompareOp, SelectOp, UnaryOp
from stepwell.dialects.graph.scalar_sequence import Expansion, ScalarSequence, is_floating
from stepwell.dialects.graph.total_arithmetic import divide, remainder, shift, truth, whole_number, width_of
from stepwell.dialects.numpy_types import FLOATS8, STORAGE, is_unsigned

_DIRECT: Mapping[str, type[Operation]] = {
    "abs": math.AbsFOp,
    "neg": arith.NegfOp,
    "exp": math.ExpOp,
    "log": math.LogOp,
    "sqrt": math.SqrtOp,
    "tanh": math.TanhOp,
    "erf": math.ErfOp,
    "expm1": math.ExpM1Op,
    "log1p": math.Log1pOp,
    "floor": math.FloorOp,
    "ceil": math.CeilOp,
    "trunc": math.TruncOp,
    "round_even": math.RoundEvenOp,
    "sin": math.SinOp,
    "cos": math.CosOp,
    "tan": math.TanOp,
    "asin": math.AsinOp,
    "acos": math.AcosOp,
    "atan": math.AtanOp,
    "sinh": math.SinhOp,
    "cosh": math.CoshOp,
    "asinh": math.AsinhOp,
    "acosh": math.AcoshOp,
    "atanh": math.AtanhOp,
}
_FLOAT_BINARY: Mapping[str, type[Operation]] = {
    "add": arith.AddfOp,
    "sub": arith.SubfOp,
    "mul": arith.MulfOp,
    "div": arith.DivfOp,
    "max": arith.MaximumfOp,
    "min": arith.MinimumfOp,
    "pow": math.PowFOp,
    "atan2": math.Atan2Op,
}
_SIGNED_BINARY: Mapping[str, type[Operation]] = {
    "add": arith.AddiOp,
    "sub": arith.SubiOp,
    "mul": arith.MuliOp,
    "max": arith.MaxSIOp,
    "min": arith.MinSIOp,
    "pow": math.IPowIOp,
    "and": arith.AndIOp,
    "or": arith.OrIOp,
    "xor": arith.XOrIOp,
    "shift_left": arith.ShLIOp,
    "shift_right": arith.ShRSIOp,
}
_UNSIGNED_BINARY: Mapping[str, type[Operation]] = {
    **_SIGNED_BINARY,
    "max": arith.MaxUIOp,
    "min": arith.MinUIOp,
    "shift_right": arith.ShRUIOp,
}


def _abs(s: ScalarSequence, x: SSAValue) -> SSAValue:
    if is_floating(x.type):
        return s.op(math.AbsFOp, x)
    return x if s.is_unsigned(x) else s.op(arith.MaxSIOp, x, s.op(arith.SubiOp, s.constant(0, x), x))


def _neg(s: ScalarSequence, x: SSAValue) -> SSAValue:
    return s.op(arith.NegfOp, x) if is_floating(x.type) else s.op(arith.SubiOp, s.constant(0, x), x)


def _relu(s: ScalarSequence, x: SSAValue) -> SSAValue:
    if is_floating(x.type):
        return s.op(arith.MaximumfOp, x, s.constant(0.0, x))
    return s.op(arith.MaxUIOp if s.is_unsigned(x) else arith.MaxSIOp, x, s.constant(0, x))


def _not(s: ScalarSequence, x: SSAValue) -> SSAValue:
    return s.op(arith.XOrIOp, x, s.constant(-1, x))


def _sign(s: ScalarSequence, x: SSAValue) -> SSAValue:
    """1 above zero, -1 below, else x itself: a zero keeps its sign, a NaN stays."""
    zero, one, minus = s.constant(0, x), s.constant(1, x), s.constant(-1, x)
    below = x if s.is_unsigned(x) else s.op(arith.SelectOp, s.compare("lt", x, zero), minus, x, result=x.type)
    return s.op(arith.SelectOp, s.compare("gt", x, zero), one, below, result=x.type)


def _sigmoid(s: ScalarSequence, x: SSAValue) -> SSAValue:
    one = s.constant(1.0, x)
    return s.op(arith.DivfOp, one, s.op(arith.AddfOp, s.op(math.ExpOp, s.op(arith.NegfOp, x)), one))


def _softplus(s: ScalarSequence, x: SSAValue) -> SSAValue:
    tail = s.op(math.Log1pOp, s.op(math.ExpOp, s.op(arith.NegfOp, s.op(math.AbsFOp, x))))
    return s.op(arith.AddfOp, s.op(arith.MaximumfOp, x, s.constant(0.0, x)), tail)


def _gelu(s: ScalarSequence, x: SSAValue) -> SSAValue:
    half = s.op(arith.MulfOp, x, s.constant(0.5, x))
    error = s.op(math.ErfOp, s.op(arith.MulfOp, x, s.constant(sqrt(0.5), x)))
    return s.op(arith.MulfOp, half, s.op(arith.AddfOp, error, s.constant(1.0, x)))


def _gelu_tanh(s: ScalarSequence, x: SSAValue) -> SSAValue:
    cube = s.op(arith.MulfOp, s.op(arith.MulfOp, x, x), x)
    inner = s.op(arith.AddfOp, x, s.op(arith.MulfOp, cube, s.constant(0.044715, x)))
    curve = s.op(math.TanhOp, s.op(arith.MulfOp, inner, s.constant(sqrt(2 / pi), x)))
    half = s.op(arith.MulfOp, x, s.constant(0.5, x))
    return s.op(arith.MulfOp, half, s.op(arith.AddfOp, curve, s.constant(1.0, x)))


_COMPOSED: Mapping[str, Callable[[ScalarSequence, SSAValue], SSAValue]] = {
    "abs": _abs,
    "neg": _neg,
    "relu": _relu,
    "not": _not,
    "sign": _sign,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
}


def _mod(s: ScalarSequence, a: SSAValue, b: SSAValue) -> SSAValue:
    """The remainder with the sign of the divisor: one divisor is added where the truncating remainder has the other sign."""
    rest, zero = remainder(s, a, b), s.constant(0, a)
    signs = s.op(arith.XOrIOp, s.compare("lt", rest, zero), s.compare("lt", b, zero))
    other = s.op(arith.AndIOp, s.compare("ne", rest, zero), signs)
    moved = s.op(arith.AddiOp, rest, b)
    return s.op(arith.SelectOp, other, moved, rest, result=a.type)


def expand_unary(kind: str, x: SSAValue, *, unsigned: bool = False) -> Expansion:
    """The ops of a unary kind on the scalar `x`; KeyError for kinds that its type lacks (the verifier rules them out)."""
    s = ScalarSequence(unsigned)
    return s.ops, _COMPOSED[kind](s, x) if kind in _COMPOSED else s.op(_DIRECT[kind], x)


def expand_binary(kind: str, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> Expansion:
    """The ops of a binary kind on two scalars of one type; KeyError for mod and rem of floats, which arith lacks."""
    s = ScalarSequence(unsigned)
    if is_floating(a.type):
        return s.ops, s.op(_FLOAT_BINARY[kind], a, b)
    if kind == "div":
        return s.ops, divide(s, a, b)
    if kind in ("mod", "rem"):
        return s.ops, _mod(s, a, b) if kind == "mod" and not s.is_unsigned(a) else remainder(s, a, b)
    if kind in SHIFT_KINDS:
        return s.ops, shift(s, (_UNSIGNED_BINARY if s.is_unsigned(a) else _SIGNED_BINARY)[kind], a, b)
    return s.ops, s.op((_UNSIGNED_BINARY if s.is_unsigned(a) else _SIGNED_BINARY)[kind], a, b)


def expand_compare(kind: str, a: SSAValue, b: SSAValue, *, unsigned: bool = False) -> Expansion:
    """The comparison of two scalars of one type."""
    s = ScalarSequence(unsigned)
    return s.ops, s.compare(kind, a, b)


def expand_cast(x: SSAValue, to: Attribute, *, unsigned: tuple[bool, bool] = (False, False)) -> Expansion:
    """The ops that convert the scalar `x` to element type `to`, as graph.cast says: none when it has it already.
    `unsigned`: whether `x` and the result are unsigned although their types are signless."""
    s = ScalarSequence(unsigned[0])
    before = x.type
    signs = unsigned[0] or is_unsigned(before), unsigned[1] or is_unsigned(to)
    if before == to:
        return s.ops, x
    if isinstance(to, IntegerType) and to.width.data == 1:
        return s.ops, truth(s, x)
    if isinstance(to, IntegerType) and is_floating(before):
        return s.ops, whole_number(s, x, to, signs[1])
    if (
        is_floating(before) and is_floating(to) and width_of(before) == width_of(to)
    ):  # f16 and bf16: by way of what holds both
        return s.ops, s.op(arith.TruncFOp, s.op(arith.ExtFOp, x, result=f32), result=to)
    made = _conversion(before, to, signs)
    return s.ops, s.op(made, x, result=to)


def _conversion(before: Attribute, to: Attribute, unsigned: tuple[bool, bool]) -> type[Operation]:
    match is_floating(before), is_floating(to):
        case True, True:
            return arith.ExtFOp if width_of(to) > width_of(before) else arith.TruncFOp
        case False, True:
            return arith.UIToFPOp if unsigned[0] else arith.SIToFPOp
    if width_of(to) < width_of(before):
        return arith.TruncIOp
    return arith.ExtUIOp if unsigned[0] else arith.ExtSIOp


Elementwise = UnaryOp | BinaryOp | CompareOp | SelectOp | CastOp
"""Ops that `expand` knows."""


def has_expansion(op: Elementwise) -> bool:
    """False for what arith and math have no ops for: remainders of floats; casts that saturate, choose a rounding or involve a type that is
    only stored."""
    element = op.operands[-1].type.element_type  # type: ignore[attr-defined]
    if isinstance(op, BinaryOp):
        return not (is_floating(element) and op.kind in ("mod", "rem"))
    if not isinstance(op, CastOp):
        return True
    made = op.result.type.element_type
    stored = any(kind in (*FLOATS8, *STORAGE) for kind in (element, made))
    return not (stored or op.saturate or op.rounding != "nearest")


def expand(op: Operation, operands: Sequence[SSAValue]) -> Expansion:
    """The scalar ops of an elementwise op, given scalars of its operands' element types (or their signless forms)."""
    tensors = [value.type for value in (*op.operands, *op.results)]
    unsigned = [isinstance(type, TensorType) and is_unsigned(type.element_type) for type in tensors]
    match op:
        case UnaryOp():
            return expand_unary(op.kind, operands[0], unsigned=unsigned[0])
        case BinaryOp():
            return expand_binary(op.kind, *operands, unsigned=unsigned[0])
        case CompareOp():
            return expand_compare(op.kind, *operands, unsigned=unsigned[0])
        case SelectOp():
            s = ScalarSequence()
            return s.ops, s.op(arith.SelectOp, *operands, result=operands[1].type)
        case CastOp():
            result = op.result.type
            assert isinstance(result, TensorType)
            return expand_cast(operands[0], result.element_type, unsigned=(unsigned[0], unsigned[-1]))
    raise TypeError(f"{op.name} is not an elementwise op")


__all__ = [
    "Elementwise",
    "Expansion",
    "expand",
    "expand_binary",
    "expand_cast",
    "expand_compare",
    "expand_unary",
    "has_expansion",
]
