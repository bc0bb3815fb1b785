"""Between registers and shared memory (stmatrix, ldmatrix), and the copy engine's way back to global memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import I32, BFloat16Type, Float16Type, IntegerAttr, VectorType, i32
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import IRDLOperation, base, irdl_op_definition, operand_def, prop_def, result_def, var_operand_def
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.hopper.attributes import TensorMapType
from stepwell.dialects.hopper.ops import check_warpgroup
from stepwell.dialects.hopper.ops_memory import constant_value
from stepwell.types.layouts import Swizzle

MAX_BULK_GROUPS = 7
INSTRUCTIONS = {"hopper.fragment_to_shared": "stmatrix", "hopper.fragment_from_shared": "ldmatrix"}


@irdl_op_definition
class FragmentToSharedOp(IRDLOperation):
    """`stmatrix`: a warpgroup writes its fragment of 64 rows, held as wgmma holds an accumulator, to shared memory as rows of `swizzle` bytes:
    element (r, c) goes to row r of panel c / (swizzle / 2), where panels lie `panel` bytes apart and the first begins at `destination`; 16-byte chunks
    are exchanged as the copy engine does. 16-bit elements; columns are whole 16s."""

    name = "hopper.fragment_to_shared"
    value = operand_def(base(VectorType))
    destination = operand_def(I32)
    swizzle = prop_def(IntegerAttr[I32])
    panel = prop_def(IntegerAttr[I32])
    assembly_format = "$value `to` $destination `swizzle` $swizzle `panel` $panel attr-dict `:` type($value)"

    def __init__(self, value: SSAValue, destination: SSAValue, swizzle: int, panel: int) -> None:
        super().__init__(
            operands=[value, destination],
            properties={"swizzle": IntegerAttr(swizzle, i32), "panel": IntegerAttr(panel, i32)},
        )

    @property
    def columns(self) -> int:
        """Columns of the fragment."""
        return 2 * cast(VectorType[Attribute], self.value.type).get_shape()[0]

    def verify_(self) -> None:
        _check_panels(self, cast(VectorType[Attribute], self.value.type), self.destination)


def _check_panels(op: FragmentToSharedOp | FragmentFromSharedOp, kind: VectorType[Attribute], place: SSAValue) -> None:
    """What stmatrix and ldmatrix move: 16-bit elements in whole 16 columns, rows where their swizzle repeats."""
    swizzle, panel, instruction = op.swizzle.value.data, op.panel.value.data, INSTRUCTIONS[op.name]
    if not isinstance(kind.element_type, Float16Type | BFloat16Type) or op.columns % 16 or not 16 <= op.columns <= 256:
        raise VerifyException(f"{op.name}: {kind}; {instruction} takes f16 or bf16 in whole 16 columns, up to 256")
    if swizzle not in (32, 64, 128):
        raise VerifyException(f"{op.name}: swizzle {swizzle}; give 32, 64 or 128 bytes")
    alignment, offset = Swizzle(swizzle).alignment, constant_value(place)
    if panel < 64 * swizzle or panel % alignment:
        raise VerifyException(
            f"{op.name}: panels {panel} bytes apart; 64 rows take {64 * swizzle}, in whole {alignment}s"
        )
    if offset is not None and offset % alignment:
        raise VerifyException(f"{op.name}: offset {offset}; swizzle {swizzle} needs a multiple of {alignment}")
    check_warpgroup(op)


@irdl_op_definition
class FragmentFromSharedOp(IRDLOperation):
    """`ldmatrix`: the mirror of `hopper.fragment_to_shared`: a warpgroup reads its fragment of 64 rows out of panels of swizzled rows."""

    name = "hopper.fragment_from_shared"
    source = operand_def(I32)
    swizzle = prop_def(IntegerAttr[I32])
    panel = prop_def(IntegerAttr[I32])
    result = result_def(base(VectorType))
    assembly_format = "$source `swizzle` $swizzle `panel` $panel attr-dict `:` type($result)"

    def __init__(self, source: SSAValue, swizzle: int, panel: int, result: VectorType[Attribute]) -> None:
        super().__init__(
            operands=[source],
            properties={"swizzle": IntegerAttr(swizzle, i32), "panel": IntegerAttr(panel, i32)},
            result_types=[result],
        )

    @property
    def columns(self) -> int:
        """Columns of the fragment."""
        return 2 * cast(VectorType[Attribute], self.result.type).get_shape()[0]

    def verify_(self) -> None:
        _check_panels(self, cast(VectorType[Attribute], self.result.type), self.source)


@irdl_op_definition
class TmaStoreOp(IRDLOperation):
    """One thread tells the copy engine to bring the box at shared `source` to `coordinates` of a tiled map (i32 elements, innermost first); what lies
    outside the tensor is dropped. Reads shared memory through the async proxy (what threads wrote needs `hopper.proxy_fence` and a barrier), at any moment
    until a `hopper.bulk_wait` of this thread says that it is done."""

    name = "hopper.tma_store"
    source = operand_def(I32)
    map = operand_def(base(TensorMapType))
    coordinates = var_operand_def(I32)
    assembly_format = "$source `to` $map `[` $coordinates `]` attr-dict `:` type($map)"

    def __init__(self, source: SSAValue, map: SSAValue, coordinates: Sequence[SSAValue]) -> None:
        super().__init__(operands=[source, map, coordinates])

    @property
    def map_type(self) -> TensorMapType:
        """The descriptor's type."""
        return cast(TensorMapType, self.map.type)

    def verify_(self) -> None:
        kind, offset = self.map_type, constant_value(self.source)
        if kind.kind.data != "tiled" or len(self.coordinates) != kind.rank:
            given = f"{len(self.coordinates)} coordinates for a {kind.kind.data} map of rank {kind.rank}"
            raise VerifyException(f"{self.name}: {given}; a store takes a tiled map and as many coordinates")
        if offset is not None and offset % kind.alignment:
            raise VerifyException(
                f"{self.name}: source at byte {offset}; swizzle {kind.swizzle.data} needs a multiple of {kind.alignment}"
            )


@irdl_op_definition
class BulkCommitOp(IRDLOperation):
    """`cp.async.bulk.commit_group`: the stores that this thread issued since the last one become a group that it can wait for."""

    name = "hopper.bulk_commit"
    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class BulkWaitOp(IRDLOperation):
    """`cp.async.bulk.wait_group.read`: returns when at most `pending` of this thread's groups may still read shared memory."""

    name = "hopper.bulk_wait"
    pending = prop_def(IntegerAttr[I32])
    assembly_format = "`pending` $pending attr-dict"

    def __init__(self, pending: int) -> None:
        super().__init__(properties={"pending": IntegerAttr(pending, i32)})

    def verify_(self) -> None:
        if not 0 <= self.pending.value.data <= MAX_BULK_GROUPS:
            raise VerifyException(f"{self.name}: pending {self.pending.value.data}; give 0 to {MAX_BULK_GROUPS} groups")
