"""The writer of the family of rows: a kernel that folds them, and what stands for its operands and results on the host."""

from __future__ import annotations

from functools import partial

from xdsl.builder import Builder
from xdsl.ir import SSAValue

from stepwell.dialects.tile import Config
from stepwell.transforms.linalg._rows import Rows
from stepwell.transforms.linalg_to_tile.kernel_plan import checked_rows
from stepwell.transforms.linalg_to_tile.operands import host_value
from stepwell.transforms.linalg_to_tile.rows import RowsPlan
from stepwell.transforms.linalg_to_tile.written import Written


def write_rows(structure: Rows, config: Config, name: str, target: str | None) -> Written:
    """The verified kernel; PassFailure where the config does not fit or the target does not take it."""
    plan, kernel = checked_rows(structure, config, name, target)
    shapes = tuple(tuple(structure.extent(group) for group in groups) for groups in plan.outputs)
    return Written(
        structure.fusion, kernel, partial(_inputs, plan), shapes, f"rows that are folded, {len(plan.operands)} operands"
    )


def _inputs(plan: RowsPlan, build: Builder) -> list[SSAValue]:
    return [host_value(plan.structure, operand, build) for operand in plan.operands]
