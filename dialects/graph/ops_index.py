"""Gather and scatter: data addressed by computed indices."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i1
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, int_def, ints, ints_def, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Shape
from stepwell.dialects.graph.kinds import CombineKind, CombineKindAttr


def gathered_shape(operand: Tensor, indices: Tensor, batch: int, dims: Sequence[int]) -> Shape:
    """The shape of a gather's result, and of a scatter's updates: [batch.., any.., the operand's other dims]."""
    if not 0 <= batch < min(operand.rank + 1, indices.rank):
        raise VerifyException(f"batch {batch} must lie in [0, {min(operand.rank + 1, indices.rank)})")
    checks.dims_in(dims, operand.rank)
    if any(dim < batch for dim in dims):
        raise VerifyException(f"dims {list(dims)} must lie behind the {batch} batch dims")
    if indices.shape[-1] != len(dims):
        raise VerifyException(
            f"the last extent of the indices is {indices.shape[-1]}: it must be {len(dims)}, one component for each of dims"
        )
    if operand.shape[:batch] != indices.shape[:batch]:
        raise VerifyException(
            f"the batch extents {list(operand.shape[:batch])} and {list(indices.shape[:batch])} differ: they must be equal"
        )
    others = tuple(extent for dim, extent in enumerate(operand.shape) if dim >= batch and dim not in dims)
    return (*indices.shape[:-1], *others)


@irdl_op_definition
class GatherOp(GraphOp):
    """Slices picked by indices: `graph.gather %x, %i batch 0 dims [0] : (tensor<5x4xf32>, tensor<3x1xi64>) -> tensor<3x4xf32>`.

    Operand [B.., ..], indices [B.., any.., n]: the first `batch` dims are shared, the last dim of the indices has one component for each of
    the n indexed `dims` (increasing, behind the batch). Result [B.., any.., the operand's other dims in order]. An index outside of its dim is
    clamped into it; none counts from the end. ONNX's Gather has n = 1, GatherND dims 0 to n-1 behind its batch, GatherElements an iota for every
    other dim."""

    name = "graph.gather"

    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    batch_attr = int_def("batch")
    dims_attr = ints_def("dims")
    result = result_def(TensorType)
    batch, dims = number("batch"), ints("dims")

    assembly_format = (
        "$operand `,` $indices `batch` $batch `dims` $dims attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, operand: Value, indices: Value, *, dims: Sequence[int], batch: int = 0) -> None:
        self.construct([operand, indices], {"batch": batch, "dims": dims})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        indices = checks.tensor(self.indices, "the indices", checks.INDICES)
        return [Tensor(x.element, gathered_shape(x, indices, self.batch, self.dims)).type]


@irdl_op_definition
class ScatterOp(GraphOp):
    """`gather` backwards: `graph.scatter add %x, %i, %u batch 0 dims [0] : (tensor<5x4xf32>, tensor<3x1xi64>, tensor<3x4xf32>) -> tensor<5x4xf32>`.

    The operand, with the updates (of the shape that a gather with these indices would have) combined in: none puts an update in place of what is
    there, the last one in row-major order staying; add, mul, max and min combine with it. An index outside of its dim drops its update. f16
    and bf16 sums and products accumulate in f32."""

    name = "graph.scatter"

    combine_attr = prop_def(CombineKindAttr, prop_name="combine")
    operand = operand_def(TensorType)
    indices = operand_def(TensorType)
    updates = operand_def(TensorType)
    batch_attr = int_def("batch")
    dims_attr = ints_def("dims")
    result = result_def(TensorType)
    combine, batch, dims = word("combine"), number("batch"), ints("dims")

    assembly_format = (
        "$combine $operand `,` $indices `,` $updates `batch` $batch `dims` $dims attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        operand: Value,
        indices: Value,
        updates: Value,
        *,
        dims: Sequence[int],
        batch: int = 0,
        combine: str = "none",
    ) -> None:
        properties = {"batch": batch, "dims": dims, "combine": CombineKindAttr(CombineKind(combine))}
        self.construct([operand, indices, updates], properties)

    def infer(self) -> Sequence[Attribute]:
        elements = checks.ANY if self.combine == "none" else (*checks.NUMBERS, i1)
        x = checks.tensor(self.operand, "the operand", elements)
        indices = checks.tensor(self.indices, "the indices", checks.INDICES)
        shape = gathered_shape(x, indices, self.batch, self.dims)
        checks.same_elements(x, checks.tensor(self.updates, "the updates"), "operand and updates")
        checks.shaped(self.updates, "the updates", elements, shape)
        return [x.type]
