"""Types of the `hopper` dialect: tensor maps as kernel parameters, accumulators in flight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import ArrayAttr, IntAttr, StringAttr, VectorType, f32, i32
from xdsl.ir import Attribute, ParametrizedAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import element_bytes
from stepwell.types.layouts import Swizzle

MAX_BOX = 256
"""Largest extent of a TMA box (CUDA driver API, cuTensorMapEncodeTiled); im2col loads up to 1024 pixels."""
MAX_PIXELS = 1024


@irdl_attr_definition
class TensorMapType(ParametrizedAttribute, TypeAttribute):
    """A TMA descriptor (`__grid_constant__` parameter of 128 bytes) with what the kernel relies on.

    `!hopper.tensor_map<tiled f16 [64, 1, 128] swizzle 128>`: a dense tensor of rank 3, innermost dimension first; one load
    brings a box of these extents, zeros outside the tensor. `!hopper.tensor_map<im2col f16 [64, 128] swizzle 128>`: an NHWC
    tensor; one load brings `box[1]` consecutive output pixels of `box[0]` channels. In shared memory the box lies densely, the
    innermost extent as rows of `swizzle` bytes exchanged by `stepwell.types.layouts.Swizzle` (swizzle 0: not exchanged)."""

    name = "hopper.tensor_map"
    kind: StringAttr
    element: Attribute
    box: ArrayAttr[IntAttr]
    swizzle: IntAttr

    @staticmethod
    def make(kind: str, element: Attribute, box: Sequence[int], swizzle: int) -> TensorMapType:
        """The type from plain values."""
        return TensorMapType(StringAttr(kind), element, ArrayAttr(IntAttr(n) for n in box), IntAttr(swizzle))

    @property
    def extents(self) -> tuple[int, ...]:
        """The box, innermost first."""
        return tuple(extent.data for extent in self.box)

    @property
    def rank(self) -> int:
        """How many coordinates a load gives: the box's rank, or 4 (c, w, h, n) for im2col."""
        return 4 if self.kind.data == "im2col" else len(self.box)

    @property
    def bytes(self) -> int:
        """What one load brings and signals to its barrier: the whole box, zeros included."""
        return prod(self.extents) * element_bytes(self.element)

    @property
    def alignment(self) -> int:
        """Alignment of the destination in shared memory."""
        return Swizzle(self.swizzle.data).alignment if self.swizzle.data else 128

    def verify(self) -> None:
        kind, box, swizzle = self.kind.data, self.extents, self.swizzle.data
        if kind not in ("tiled", "im2col"):
            raise VerifyException(f"tensor map is tiled or im2col, not {kind}")
        if swizzle not in (0, 32, 64, 128):
            raise VerifyException(f"tensor map has swizzle {swizzle}; give 0, 32, 64 or 128 bytes")
        if (kind == "im2col" and len(box) != 2) or not 2 <= len(box) <= 5:
            raise VerifyException(f"{kind} tensor map with a box of {len(box)} extents; im2col has 2, tiled 2 to 5")
        limits = [MAX_BOX] * len(box) if kind == "tiled" else [MAX_BOX, MAX_PIXELS]
        if any(not 1 <= extent <= limit for extent, limit in zip(box, limits, strict=True)):
            raise VerifyException(f"tensor map box {list(box)}: extents must be in 1 .. {limits}")
        row = box[0] * element_bytes(self.element)
        if row % 16 or (swizzle and row != swizzle):
            wanted = f"{swizzle} bytes (the swizzle)" if swizzle else "a multiple of 16 bytes"
            raise VerifyException(f"tensor map rows have {row} bytes; the innermost extent must be {wanted}")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            kind = parser.parse_identifier("tensor map kind")
            element = parser.parse_type()
            box = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
            parser.parse_keyword("swizzle")
            swizzle = parser.parse_integer()
        return [StringAttr(kind), element, ArrayAttr(IntAttr(n) for n in box), IntAttr(swizzle)]

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(f"{self.kind.data} ")
            printer.print_attribute(self.element)
            printer.print_string(f" {list(self.extents)} swizzle {self.swizzle.data}")


@irdl_attr_definition
class PendingType(ParametrizedAttribute, TypeAttribute):
    """`!hopper.pending<vector<32xf32>>`: accumulator registers that wgmma may still be writing. Linear: one use."""

    name = "hopper.pending"
    vector: VectorType

    def verify(self) -> None:
        if self.vector.element_type not in (f32, i32) or self.vector.get_num_dims() != 1:
            raise VerifyException(f"accumulators are vectors of f32 or i32, not {self.vector}")
