"""Ops that move or name data and compute nothing: weights, broadcast, reshape, transpose."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import ConstantLike, Pure

from stepwell.dialects.graph import checks, shapes
from stepwell.dialects.graph.attributes import WeightAttr
from stepwell.dialects.graph.base import GraphOp, Value, asked, ints, ints_def
from stepwell.dialects.graph.checks import Tensor


@irdl_op_definition
class WeightOp(GraphOp):
    """A weight, by reference: `%w = graph.weight #graph.weight<"conv1.weight", "5e88..", tensor<64x1x3x3xf32>, []> : tensor<64x1x3x3xf32>`.

    The result has the type that the reference's recipe implies."""

    name = "graph.weight"

    ref = prop_def(WeightAttr)
    result = result_def(TensorType)

    traits = traits_def(Pure(), ConstantLike())

    assembly_format = "qualified($ref) attr-dict `:` type($result)"

    def __init__(self, ref: WeightAttr) -> None:
        self.construct([], {"ref": ref})

    def infer(self) -> Sequence[Attribute]:
        type = self.ref.result_type()
        checks.tensor(type, "the result")
        return [type]


@irdl_op_definition
class BroadcastOp(GraphOp):
    """Repeat along new dims: `graph.broadcast %b dims [3] : tensor<64xf32> -> tensor<8x4x4x64xf32>`.

    `dims[i]` is the result dim of operand dim i; they increase and their extents are equal. A scalar has dims []."""

    name = "graph.broadcast"

    operand = operand_def(TensorType)
    dims_attr = ints_def("dims")
    result = result_def(TensorType)
    dims = ints("dims")

    assembly_format = "$operand `dims` $dims attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, dims: Sequence[int], shape: Sequence[int]) -> None:
        self.construct([operand], {"dims": dims}, types=[asked(self.name, operand, shape=shape)])

    def infer(self) -> Sequence[Attribute]:
        before, after = checks.tensor(self.operand, "the operand"), checks.tensor(self.result, "the result")
        checks.same_elements(before, after, "operand and result")
        shapes.broadcast_check(before.shape, self.dims, after.shape)
        return [after.type]


@irdl_op_definition
class ReshapeOp(GraphOp):
    """The same elements in row-major order under another shape: `graph.reshape %x : tensor<2x3xf32> -> tensor<6xf32>`.

    Never moves data: every level keeps it as a view. A symbolic extent keeps its symbol, with another factor."""

    name = "graph.reshape"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, shape: Sequence[int]) -> None:
        self.construct([operand], types=[asked(self.name, operand, shape=shape)])

    def infer(self) -> Sequence[Attribute]:
        before, after = checks.tensor(self.operand, "the operand"), checks.tensor(self.result, "the result")
        checks.same_elements(before, after, "operand and result")
        shapes.reshape_check(before.shape, after.shape)
        return [after.type]


@irdl_op_definition
class TransposeOp(GraphOp):
    """Reordered dims: `graph.transpose %x [0, 2, 3, 1] : tensor<1x8x4x2xf32> -> tensor<1x4x2x8xf32>`.

    Result dim i is operand dim permutation[i]."""

    name = "graph.transpose"

    operand = operand_def(TensorType)
    permutation_attr = ints_def("permutation")
    result = result_def(TensorType)
    permutation = ints("permutation")

    assembly_format = "$operand $permutation attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, permutation: Sequence[int]) -> None:
        self.construct([operand], {"permutation": permutation})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        return [Tensor(x.element, shapes.transpose_shape(x.shape, self.permutation)).type]
