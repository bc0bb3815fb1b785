"""What the steps of a program read and write."""

from __future__ import annotations

from xdsl.ir import SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.plan.ops_launch import CopyOp, LaunchOp, PointerTableOp, TensorMapOp
from stepwell.dialects.plan.ops_memory import BindingOp, ConstantOp, SliceOp, ViewOp, WindowOp

MemoryOp = BindingOp | ConstantOp | SliceOp
_DERIVED = (ViewOp, WindowOp, TensorMapOp, PointerTableOp)


def root_of(value: SSAValue) -> MemoryOp:
    """The binding, constant or slice whose bytes a value reaches, through views, windows, tensor maps and tables."""
    owner = value.owner
    while isinstance(owner, _DERIVED):
        owner = owner.source.owner
    if not isinstance(owner, (BindingOp, ConstantOp, SliceOp)):
        raise VerifyException("plan.program: memory comes from plan.binding, plan.constant or plan.slice only")
    return owner


def effects_of(step: LaunchOp | CopyOp) -> tuple[list[MemoryOp], list[MemoryOp]]:
    """What a step reads and what it writes, each root once, in operand order."""
    if isinstance(step, CopyOp):
        return [root_of(step.source)], [root_of(step.target)]
    reads = dict.fromkeys(root_of(value) for value in step.read_values())
    writes = dict.fromkeys(root_of(value) for value in step.written_values())
    return list(reads), list(writes)
