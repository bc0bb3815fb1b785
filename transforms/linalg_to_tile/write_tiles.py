"""The writer of the families of one root: a product, a reduction in registers, or elementwise work."""

from __future__ import annotations

from functools import partial

from xdsl.builder import Builder
from xdsl.ir import SSAValue

from stepwell.dialects.tile import Config
from stepwell.transforms.linalg._structure import Structure
from stepwell.transforms.linalg_to_tile.kernel_plan import checked_kernel, plan_kernel
from stepwell.transforms.linalg_to_tile.kernels import Plan
from stepwell.transforms.linalg_to_tile.operands import host_value
from stepwell.transforms.linalg_to_tile.written import Written


def write_tiles(structure: Structure, config: Config, name: str, target: str | None) -> Written:
    """The verified kernel; PassFailure where the fusion has no form in tiles or the target does not take it."""
    plan = plan_kernel(structure, config, name)
    kernel = checked_kernel(plan, target)
    shape = tuple(structure.extent(group) for group in plan.groups)
    shapes = (shape,) * len(structure.results)
    return Written(structure.fusion, kernel, partial(_inputs, plan), shapes, describe(plan))


def _inputs(plan: Plan, build: Builder) -> list[SSAValue]:
    return [host_value(plan.structure, operand, build) for operand in plan.operands]


def describe(plan: Plan) -> str:
    """What kind of kernel it is, in a few words."""
    structure = plan.structure
    work = "elementwise" if structure.root is None else "reduction in registers"
    if plan.config.mma != "none":
        work = f"matrix product by {plan.config.mma}"
    return f"{work}, {len(structure.leaves)} epilogue operands"
