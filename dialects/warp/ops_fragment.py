"""Tiles in registers: fragments moved from and to global memory, gathers by computed offsets, spreading a row or column."""

from __future__ import annotations

from typing import cast

from xdsl.dialects.builtin import I32, IntegerAttr, StringAttr, VectorType, i1, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    AnyAttr,
    IRDLOperation,
    base,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import MemoryReadEffect, MemoryWriteEffect, Pure
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import element_bytes
from stepwell.dialects.warp.attributes import MOVABLE, SCALARS, FragmentAttr, GlobalType


def _check_access(
    op: IRDLOperation, pointer: SSAValue, value: SSAValue, layout: FragmentAttr, access: int, held: int
) -> None:
    """One thread's part has `held` elements, and one access is a power of two of at most 16 bytes inside `width`."""
    element = cast(GlobalType, pointer.type).element
    if element not in MOVABLE:
        raise VerifyException(f"{op.name}: cannot move elements of type {element}; use {', '.join(map(str, MOVABLE))}")
    if value.type != VectorType(element, [held]):
        raise VerifyException(
            f"{op.name}: the layout gives each thread {VectorType(element, [held])}, but the value is {value.type}"
        )
    if access < 1 or layout.width.data % access or access & (access - 1) or access * element_bytes(element) > 16:
        limit = f"a power of two that divides width {layout.width.data} and is at most 16 bytes"
        raise VerifyException(f"{op.name}: access {access} of {element}; give {limit}")


@irdl_op_definition
class FragmentLoadOp(IRDLOperation):
    """Load a tile at (row, col) of a row-major matrix: element (r, c) of the fragment is `p[(row + r) * stride + col + c]` where
    `row + r < rows` and `col + c < cols`, else 0. All numbers are i32 elements; `row` and `col` may differ between groups of
    `layout.threads` threads. `access` contiguous elements are read at once: the host promises that col, cols and stride are
    multiples of it. The result is this thread's vector. Printed as one inline-asm block."""

    name = "warp.fragment_load"
    pointer = operand_def(base(GlobalType))
    row = operand_def(I32)
    col = operand_def(I32)
    stride = operand_def(I32)
    rows = operand_def(I32)
    cols = operand_def(I32)
    layout = prop_def(FragmentAttr)
    access = prop_def(IntegerAttr[I32])
    result = result_def(base(VectorType))
    assembly_format = (
        "$pointer `[` $row `,` $col `]` `stride` $stride `bounds` `[` $rows `,` $cols `]` $layout `access` $access attr-dict "
        "`:` type($pointer) `->` type($result)"
    )
    traits = traits_def(MemoryReadEffect())

    def __init__(
        self,
        pointer: SSAValue,
        index: tuple[SSAValue, SSAValue],
        stride: SSAValue,
        bounds: tuple[SSAValue, SSAValue],
        layout: FragmentAttr,
        access: int,
    ) -> None:
        super().__init__(
            operands=[pointer, *index, stride, *bounds],
            properties={"layout": layout, "access": IntegerAttr(access, i32)},
            result_types=[layout.vector(cast(GlobalType, pointer.type).element)],
        )

    def verify_(self) -> None:
        _check_access(self, self.pointer, self.result, self.layout, self.access.value.data, self.layout.registers)


@irdl_op_definition
class FragmentLoadRowOp(IRDLOperation):
    """Load a row vector (a bias), one element for each of the thread's columns in a fragment, in the order of `warp.fragment_index`: that of column c is
    `p[col + c]` where `col + c < cols`, else 0. `access` as in `warp.fragment_load`; `warp.spread` gives it to every row."""

    name = "warp.fragment_load_row"
    pointer = operand_def(base(GlobalType))
    col = operand_def(I32)
    cols = operand_def(I32)
    layout = prop_def(FragmentAttr)
    access = prop_def(IntegerAttr[I32])
    result = result_def(base(VectorType))
    assembly_format = "$pointer `[` $col `]` `bounds` `[` $cols `]` $layout `access` $access attr-dict `:` type($pointer) `->` type($result)"
    traits = traits_def(MemoryReadEffect())

    def __init__(self, pointer: SSAValue, col: SSAValue, cols: SSAValue, layout: FragmentAttr, access: int) -> None:
        super().__init__(
            operands=[pointer, col, cols],
            properties={"layout": layout, "access": IntegerAttr(access, i32)},
            result_types=[VectorType(cast(GlobalType, pointer.type).element, [layout.columns_per_thread])],
        )

    def verify_(self) -> None:
        held = self.layout.columns_per_thread
        _check_access(self, self.pointer, self.result, self.layout, self.access.value.data, held)


