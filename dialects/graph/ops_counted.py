"""Ops whose number of results depends on data, and ops on such extents."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float64Type, FloatAttr, IntegerAttr, IntegerType, TensorType, i1, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import (
    GraphOp,
    Value,
    flag,
    flag_def,
    float_def,
    int_def,
    number,
    text_def,
    word,
)
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Extent, Shape
from stepwell.dialects.numpy_types import FLOATS


def counted(shape: Shape, dim: int, symbol: str, bound: int | None = None) -> Shape:
    """`shape` with a counted extent at `dim`: at most what was there, or `bound`."""
    most = int(shape[dim]) if bound is None else bound
    return (*shape[:dim], Extent(symbol, most), *shape[dim + 1 :])


@irdl_op_definition
class ExtentOp(GraphOp):
    """An extent as a value: `graph.extent %x dim 0 : tensor<?x4xf32, ..> -> tensor<i64>`: the number, or what a symbol stands for."""

    name = "graph.extent"

    operand = operand_def(TensorType)
    dim_attr = int_def("dim")
    result = result_def(TensorType)
    dim = number("dim")

    assembly_format = "$operand `dim` $dim attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, dim: int) -> None:
        self.construct([operand], {"dim": dim})

    def infer(self) -> Sequence[Attribute]:
        checks.dim_in(self.dim, checks.tensor(self.operand, "the operand").rank)
        return [Tensor(i64, ()).type]


@irdl_op_definition
class PrefixOp(GraphOp):
    """The first elements of a dim, their count a value: `graph.prefix %x, %n dim 0 as "n" : (tensor<9x4xf32>, tensor<i64>) -> tensor<?x4xf32,
    #graph.extents<["n" * 1 in [0, 9] counted]>>`. The count is clamped to the dim's extent, which becomes the bound."""

    name = "graph.prefix"

    operand = operand_def(TensorType)
    count = operand_def(TensorType)
    dim_attr = int_def("dim")
    symbol_attr = text_def("symbol")
    result = result_def(TensorType)
    dim, symbol = number("dim"), word("symbol")

    assembly_format = "$operand `,` $count `dim` $dim `as` $symbol attr-dict `:` functional-type(operands, results)"

    def __init__(self, operand: Value, count: Value, *, dim: int, symbol: str) -> None:
        self.construct([operand, count], {"dim": dim, "symbol": symbol})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        checks.scalar(self.count, "the count", (i64,))
        return [Tensor(x.element, counted(x.shape, checks.dim_in(self.dim, x.rank), self.symbol)).type]


@irdl_op_definition
class FillTailOp(GraphOp):
    """A counted dim at its bound again: `graph.fill_tail %x, %zero dim 0 : (tensor<?x4xf32, ..>, tensor<f32>) -> tensor<9x4xf32>`; the scalar stands
    in the rows that are absent."""

    name = "graph.fill_tail"

    operand = operand_def(TensorType)
    value = operand_def(TensorType)
    dim_attr = int_def("dim")
    result = result_def(TensorType)
    dim = number("dim")

    assembly_format = "$operand `,` $value `dim` $dim attr-dict `:` functional-type(operands, results)"

    def __init__(self, operand: Value, value: Value, *, dim: int) -> None:
        self.construct([operand, value], {"dim": dim})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        checks.same_elements(x, checks.scalar(self.value, "the value", checks.ANY), "operand and value")
        extent = x.shape[checks.dim_in(self.dim, x.rank)]
        if not isinstance(extent, Extent):
            raise VerifyException(f"dim {self.dim} has the known extent {extent}: there is no tail to fill")
        return [Tensor(x.element, (*x.shape[: self.dim], int(extent), *x.shape[self.dim + 1 :])).type]


@irdl_op_definition
class CompactOp(GraphOp):
    """The slices whose mask is true, in order: `graph.compact %x, %m dim 0 as "kept" : (tensor<9x4xf32>, tensor<9xi1>) -> tensor<?x4xf32,
    #graph.extents<["kept" * 1 in [0, 9] counted]>>`."""

    name = "graph.compact"

    operand = operand_def(TensorType)
    mask = operand_def(TensorType)
    dim_attr = int_def("dim")
    symbol_attr = text_def("symbol")
    result = result_def(TensorType)
    dim, symbol = number("dim"), word("symbol")

    assembly_format = "$operand `,` $mask `dim` $dim `as` $symbol attr-dict `:` functional-type(operands, results)"

    def __init__(self, operand: Value, mask: Value, *, dim: int, symbol: str) -> None:
        self.construct([operand, mask], {"dim": dim, "symbol": symbol})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        checks.shaped(self.mask, "the mask", (i1,), [x.shape[checks.dim_in(self.dim, x.rank)]])
        return [Tensor(x.element, counted(x.shape, self.dim, self.symbol)).type]


