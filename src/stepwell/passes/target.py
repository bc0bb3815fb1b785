"""What a user may call a target, and what stands in a module for it (`stepwell.target`, and for CPUs `stepwell.cpu`)."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp, StringAttr

from stepwell.passes.levels import level_of
from stepwell.runtime.errors import PlanError, UsageError
from stepwell.types.targets import CPU_LEVELS, Target, host_cpu, parse_target

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
    if name == "cuda":
        return _device_target()
    if name == "auto":
        return _device_target() if _has_device() else host_cpu()
    raise UsageError(f"unknown target '{name}'", hint=f"targets: {', '.join(NAMES)}")


def _has_device() -> bool:
    """Whether there is a CUDA device that code can be made for; not where cuda.bindings, driver or device is missing."""
    try:
        _device_target()
    except PlanError:
        return False
    return True


def _device_target() -> Target:
    """The target of CUDA device 0; a PlanError says what is missing."""
    from stepwell.runtime.cuda_driver import device

    found = device()
    major, minor = found.capability
    name = next((name for name in CUDA if name.startswith(f"sm_{major}{minor}")), None)
    if name is None:
        raise PlanError(
            f"there is no code generator for {found.name} (compute capability {major}.{minor})",
            hint=f"architectures: {', '.join(CUDA)}",
        )
    return parse_target(name)


def write_target(module: ModuleOp, target: Target) -> None:
    """Put `target` into the module's attributes."""
    module.attributes["stepwell.target"] = StringAttr(target.name)
    module.attributes.pop("stepwell.cpu", None)
    if target.family == "cpu":
        module.attributes["stepwell.cpu"] = StringAttr(target.processor)


def choose_target(module: ModuleOp, name: str) -> None:
    """Put the target that `name` means into the module. A module below graph is lowered for its own already: a UsageError where `name`
    means another (`cpu` means any CPU there)."""
    own = target_of(module)
    if own is None or level_of(module) == "graph":
        write_target(module, resolve(name))
    elif name not in (own.name, own.processor) and resolve(name) != own:
        raise UsageError(
            f"the module is lowered for {own.processor} already, not for {name}", hint="start again at level graph"
        )


def target_of(module: ModuleOp) -> Target | None:
    """The target that the module names, if any; a CPU without its level is this machine's."""
    said, cpu = module.attributes.get("stepwell.target"), module.attributes.get("stepwell.cpu")
    if not isinstance(said, StringAttr):
        return None
    return resolve(cpu.data if said.data == "cpu" and isinstance(cpu, StringAttr) else said.data)
