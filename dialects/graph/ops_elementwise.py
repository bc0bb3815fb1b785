"""Elementwise ops: every element of the result depends on the elements at the same place in the operands."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import FixedBitwidthType, Float8E8M0FNUType, TensorType, i1
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, asked, flag, flag_def, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import (
    BinaryKind,
    BinaryKindAttr,
    CompareKind,
    CompareKindAttr,
    Rounding,
    RoundingAttr,
    UnaryKind,
    UnaryKindAttr,
)
from stepwell.dialects.numpy_types import FLOATS, INTEGERS

INTEGER_UNARY_KINDS = ("abs", "neg", "relu", "sign", "not")
"""Unary kinds that are defined on integers too; `not` on nothing else but i1."""
FLOAT_ONLY_BINARY_KINDS = ("atan2",)
BIT_KINDS = ("and", "or", "xor")
SHIFT_KINDS = ("shift_left", "shift_right")


def unary_elements(kind: str) -> tuple[Attribute, ...]:
    """The element types that a unary kind is defined on."""
    if kind == "not":
        return (i1, *INTEGERS)
    return (*FLOATS, *INTEGERS) if kind in INTEGER_UNARY_KINDS else FLOATS


def binary_elements(kind: str) -> tuple[Attribute, ...]:
    """The element types that a binary kind is defined on."""
    if kind in BIT_KINDS:
        return (i1, *INTEGERS)
    if kind in SHIFT_KINDS:
        return INTEGERS
    return FLOATS if kind in FLOAT_ONLY_BINARY_KINDS else (*FLOATS, *INTEGERS)


@irdl_op_definition
class UnaryOp(GraphOp):
    """One function of every element: `graph.unary relu %x : tensor<4xf32> -> tensor<4xf32>`.

    Kinds: abs neg relu gelu gelu_tanh exp log sqrt tanh sigmoid erf expm1 log1p softplus floor ceil trunc round_even sign sin cos tan asin
    acos atan sinh cosh asinh acosh atanh not. gelu = 0.5*x*(1 + erf(x/sqrt 2)), gelu_tanh = 0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3)))
    (ONNX Gelu 20; of -inf both are a product with 0, a NaN as in ONNX Runtime), softplus = log(1 + exp(x)). Floats are computed in float64 and
    rounded once; a lowering inserts the sequence of steps that `elementwise.expand_unary` gives, each rounded to the element type. A NaN gives
    a NaN; outside of its domain a function gives NaN; sign keeps a zero and its sign; round_even rounds halves to the even integer; kernels may
    give zero for a result that is not normal. Integers: abs neg relu sign not (neg and abs of the least value wrap); i1: not. `not` of an
    integer inverts every bit."""

    name = "graph.unary"

    kind_attr = prop_def(UnaryKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    result = result_def(TensorType)
    kind = word("kind")

    assembly_format = "$kind $operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, kind: str) -> None:
        self.construct([operand], {"kind": UnaryKindAttr(UnaryKind(kind))})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        allowed = unary_elements(self.kind)
        if x.element not in allowed:
            raise VerifyException(f"{self.kind} needs {_words(allowed)}, not {x.element}: cast the operand first")
        return [x.type]


@irdl_op_definition
class BinaryOp(GraphOp):
    """One function of every pair of elements: `graph.binary add %a, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>`.

    Kinds: add sub mul div max min pow mod rem and or xor shift_left shift_right atan2. Both operands and the result have one type:
    broadcasting is explicit (`graph.broadcast`). max and min of a NaN are NaN, and -0 is below +0. `mod` has the sign of the divisor, `rem`
    that of the dividend. Integers wrap; div truncates toward zero (ONNX), the lowest integer over -1 wraps to itself; div, mod and rem by 0,
    which ONNX leaves open, give 0: no value of the data is a signal; pow with a negative exponent truncates toward zero. and, or, xor are
    logic on i1 and bits on integers. shift_right keeps the sign of a signed integer; an amount of the width or more gives 0. atan2(a, b) is
    the angle of the point (b, a); floats only."""

    name = "graph.binary"

    kind_attr = prop_def(BinaryKindAttr, prop_name="kind")
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)
    kind = word("kind")

    assembly_format = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, lhs: Value, rhs: Value, *, kind: str) -> None:
        self.construct([lhs, rhs], {"kind": BinaryKindAttr(BinaryKind(kind))})

    def infer(self) -> Sequence[Attribute]:
        left = _same_types(checks.tensor(self.lhs, "the left operand"), checks.tensor(self.rhs, "the right operand"))
        allowed = binary_elements(self.kind)
        if left.element not in allowed:
            raise VerifyException(f"{self.kind} needs {_words(allowed)}, not {left.element}: cast the operands first")
        return [left.type]


@irdl_op_definition
class CompareOp(GraphOp):
    """A comparison of every pair of elements: `graph.compare lt %a, %b : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>`.

    Kinds: eq ne lt le gt ge. Operands of one type: floats, integers or i1 (false below true). A NaN is unequal to everything, itself
    included, and neither below nor above; -0 equals +0."""

    name = "graph.compare"

    kind_attr = prop_def(CompareKindAttr, prop_name="kind")
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)
    kind = word("kind")

    assembly_format = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, lhs: Value, rhs: Value, *, kind: str) -> None:
        self.construct([lhs, rhs], {"kind": CompareKindAttr(CompareKind(kind))})

    def infer(self) -> Sequence[Attribute]:
        elements = (*checks.NUMBERS, i1)
        left = checks.tensor(self.lhs, "the left operand", elements)
        return [Tensor(i1, _same_types(left, checks.tensor(self.rhs, "the right operand", elements)).shape).type]


@irdl_op_definition
class SelectOp(GraphOp):
    """A choice for every element: `graph.select %c, %a, %b : (tensor<4xi1>, tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>`.

    The element of the second operand where the condition is true, of the third where it is false; all of one shape, the second and third
    of one type, whatever its elements are. What is not chosen does not matter, a NaN neither."""

    name = "graph.select"

    condition = operand_def(TensorType)
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)

    assembly_format = "$condition `,` $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, condition: Value, lhs: Value, rhs: Value) -> None:
        self.construct([condition, lhs, rhs])

    def infer(self) -> Sequence[Attribute]:
        left = _same_types(checks.tensor(self.lhs, "the second operand"), checks.tensor(self.rhs, "the third operand"))
        checks.shaped(self.condition, "the condition", checks.PREDICATES, left.shape)
        return [left.type]


@irdl_op_definition
class CastOp(GraphOp):
    """Conversion of every element: `graph.cast %x saturate : tensor<4xf32> -> tensor<4xf8E4M3FN>`.

    Any element type to any other. Floats round to nearest even. A float becomes an integer by truncation toward zero (ONNX); what
    ONNX leaves open is the nearest integer of the range for values outside of it, and 0 for a NaN; to
    integers of less than 8 bits it wraps as integers do (ONNX's node tests). Integers wrap to narrower ones, with `saturate` they stay in range. i1 counts as 0 and 1; to i1, all but 0 is true. A value too large for a float type becomes an
    infinity, or a NaN where the type has none; with `saturate` the largest finite value (an infinity too; a NaN stays). Types without NaN give
    -0 for it. `rounding` says how f8E8M0FNU picks its power of two: nearest (absent), up or down."""

    name = "graph.cast"

    operand = operand_def(TensorType)
    saturate_attr = flag_def("saturate")
    rounding_attr = opt_prop_def(RoundingAttr, prop_name="rounding")
    result = result_def(TensorType)
    saturate = flag("saturate")

    assembly_format = (
        "$operand (`saturate` $saturate^)? (`rounding` $rounding^)? attr-dict `:` type($operand) `->` type($result)"
    )

    def __init__(
        self, operand: Value, element_type: Attribute, *, saturate: bool = False, rounding: str | None = None
    ) -> None:
        attribute = None if rounding is None else RoundingAttr(Rounding(rounding))
        types = [asked(self.name, operand, element_type)]
        self.construct([operand], {"saturate": saturate, "rounding": attribute}, types=types)

    @property
    def rounding(self) -> str:
        """How f8E8M0FNU picks its power of two."""
        return self.rounding_attr.data.value if self.rounding_attr is not None else "nearest"

    def infer(self) -> Sequence[Attribute]:
        before = checks.tensor(self.operand, "the operand")
        after = checks.tensor(self.result, "the result")
        if self.rounding_attr is not None and not isinstance(after.element, Float8E8M0FNUType):
            raise VerifyException(
                f"rounding is for f8E8M0FNU, a cast to {after.element} rounds to nearest even: remove it"
            )
        return [Tensor(after.element, before.shape).type]


@irdl_op_definition
class BitcastOp(GraphOp):
    """The bits of every element in another type of the same width: `graph.bitcast %x : tensor<4xf32> -> tensor<4xi32>`."""

    name = "graph.bitcast"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, element_type: Attribute) -> None:
        self.construct([operand], types=[asked(self.name, operand, element_type)])

    def infer(self) -> Sequence[Attribute]:
        before, after = checks.tensor(self.operand, "the operand"), checks.tensor(self.result, "the result")
        widths = width_of(before.element), width_of(after.element)
        if widths[0] != widths[1]:
            raise VerifyException(
                f"{before.element} has {widths[0]} bits and {after.element} {widths[1]}: they must be as wide"
            )
        return [Tensor(after.element, before.shape).type]


def width_of(element: Attribute) -> int:
    """The bits of an element."""
    assert isinstance(element, FixedBitwidthType)
    return element.bitwidth


def _same_types(left: Tensor, right: Tensor) -> Tensor:
    if left != right:
        raise VerifyException(
            f"the operands have types {left.type} and {right.type}: broadcast or cast one of them first"
        )
    return left


def _words(elements: Sequence[Attribute]) -> str:
    """How a message calls a set of element types."""
    integer = (i1, *INTEGERS)
    return "i1 or integer elements" if tuple(elements) == integer else checks.words(elements)
