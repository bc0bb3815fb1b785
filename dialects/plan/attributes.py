"""Types and attributes of the plan dialect: buffers in memory, windows on them, tensor maps and pointer tables."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xdsl.dialects.builtin import (
    ArrayAttr,
    ContainerType,
    IndexType,
    IntAttr,
    NoneAttr,
    ShapedType,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import Attribute, ParametrizedAttribute, SpacedOpaqueSyntaxAttribute, TypeAttribute
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from stepwell.dialects.numpy_types import element_bytes

ALIGNMENT = 256
"""Every slice and constant begins at a multiple of this many bytes: enough for TMA (128) and for any vector load."""


def element_name(element_type: Attribute) -> str:
    """The name of an element type in the plan file: f64, f32, f16, i1, i8, i16, i32 or i64 (an index is an i64)."""
    return "i64" if isinstance(element_type, IndexType) else str(element_type)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Element strides of a contiguous array of this shape."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _parse_shape(parser: AttrParser) -> tuple[ArrayAttr[IntAttr], Attribute]:
    shape, element_type = parser.parse_ranked_shape()
    return ArrayAttr(IntAttr(extent) for extent in shape), element_type


def _print_shape(printer: Printer, shape: Sequence[int], element_type: Attribute) -> None:
    for extent in shape:
        printer.print_string(f"{extent}x")
    printer.print_attribute(element_type)


class _Shaped(ParametrizedAttribute, TypeAttribute, ShapedType, ContainerType[Attribute]):
    """What buffers and windows share: a static shape and an element type."""

    shape: ArrayAttr[IntAttr]
    element_type: Attribute

    def get_num_dims(self) -> int:
        """The rank."""
        return len(self.shape)

    def get_shape(self) -> tuple[int, ...]:
        """The extents."""
        return tuple(extent.data for extent in self.shape)

    def get_element_type(self) -> Attribute:
        """The element type."""
        return self.element_type

    def verify(self) -> None:
        try:
            element_bytes(self.element_type)
        except TypeError as error:
            raise VerifyException(f"{self.name}: {error}") from error
        if any(extent < 0 for extent in self.get_shape()):
            raise VerifyException(f"{self.name}: extents are static and not negative, got {self.get_shape()}")


@irdl_attr_definition
class BufferType(_Shaped):
    """Bytes in the arena, in the constants or in a binding, seen as an array: `!plan.buffer<8x64xf32>`, contiguous and
    row-major, or with element strides: `!plan.buffer<8x64xf32, strides = [128, 1]>`."""

    name = "plan.buffer"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute
    strides: ArrayAttr[IntAttr] | NoneAttr

    @staticmethod
    def of(shape: Sequence[int], element_type: Attribute, strides: Sequence[int] | None = None) -> BufferType:
        """Make the type from plain numbers; strides that are row-major are left out."""
        given = None if strides is None or tuple(strides) == row_major(shape) else ArrayAttr(map(IntAttr, strides))
        return BufferType(ArrayAttr(map(IntAttr, shape)), element_type, given or NoneAttr())

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie densely in row-major order."""
        return isinstance(self.strides, NoneAttr)

    def get_strides(self) -> tuple[int, ...]:
        """Element strides, outermost first."""
        if isinstance(self.strides, NoneAttr):
            return row_major(self.get_shape())
        return tuple(stride.data for stride in self.strides)

    def size_in_bytes(self) -> int:
        """Bytes from the first element to the end of the last."""
        shape = self.get_shape()
        if 0 in shape:
            return 0
        last = sum((extent - 1) * stride for extent, stride in zip(shape, self.get_strides(), strict=True))
        return (last + 1) * element_bytes(self.element_type)

    def verify(self) -> None:
        super().verify()
        if isinstance(self.strides, NoneAttr):
            return
        strides = self.get_strides()
        if len(strides) != self.get_num_dims() or any(stride < 0 for stride in strides):
            raise VerifyException(
                f"plan.buffer: {self.get_num_dims()} strides, not negative, are needed, got {strides}"
            )
        if strides == row_major(self.get_shape()):
            raise VerifyException("plan.buffer: row-major strides are left out")

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            shape, element_type = _parse_shape(parser)
            if parser.parse_optional_punctuation(",") is None:
                return (shape, element_type, NoneAttr())
            parser.parse_keyword("strides")
            parser.parse_punctuation("=")
            strides = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
            return (shape, element_type, ArrayAttr(map(IntAttr, strides)))

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.get_shape(), self.element_type)
            if isinstance(self.strides, NoneAttr):
                return
            printer.print_string(f", strides = [{', '.join(map(str, self.get_strides()))}]")


@irdl_attr_definition
class WindowType(_Shaped):
    """The implicit-GEMM view of an NHWC buffer, `!plan.window<MxTxCxf32>`: M output pixels, T taps, C channels."""

    name = "plan.window"

    shape: ArrayAttr[IntAttr]
    element_type: Attribute

    @staticmethod
    def of(shape: Sequence[int], element_type: Attribute) -> WindowType:
        """Make the type from plain numbers."""
        return WindowType(ArrayAttr(map(IntAttr, shape)), element_type)

    def verify(self) -> None:
        super().verify()
        if self.get_num_dims() != 3:
            raise VerifyException(
                f"plan.window: has pixels, taps and channels (rank 3), got rank {self.get_num_dims()}"
            )

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> Sequence[Attribute]:
        with parser.in_angle_brackets():
            return _parse_shape(parser)

    def print_parameters(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            _print_shape(printer, self.get_shape(), self.element_type)


@irdl_attr_definition
class TensorMapType(ParametrizedAttribute, TypeAttribute):
    """A CUDA tensor map (TMA descriptor): 128 bytes, passed to kernels as a `__grid_constant__` parameter."""

    name = "plan.tensor_map"


@irdl_attr_definition
class TableType(ParametrizedAttribute, TypeAttribute):
    """A table of 64-bit row addresses that the runtime fills once per context."""

    name = "plan.table"


class Direction(StrEnum):
    """Which way a binding's bytes go."""

    INPUT = "input"
    OUTPUT = "output"


@irdl_attr_definition
class DirectionAttr(EnumAttribute[Direction], SpacedOpaqueSyntaxAttribute):
    """`input` or `output`."""

    name = "plan.direction"


class MapKind(StrEnum):
    """How a tensor map addresses its tensor."""

    TILED = "tiled"
    IM2COL = "im2col"


@irdl_attr_definition
class MapKindAttr(EnumAttribute[MapKind], SpacedOpaqueSyntaxAttribute):
    """`tiled` or `im2col`."""

    name = "plan.map_kind"


MEMORY_TYPES: tuple[type[Attribute], ...] = (BufferType, WindowType, TensorMapType, TableType)
"""Types of launch operands through which a kernel reaches memory; the others are plain values."""

SWIZZLES = (0, 32, 64, 128)
"""Shared-memory swizzle spans of tensor maps in bytes; 0 is none."""