@irdl_op_definition
class FragmentStoreOp(IRDLOperation):
    """Store a fragment to a row-major matrix: the mirror of `warp.fragment_load`; elements outside the bounds are dropped."""

    name = "warp.fragment_store"
    value = operand_def(base(VectorType))
    pointer = operand_def(base(GlobalType))
    row = operand_def(I32)
    col = operand_def(I32)
    stride = operand_def(I32)
    rows = operand_def(I32)
    cols = operand_def(I32)
    layout = prop_def(FragmentAttr)
    access = prop_def(IntegerAttr[I32])
    assembly_format = (
        "$value `,` $pointer `[` $row `,` $col `]` `stride` $stride `bounds` `[` $rows `,` $cols `]` $layout `access` $access "
        "attr-dict `:` type($value) `,` type($pointer)"
    )
    traits = traits_def(MemoryWriteEffect())

    def __init__(
        self,
        value: SSAValue,
        pointer: SSAValue,
        index: tuple[SSAValue, SSAValue],
        stride: SSAValue,
        bounds: tuple[SSAValue, SSAValue],
        layout: FragmentAttr,
        access: int,
    ) -> None:
        super().__init__(
            operands=[value, pointer, *index, stride, *bounds],
            properties={"layout": layout, "access": IntegerAttr(access, i32)},
        )

    def verify_(self) -> None:
        _check_access(self, self.pointer, self.value, self.layout, self.access.value.data, self.layout.registers)


@irdl_op_definition
class FragmentIndexOp(IRDLOperation):
    """Where this thread's elements lie in the tile, as i32: `rows` gives the numbers of its rows, `cols` those of its
    columns, each once, in the order of its registers."""

    name = "warp.fragment_index"
    along = prop_def(StringAttr)
    layout = prop_def(FragmentAttr)
    result = result_def(base(VectorType))
    assembly_format = "$along $layout attr-dict `:` type($result)"
    traits = traits_def(Pure())

    def __init__(self, along: str, layout: FragmentAttr) -> None:
        length = layout.rows_per_thread if along == "rows" else layout.columns_per_thread
        super().__init__(
            properties={"along": StringAttr(along), "layout": layout}, result_types=[VectorType(i32, [length])]
        )

    def verify_(self) -> None:
        length = _length(self, self.along.data, self.layout)
        if self.result.type != VectorType(i32, [length]):
            raise VerifyException(
                f"{self.name}: the layout has {length} {self.along.data} per thread, not {self.result.type}"
            )


@irdl_op_definition
class SpreadOp(IRDLOperation):
    """One value per row (or per column) of this thread, in the order of `warp.fragment_index` -> a whole fragment vector: each register gets the
    value of its row (or column)."""

    name = "warp.spread"
    value = operand_def(base(VectorType))
    along = prop_def(StringAttr)
    layout = prop_def(FragmentAttr)
    result = result_def(base(VectorType))
    assembly_format = "$value $along $layout attr-dict `:` type($value) `->` type($result)"
    traits = traits_def(Pure())

    def __init__(self, value: SSAValue, along: str, layout: FragmentAttr) -> None:
        element = cast(VectorType[Attribute], value.type).element_type
        super().__init__(
            operands=[value],
            properties={"along": StringAttr(along), "layout": layout},
            result_types=[layout.vector(element)],
        )

    def verify_(self) -> None:
        length = _length(self, self.along.data, self.layout)
        value = cast(VectorType[Attribute], self.value.type)
        if value.get_shape() != (length,) or self.result.type != self.layout.vector(value.element_type):
            raise VerifyException(
                f"{self.name}: the layout has {length} {self.along.data} per thread, not {self.value.type}"
            )


def _length(op: IRDLOperation, along: str, layout: FragmentAttr) -> int:
    """Rows or columns per thread; refuses what the layout cannot say."""
    if along not in ("rows", "cols"):
        raise VerifyException(f'{op.name}: along is "rows" or "cols", not "{along}"')
    return layout.rows_per_thread if along == "rows" else layout.columns_per_thread


def _elements_moved(op: GatherOp | ScatterOp) -> int:
    """How many elements independent accesses move: one offset and one mask for each, a power of two of at most 16 bytes at once."""
    element, offsets = cast(GlobalType, op.pointer.type).element, cast(VectorType[Attribute], op.offsets.type)
    (count,), width = offsets.get_shape(), op.width.value.data
    if element not in MOVABLE:
        raise VerifyException(f"{op.name}: cannot move elements of type {element}; use {', '.join(map(str, MOVABLE))}")
    if offsets != VectorType(i32, [count]) or op.mask.type != VectorType(i1, [count]):
        raise VerifyException(
            f"{op.name}: needs vectors of i32 offsets and as many i1, got {offsets} and {op.mask.type}"
        )
    if width < 1 or width & (width - 1) or width * element_bytes(element) > 16:
        raise VerifyException(f"{op.name}: width {width} of {element}; give a power of two of at most 16 bytes")
    return count * width