@irdl_op_definition
class UniqueOp(GraphOp):
    """Distinct elements, or slices along a dim: `%v, %f, %i, %c = graph.unique %x dim 0 sorted as "u" : (tensor<9xi64>) -> (values, first, inverse, counts)`.

    Results: the distinct slices, `sorted` (lexicographically, rising) or in the order of their first appearance; for each the position where it
    first appears and how often; and for each slice of the operand which distinct one it is. Without a dim the operand counts as flattened.
    Every NaN is a value of its own."""

    name = "graph.unique"

    operand = operand_def(TensorType)
    dim_attr = opt_prop_def(IntegerAttr[IntegerType].constr(i64), prop_name="dim")
    sorted_attr = flag_def("sorted")
    symbol_attr = text_def("symbol")
    values = result_def(TensorType)
    first = result_def(TensorType)
    inverse = result_def(TensorType)
    counts = result_def(TensorType)
    sorted, symbol = flag("sorted"), word("symbol")

    assembly_format = (
        "$operand (`dim` $dim^)? (`sorted` $sorted^)? `as` $symbol attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, operand: Value, *, symbol: str, dim: int | None = None, sorted: bool = True) -> None:
        self.construct([operand], {"dim": dim, "sorted": sorted, "symbol": symbol}, results=4)

    @property
    def dim(self) -> int | None:
        """The dim whose slices are compared; None for single elements."""
        return None if self.dim_attr is None else self.dim_attr.value.data

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", (*checks.NUMBERS, i1))
        shape = x.shape
        if self.dim is None:
            total = 1
            for extent in shape:
                total = total * checks.known(extent, "an extent")
            shape = (total,)
        dim = checks.dim_in(self.dim or 0, len(shape))
        slices = checks.known(shape[dim], f"dim {dim}")
        each = Tensor(i64, (Extent(self.symbol, slices),)).type
        return [Tensor(x.element, counted(shape, dim, self.symbol)).type, each, Tensor(i64, (slices,)).type, each]


@irdl_op_definition
class NonMaxSuppressionOp(GraphOp):
    """Boxes that overlap no better box: `graph.non_max_suppression %boxes, %scores most 10 iou 0.5 score 0.1 as "kept" : (tensor<1x20x4xf32>,
    tensor<1x2x20xf32>) -> tensor<?x3xi64, ..>`.

    Boxes [B, N, 4] (two corners y1, x1, y2, x2 in any order, with `center` x, y of the centre, width, height) and scores [B, C, N]. For each batch and
    class: the boxes whose score is above `score` (absent: all), from the highest (the lower index first among equals), each kept unless its intersection over
    union with a kept one is above `iou`, until `most` are kept. Rows are batch, class, box, in ONNX's order; at most B * C * min(most, N)."""

    name = "graph.non_max_suppression"

    boxes = operand_def(TensorType)
    scores = operand_def(TensorType)
    most_attr = int_def("most")
    iou_attr = float_def("iou")
    score_attr = opt_prop_def(FloatAttr[Float64Type].constr(Float64Type()), prop_name="score")
    center_attr = flag_def("center")
    symbol_attr = text_def("symbol")
    result = result_def(TensorType)
    most, iou = number("most"), number("iou")
    center, symbol = flag("center"), word("symbol")

    assembly_format = (
        "$boxes `,` $scores `most` $most `iou` $iou (`score` $score^)? (`center` $center^)? `as` $symbol attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        boxes: Value,
        scores: Value,
        *,
        most: int,
        symbol: str,
        iou: float = 0.0,
        score: float | None = None,
        center: bool = False,
    ) -> None:
        numbers = {"most": most, "iou": float(iou), "score": None if score is None else float(score)}
        self.construct([boxes, scores], {**numbers, "center": center, "symbol": symbol})

    @property
    def score(self) -> float | None:
        """What a score must be above; None where every box counts."""
        return None if self.score_attr is None else self.score_attr.value.data

    def infer(self) -> Sequence[Attribute]:
        boxes, scores = (
            checks.tensor(self.boxes, "the boxes", FLOATS, 3),
            checks.tensor(self.scores, "the scores", FLOATS, 3),
        )
        if boxes.shape[2] != 4 or scores.shape[0] != boxes.shape[0] or scores.shape[2] != boxes.shape[1]:
            raise VerifyException(
                f"boxes {list(boxes.shape)} and scores {list(scores.shape)}: they are [B,N,4] and [B,C,N]"
            )
        if self.most < 0:
            raise VerifyException(f"most {self.most} must not be negative")
        batch, classes, count = (int(extent) for extent in scores.shape)
        return [Tensor(i64, (Extent(self.symbol, batch * classes * min(self.most, count)), 3)).type]
