"""Elementwise ops: every element of the result depends on the elements at the same place in the operands."""

from __future__ import annotations

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.attributes import BinaryKind, BinaryKindAttr, UnaryKind, UnaryKindAttr
from stepwell.dialects.numpy_types import is_float

INTEGER_UNARY_KINDS = ("abs", "neg", "relu")
"""Unary kinds that are defined on integers too."""


@irdl_op_definition
class UnaryOp(IRDLOperation):
    """One function of every element: `graph.unary relu %x : tensor<4xf32>`.

    Kinds: abs neg relu gelu gelu_tanh exp log sqrt tanh sigmoid erf. gelu = 0.5*x*(1 + erf(x/sqrt 2)) and gelu_tanh =
    0.5*x*(1 + tanh(sqrt(2/pi)*(x + 0.044715*x^3))) (ONNX Gelu 20), each step rounded to the element type: the exact sequence
    is `elementwise.expand_unary`. Integers: abs neg relu only."""

    name = "graph.unary"

    kind_attr = prop_def(UnaryKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$kind $operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, kind: str) -> None:
        value = SSAValue.get(operand)
        super().__init__(
            operands=[value], properties={"kind": UnaryKindAttr(UnaryKind(kind))}, result_types=[value.type]
        )

    @property
    def kind(self) -> str:
        """Which function."""
        return self.kind_attr.data.value

    def verify_(self) -> None:
        with checks.named(self.name):
            type = checks.static_tensor(self.operand, "the operand")
            if not is_float(type.element_type) and self.kind not in INTEGER_UNARY_KINDS:
                raise VerifyException(
                    f"{self.kind} needs float elements, not {type.element_type}: cast the operand first"
                )
            checks.check_result(self.result, type)


@irdl_op_definition
class BinaryOp(IRDLOperation):
    """One function of every pair of elements: `graph.binary add %a, %b : tensor<4xf32>`.

    Kinds: add sub mul div max min. Both operands and the result have one type: broadcasting is explicit (`graph.broadcast`).
    max and min of a NaN are NaN (ONNX). Integers wrap; div truncates toward zero."""

    name = "graph.binary"

    kind_attr = prop_def(BinaryKindAttr, prop_name="kind")
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$kind $lhs `,` $rhs attr-dict `:` functional-type(operands, results)"

    def __init__(self, lhs: SSAValue | Operation, rhs: SSAValue | Operation, *, kind: str) -> None:
        left = SSAValue.get(lhs)
        super().__init__(
            operands=[left, rhs], properties={"kind": BinaryKindAttr(BinaryKind(kind))}, result_types=[left.type]
        )

    @property
    def kind(self) -> str:
        """Which function."""
        return self.kind_attr.data.value

    def verify_(self) -> None:
        with checks.named(self.name):
            left = checks.static_tensor(self.lhs, "the left operand")
            right = checks.static_tensor(self.rhs, "the right operand")
            if left != right:
                raise VerifyException(
                    f"the operands have types {left} and {right}: broadcast or cast one of them first"
                )
            checks.check_result(self.result, left)


@irdl_op_definition
class CastOp(IRDLOperation):
    """Conversion of every element: `graph.cast %x : tensor<4xf32> -> tensor<4xf16>`.

    Floats round to nearest even; float to integer truncates toward zero (values beyond the range are undefined)."""

    name = "graph.cast"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, element_type: Attribute) -> None:
        value = SSAValue.get(operand)
        with checks.named(self.name):
            shape = checks.static_tensor(value, "the operand").get_shape()
        super().__init__(operands=[value], result_types=[TensorType(element_type, shape)])

    def verify_(self) -> None:
        with checks.named(self.name):
            before = checks.static_tensor(self.operand, "the operand")
            after = checks.static_tensor(self.result, "the result")
            checks.check_result(self.result, TensorType(after.element_type, before.get_shape()))
