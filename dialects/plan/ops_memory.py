"""Ops that name memory: bindings, constants, arena slices, and views and windows on them. They are pure and have no
step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from xdsl.dialects.builtin import (
    Attribute,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    UnrankedTensorType,
    i64,
)
from xdsl.ir import Operation, SSAValue
from xdsl.irdl import (
    BaseAttr,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.plan.attributes import ALIGNMENT, BufferType, Direction, DirectionAttr, WindowType

I64 = IntegerType(64)


def array(values: Sequence[int]) -> DenseArrayBase:
    """A dense array attribute of i64."""
    return DenseArrayBase.from_list(i64, list(values))


def _offset(at: int | None) -> IntegerAttr | None:
    return None if at is None else IntegerAttr(at, i64)


def verify_offset(op: Operation, at: IntegerAttr | None) -> None:
    """Offsets, where assigned, are multiples of the alignment."""
    if at is not None and (at.value.data < 0 or at.value.data % ALIGNMENT):
        raise VerifyException(
            f"{op.name}: offset {at.value.data} is not a multiple of {ALIGNMENT}: run plan-assign-offsets"
        )


@irdl_op_definition
class BindingOp(IRDLOperation):
    """Memory of the caller: a network input or output, by the name and with the shape and element type that users
    see."""

    name = "plan.binding"

    binding_name = prop_def(StringAttr)
    direction = prop_def(DirectionAttr)
    buffer = result_def(BufferType)

    traits = traits_def(Pure())
    assembly_format = "$binding_name $direction attr-dict `:` type($buffer)"

    def __init__(self, name: str, direction: Direction | str, buffer_type: BufferType) -> None:
        properties = {"binding_name": StringAttr(name), "direction": DirectionAttr(Direction(direction))}
        super().__init__(properties=properties, result_types=[buffer_type])

    @property
    def is_input(self) -> bool:
        """Whether the caller provides the bytes."""
        return self.direction.data is Direction.INPUT

    @property
    def type(self) -> BufferType:
        """The type of the buffer."""
        assert isinstance(self.buffer.type, BufferType)
        return self.buffer.type

    def verify_(self) -> None:
        if not self.binding_name.data:
            raise VerifyException("plan.binding: the name is empty: bindings are found by name")
        if not self.type.contiguous:
            raise VerifyException(f'plan.binding: "{self.binding_name.data}" has strides: bindings are contiguous')


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """Weights at `at` in the constant arena: a `#graph.weight` (by reference, with its recipe) or a small
    `dense<...>`."""

    name = "plan.constant"

    value = prop_def(Attribute)
    at = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    buffer = result_def(BufferType)

    traits = traits_def(Pure())
    assembly_format = "$value (`at` $at^)? attr-dict `:` type($buffer)"

    def __init__(self, value: Attribute, buffer_type: BufferType, at: int | None = None) -> None:
        super().__init__(properties={"value": value, "at": _offset(at)}, result_types=[buffer_type])

    @property
    def type(self) -> BufferType:
        """The type of the buffer."""
        assert isinstance(self.buffer.type, BufferType)
        return self.buffer.type

    def verify_(self) -> None:
        verify_offset(self, self.at)
        if not self.type.contiguous:
            raise VerifyException("plan.constant: constants are contiguous: put the layout into the weight's recipe")
        if isinstance(self.value, DenseIntOrFPElementsAttr):
            stored = self.value.type
            if isinstance(stored, UnrankedTensorType) or stored.get_shape() != self.type.get_shape():
                raise VerifyException(f"plan.constant: value of type {stored} in a buffer {self.type}")
            if stored.get_element_type() != self.type.element_type:
                raise VerifyException(f"plan.constant: value of type {stored} in a buffer {self.type}")
        elif self.value.name != "graph.weight":
            raise VerifyException(f"plan.constant: {self.value.name} is neither #graph.weight nor dense<...>")


@irdl_op_definition
class SliceOp(IRDLOperation):
    """Arena bytes that hold values during the steps `live [first, last]` (inclusive; steps count launches and copies);
    `at` is the byte offset, absent until plan-assign-offsets has run."""

    name = "plan.slice"

    at = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    live = prop_def(DenseArrayBase.constr(I64))
    buffer = result_def(BufferType)

    traits = traits_def(Pure())
    assembly_format = "(`at` $at^)? `live` $live attr-dict `:` type($buffer)"

    def __init__(self, buffer_type: BufferType, live: tuple[int, int], at: int | None = None) -> None:
        super().__init__(properties={"at": _offset(at), "live": array(live)}, result_types=[buffer_type])

    @property
    def type(self) -> BufferType:
        """The type of the buffer."""
        assert isinstance(self.buffer.type, BufferType)
        return self.buffer.type

    @property
    def lifetime(self) -> tuple[int, int]:
        """First and last step, inclusive."""
        first, last = self.live.get_values()
        return int(first), int(last)

    def verify_(self) -> None:
        verify_offset(self, self.at)
        if len(self.live) != 2 or not 0 <= self.lifetime[0] <= self.lifetime[1]:
            raise VerifyException(
                f"plan.slice: live {list(self.live.get_values())} is not [first, last] with first <= last"
            )
        if not self.type.contiguous:
            raise VerifyException("plan.slice: a slice is contiguous: take a plan.view of it for strides")


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The same memory under another shape; with `offset` (elements) or strides, a part of it. The source is
    contiguous."""

    name = "plan.view"

    source = operand_def(BufferType)
    offset = opt_prop_def(IntegerAttr[IntegerType].constr(type=I64))
    buffer = result_def(BufferType)

    traits = traits_def(Pure())
    assembly_format = "$source (`offset` $offset^)? attr-dict `:` type($source) `->` type($buffer)"

    def __init__(self, source: SSAValue | Operation, buffer_type: BufferType, offset: int | None = None) -> None:
        super().__init__(operands=[source], properties={"offset": _offset(offset)}, result_types=[buffer_type])

    @property
    def element_offset(self) -> int:
        """Elements before the first one of the view."""
        return 0 if self.offset is None else self.offset.value.data

    def verify_(self) -> None:
        source, result = self.source.type, self.buffer.type
        assert isinstance(source, BufferType) and isinstance(result, BufferType)
        if source.element_type != result.element_type:
            raise VerifyException(
                f"plan.view: changes the element type from {source.element_type} to {result.element_type}"
            )
        if not source.contiguous:
            raise VerifyException("plan.view: the source has strides: take the view of the whole buffer instead")
        whole = self.offset is None and result.contiguous
        if whole and source.element_count() != result.element_count():
            raise VerifyException(
                f"plan.view: {source} and {result} differ in the number of elements: give an offset for a part"
            )
        end = (
            self.element_offset * (size := source.size_in_bytes() // max(1, source.element_count()))
            + result.size_in_bytes()
        )
        if self.element_offset < 0 or end > size * source.element_count():
            raise VerifyException(f"plan.view: ends at byte {end} of a buffer of {source.size_in_bytes()} bytes")


@irdl_op_definition
class WindowOp(IRDLOperation):
    """Implicit-GEMM view [M, T, C] of a channels-last buffer [N, spatial.., C], M = N * output pixels, T = taps (two
    spatial dimensions: M = N*OH*OW, T = R*S): element (m, t, c) is x[n, oh*sh - ph + r*dh, ow*sw - pw + s*dw, c], or
    `fill` outside. `pads` are begins, then ends (ONNX order)."""

    name = "plan.window"

    source = operand_def(BufferType)
    kernel = prop_def(DenseArrayBase.constr(I64))
    strides = prop_def(DenseArrayBase.constr(I64))
    pads = prop_def(DenseArrayBase.constr(I64))
    dilations = prop_def(DenseArrayBase.constr(I64))
    fill = prop_def(BaseAttr(FloatAttr) | BaseAttr(IntegerAttr))
    window = result_def(WindowType)

    traits = traits_def(Pure())
    assembly_format = (
        "$source `kernel` $kernel `strides` $strides `pads` $pads `dilations` $dilations `fill` $fill attr-dict"
        " `:` type($source) `->` type($window)"
    )

    def __init__(
        self,
        source: SSAValue | Operation,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int],
        dilations: Sequence[int],
        fill: FloatAttr | IntegerAttr,
    ) -> None:
        value = SSAValue.get(source, type=BufferType)
        properties = {
            "kernel": array(kernel),
            "strides": array(strides),
            "pads": array(pads),
            "dilations": array(dilations),
            "fill": fill,
        }
        shape = window_shape(value.type.get_shape(), kernel, strides, pads, dilations)
        super().__init__(
            operands=[value], properties=properties, result_types=[WindowType.of(shape, value.type.element_type)]
        )

    def geometry(self) -> Geometry:
        """How it slides, as numbers."""
        held = (self.kernel, self.strides, self.pads, self.dilations)
        return Geometry(*(tuple(map(int, attribute.get_values())) for attribute in held))

    def verify_(self) -> None:
        source, result = self.source.type, self.window.type
        assert isinstance(source, BufferType) and isinstance(result, WindowType)
        shape = window_shape(source.get_shape(), *self.geometry())
        if not source.contiguous:
            raise VerifyException(f"plan.window: the source {source} has strides: windows are over contiguous buffers")
        if shape != result.get_shape() or source.element_type != result.element_type:
            raise VerifyException(
                f"plan.window: {source} gives !plan.window<{'x'.join(map(str, shape))}x..>, not {result}"
            )
        if self.fill.type != source.element_type:
            raise VerifyException(
                f"plan.window: fill of type {self.fill.type} for elements of type {source.element_type}"
            )


