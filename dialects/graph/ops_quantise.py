"""Quantisation: between floats and scaled integers or narrow floats."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import Float8E8M0FNUType, TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, asked, flag, flag_def, ints, ints_def
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Extent, Shape
from stepwell.dialects.numpy_types import FLOATS, FLOATS8, INTEGERS, STORAGE

QUANTISED = (*INTEGERS, *FLOATS8, *(element for element in STORAGE if not isinstance(element, Float8E8M0FNUType)))
"""Element types of quantised values."""
SCALES = (*FLOATS, Float8E8M0FNUType())


def scale_shape(shape: Shape, dims: Sequence[int], block: Sequence[int]) -> Shape:
    """The shape of a scale: one extent for each of `dims`, divided by its block and rounded up."""
    checks.dims_in(dims, len(shape))
    checks.count(block, len(dims), "block", 1)
    return tuple(_blocks(shape[dim], size) for dim, size in zip(dims, block, strict=True))


def _blocks(extent: int, size: int) -> int:
    if isinstance(extent, Extent):
        return extent if size == 1 else extent // size
    return -(-extent // size)


class Quantising(GraphOp):
    """What quantize and dequantize share: a scale and a zero point of one shape."""

    operand = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero = operand_def(TensorType)
    dims_attr = ints_def("dims")
    block_attr = ints_def("block")
    result = result_def(TensorType)
    dims, block = ints("dims"), ints("block")

    def check_scale(self, shape: Shape, quantised: Attribute) -> None:
        """Check shape and element types of scale and zero point."""
        expected = scale_shape(shape, self.dims, self.block)
        checks.shaped(self.scale, "the scale", SCALES, expected)
        checks.shaped(self.zero, "the zero point", (quantised,), expected)


@irdl_op_definition
class QuantizeOp(Quantising):
    """Scaled integers of floats: `graph.quantize %x, %scale, %zero dims [1] block [1] : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xi8>) -> tensor<2x8xi8>`.

    Integers: saturate(round_even(x / scale) + zero). Narrow floats: the nearest value of x / scale + zero; one that is too large becomes
    infinite or NaN as the type has it, with `saturate` the largest finite one. The quotient is computed in f32 (f64 for f64).
    Scale and zero point have one extent for each of `dims`: none for the whole tensor ([] and []), the channel's for one per channel, all dims
    with `block [1, 32]` for one per 32 neighbours of the last dim (a last block may be shorter). The zero point has the result's element type."""

    name = "graph.quantize"

    saturate_attr = flag_def("saturate")
    saturate = flag("saturate")

    assembly_format = (
        "$operand `,` $scale `,` $zero `dims` $dims `block` $block (`saturate` $saturate^)? attr-dict `:` "
        "functional-type(operands, results)"
    )

    def __init__(
        self,
        operand: Value,
        scale: Value,
        zero: Value,
        *,
        dims: Sequence[int] = (),
        block: Sequence[int] | None = None,
        saturate: bool = False,
    ) -> None:
        blocks = [1] * len(dims) if block is None else block
        self.construct([operand, scale, zero], {"dims": dims, "block": blocks, "saturate": saturate})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        element = checks.tensor(self.zero, "the zero point", QUANTISED).element
        if self.saturate and element not in (*FLOATS8, *STORAGE):
            raise VerifyException("saturate is for narrow floats, integers always do: remove it")
        self.check_scale(x.shape, element)
        return [Tensor(element, x.shape).type]


@irdl_op_definition
class DequantizeOp(Quantising):
    """Floats of scaled integers: `graph.dequantize %q, %scale, %zero dims [] block [] : (tensor<2x8xi8>, tensor<f32>, tensor<i8>) -> tensor<2x8xf32>`.

    (x - zero) * scale, rounded once to the result's element type: the scale's, or the one that was asked for. Scale and zero point as in
    `graph.quantize`."""

    name = "graph.dequantize"

    assembly_format = (
        "$operand `,` $scale `,` $zero `dims` $dims `block` $block attr-dict `:` functional-type(operands, results)"
    )

    def __init__(
        self,
        operand: Value,
        scale: Value,
        zero: Value,
        *,
        dims: Sequence[int] = (),
        block: Sequence[int] | None = None,
        element_type: Attribute | None = None,
    ) -> None:
        blocks = [1] * len(dims) if block is None else block
        element = element_type or checks.tensor(asked(self.name, scale), "the scale").element
        types = [asked(self.name, operand, element)]
        self.construct([operand, scale, zero], {"dims": dims, "block": blocks}, types=types)

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", QUANTISED)
        self.check_scale(x.shape, x.element)
        made = checks.tensor(self.result, "the result", FLOATS)
        return [Tensor(made.element, x.shape).type]
