"""Evaluation of arith and math ops on NumPy arrays: one table, shared by the interpreters of all levels.

Arrays carry whole tensors, tiles, vectors or the lanes of a kernel; operands broadcast. A value of element type T is an array of T's NumPy
dtype (index is int64, i1 is bool) and every op computes in exactly that type; nothing is accumulated in a wider one.

>>> import numpy as np
>>> from xdsl.dialects import arith
>>> from xdsl.dialects.builtin import f32
>>> from xdsl.utils.test_value import create_ssa_value
>>> x = create_ssa_value(f32)
>>> evaluate(arith.AddfOp(x, x), [np.float32(1.5), np.array([2.0], np.float32)])
(array([3.5], dtype=float32),)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith, llvm, math
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    UnrealizedConversionCastOp,
    VectorType,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.traits import IsTerminator

from stepwell.dialects import approximate, conversions, llvm_extra, numerics
from stepwell.dialects.numpy_types import Array, numpy_dtype, signless, wrapped
from stepwell.dialects.op_interfaces import run_by_trait
from stepwell.runtime.errors import StepwellError

Function = Callable[..., Any]
Operand = Array | np.generic
"""What an op may be given: arrays, or NumPy scalars for values of rank 0."""
Evaluator = Callable[[Operation, Sequence[Array]], tuple[Array, ...]]


class UnsupportedOp(StepwellError):
    """An op that the evaluator does not know; `where` is its name."""

    exit_code = 3

    def __init__(self, op: Operation, reason: str = "") -> None:
        super().__init__(reason or "no evaluation is defined for this op", where=op.name)


BINARY: dict[type[Operation], Function] = {
    arith.AddfOp: np.add,
    arith.SubfOp: np.subtract,
    arith.MulfOp: np.multiply,
    arith.DivfOp: np.divide,
    arith.MaximumfOp: numerics.maximumf,
    arith.MinimumfOp: numerics.minimumf,
    arith.MaxnumfOp: numerics.maxnumf,
    arith.MinnumfOp: numerics.minnumf,
    math.CopySignOp: np.copysign,
    math.PowFOp: numerics.powf,
    math.IPowIOp: numerics.powi,
    math.Atan2Op: lambda a, b: np.arctan2(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype),
    arith.AddiOp: numerics.on_unsigned(np.add),
    arith.SubiOp: numerics.on_unsigned(np.subtract),
    arith.MuliOp: numerics.on_unsigned(np.multiply),
    arith.DivSIOp: numerics.on_signed(numerics.divide_truncating),
    arith.DivUIOp: numerics.on_unsigned(np.floor_divide),
    arith.FloorDivSIOp: numerics.on_signed(np.floor_divide),
    arith.CeilDivSIOp: numerics.on_signed(numerics.divide_up),
    arith.CeilDivUIOp: numerics.on_unsigned(numerics.divide_up),
    arith.RemSIOp: numerics.on_signed(np.fmod),
    arith.RemUIOp: numerics.on_unsigned(np.fmod),
    arith.MaxSIOp: numerics.on_signed(np.maximum),
    arith.MinSIOp: numerics.on_signed(np.minimum),
    arith.MaxUIOp: numerics.on_unsigned(np.maximum),
    arith.MinUIOp: numerics.on_unsigned(np.minimum),
    arith.AndIOp: np.bitwise_and,
    arith.OrIOp: np.bitwise_or,
    arith.XOrIOp: np.bitwise_xor,
    arith.ShLIOp: numerics.shift_left,
    arith.ShRUIOp: numerics.shift_right_unsigned,
    arith.ShRSIOp: numerics.shift_right_signed,
}
"""Ops of two operands of one type."""

UNARY: dict[type[Operation], Function] = {
    arith.NegfOp: np.negative,
    math.AbsFOp: np.abs,
    math.AbsIOp: np.abs,
    math.CeilOp: np.ceil,
    math.FloorOp: np.floor,
    math.TruncOp: np.trunc,
    math.RoundEvenOp: np.rint,
    math.RoundOp: numerics.round_half_away,
    math.SqrtOp: np.sqrt,
    math.RsqrtOp: numerics.reciprocal_root,
    math.ErfOp: numerics.erf,
    math.ExpOp: numerics.exp,
    math.Exp2Op: approximate.exp2,
    math.ExpM1Op: numerics.through_float64(np.expm1),
    math.LogOp: numerics.log,
    math.Log2Op: approximate.log2,
    math.Log10Op: numerics.through_float64(np.log10),
    math.Log1pOp: numerics.through_float64(np.log1p),
    math.SinOp: numerics.through_float64(np.sin),
    math.CosOp: numerics.through_float64(np.cos),
    math.TanOp: numerics.through_float64(np.tan),
    math.TanhOp: numerics.tanh,
    math.AtanOp: numerics.through_float64(np.arctan),
    math.AsinOp: numerics.through_float64(np.arcsin),
    math.AcosOp: numerics.through_float64(np.arccos),
    math.SinhOp: numerics.through_float64(np.sinh),
    math.CoshOp: numerics.through_float64(np.cosh),
    math.AsinhOp: numerics.through_float64(np.arcsinh),
    math.AcoshOp: numerics.through_float64(np.arccosh),
    math.AtanhOp: numerics.through_float64(np.arctanh),
    math.CountLeadingZerosOp: lambda x: numerics.count_bits(x, "leading"),
    math.CountTrailingZerosOp: lambda x: numerics.count_bits(x, "trailing"),
    math.CtPopOp: lambda x: numerics.count_bits(x, "ones"),
}
"""Ops of one operand whose result has its type."""

CONVERSIONS: dict[type[Operation], Function] = {
    arith.ExtFOp: lambda x, to: x.astype(to),
    arith.TruncFOp: conversions.round_to,
    arith.SIToFPOp: lambda x, to: (-x.astype(np.int8) if x.dtype == np.bool_ else x).astype(to),
    arith.UIToFPOp: lambda x, to: numerics.unsigned(x).astype(to),
    arith.FPToSIOp: lambda x, to: x.astype(to),
    arith.FPToUIOp: lambda x, to: x.astype(np.dtype(f"u{to.itemsize}")).view(to),
    arith.ExtSIOp: lambda x, to: (-x.astype(np.int8) if x.dtype == np.bool_ else x).astype(to),
    arith.ExtUIOp: lambda x, to: numerics.unsigned(x).astype(to),
    arith.TruncIOp: lambda x, to: (x & 1).astype(to) if to == np.bool_ else x.astype(to),
    arith.IndexCastOp: lambda x, to: x.astype(to),
    arith.BitcastOp: lambda x, to: np.ascontiguousarray(x).reshape(x.shape).view(to),
}
"""Ops that convert an array to a dtype."""
CONVERSIONS |= {
    llvm.SIToFPOp: CONVERSIONS[arith.SIToFPOp],
    llvm_extra.UIToFPOp: CONVERSIONS[arith.UIToFPOp],
    llvm_extra.FPToSIOp: CONVERSIONS[arith.FPToSIOp],
    llvm_extra.FPToUIOp: CONVERSIONS[arith.FPToUIOp],
    llvm.SExtOp: CONVERSIONS[arith.ExtSIOp],
    llvm.ZExtOp: CONVERSIONS[arith.ExtUIOp],
    llvm.TruncOp: CONVERSIONS[arith.TruncIOp],
    llvm.BitcastOp: CONVERSIONS[arith.BitcastOp],
}
"""Those of LLVM that stand for arith's on vectors."""