class Geometry(NamedTuple):
    """How a window slides, for each spatial dim: taps, steps, elements of padding (all before, then all after), elements between taps."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]


def window_output(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[int, ...]:
    """Output extents per spatial dimension: floor((x + pads - dilation*(kernel-1) - 1) / stride) + 1 (ONNX Conv)."""
    spatial = len(shape) - 2
    if spatial < 1 or [len(kernel), len(strides), len(pads), len(dilations)] != [
        spatial,
        spatial,
        2 * spatial,
        spatial,
    ]:
        raise VerifyException(
            f"plan.window: a buffer [N, spatial.., C] takes a kernel, stride and dilation and two pads per spatial "
            f"dimension, got shape {list(shape)}, kernel {list(kernel)}, strides {list(strides)}, pads {list(pads)}"
        )
    if min(*kernel, *strides, *dilations) < 1 or min(pads) < 0:
        raise VerifyException("plan.window: kernel, strides and dilations are positive, pads not negative")
    extents = tuple(
        (shape[1 + d] + pads[d] + pads[spatial + d] - dilations[d] * (kernel[d] - 1) - 1) // strides[d] + 1
        for d in range(spatial)
    )
    if min(extents) < 1:
        raise VerifyException(f"plan.window: kernel {list(kernel)} does not fit into the padded {list(shape[1:-1])}")
    return extents


def window_shape(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[int, int, int]:
    """M, T and C of the window."""
    output = window_output(shape, kernel, strides, pads, dilations)
    return shape[0] * math.prod(output), math.prod(kernel), shape[-1]
