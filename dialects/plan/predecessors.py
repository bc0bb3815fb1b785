"""Programmatic dependent launch: a kernel may start while its predecessor runs, so it waits before it touches what that
one may read or write, and every kernel waits, or completion would not be transitive. Constants and network inputs never
change."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from xdsl.ir import Block, BlockArgument, Operation, SSAValue
from xdsl.irdl.dominance import DominanceInfo

from stepwell.dialects.plan.attributes import MEMORY_TYPES
from stepwell.dialects.plan.effects import root_of
from stepwell.dialects.plan.ops_launch import LaunchOp
from stepwell.dialects.plan.ops_memory import BindingOp, ConstantOp
from stepwell.dialects.plan.verify_launch import parameter_kind

WAITS = ("tile.wait_predecessor", "warp.wait_predecessor")
_HARMLESS = ("hopper.prefetch_tensor_map",)
"""Ops that name memory and touch none of its bytes."""


def predecessor_faults(kernel: Operation, constant: Collection[int]) -> list[str]:
    """What is wrong with a kernel's predecessor wait; empty when nothing is. `constant`: the numbers of the parameters
    through which only constants are reached, in every launch. Every access through another parameter must be dominated
    by a wait."""
    waits = [op for op in kernel.walk() if op.name in WAITS]
    if not waits:
        return ["never waits for its predecessor: every kernel must, or the wait of the next one means nothing"]
    entry = kernel.regions[0].blocks[0]
    faults = []
    for op in _accesses(kernel):
        roots = {_parameter(value, entry) for value in op.operands if parameter_kind(value.type) != "value"}
        variable = roots - set(constant)
        if variable and not any(_dominates(wait, op) for wait in waits):
            listed = ", ".join("unknown memory" if n is None else f"parameter {n}" for n in sorted(variable, key=str))
            faults.append(f"{op.name} reaches {listed}, which is no constant, before the wait for the predecessor")
    return faults


def constant_parameters(launches: Collection[LaunchOp]) -> set[int]:
    """The parameters of a kernel that are constants or network inputs in every one of its launches."""
    found = [
        {
            n
            for n, value in enumerate((*op.args, *op.outs))
            if isinstance(value.type, MEMORY_TYPES) and _never_changes(value)
        }
        for op in launches
    ]
    return set.intersection(*found) if found else set()


def _never_changes(value: SSAValue) -> bool:
    root = root_of(value)
    return isinstance(root, ConstantOp) or (isinstance(root, BindingOp) and root.is_input)


def _accesses(kernel: Operation) -> Iterator[Operation]:
    """Ops without regions that take memory and do not merely compute an address."""
    for op in kernel.walk():
        takes = any(parameter_kind(value.type) != "value" for value in op.operands)
        makes = any(parameter_kind(value.type) != "value" for value in op.results)
        if takes and not makes and not op.regions and not op.successors and op.name not in _HARMLESS:
            yield op


def _parameter(value: SSAValue, entry: Block) -> int | None:
    """The kernel parameter that an address comes from; None when that cannot be told."""
    while not isinstance(value, BlockArgument):
        sources = [operand for operand in value.owner.operands if parameter_kind(operand.type) != "value"]  # type: ignore[union-attr]
        if len(sources) != 1:
            return None
        value = sources[0]
    return value.index if value.owner is entry else None


def _dominates(first: Operation, second: Operation) -> bool:
    """Whether `first` has run whenever `second` runs: it stands before it, or before an op around it, in a dominating
    block."""
    inner: Operation | None = second
    while inner is not None and inner.parent_region() is not first.parent_region():
        inner = inner.parent_op()
    if inner is None or inner is first:
        return False
    block, other = first.parent, inner.parent
    assert block is not None and other is not None and block.parent is not None
    if block is other:
        return block.get_operation_index(first) < block.get_operation_index(inner)
    return DominanceInfo(block.parent).strictly_dominates(block, other)
