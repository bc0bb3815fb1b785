"""Conversions of arith and math to the llvm dialect, scalars and vectors alike. Meaning: exact.

Math functions come through only when LLVM has them as an instruction on our targets; the others must have been expanded before
(`tile-expand-math`), because LLVM would call a library that is not there.
"""

from __future__ import annotations

from typing import Any

from xdsl.dialects import arith, llvm, math
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    IntegerAttr,
    IntegerType,
    UnrealizedConversionCastOp,
    VectorType,
    i64,
)
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.type import get_element_type_or_self

from stepwell.dialects import llvm_extra
from stepwell.dialects.numpy_types import signless, wrapped
from stepwell.transforms.kernel_to_llvm.conversion import Converter, LLVMConversion, TypeTable


def fast_math_of(op: Operation) -> llvm.FastMathAttr:
    """The op's arith.fastmath flags in the llvm dialect."""
    flags = op.properties.get("fastmath") or op.attributes.get("fastmath")
    held = tuple(flags.data) if isinstance(flags, arith.FastMathFlagsAttr) else None
    return llvm.FastMathAttr(held)


def _constant(conv: LLVMConversion, op: arith.ConstantOp) -> None:
    result = conv.type(op.result.type)
    value: Attribute = op.value
    if isinstance(value, IntegerAttr) and get_element_type_or_self(result) != value.type:
        value = IntegerAttr(value.value.data, i64)
    if isinstance(value, DenseIntOrFPElementsAttr) and isinstance(result, VectorType) and value.type != result:
        bits = result.element_type.bitwidth
        value = DenseIntOrFPElementsAttr.from_list(
            result, [wrapped(int(v), bits) for v in value.get_values()]
        )  # of index or unsigned
    conv.bind(op.result, conv.insert(llvm.ConstantOp(value, result)))


def _integer(made: type[Any]) -> Converter:
    """An op on integers of one type."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        new = conv.insert(made(*conv.values(op.operands)))
        flags = op.properties.get("overflowFlags") or op.attributes.get("overflowFlags")
        if isinstance(flags, arith.IntegerOverflowAttr) and flags.data and "overflowFlags" in new.properties:
            held = {str(flag) for flag in flags.data}
            new.properties["overflowFlags"] = IntegerAttr(("nsw" in held) + 2 * ("nuw" in held), 32)
        conv.bind(op.results[0], new)

    return convert


def _float(made: type[Any]) -> Converter:
    """An op on two floats of one type, with its fastmath flags."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        conv.bind(op.results[0], conv.insert(made(*conv.values(op.operands), fast_math_of(op))))

    return convert


def _cast(made: type[Any]) -> Converter:
    """An op that converts to the type of its result."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        conv.bind(op.results[0], conv.insert(made(conv.value(op.operands[0]), conv.type(op.results[0].type))))

    return convert


def _intrinsic(name: str) -> Converter:
    """An op that is one whitelisted intrinsic of the result's type."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        flags = " ".join(sorted(str(flag) for flag in fast_math_of(op).data))
        conv.bind(op.results[0], conv.intrinsic(name, conv.values(op.operands), conv.type(op.results[0].type), flags))

    return convert


def _negate(conv: LLVMConversion, op: arith.NegfOp) -> None:
    conv.bind(op.result, conv.insert(llvm.FNegOp(conv.value(op.operand), fast_math_of(op))))


def _index_cast(conv: LLVMConversion, op: arith.IndexCastOp) -> None:
    """index is i64: widening is signed."""
    value, to = conv.value(op.input), conv.type(op.result.type)
    source, target = get_element_type_or_self(value.type), get_element_type_or_self(to)
    if source == target:
        conv.bind(op.result, value)
        return
    made = llvm.TruncOp if source.bitwidth > target.bitwidth else llvm.SExtOp  # type: ignore[attr-defined]
    conv.bind(op.result, conv.insert(made(value, to)))


def _compare_integers(conv: LLVMConversion, op: arith.CmpiOp) -> None:
    predicate = IntegerAttr(op.predicate.value.data, i64)
    conv.bind(op.result, conv.insert(llvm.ICmpOp(conv.value(op.lhs), conv.value(op.rhs), predicate)))


def _compare_floats(conv: LLVMConversion, op: arith.CmpfOp) -> None:
    predicate = llvm.FCmpPredicateFlag.from_int(op.predicate.value.data).value
    if predicate.startswith("_"):
        raise conv.error("the predicates false and true are constants", "fold them by canonicalize")
    lhs, rhs = conv.value(op.lhs), conv.value(op.rhs)
    made = (
        llvm_extra.FCmpOp(predicate, lhs, rhs) if isinstance(lhs.type, VectorType) else llvm.FCmpOp(lhs, rhs, predicate)
    )
    conv.bind(op.result, conv.insert(made))


def _select(conv: LLVMConversion, op: arith.SelectOp) -> None:
    conv.bind(op.result, conv.insert(llvm.SelectOp(*conv.values(op.operands))))


def _ceil_divide(conv: LLVMConversion, op: arith.CeilDivUIOp) -> None:
    """(a + b - 1) / b, unsigned; a + b - 1 must not wrap."""
    a, b = conv.values(op.operands)
    less = conv.insert(llvm.SubOp(b, conv.constant(1, b.type)))
    conv.bind(op.result, conv.insert(llvm.UDivOp(conv.insert(llvm.AddOp(a, less.res)).res, b)))


