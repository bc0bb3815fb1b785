"""Reductions, prefix scans and orders along dims."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i1, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, int_def, ints, ints_def, number, word
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Shape
from stepwell.dialects.graph.kinds import (
    CumulativeKind,
    CumulativeKindAttr,
    ExtremeKind,
    ExtremeKindAttr,
    ReduceKind,
    ReduceKindAttr,
)
from stepwell.dialects.numpy_types import INTEGERS


def without(shape: Shape, dims: Sequence[int]) -> Shape:
    """The extents of the other dims."""
    return tuple(extent for dim, extent in enumerate(shape) if dim not in dims)


@irdl_op_definition
class ReduceOp(GraphOp):
    """All elements of some dims made one: `graph.reduce sum %x dims [1, 2] : tensor<2x3x4xf32> -> tensor<2xf32>`.

    Kinds: sum product max min and or. The dims vanish; over no element the result is the kind's identity (0, 1, the lowest value, the highest,
    true, false; all bits for integers' `and`). Sums and products of f16 and bf16 accumulate in f32 and round once; integers wrap. A NaN
    makes a maximum or minimum NaN. `and` and `or` are logic on i1 and bits on integers. Means divide the sum afterwards."""

    name = "graph.reduce"

    kind_attr = prop_def(ReduceKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    dims_attr = ints_def("dims")
    result = result_def(TensorType)
    kind, dims = word("kind"), ints("dims")

    assembly_format = "$kind $operand `dims` $dims attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, kind: str, dims: Sequence[int]) -> None:
        self.construct([operand], {"kind": ReduceKindAttr(ReduceKind(kind)), "dims": dims})

    def infer(self) -> Sequence[Attribute]:
        allowed = (i1, *INTEGERS) if self.kind in ("and", "or") else checks.NUMBERS
        x = checks.tensor(self.operand, "the operand", allowed)
        return [Tensor(x.element, without(x.shape, checks.dims_in(self.dims, x.rank))).type]


@irdl_op_definition
class ArgReduceOp(GraphOp):
    """Where the extreme of a dim is: `graph.arg_reduce max %x dim 1 : tensor<2x3xf32> -> tensor<2xi64>`.

    Kinds: max min. The first of equals, with `last` the last one; a NaN is more extreme than anything. The dim vanishes and must not be empty."""

    name = "graph.arg_reduce"

    kind_attr = prop_def(ExtremeKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    dim_attr = int_def("dim")
    last_attr = flag_def("last")
    result = result_def(TensorType)
    kind, dim, last = word("kind"), number("dim"), flag("last")

    assembly_format = "$kind $operand `dim` $dim (`last` $last^)? attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, kind: str, dim: int, last: bool = False) -> None:
        self.construct([operand], {"kind": ExtremeKindAttr(ExtremeKind(kind)), "dim": dim, "last": last})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", checks.NUMBERS)
        if x.shape[checks.dim_in(self.dim, x.rank)] == 0:
            raise VerifyException(f"dim {self.dim} has no element: an extreme needs one")
        return [Tensor(i64, without(x.shape, [self.dim])).type]


@irdl_op_definition
class CumulativeOp(GraphOp):
    """Prefix scan: `graph.cumulative sum %x dim 1 : tensor<2x3xf32> -> tensor<2x3xf32>`.

    Kinds: sum product max min. Element i is the combination of elements 0 to i of its dim; with `exclusive` of 0 to i - 1 (the first is the
    kind's identity), with `reverse` the scan runs from the end. f16 and bf16 accumulate in f32; integers wrap."""

    name = "graph.cumulative"

    kind_attr = prop_def(CumulativeKindAttr, prop_name="kind")
    operand = operand_def(TensorType)
    dim_attr = int_def("dim")
    exclusive_attr = flag_def("exclusive")
    reverse_attr = flag_def("reverse")
    result = result_def(TensorType)
    kind, dim, exclusive, reverse = word("kind"), number("dim"), flag("exclusive"), flag("reverse")

    assembly_format = (
        "$kind $operand `dim` $dim (`exclusive` $exclusive^)? (`reverse` $reverse^)? attr-dict `:` "
        "type($operand) `->` type($result)"
    )

    def __init__(self, operand: Value, *, kind: str, dim: int, exclusive: bool = False, reverse: bool = False) -> None:
        kind_attr = CumulativeKindAttr(CumulativeKind(kind))
        self.construct([operand], {"kind": kind_attr, "dim": dim, "exclusive": exclusive, "reverse": reverse})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", checks.NUMBERS)
        checks.dim_in(self.dim, x.rank)
        return [x.type]


@irdl_op_definition
class TopKOp(GraphOp):
    """The k largest or smallest of a dim, sorted: `%v, %p = graph.top_k %x dim 1 k 2 largest : (tensor<2x5xf32>) -> (tensor<2x2xf32>, tensor<2x2xi64>)`.

    Values and their positions along the dim. `largest`: falling order, else rising. The lower position first among equals, so k = extent is a
    stable sort; a NaN counts as larger than everything."""

    name = "graph.top_k"

    operand = operand_def(TensorType)
    dim_attr = int_def("dim")
    k_attr = int_def("k")
    largest_attr = flag_def("largest")
    values = result_def(TensorType)
    positions = result_def(TensorType)
    dim, k, largest = number("dim"), number("k"), flag("largest")

    assembly_format = (
        "$operand `dim` $dim `k` $k (`largest` $largest^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, operand: Value, *, dim: int, k: int, largest: bool = True) -> None:
        self.construct([operand], {"dim": dim, "k": k, "largest": largest}, results=2)

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", checks.NUMBERS)
        extent = checks.known(x.shape[checks.dim_in(self.dim, x.rank)], f"dim {self.dim}")
        if not 0 <= self.k <= extent:
            raise VerifyException(f"k {self.k} must lie in [0, {extent}], the extent of dim {self.dim}")
        shape = (*x.shape[: self.dim], self.k, *x.shape[self.dim + 1 :])
        return [Tensor(x.element, shape).type, Tensor(i64, shape).type]
