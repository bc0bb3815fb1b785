"""From a module at kernel level to a section of a plan: program, code, constants."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from stepwell.codegen.targets import Target
from stepwell.dialects.plan.constants import build_constants
from stepwell.driver import Driver
from stepwell.frontends.weights import WeightStore
from stepwell.lowering import lower_in_place
from stepwell.pipeline_value import Pipeline
from stepwell.printing import module_text
from stepwell.runtime.errors import InternalError
from stepwell.runtime.plan_file import Section
from stepwell.transforms.plan._serialize import find_program, serialize_program


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
    lowered = module.clone()
    lowered.attributes.pop("stepwell.weights", None)
    text = module_text(lowered)
    program = serialize_program(module, text)
    lower_in_place(lowered, "llvm", steps, driver)
    code = (
        _cpu_code(lowered, target, program["kernels"])
        if target.family == "cpu"
        else _cuda_code(lowered, target, assemble)
    )
    level = target.processor if target.family == "cpu" else ""
    return Section(name, target.name, level, program, text, code, bytes(build_constants(find_program(module), weights)))


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