def _high_product(widen: type[Any]) -> Converter:
    """The low and high halves of a product, by multiplying in twice the width."""

    def convert(conv: LLVMConversion, op: Operation) -> None:
        narrow = conv.type(op.results[0].type)
        bits = get_element_type_or_self(narrow).bitwidth  # type: ignore[attr-defined]
        wide = _with_width(narrow, 2 * bits)
        a, b = (conv.insert(widen(v, wide)).res for v in conv.values(op.operands))
        product = conv.insert(llvm.MulOp(a, b)).res
        high = conv.insert(llvm.LShrOp(product, conv.constant(bits, wide))).res
        conv.bind(op.results[0], conv.insert(llvm.TruncOp(product, narrow)))
        conv.bind(op.results[1], conv.insert(llvm.TruncOp(high, narrow)))

    return convert


def _with_width(of: Attribute, bits: int) -> Attribute:
    element = IntegerType(bits)
    return VectorType(element, of.get_shape()) if isinstance(of, VectorType) else element


def _reciprocal_root(conv: LLVMConversion, op: math.RsqrtOp) -> None:
    """1 / sqrt(x), two roundings."""
    of = conv.type(op.result.type)
    root: SSAValue = conv.intrinsic("llvm.sqrt", [conv.value(op.operand)], of)
    conv.bind(op.result, conv.insert(llvm.FDivOp(conv.constant(1.0, of), root)))


def _unsigned(conv: LLVMConversion, of: IntegerType) -> Attribute:
    """LLVM's integers have no sign."""
    return signless(of)


def _same(conv: LLVMConversion, op: UnrealizedConversionCastOp) -> None:
    """An integer with and without a sign are the same bits."""
    (before,), (after,) = op.operands, op.results
    if conv.type(before.type) != conv.type(after.type):
        raise conv.error(f"turns {before.type} into {after.type}, which are not the same bits")
    conv.bind(after, conv.value(before))


TYPES: TypeTable = {IntegerType: _unsigned}
CONVERSIONS: dict[type[Operation], Converter] = {
    UnrealizedConversionCastOp: _same,
    arith.ConstantOp: _constant,
    arith.AddiOp: _integer(llvm.AddOp), arith.SubiOp: _integer(llvm.SubOp), arith.MuliOp: _integer(llvm.MulOp),
    arith.DivUIOp: _integer(llvm.UDivOp), arith.DivSIOp: _integer(llvm.SDivOp), arith.RemUIOp: _integer(llvm.URemOp),
    arith.RemSIOp: _integer(llvm.SRemOp), arith.AndIOp: _integer(llvm.AndOp), arith.OrIOp: _integer(llvm.OrOp),
    arith.XOrIOp: _integer(llvm.XOrOp), arith.ShLIOp: _integer(llvm.ShlOp), arith.ShRUIOp: _integer(llvm.LShrOp),
    arith.ShRSIOp: _integer(llvm.AShrOp), arith.CeilDivUIOp: _ceil_divide,
    arith.MulUIExtendedOp: _high_product(llvm.ZExtOp), arith.MulSIExtendedOp: _high_product(llvm.SExtOp),
    arith.MinUIOp: _intrinsic("llvm.umin"), arith.MaxUIOp: _intrinsic("llvm.umax"),
    arith.MinSIOp: _intrinsic("llvm.smin"), arith.MaxSIOp: _intrinsic("llvm.smax"),
    arith.AddfOp: _float(llvm.FAddOp), arith.SubfOp: _float(llvm.FSubOp), arith.MulfOp: _float(llvm.FMulOp),
    arith.DivfOp: _float(llvm.FDivOp), arith.NegfOp: _negate,
    arith.MaximumfOp: _intrinsic("llvm.maximum"), arith.MinimumfOp: _intrinsic("llvm.minimum"),
    arith.MaxnumfOp: _intrinsic("llvm.maxnum"), arith.MinnumfOp: _intrinsic("llvm.minnum"),
    arith.CmpiOp: _compare_integers, arith.CmpfOp: _compare_floats, arith.SelectOp: _select,
    arith.BitcastOp: _cast(llvm.BitcastOp), arith.IndexCastOp: _index_cast,
    arith.FPToSIOp: _cast(llvm_extra.FPToSIOp), arith.FPToUIOp: _cast(llvm_extra.FPToUIOp),
    arith.SIToFPOp: _cast(llvm.SIToFPOp), arith.UIToFPOp: _cast(llvm_extra.UIToFPOp),
    arith.ExtFOp: _cast(llvm.FPExtOp), arith.TruncFOp: _cast(llvm.FPTruncOp), arith.TruncIOp: _cast(llvm.TruncOp),
    arith.ExtSIOp: _cast(llvm.SExtOp), arith.ExtUIOp: _cast(llvm.ZExtOp),
    math.FmaOp: _intrinsic("llvm.fma"), math.AbsFOp: _intrinsic("llvm.fabs"), math.SqrtOp: _intrinsic("llvm.sqrt"),
    math.FloorOp: _intrinsic("llvm.floor"), math.CeilOp: _intrinsic("llvm.ceil"), math.TruncOp: _intrinsic("llvm.trunc"),
    math.RoundEvenOp: _intrinsic("llvm.roundeven"), math.CopySignOp: _intrinsic("llvm.copysign"),
    math.Exp2Op: _intrinsic("llvm.exp2"), math.RsqrtOp: _reciprocal_root,
}  # fmt: skip
