"""The plan dialect: where values live (arena slices with lifetimes, constants, bindings) and when kernels run."""

from xdsl.ir import Dialect

from stepwell.dialects.plan.alignment import row_alignment
from stepwell.dialects.plan.attributes import (
    ALIGNMENT,
    BufferType,
    Direction,
    DirectionAttr,
    MapKind,
    MapKindAttr,
    TableType,
    TensorMapType,
    WindowType,
    element_name,
    row_major,
)
from stepwell.dialects.plan.effects import effects_of, root_of
from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp, PointerTableOp, TensorMapOp
from stepwell.dialects.plan.ops_memory import (
    BindingOp,
    ConstantOp,
    Geometry,
    SliceOp,
    ViewOp,
    WindowOp,
    window_output,
    window_shape,
)
from stepwell.dialects.plan.ops_program import ProgramOp
from stepwell.dialects.plan.predecessors import constant_parameters, predecessor_faults
from stepwell.dialects.plan.verify import verify_program
from stepwell.dialects.plan.verify_launch import verify_launch_arguments

PLAN = Dialect(
    "plan",
    [BindingOp, ConstantOp, SliceOp, ViewOp, WindowOp, TensorMapOp, PointerTableOp, LaunchOp, CopyOp, ProgramOp],
    [BufferType, WindowType, TensorMapType, TableType, DirectionAttr, MapKindAttr],
)
DIALECT = PLAN

__all__ = [
    "ALIGNMENT",
    "DIALECT",
    "PLAN",
    "BindingOp",
    "BufferType",
    "ConstantOp",
    "CopyOp",
    "Direction",
    "DirectionAttr",
    "Geometry",
    "LaunchOp",
    "MapKind",
    "MapKindAttr",
    "PointerTableOp",
    "ProgramOp",
    "SliceOp",
    "TableType",
    "TensorMapOp",
    "TensorMapType",
    "ViewOp",
    "WindowOp",
    "WindowType",
    "constant_parameters",
    "effects_of",
    "element_name",
    "predecessor_faults",
    "root_of",
    "row_alignment",
    "row_major",
    "verify_launch_arguments",
    "verify_program",
    "window_output",
    "window_shape",
]  # fmt: skip
