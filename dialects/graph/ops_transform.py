"""Random numbers, Fourier transforms, determinants."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import TensorType, i64
from xdsl.ir import Attribute
from xdsl.irdl import irdl_op_definition, operand_def, result_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.graph import checks
from stepwell.dialects.graph.base import GraphOp, Value, flag, flag_def, int_def, number
from stepwell.dialects.graph.checks import Tensor
from stepwell.dialects.graph.extents import tensor_of
from stepwell.dialects.numpy_types import FLOATS


@irdl_op_definition
class RandomOp(GraphOp):
    """Uniform numbers in [0, 1): `graph.random %key : (tensor<2xi64>) -> tensor<4x8xf32>`.

    A function of the key and of each element's row-major index: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
    2011) with the key's first number as its key and (index, the key's second number) as its counter; the first word's highest bits, as many as
    the element type holds (f64: the first two words' 53). Without a seed in the model the key is an input that the engine fills."""

    name = "graph.random"

    key = operand_def(TensorType)
    result = result_def(TensorType)

    assembly_format = "$key attr-dict `:` functional-type(operands, results)"

    def __init__(self, key: Value, element_type: Attribute, shape: Sequence[int]) -> None:
        self.construct([key], types=[tensor_of(element_type, shape)])

    def infer(self) -> Sequence[Attribute]:
        checks.shaped(self.key, "the key", (i64,), [2])
        return [checks.tensor(self.result, "the result", FLOATS).type]


@irdl_op_definition
class DftOp(GraphOp):
    """Discrete Fourier transform along a dim: `graph.dft %x dim 1 length 8 onesided : tensor<2x8x1xf32> -> tensor<2x5x2xf32>`.

    The last dim holds the real and the imaginary part, or a real operand's only one. X[k] = sum of x[j] exp(-2 pi i j k / length); the operand is cut
    or padded with zeros to `length`. `inverse`: exp(+..), divided by `length`. `onesided`: of a real operand the first length/2 + 1 values;
    with `inverse` the operand is such a half spectrum and the result real, with one part. Computed in float64."""

    name = "graph.dft"

    operand = operand_def(TensorType)
    dim_attr = int_def("dim")
    length_attr = int_def("length")
    inverse_attr = flag_def("inverse")
    onesided_attr = flag_def("onesided")
    result = result_def(TensorType)
    dim, length, inverse, onesided = number("dim"), number("length"), flag("inverse"), flag("onesided")

    assembly_format = (
        "$operand `dim` $dim `length` $length (`inverse` $inverse^)? (`onesided` $onesided^)? attr-dict `:` "
        "type($operand) `->` type($result)"
    )

    def __init__(self, operand: Value, *, dim: int, length: int, inverse: bool = False, onesided: bool = False) -> None:
        self.construct([operand], {"dim": dim, "length": length, "inverse": inverse, "onesided": onesided})

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        if x.rank < 2 or x.shape[-1] not in (1, 2):
            raise VerifyException(
                f"the operand has shape {list(x.shape)}: its last dim must be 1 (real) or 2 (complex)"
            )
        checks.dim_in(self.dim, x.rank - 1)
        checks.known(x.shape[self.dim], f"dim {self.dim}")
        if self.length < 1:
            raise VerifyException(f"length {self.length} must be at least 1")
        if self.onesided and not self.inverse and x.shape[-1] != 1:
            raise VerifyException("a one-sided transform needs a real operand, with a last dim of 1")
        values = self.length // 2 + 1 if self.onesided and not self.inverse else self.length
        parts = 1 if self.onesided and self.inverse else 2
        return [Tensor(x.element, (*x.shape[: self.dim], values, *x.shape[self.dim + 1 : -1], parts)).type]


@irdl_op_definition
class DeterminantOp(GraphOp):
    """Determinants of square matrices: `graph.determinant %x : tensor<5x3x3xf32> -> tensor<5xf32>`, by elimination with pivots in float64."""

    name = "graph.determinant"

    operand = operand_def(TensorType)
    result = result_def(TensorType)

    assembly_format = "$operand attr-dict `:` type($operand) `->` type($result)"

    def __init__(self, operand: Value) -> None:
        self.construct([operand])

    def infer(self) -> Sequence[Attribute]:
        x = checks.tensor(self.operand, "the operand", FLOATS)
        if x.rank < 2 or x.shape[-1] != x.shape[-2]:
            raise VerifyException(f"the operand has shape {list(x.shape)}: its last two extents must be equal")
        return [Tensor(x.element, x.shape[:-2]).type]
