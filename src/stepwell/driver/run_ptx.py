"""The PTX of a plan executed without a GPU: `run_plan` gives outputs or a fault.

Every launch runs on the interpreter of `stepwell.codegen.ptx_interpreter` with the memory that `program.json` says and the extents that the module in the plan
says. Whole numbers whose sums stay below 2^24 give the hardware's bits; other data lie within the bounds that `dialects.hopper.simulator.wgmma` and
`dialects.approximate` give.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.parser import Parser

from stepwell.codegen.ptx_interpreter.memory import INSTRUCTIONS
from stepwell.codegen.ptx_interpreter.program import Extent, LaunchMemory, PtxReport, run_section, text_of
from stepwell.dialects import plan as plan_dialect
from stepwell.dialects.hopper.simulator.launch import Blocks
from stepwell.dialects.hopper.simulator.memory import strided_elements
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import PlanError
from stepwell.runtime.plan_file import Plan, Section, read_plan


def run_plan(
    plan: Plan | str | os.PathLike[str],
    inputs: Mapping[str, Any],
    *,
    section: str | None = None,
    ptx: str | None = None,
    blocks: Blocks = "all",
    seed: int = 0,
    limit: int = INSTRUCTIONS,
    persistent: int | None = None,
) -> PtxReport:
    """Execute the PTX of a plan (a file, or read already) on `inputs` by name; the report holds the outputs by name.

    `section` names one of several with PTX, `ptx` is a text to run in place of the plan's, `blocks` are those of each launch (`all`, or as
    `stepwell.dialects.hopper.simulator.choose_blocks` takes them), `seed` chooses the order in which warps run, copies land and waits give up; with `persistent` kernels whose blocks do many tiles run with at most so many
    blocks. Raises a `Fault`
    with entry, source names, block, threads and PTX line; PtxRefused for what the interpreter does not know; UsageError, PlanError."""
    held = plan if isinstance(plan, Plan) else read_plan(plan)
    chosen = find_section(held, section)
    return run_section(
        chosen, inputs, launches_of(chosen), ptx=ptx, blocks=blocks, seed=seed, limit=limit, persistent=persistent
    )


def find_section(plan: Plan, name: str | None = None) -> Section:
    """The section called `name`, or the first that holds PTX."""
    found = [s for s in plan.sections if "ptx" in s.code and name in (None, s.name)]
    if not found:
        named = "no section holds PTX" if name is None else f"section {name} holds no PTX, or there is none"
        raise PlanError(named, where=plan.path, hint="stepwell compile --target sm_90a")
    return found[0]


def ptx_of(plan: Plan | str | os.PathLike[str], section: str | None = None) -> str:
    """The PTX text of a plan."""
    held = plan if isinstance(plan, Plan) else read_plan(plan)
    return text_of(find_section(held, section))


def launches_of(section: Section) -> list[LaunchMemory]:
    """What the launches of a section's module reach, write and release, in order."""
    return list(_memory_of(section.module))


@lru_cache(maxsize=16)
def _memory_of(text: str) -> tuple[LaunchMemory, ...]:
    """Kept, because whoever judges damages runs one plan many times."""
    return tuple(launch_memory(Parser(make_context(), text).parse_module()))


def launch_memory(module: ModuleOp) -> list[LaunchMemory]:
    """What the launches of a kernel-level module reach, write and release."""
    programs = [op for op in module.ops if isinstance(op, plan_dialect.ProgramOp)]
    if len(programs) != 1:
        raise PlanError(f"the module of a plan has one plan.program, here are {len(programs)}")
    slices = [op for op in programs[0].block.ops if isinstance(op, plan_dialect.SliceOp)]
    found = []
    for step, op in programs[0].steps():
        if not isinstance(op, plan_dialect.LaunchOp):
            continue
        written = tuple(op.args.index(value) for value in op.written_values())
        ended = [part for part in slices if part.lifetime[1] == step and part.at is not None]
        released = tuple((part.at.value.data, _bytes(part.buffer)) for part in ended if part.at is not None)
        found.append(LaunchMemory(tuple(map(_extent, op.args)), written, released))
    return found


def _extent(value: SSAValue) -> Extent | None:
    owner = value.owner
    source = owner.source if isinstance(owner, plan_dialect.TensorMapOp) else value
    if not isinstance(source.type, plan_dialect.BufferType):
        return None
    name = f"%{source.name_hint}" if source.name_hint else "a constant or slice"
    elements = strided_elements(source.type.get_shape(), source.type.get_strides())
    return Extent(name, _bytes(source), np.dtype(numpy_dtype(source.type.element_type)), elements)


def _bytes(value: SSAValue) -> int:
    assert isinstance(value.type, plan_dialect.BufferType)
    return value.type.size_in_bytes()