@irdl_op_definition
class GatherOp(IRDLOperation):
    """Independent loads by offset: for each i, `width` contiguous elements `p[offsets[i] ..]` where `mask[i]`, else `fill`;
    results lie one after another. Masked-off offsets are never dereferenced. Offsets are i32 elements and multiples of
    `width`. All loads are in flight together. Printed as one inline-asm block."""

    name = "warp.gather"
    pointer = operand_def(base(GlobalType))
    offsets = operand_def(base(VectorType))
    mask = operand_def(base(VectorType))
    fill = operand_def(AnyAttr())
    width = prop_def(IntegerAttr[I32])
    result = result_def(base(VectorType))
    assembly_format = (
        "$pointer `[` $offsets `]` `if` $mask `else` $fill `width` $width attr-dict "
        "`:` type($pointer) `,` type($offsets) `,` type($mask) `,` type($fill) `->` type($result)"
    )
    traits = traits_def(MemoryReadEffect())

    def __init__(self, pointer: SSAValue, offsets: SSAValue, mask: SSAValue, fill: SSAValue, width: int) -> None:
        element = cast(GlobalType, pointer.type).element
        count = cast(VectorType[Attribute], offsets.type).get_shape()[0]
        super().__init__(
            operands=[pointer, offsets, mask, fill],
            properties={"width": IntegerAttr(width, i32)},
            result_types=[VectorType(element, [count * width])],
        )

    def verify_(self) -> None:
        element, count = cast(GlobalType, self.pointer.type).element, _elements_moved(self)
        if self.fill.type != element:
            raise VerifyException(f"{self.name}: fill is {self.fill.type}, elements are {element}")
        if self.result.type != VectorType(element, [count]):
            width = self.width.value.data
            raise VerifyException(
                f"{self.name}: {count // width} loads of {width} give {count} elements, not {self.result.type}"
            )


@irdl_op_definition
class ScatterOp(IRDLOperation):
    """The mirror of `warp.gather`: for each i `width` contiguous elements of the value to `p[offsets[i] ..]` where `mask[i]`. No element is
    written by two threads."""

    name = "warp.scatter"
    value = operand_def(base(VectorType))
    pointer = operand_def(base(GlobalType))
    offsets = operand_def(base(VectorType))
    mask = operand_def(base(VectorType))
    width = prop_def(IntegerAttr[I32])
    assembly_format = (
        "$value `,` $pointer `[` $offsets `]` `if` $mask `width` $width attr-dict "
        "`:` type($value) `,` type($pointer) `,` type($offsets) `,` type($mask)"
    )
    traits = traits_def(MemoryWriteEffect())

    def __init__(self, value: SSAValue, pointer: SSAValue, offsets: SSAValue, mask: SSAValue, width: int) -> None:
        super().__init__(operands=[value, pointer, offsets, mask], properties={"width": IntegerAttr(width, i32)})

    def verify_(self) -> None:
        element, count = cast(GlobalType, self.pointer.type).element, _elements_moved(self)
        if self.value.type != VectorType(element, [count]):
            width = self.width.value.data
            raise VerifyException(
                f"{self.name}: {count // width} stores of {width} take {count} elements, not {self.value.type}"
            )


def _check_scalar(op: IRDLOperation, pointer: SSAValue, value: SSAValue) -> None:
    element = cast(GlobalType, pointer.type).element
    if element not in SCALARS:
        raise VerifyException(f"{op.name}: cannot move elements of type {element}; use {', '.join(map(str, SCALARS))}")
    if value.type != element:
        raise VerifyException(f"{op.name}: the pointer is to {element}, but the value is {value.type}")


@irdl_op_definition
class LoadOp(IRDLOperation):
    """One element for each thread: `%v = warp.load %p[%index] : !warp.global<f64> -> f64`. The index is i32 and counts elements, which exist. An
    i1 is a byte in memory, true where it is not 0."""

    name = "warp.load"
    pointer = operand_def(base(GlobalType))
    index = operand_def(I32)
    result = result_def(AnyAttr())
    assembly_format = "$pointer `[` $index `]` attr-dict `:` type($pointer) `->` type($result)"
    traits = traits_def(MemoryReadEffect())

    def __init__(self, pointer: SSAValue, index: SSAValue) -> None:
        super().__init__(operands=[pointer, index], result_types=[cast(GlobalType, pointer.type).element])

    def verify_(self) -> None:
        _check_scalar(self, self.pointer, self.result)


@irdl_op_definition
class StoreOp(IRDLOperation):
    """The mirror of `warp.load`: `warp.store %v, %p[%index] : f64, !warp.global<f64>`. Threads write different elements."""

    name = "warp.store"
    value = operand_def(AnyAttr())
    pointer = operand_def(base(GlobalType))
    index = operand_def(I32)
    assembly_format = "$value `,` $pointer `[` $index `]` attr-dict `:` type($value) `,` type($pointer)"
    traits = traits_def(MemoryWriteEffect())

    def __init__(self, value: SSAValue, pointer: SSAValue, index: SSAValue) -> None:
        super().__init__(operands=[value, pointer, index])

    def verify_(self) -> None:
        _check_scalar(self, self.pointer, self.value)