COMPARE_INTEGERS: tuple[Function, ...] = (
    np.equal,
    np.not_equal,
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
)
"""arith.cmpi by predicate 0 to 5; 6 to 9 are 2 to 5 on unsigned operands."""


def _unordered(a: Array, b: Array) -> Array:
    return np.isnan(a) | np.isnan(b)


COMPARE_FLOATS: tuple[Function, ...] = (
    lambda a, b: np.zeros(np.broadcast_shapes(a.shape, b.shape), np.bool_),
    np.equal,
    np.greater,
    np.greater_equal,
    np.less,
    np.less_equal,
    lambda a, b: (a != b) & ~_unordered(a, b),
    lambda a, b: ~_unordered(a, b),
    lambda a, b: (a == b) | _unordered(a, b),
    lambda a, b: (a > b) | _unordered(a, b),
    lambda a, b: (a >= b) | _unordered(a, b),
    lambda a, b: (a < b) | _unordered(a, b),
    lambda a, b: (a <= b) | _unordered(a, b),
    np.not_equal,
    _unordered,
    lambda a, b: np.ones(np.broadcast_shapes(a.shape, b.shape), np.bool_),
)
"""arith.cmpf by predicate, in the order of the dialect."""


def constant_array(op: arith.ConstantOp) -> Array:
    """The value of an arith.constant: of rank 0, or of the shape of its vector or tensor type."""
    dtype = numpy_dtype(op.result.type)
    match op.value:
        case IntegerAttr() | FloatAttr() as number:
            return np.asarray(number.value.data, dtype=np.int64 if dtype == np.bool_ else None).astype(dtype)
        case DenseIntOrFPElementsAttr() as dense:
            values: Any = dense.get_values()
            array = np.asarray(values)
            return np.broadcast_to(
                array.reshape(dense.get_shape()) if len(values) > 1 else array, dense.get_shape()
            ).astype(dtype)
    raise UnsupportedOp(op, "the constant's value is stored outside the IR text")


def literal(value: SSAValue) -> FloatAttr | IntegerAttr | None:
    """The number that a scalar is, of its own type: an arith.constant, or for unsigned integers the cast of one; None when it is computed."""
    owner, is_cast = value.owner, isinstance(value.owner, UnrealizedConversionCastOp)
    if isinstance(owner, UnrealizedConversionCastOp):
        owner = owner.operands[0].owner
    if not isinstance(owner, arith.ConstantOp) or not isinstance(owner.value, FloatAttr | IntegerAttr):
        return None
    if not is_cast or not isinstance(value.type, IntegerType):
        return owner.value
    return IntegerAttr(int(owner.value.value.data) % (1 << value.type.width.data), value.type)


