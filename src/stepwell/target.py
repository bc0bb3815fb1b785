"""What a user may call a target, and what stands in a module for it (`stepwell.target`, and for CPUs `stepwell.cpu`)."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.codegen.targets import CPU_LEVELS, Target, host_cpu, parse_target
from stepwell.runtime.errors import PlanError, UsageError

CUDA = ("sm_90a",)
NAMES = ("auto", "cpu", "cuda", *CPU_LEVELS, *CUDA)


def resolve(name: str) -> Target:
    """The target that `name` means on this machine; a UsageError lists the names, a PlanError says what the machine lacks."""
    if name in CUDA:
        return parse_target(name)
    if name in CPU_LEVELS:
        return CPU_LEVELS[name]
    if name == "cpu":
        return host_cpu()
    if name == "cuda" or (name == "auto" and _devices()):
        return _device_target()
    if name == "auto":
        return host_cpu()
    raise UsageError(f"unknown target '{name}'", hint=f"targets: {', '.join(NAMES)}")


def _devices() -> int:
    """CUDA devices that the driver shows; none where there is no driver or no cuda-bindings."""
    from stepwell.runtime.cuda import device_count

    return device_count()


def _device_target() -> Target:
    """The target of CUDA device 0; a PlanError where there is no device or no code generator for it."""
    from stepwell.runtime.cuda import device_architecture

    found = device_architecture(0)
    if found not in CUDA:
        raise PlanError(
            f"there is no code generator for this device ({found})", hint=f"architectures: {', '.join(CUDA)}"
        )
    return parse_target(found)


def write_target(module: ModuleOp, target: Target) -> None:
    """Put `target` into the module's attributes."""
    module.attributes["stepwell.target"] = StringAttr(target.name)
    module.attributes.pop("stepwell.cpu", None)
    if target.family == "cpu":
        module.attributes["stepwell.cpu"] = StringAttr(target.processor)


def target_of(module: ModuleOp) -> Target | None:
    """The target that the module names, if any; a CPU without its level is this machine's."""
    said, cpu = module.attributes.get("stepwell.target"), module.attributes.get("stepwell.cpu")
    if not isinstance(said, StringAttr):
        return None
    return resolve(cpu.data if said.data == "cpu" and isinstance(cpu, StringAttr) else said.data)
