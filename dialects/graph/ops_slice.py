"""Ops that cut, join, turn and make up data: constant, iota, slice, reverse, concat, pad."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from xdsl.dialects.builtin import StringAttr, TensorType
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def, var_operand_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, int_def, ints, ints_def, number
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import Extent, Shape, tensor_of
from stepwell.dialects.graph.values import MOST, ValuesAttr, parse_values
from stepwell.dialects.numpy_types import FLOATS, INTEGERS, Array, element_type_of, numpy_dtype


@irdl_op_definition
class ConstantOp(GraphOp):
    """A small constant in the text: `graph.constant [1, 2, 3] : tensor<3xi64>`, or a splat: `graph.constant 0.5 : tensor<64x64xf32>`.

    Bounds, epsilons, positions: one number for all elements, or at most 64 in row-major order; more belong into the weights (`graph.weight`).
    Python: `ConstantOp(array)`, and `op.array` gives the array back."""

    name = "graph.constant"

    values = prop_def(ValuesAttr)
    result = result_def(TensorType)

    traits = traits_def(Pure(), ConstantLike())

    def __init__(self, value: Array | np.generic | float, element_type: Attribute | None = None) -> None:
        array = np.asarray(value, None if element_type is None else numpy_dtype(element_type))
        type = tensor_of(element_type or element_type_of(array.dtype), array.shape)
        self.construct([], {"values": ValuesAttr.of(array)}, types=[type])

    @property
    def array(self) -> Array:
        """The value as a read-only array."""
        type = checks.tensor(self.result, "the result")
        return self.values.array(numpy_dtype(type.element), type.shape)

    def infer(self) -> Sequence[Attribute]:
        type = checks.tensor(self.result, "the result")
        elements = prod(checks.known(extent, "an extent") for extent in type.shape)
        held = len(self.values.data)
        if held > MOST:
            raise VerifyException(f"{held} numbers stand in the text, at most {MOST} may: put them into the weights")
        if held not in (1, elements):
            raise VerifyException(f"{held} numbers for {elements} elements: give one for all, or one for each")
        try:
            _ = self.array
        except (ValueError, OverflowError) as error:
            raise VerifyException(f"{self.values.text()} are no values of {type.element}: {error}") from None
        return [type.type]

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.values.text()}")
        printer.print_op_attributes(self.attributes)
        printer.print_string(" : ")
        printer.print_attribute(self.result.type)

    @classmethod
    def parse(cls, parser: Parser) -> ConstantOp:
        values = ValuesAttr(parse_values(parser))
        attributes = parser.parse_optional_attr_dict()
        parser.parse_punctuation(":")
        return cls.create(properties={"values": values}, attributes=attributes, result_types=[parser.parse_type()])


@irdl_op_definition
class IotaOp(GraphOp):
    """Each element is its index along a dim: `graph.iota dim 1 : tensor<2x3xi64>` is [[0, 1, 2], [0, 1, 2]].

    Elements are integers or floats (an index that a float cannot hold is rounded to nearest even, one beyond an integer's range wraps)."""

    name = "graph.iota"

    dim_attr = int_def("dim")
    result = result_def(TensorType)
    dim = number("dim")

    assembly_format = "`dim` $dim attr-dict `:` type($result)"

    def __init__(self, element_type: Attribute, shape: Sequence[int], *, dim: int) -> None:
        self.construct([], {"dim": dim}, types=[tensor_of(element_type, shape)])

    def infer(self) -> Sequence[Attribute]:
        type = checks.tensor(self.result, "the result", (*FLOATS, *INTEGERS))
        checks.dim_in(self.dim, type.rank)
        return [type.type]


@irdl_op_definition
class SliceOp(GraphOp):
    """A regular part: `graph.slice %x begins [0, 1] extents [2, 3] strides [1, 2] : tensor<2x8xf32> -> tensor<2x3xf32>`.

    Result index i of a dim reads begin + i * stride; strides are positive, and all that is read lies inside the operand. A dim whose extent is a
    symbol is taken whole: begin 0, stride 1, the symbol as extent (in the text -1)."""

    name = "graph.slice"

    operand = operand_def(TensorType)
    begins_attr = ints_def("begins")
    extents_attr = ints_def("extents")
    strides_attr = ints_def("strides")
    result = result_def(TensorType)
    begins, extents, strides = ints("begins"), ints("extents"), ints("strides")

    assembly_format = "$operand `begins` $begins `extents` $extents `strides` $strides attr-dict `:` type($operand) `->` type($result)"

    def __init__(
        self,
        operand: Value,
        *,
        begins: Sequence[int],
        extents: Sequence[int],
        strides: Sequence[int] | None = None,
    ) -> None:
        plain = [-1 if isinstance(extent, Extent) else extent for extent in extents]
        steps = [1] * len(begins) if strides is None else strides
        self.construct([operand], {"begins": begins, "extents": plain, "strides": steps})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        for what, values, least in (
            ("begins", self.begins, 0),
            ("extents", self.extents, -1),
            ("strides", self.strides, 1),
        ):
            checks.count(values, x.rank, what, least)
        return [Tensor(x.element, tuple(self._extent(d, extent) for d, extent in enumerate(x.shape))).type]

    def _extent(self, dim: int, whole: int) -> int:
        begin, extent, stride = self.begins[dim], self.extents[dim], self.strides[dim]
        if isinstance(whole, Extent):
            if (begin, extent, stride) != (0, -1, 1):
                raise VerifyException(
                    f"dim {dim} has the symbolic extent {whole}: take it whole (begin 0, extent -1, stride 1)"
                )
            return whole
        last = begin + (extent - 1) * stride
        if extent < 0 or begin > whole or (extent > 0 and last >= whole):
            raise VerifyException(
                f"dim {dim}: begin {begin}, extent {extent}, stride {stride} reach {last}, outside of the operand's {whole}"
            )
        return extent


@irdl_op_definition
class ReverseOp(GraphOp):
    """Dims turned around: `graph.reverse %x dims [1] : tensor<2x3xf32> -> tensor<2x3xf32>`; index i of such a dim becomes extent - 1 - i."""

    name = "graph.reverse"

    operand = operand_def(TensorType)
    dims_attr = ints_def("dims")
    result = result_def(TensorType)
    dims = ints("dims")

    assembly_format = "$operand `dims` $dims attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value, *, dims: Sequence[int]) -> None:
        self.construct([operand], {"dims": dims})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        checks.dims_in(self.dims, x.rank)
        return [x.type]


@irdl_op_definition
class ConcatOp(GraphOp):
    """Operands one behind the other: `graph.concat %a, %b dim 1 : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x7xf32>`.

    Extents of the dim add up, all others agree. Counted extents pack without gaps: the result's extent is then a new counted symbol, whose
    name `as "rows"` gives and whose bound is the sum of the bounds."""

    name = "graph.concat"

    inputs = var_operand_def(TensorType)
    dim_attr = int_def("dim")
    symbol_attr = opt_prop_def(StringAttr, prop_name="symbol")
    result = result_def(TensorType)
    dim = number("dim")

    assembly_format = "$inputs `dim` $dim (`as` $symbol^)? attr-dict `:` functional-type(operands, results)"

    def __init__(self, inputs: Sequence[Value], *, dim: int, symbol: str | None = None) -> None:
        self.construct([inputs], {"dim": dim, "symbol": symbol})

    def infer(self) -> Sequence[Attribute]:
        if not self.inputs:
            raise VerifyException("it joins nothing: give at least one operand")
        tensors = [checks.tensor(value, f"operand {position}") for position, value in enumerate(self.inputs)]
        first, dim = tensors[0], self.dim
        checks.dim_in(dim, first.rank)
        for position, other in enumerate(tensors):
            checks.same_elements(first, other, f"operand 0 and operand {position}")
            if (*other.shape[:dim], *other.shape[dim + 1 :]) != (*first.shape[:dim], *first.shape[dim + 1 :]):
                raise VerifyException(
                    f"operand 0 has shape {list(first.shape)} and operand {position} {list(other.shape)}: they may differ in "
                    f"dim {dim} only"
                )
        joined = _joined([other.shape[dim] for other in tensors], self.symbol_attr)
        return [Tensor(first.element, (*first.shape[:dim], joined, *first.shape[dim + 1 :])).type]


def _joined(extents: Shape | list[int], symbol: StringAttr | None) -> int:
    """The extent of a concatenation."""
    if not any(isinstance(extent, Extent) for extent in extents):
        return sum(extents)
    if len(extents) == 1:
        return extents[0]
    if symbol is None:
        raise VerifyException('an operand has a symbolic extent along the dim: name the result\'s, as "name"')
    low = sum(e.low * e.factor if isinstance(e, Extent) else e for e in extents)
    return Extent(symbol.data, sum(int(e) for e in extents), low=low, counted=True)


@irdl_op_definition
class PadOp(GraphOp):
    """A scalar around the operand: `graph.pad %x, %zero low [0, 1] high [0, 2] : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x6xf32>`.

    `low` and `high` count the elements before and behind each dim. Edge, reflect and wrap modes are concatenations of slices."""

    name = "graph.pad"

    operand = operand_def(TensorType)
    value = operand_def(TensorType)
    low_attr = ints_def("low")
    high_attr = ints_def("high")
    result = result_def(TensorType)
    low, high = ints("low"), ints("high")

    assembly_format = "$operand `,` $value `low` $low `high` $high attr-dict `:` functional-type(operands, results)"

    def __init__(self, operand: Value, value: Value, *, low: Sequence[int], high: Sequence[int]) -> None:
        self.construct([operand, value], {"low": low, "high": high})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand")
        checks.same_elements(x, checks.scalar(self.value, "the padding value", checks.ANY), "operand and padding value")
        checks.count(self.low, x.rank, "low", 0)
        checks.count(self.high, x.rank, "high", 0)
        widths = [a + b for a, b in zip(self.low, self.high, strict=True)]
        return [Tensor(x.element, tuple(e + w if w else e for e, w in zip(x.shape, widths, strict=True))).type]
