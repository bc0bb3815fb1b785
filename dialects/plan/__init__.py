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
from stepwell.dialects.plan.ops_number import (
    NUMBER_OPS,
    CeilDivOp,
    ExtentOp,
    FloorDivOp,
    GeometryOp,
    MagicMultiplierOp,
    MagicOp,
    MagicShiftOp,
    MaximumOp,
    MinimumOp,
    MultiplyOp,
    StrideOp,
    TwoNumbersOp,
    WindowField,
    WindowFieldAttr,
    number_of,
)
from stepwell.dialects.plan.ops_program import ProgramOp
from stepwell.dialects.plan.predecessors import constant_parameters, predecessor_faults
from stepwell.dialects.plan.verify import verify_program
from stepwell.dialects.plan.verify_launch import verify_launch_arguments

PLAN = Dialect(
    "plan",
    [
        BindingOp,
        ConstantOp,
        SliceOp,
        ViewOp,
        WindowOp,
        TensorMapOp,
        PointerTableOp,
        *NUMBER_OPS,
        LaunchOp,
        CopyOp,
        ProgramOp,
    ],
    [BufferType, WindowType, TensorMapType, TableType, DirectionAttr, MapKindAttr, WindowFieldAttr],
)
DIALECT = PLAN

__all__ = [
    "ALIGNMENT",
    "DIALECT",
    "NUMBER_OPS",
    "PLAN",
    "BindingOp",
    "BufferType",
    "CeilDivOp",
    "ConstantOp",
    "CopyOp",
    "Direction",
    "DirectionAttr",
    "ExtentOp",
    "FloorDivOp",
    "Geometry",
    "GeometryOp",
    "LaunchOp",
    "MagicMultiplierOp",
    "MagicOp",
    "MagicShiftOp",
    "MapKind",
    "MapKindAttr",
    "MaximumOp",
    "MinimumOp",
    "MultiplyOp",
    "PointerTableOp",
    "ProgramOp",
    "SliceOp",
    "StrideOp",
    "TableType",
    "TensorMapOp",
    "TensorMapType",
    "TwoNumbersOp",
    "ViewOp",
    "WindowField",
    "WindowFieldAttr",
    "WindowOp",
    "WindowType",
    "constant_parameters",
    "effects_of",
    "element_name",
    "number_of",
    "predecessor_faults",
    "root_of",
    "row_alignment",
    "row_major",
    "verify_launch_arguments",
    "verify_program",
    "window_output",
    "window_shape",
]  # fmt: skip
