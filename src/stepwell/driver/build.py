"""From a module at kernel level to a section of a plan: program, code, constants."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.plan.constants import build_constants
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import Driver
from stepwell.driver.lowering import lower_in_place
from stepwell.driver.pipeline import Pipeline
from stepwell.ir.printing import module_text
from stepwell.runtime.errors import InternalError, MemoryLimitError
from stepwell.runtime.plan_file import Section
from stepwell.runtime.program import dtype_of
from stepwell.runtime.program_reader import MAX_BYTES
from stepwell.transforms.plan._serialize import find_program, serialize_program
from stepwell.types.targets import Target


def build_section(
    name: str,
    module: ModuleOp,
    target: Target,
    weights: WeightStore | None,
    steps: Pipeline,
    driver: Driver,
    *,
    assemble: bool = True,
) -> Section:
    """Make code of a kernel-level module (which stays as it is) and put it with its program and constants into a section. The section's module
    names no file of weights: it is the same, and has the same hash, whichever road led to it. `assemble`: whether PTX also becomes a cubin where an
    assembler is found."""
    is_cpu = target.family == "cpu"
    lowered = module.clone()
    lowered.attributes.pop("stepwell.weights", None)
    text = module_text(lowered)
    with driver.stage("serialize", module, "-p plan-verify-predecessors"):
        program = serialize_program(module, text)
        _check_sizes(program)
        constants = bytes(build_constants(find_program(module), weights))
    lower_in_place(lowered, "llvm", steps, driver)
    with driver.stage("code generation", lowered, f"-t {'stepwell-asm' if is_cpu else 'stepwell-ptx'}"):
        code = _cpu_code(lowered, target, program["kernels"]) if is_cpu else _cuda_code(lowered, target, assemble)
    return Section(name, target.name, target.processor if is_cpu else "", program, text, code, constants)


def _check_sizes(program: Mapping[str, Any]) -> None:
    """A MemoryLimitError (exit 5) when the arena, the constants or a binding is larger than any plan may ask for."""
    sizes = {"arena": program["arena"], "constants": program["constants"]}
    for binding in program["bindings"]:
        element = dtype_of(binding["dtype"]).itemsize
        sizes[f"{binding['direction']} '{binding['name']}'"] = prod(binding["shape"]) * element
    for what, size in sizes.items():
        if size > MAX_BYTES:
            raise MemoryLimitError(
                f"the {what} would take {size:,} bytes, the most that a plan may ask for are {MAX_BYTES:,}",
                hint="use a smaller batch or smaller shapes",
            )


def _cpu_code(module: ModuleOp, target: Target, kernels: list[str]) -> dict[str, bytes]:
    from stepwell.codegen.objects import compile_module

    compiled = compile_module(module, target)
    if list(compiled.kernels) != kernels:
        raise InternalError(f"the object's kernels {list(compiled.kernels)} are not the program's {kernels}")
    return {"o": compiled.data}


def _cuda_code(module: ModuleOp, target: Target, assemble: bool) -> dict[str, bytes]:
    from stepwell.codegen.llvm_text import translate
    from stepwell.codegen.ptx import compile_module, emit_ptx

    if not assemble:
        return {"ptx": emit_ptx(translate(module, target), target).encode()}
    compiled = compile_module(translate(module, target), target)
    code = {"ptx": compiled.ptx.encode()}
    if compiled.cubin is not None:
        code["cubin"] = compiled.cubin
    return code
