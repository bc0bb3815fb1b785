"""Normalisations: functions of an element and of statistics over its dims, its channel or its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import (
    GraphOp,
    Value,
    flag,
    flag_def,
    float_def,
    int_def,
    ints,
    ints_def,
    number,
    word,
)
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.kinds import Layout, LayoutAttr
from stepwell.dialects.graph.ops_reduction import without
from stepwell.dialects.numpy_types import FLOATS


def statistics_element(element: Attribute) -> Attribute:
    """The element type of statistics: f32 for 16-bit floats, else the operand's."""
    wide = checks.ACCUMULATORS.get(element, (element,))[0]
    return wide if element in FLOATS[:2] else element


@irdl_op_definition
class SoftmaxOp(GraphOp):
    """exp(x - max) / sum over some dims together: `graph.softmax %x dims [1] : tensor<2x10xf32> -> tensor<2x10xf32>`.

    With `log` its logarithm, x - max - log(sum). Computed in float64 here and at least in f32 by kernels, rounded once. A row of -inf gives
    NaN, as the formula does; so does a row with inf or NaN."""

    name = "graph.softmax"

    operand = operand_def(TensorType)
    dims_attr = ints_def("dims")
    log_attr = flag_def("log")
    result = result_def(TensorType)
    dims, log = ints("dims"), flag("log")

    assembly_format = "$operand `dims` $dims (`log` $log^)? attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, dims: Sequence[int], log: bool = False) -> None:
        self.construct([operand], {"dims": dims, "log": log})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        checks.dims_in(self.dims, x.rank)
        return [x.type]


@irdl_op_definition
class NormalizeOp(GraphOp):
    """(x - mean) / sqrt(variance + epsilon): `%y, %m, %d = graph.normalize %x dims [1] epsilon 1.0e-05 center : (tensor<2x8xf32>) ->
    (tensor<2x8xf32>, tensor<2xf32>, tensor<2xf32>)`.

    Mean and variance are over all elements of the dims together (the variance divides by their number); without `center` the mean is taken
    as 0 (root mean square). Results: the normalised tensor, the means, and 1 / sqrt(variance + epsilon), both without the dims and in f32 for
    f16 and bf16. Scale and bias are ops outside."""

    name = "graph.normalize"

    operand = operand_def(TensorType)
    dims_attr = ints_def("dims")
    epsilon_attr = float_def("epsilon")
    center_attr = flag_def("center")
    result = result_def(TensorType)
    means = result_def(TensorType)
    inverse_deviations = result_def(TensorType)
    dims, epsilon, center = ints("dims"), number("epsilon"), flag("center")

    assembly_format = (
        "$operand `dims` $dims `epsilon` $epsilon (`center` $center^)? attr-dict `:` functional-type(operands, results)"
    )

    def __init__(self, operand: Value, *, dims: Sequence[int], epsilon: float, center: bool = True) -> None:
        self.construct([operand], {"dims": dims, "epsilon": float(epsilon), "center": center}, results=3)

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        checks.dims_in(self.dims, x.rank)
        statistics = Tensor(statistics_element(x.element), without(x.shape, self.dims)).type
        return [x.type, statistics, statistics]


@irdl_op_definition
class BatchNormOp(GraphOp):
    """Per channel, with given statistics: `graph.batch_norm %x, %scale, %bias, %mean, %variance dim 1 epsilon 1.0e-05 : (tensor<2x8x4x4xf32>,
    tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8x4x4xf32>`.

    (x - mean) / sqrt(variance + epsilon) * scale + bias, each parameter one number for each index of `dim`, of x's element type or f32."""

    name = "graph.batch_norm"

    operand = operand_def(TensorType)
    scale = operand_def(TensorType)
    bias = operand_def(TensorType)
    mean = operand_def(TensorType)
    variance = operand_def(TensorType)
    dim_attr = int_def("dim")
    epsilon_attr = float_def("epsilon")
    result = result_def(TensorType)
    dim, epsilon = number("dim"), number("epsilon")

    assembly_format = (
        "$operand `,` $scale `,` $bias `,` $mean `,` $variance `dim` $dim `epsilon` $epsilon attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self, operand: Value, scale: Value, bias: Value, mean: Value, variance: Value, *, dim: int, epsilon: float
    ) -> None:
        self.construct([operand, scale, bias, mean, variance], {"dim": dim, "epsilon": float(epsilon)})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        channels = x.shape[checks.dim_in(self.dim, x.rank)]
        for value, what in zip(self.operands[1:], ("scale", "bias", "mean", "variance"), strict=True):
            checks.shaped(value, f"the {what}", FLOATS, [channels])
        return [x.type]


@irdl_op_definition
class LrnOp(GraphOp):
    """Local response normalisation over neighbouring channels: `graph.lrn %x size 5 alpha 1.0e-04 beta 0.75 k 1.0 channels_first : tensor<1x8x4x4xf32> -> ..`.

    x / (k + alpha / size * sum of squares) ^ beta, the sum over channels c - floor((size - 1) / 2) to c + ceil((size - 1) / 2) that exist."""

    name = "graph.lrn"

    operand = operand_def(TensorType)
    size_attr = int_def("size")
    alpha_attr = float_def("alpha")
    beta_attr = float_def("beta")
    k_attr = float_def("k")
    layout_attr = prop_def(LayoutAttr, prop_name="layout")
    result = result_def(TensorType)
    size, alpha, beta, k, layout = number("size"), number("alpha"), number("beta"), number("k"), word("layout")

    assembly_format = "$operand `size` $size `alpha` $alpha `beta` $beta `k` $k $layout attr-dict `:` type($operand) `->` type($result)"

    def __init__(
        self,
        operand: Value,
        *,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        layout: str = "channels_first",
    ) -> None:
        numbers = {"size": size, "alpha": float(alpha), "beta": float(beta), "k": float(k)}
        self.construct([operand], {**numbers, "layout": LayoutAttr(Layout(layout))})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        if x.rank < 2:
            raise VerifyException(f"the operand has rank {x.rank}: it needs 2 or more, batch and channels")
        if self.size < 1:
            raise VerifyException(f"size {self.size} must be at least 1")
        return [x.type]
