"""From a fusion and a config to a verified tile kernel: the one place that says whether there is one."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.dialects.builtin import TensorType
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects import tile
from stepwell.dialects.tile.config import violations
from stepwell.dialects.tile.registers import facts_of
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._kinds import Access
from stepwell.transforms.linalg._rows import Rows
from stepwell.transforms.linalg._structure import Structure, refuse
from stepwell.transforms.linalg_to_tile.kernels import Plan, build_kernel
from stepwell.transforms.linalg_to_tile.operands import operands_of
from stepwell.transforms.linalg_to_tile.rows import RowsPlan, build_rows_kernel, plan_rows
from stepwell.types.targets import MACHINES, SM_90A

MAX_RANK = 4
CUDA_WINDOW_DIMS = 2
TABLE_ENTRIES, WINDOW_DIMS, WINDOW_STEP = 1 << 31, 3, 1 << 16
"""What the runtime accepts of a window: entries of its pointer table, spatial dims, and the largest kernel, stride, pad and dilation."""


def plan_kernel(structure: Structure, config: tile.Config, name: str) -> Plan:
    """What the kernel is made from; PassFailure where the fusion has no form in tiles."""
    groups = structure.groups()
    groups = groups if len(groups) > 1 else ((),) * (2 - len(groups)) + groups
    if len(groups) > MAX_RANK:
        raise refuse(
            structure.fusion, f"its operands cut the result into {len(groups)} dims, tiles have up to {MAX_RANK}"
        )
    if len(config.block) != len(groups):
        raise refuse(structure.fusion, f"block = {list(config.block)}, the kernel writes {len(groups)} dims")
    return Plan(name, structure, config, operands_of(structure, config, groups), groups)


def checked_kernel(plan: Plan | RowsPlan, target: str | None) -> tile.KernelOp:
    """The kernel, verified for the target; PassFailure with the verifier's reason otherwise."""
    kernel = build_rows_kernel(plan) if isinstance(plan, RowsPlan) else build_kernel(plan)
    try:
        kernel.verify()
    except VerifyException as error:
        raise refuse(plan.structure.fusion, str(error).splitlines()[-1]) from error
    reasons = list(violations(plan.config, target, facts_of(kernel, target)))
    if reasons:
        raise refuse(plan.structure.fusion, f"its config is illegal on {target}: " + "; ".join(reasons))
    return kernel


def checked_rows(structure: Rows, config: tile.Config, name: str, target: str | None) -> tuple[RowsPlan, tile.KernelOp]:
    """Plan and kernel of rows with a config, verified for the target; PassFailure with the reason otherwise."""
    if len(config.block) > MAX_RANK:
        raise refuse(
            structure.fusion, f"its operands cut it into {len(config.block)} dims, tiles have up to {MAX_RANK}"
        )
    plan = plan_rows(structure, config, name)
    return plan, checked_kernel(plan, target)


def tile_refusal(structure: Structure, config: tile.Config, target: str) -> str:
    """Why the fusion has no tile kernel with `config` on a target; empty where it has one."""
    if not all(structure.extents):
        return "an extent is 0"
    windows = [access for access in structure.operands if access.window is not None]
    if windows and len(config.block) > 2:
        return "a window in a result of more than rows and columns"
    limits = (
        (_window_limit(structure, access) for access in windows)
        if MACHINES[target].vector_bytes
        else _cuda_limits(structure)
    )
    if reason := next(filter(None, limits), ""):
        return reason
    try:
        checked_kernel(plan_kernel(structure, config, "kernel"), target)
    except PassFailure as failure:
        return failure.message
    return ""


def _cuda_limits(structure: Structure) -> Iterator[str]:
    """What kernels of sm_90a do not do with tiles: they hold some element types, and slide windows over two dims."""
    tensors = [access.value for access in structure.accesses] + list(structure.fusion.outputs)
    roots = list(structure.root.res) if structure.root is not None else []
    for value in (*tensors, *roots):
        assert isinstance(value.type, TensorType)
        if str(value.type.element_type) not in SM_90A.tile_elements:
            yield f"tiles of sm_90a hold {', '.join(SM_90A.tile_elements)}, not {value.type.element_type}"
    for access in structure.operands:
        if access.window is not None and len(access.window.slides) != CUDA_WINDOW_DIMS:
            yield f"a window over {len(access.window.slides)} spatial dims: those of sm_90a slide over {CUDA_WINDOW_DIMS}"


def _window_limit(structure: Structure, access: Access) -> str:
    window = access.window
    assert window is not None
    steps = [n for s in window.slides for n in (s.stride, s.dilation, structure.extents[s.tap])]
    if structure.extent(access.loops[:-1]) > TABLE_ENTRIES:
        return "the pointer table of its window is too large"
    if len(window.slides) > WINDOW_DIMS:
        return f"a window over {len(window.slides)} spatial dims: pointer tables have up to {WINDOW_DIMS}"
    return f"a stride, pad or tap beyond {WINDOW_STEP}" if max(*steps, *window.pads) > WINDOW_STEP else ""
