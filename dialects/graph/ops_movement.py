"""Ops that move or name data and compute nothing: weights, broadcast, reshape, transpose."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DenseArrayBase, TensorType, i64
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import IRDLOperation, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import ConstantLike, Pure

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.attributes import WeightAttr, dims_attr


@irdl_op_definition
class WeightOp(IRDLOperation):
    """A weight, by reference: `%w = graph.weight #graph.weight<"conv1.weight", "5e88..", tensor<64x1x3x3xf32>, []> : tensor<64x1x3x3xf32>`.

    The result has the type that the reference's recipe implies."""

    name = "graph.weight"

    ref = prop_def(WeightAttr)
    result = result_def(TensorType)

    traits = traits_def(Pure(), ConstantLike())

    assembly_format = "qualified($ref) attr-dict `:` type($result)"

    def __init__(self, ref: WeightAttr) -> None:
        super().__init__(properties={"ref": ref}, result_types=[ref.result_type()])

    def verify_(self) -> None:
        with checks.named(self.name):
            checks.static_tensor(self.result, "the result")
            checks.check_result(self.result, self.ref.result_type())


@irdl_op_definition
class BroadcastOp(IRDLOperation):
    """Repeat along new dims: `graph.broadcast %b dims [3] : tensor<64xf32> -> tensor<8x4x4x64xf32>`.

    `dims[i]` is the result dim of operand dim i; they increase and their extents are equal. A scalar has dims []."""

    name = "graph.broadcast"

    operand = operand_def(TensorType)
    dims_attr = prop_def(DenseArrayBase.constr(i64), prop_name="dims")
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$operand `dims` $dims attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, *, dims: Sequence[int], shape: Sequence[int]) -> None:
        value = SSAValue.get(operand)
        with checks.named(self.name):
            type = checks.static_tensor(value, "the operand")
            shapes.broadcast_check(type.get_shape(), tuple(dims), tuple(shape))
        super().__init__(
            operands=[value],
            properties={"dims": dims_attr(dims)},
            result_types=[TensorType(type.element_type, shape)],
        )

    @property
    def dims(self) -> tuple[int, ...]:
        """The result dim of each operand dim."""
        return self.dims_attr.get_values()

    def verify_(self) -> None:
        with checks.named(self.name):
            before = checks.static_tensor(self.operand, "the operand")
            after = checks.static_tensor(self.result, "the result")
            checks.same_elements(before, after, "operand and result")
            shapes.broadcast_check(before.get_shape(), self.dims, after.get_shape())


@irdl_op_definition
class ReshapeOp(IRDLOperation):
    """The same elements in row-major order under another shape: `graph.reshape %x : tensor<2x3xf32> -> tensor<6xf32>`.

    Never moves data: every level keeps it as a view."""

    name = "graph.reshape"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, shape: Sequence[int]) -> None:
        value = SSAValue.get(operand)
        with checks.named(self.name):
            type = checks.static_tensor(value, "the operand")
            shapes.reshape_check(type.get_shape(), tuple(shape))
        super().__init__(operands=[value], result_types=[TensorType(type.element_type, shape)])

    def verify_(self) -> None:
        with checks.named(self.name):
            before = checks.static_tensor(self.operand, "the operand")
            after = checks.static_tensor(self.result, "the result")
            checks.same_elements(before, after, "operand and result")
            shapes.reshape_check(before.get_shape(), after.get_shape())


@irdl_op_definition
class TransposeOp(IRDLOperation):
    """Reordered dims: `graph.transpose %x [0, 2, 3, 1] : tensor<1x8x4x2xf32> -> tensor<1x4x2x8xf32>`.

    Result dim i is operand dim permutation[i]."""

    name = "graph.transpose"

    operand = operand_def(TensorType)
    permutation_attr = prop_def(DenseArrayBase.constr(i64), prop_name="permutation")
    result = result_def(TensorType)

    traits = traits_def(Pure())

    assembly_format = "$operand $permutation attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: SSAValue | Operation, permutation: Sequence[int]) -> None:
        value = SSAValue.get(operand)
        super().__init__(
            operands=[value],
            properties={"permutation": dims_attr(permutation)},
            result_types=[infer_transpose(value, tuple(permutation))],
        )

    @property
    def permutation(self) -> tuple[int, ...]:
        """The operand dim of each result dim."""
        return self.permutation_attr.get_values()

    def verify_(self) -> None:
        with checks.named(self.name):
            checks.check_result(self.result, infer_transpose(self.operand, self.permutation))


def infer_transpose(operand: SSAValue, permutation: tuple[int, ...]) -> TensorType[Attribute]:
    """The result type of a transpose."""
    with checks.named(TransposeOp.name):
        type = checks.static_tensor(operand, "the operand")
        return TensorType(type.element_type, shapes.transpose_shape(type.get_shape(), permutation))
