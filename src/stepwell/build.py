"""From a module at kernel level to a section of a plan: program, code, constants."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, ModuleOp

from stepwell.codegen.targets import Target
from stepwell.dialects import plan
from stepwell.dialects.graph.attributes import WeightAttr
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.driver import Driver
from stepwell.frontends.weights import WeightStore
from stepwell.lowering import lower_in_place
from stepwell.pipeline import Pipeline
from stepwell.printing import module_text
from stepwell.runtime.errors import InternalError, UsageError
from stepwell.runtime.plan_file import Section
from stepwell.transforms.plan._serialize import find_program, serialize_program


def constant_bytes(module: ModuleOp, weights: WeightStore | None) -> bytes:
    """The constant arena: every `plan.constant` evaluated (weights by their recipes) and put at its offset; gaps are zero."""
    program = find_program(module)
    total = 0 if program.constants is None else program.constants.value.data
    arena = np.zeros(total, np.uint8)
    for op in program.block.ops:
        if not isinstance(op, plan.ConstantOp):
            continue
        if op.at is None:
            raise InternalError("a constant has no offset", where="plan.constant", hint="run plan-assign-offsets")
        data = np.frombuffer(_value(op, weights).tobytes(), np.uint8)
        begin = op.at.value.data
        arena[begin : begin + data.size] = data
    return arena.tobytes()


def _value(op: plan.ConstantOp, weights: WeightStore | None) -> np.ndarray:
    value = op.value
    if isinstance(value, WeightAttr):
        if weights is None:
            raise UsageError("a plan needs the values of the weights", hint="give them: --weights FILE | random:0")
        return weights.evaluate(value)
    if isinstance(value, DenseIntOrFPElementsAttr):
        dtype = numpy_dtype(value.get_element_type())
        return np.array(list(value.get_values()), dtype).reshape(value.get_shape())
    raise InternalError(f"a constant of unknown kind: {value}", where="plan.constant")


def build_section(
    name: str, module: ModuleOp, target: Target, weights: WeightStore | None, steps: Pipeline, driver: Driver
) -> Section:
    """Make code of a kernel-level module (which stays as it is) and put it with its program and constants into a section."""
    text = module_text(module)
    program = serialize_program(module, text)
    lowered = module.clone()
    lower_in_place(lowered, "llvm", steps, driver)
    code = _cpu_code(lowered, target, program["kernels"]) if target.family == "cpu" else _cuda_code(lowered, target)
    level = target.processor if target.family == "cpu" else ""
    return Section(name, target.name, level, program, text, code, constant_bytes(module, weights))


def _cpu_code(module: ModuleOp, target: Target, kernels: list[str]) -> dict[str, bytes]:
    from stepwell.codegen.objects import compile_module

    compiled = compile_module(module, target)
    if list(compiled.kernels) != kernels:
        raise InternalError(f"the object's kernels {list(compiled.kernels)} are not the program's {kernels}")
    return {"o": compiled.data}


def _cuda_code(module: ModuleOp, target: Target) -> dict[str, bytes]:
    from stepwell.codegen.ptx import compile_module

    compiled = compile_module(module, target)
    code = {"ptx": compiled.ptx.encode()}
    if compiled.cubin is not None:
        code["cubin"] = compiled.cubin
    return code