def signless_constant(attr: Attribute, of: Attribute) -> tuple[Attribute, Attribute]:
    """A constant of an unsigned integer type, or of vectors of it, as the same bits without a sign."""
    if isinstance(of, VectorType):
        element = cast(IntegerType, signless(of.element_type))
        assert isinstance(attr, DenseIntOrFPElementsAttr)
        kind = VectorType(element, of.get_shape())
        values = [wrapped(int(value), element.width.data) for value in attr.get_values()]
        return DenseIntOrFPElementsAttr.from_list(kind, values), kind
    assert isinstance(attr, IntegerAttr)
    scalar = cast(IntegerType, signless(of))
    return IntegerAttr(wrapped(attr.value.data, scalar.width.data), scalar), scalar


def compare_integers(predicate: int, a: Array, b: Array) -> Any:
    """arith.cmpi and llvm.icmp, which number their predicates alike; a true i1 is -1 where they are signed."""
    if predicate < len(COMPARE_INTEGERS):
        signed = [-v.astype(np.int8) if v.dtype == np.bool_ else v for v in (a, b)]
        return COMPARE_INTEGERS[predicate](*signed)
    return COMPARE_INTEGERS[predicate - 4](numerics.unsigned(a), numerics.unsigned(b))


def _select(op: arith.SelectOp | llvm_extra.SelectOp, condition: Array, a: Array, b: Array) -> Array:
    """Elementwise choice; a scalar condition (one per lane) chooses between whole vectors."""
    result = op.results[0].type
    if isinstance(result, VectorType) and not isinstance(op.operands[0].type, VectorType):
        condition = condition.reshape(condition.shape + (1,) * result.get_num_dims())
    return np.where(condition, a, b)


def _compute(op: Operation, operands: Sequence[Any]) -> tuple[Any, ...]:
    kind = type(op)
    if kind in BINARY:
        return (BINARY[kind](*operands),)
    if kind in UNARY:
        return (UNARY[kind](*operands),)
    if kind in CONVERSIONS:
        return (CONVERSIONS[kind](operands[0], numpy_dtype(op.results[0].type)),)
    match op:
        case UnrealizedConversionCastOp():
            return (operands[0].view(numpy_dtype(op.results[0].type)),)
        case arith.ConstantOp():
            return (constant_array(op),)
        case arith.CmpiOp():
            return (compare_integers(op.predicate.value.data, *operands),)
        case llvm.ICmpOp():
            return (compare_integers(op.predicate.value.data, *operands),)
        case arith.CmpfOp():
            return (COMPARE_FLOATS[op.predicate.value.data](*operands),)
        case llvm_extra.FCmpOp():
            return (COMPARE_FLOATS[llvm.FCmpPredicateFlag(op.predicate.data).to_int()](*operands),)
        case arith.SelectOp() | llvm_extra.SelectOp():
            return (_select(op, *operands),)
        case math.FmaOp():
            return (numerics.fma(*operands),)
        case math.FPowIOp():
            return (numerics.powf(operands[0], operands[1].astype(np.float64)),)
        case arith.MulUIExtendedOp() | arith.MulSIExtendedOp():
            return numerics.multiply_extended(operands[0], operands[1], isinstance(op, arith.MulSIExtendedOp))
        case arith.AddUIExtendedOp():
            total = BINARY[arith.AddiOp](*operands)
            return total, numerics.unsigned(total) < numerics.unsigned(operands[0])
    raise UnsupportedOp(op)


def evaluate(op: Operation, operands: Sequence[Operand]) -> tuple[Array, ...]:
    """The results of one arith or math op, or of one that brings its own interpreter. Operands are arrays of the dtypes that their types say; they
    broadcast.

    Raises UnsupportedOp for other ops and for element types that NumPy lacks."""
    own = run_by_trait(op, [np.asarray(operand) for operand in operands])
    if own is not None:
        return own
    try:
        dtypes = [numpy_dtype(result.type) for result in op.results]
    except TypeError as error:
        raise UnsupportedOp(op, str(error)) from None
    with np.errstate(all="ignore"):
        results = _compute(op, [np.asarray(operand) for operand in operands])
    return tuple(np.asarray(r).astype(dtype, copy=False) for r, dtype in zip(results, dtypes, strict=True))


def evaluate_block(
    block: Block,
    arguments: Sequence[Operand],
    env: Mapping[SSAValue, Operand] | None = None,
    evaluate_op: Evaluator = evaluate,
) -> tuple[Array, ...]:
    """Run a straight-line block and return what its terminator yields. `env` holds values from outside the block; `evaluate_op`
    may handle ops of other dialects before it falls back to `evaluate`."""
    values = {value: np.asarray(array) for value, array in (env or {}).items()}
    values.update(zip(block.args, map(np.asarray, arguments), strict=True))
    for op in block.ops:
        operands = [values[operand] for operand in op.operands]
        if op.has_trait(IsTerminator):
            return tuple(operands)
        values.update(zip(op.results, evaluate_op(op, operands), strict=True))
    raise (
        UnsupportedOp(block.last_op, "a block that ends without a terminator")
        if block.last_op
        else ValueError("empty block")
    )
