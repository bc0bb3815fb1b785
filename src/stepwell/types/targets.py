"""The targets: what each machine has, as data. `parse_target` reads `cpu`, `cpu:x86-64-v3`, `sm_90a`; `host_cpu` finds this machine's level."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from stepwell.runtime.errors import PlanError, UsageError

X86_LAYOUT = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
NVPTX_LAYOUT = "e-p3:32:32-p4:32:32-p5:32:32-p6:32:32-p7:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"


@dataclass(frozen=True)
class Target:
    """One machine. `name` as in `stepwell.target`; `processor` as LLVM calls it. CPU: `vector_bytes`, `vector_registers` and the micro-kernel
    `block` (rows, columns) that fills them. CUDA: `shared_bytes` and `registers` per block, `max_threads`, PTX version `features`."""

    name: str
    family: Literal["cpu", "sm_90a"]
    processor: str
    triple: str
    data_layout: str
    features: str = ""
    vector_bytes: int = 0
    vector_registers: int = 0
    block: tuple[int, int] = (0, 0)
    cpu_flags: frozenset[str] = frozenset()
    shared_bytes: int = 0
    registers: int = 0
    max_threads: int = 0


_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def _cpu(level: str, width: int, registers: int, block: tuple[int, int], flags: frozenset[str]) -> Target:
    return Target(
        "cpu",
        "cpu",
        level,
        "x86_64-unknown-linux-gnu",
        X86_LAYOUT,
        vector_bytes=width,
        vector_registers=registers,
        block=block,
        cpu_flags=flags,
    )


CPU_LEVELS: Mapping[str, Target] = MappingProxyType(
    {"x86-64-v4": _cpu("x86-64-v4", 64, 32, (6, 64), _V4), "x86-64-v3": _cpu("x86-64-v3", 32, 16, (4, 24), _V3)}
)
"""CPU level -> target, best first. 6x64 fills 24 + 4 + 1 of 32 zmm, 4x24 fills 12 + 3 + 1 of 16 ymm registers."""

SM_90A = Target(
    "sm_90a",
    "sm_90a",
    "sm_90a",
    "nvptx64-nvidia-cuda",
    NVPTX_LAYOUT,
    "+ptx86",
    shared_bytes=227 * 1024,
    registers=65536,
    max_threads=1024,
)
"""H100: 227 KiB of shared memory and 64 Ki registers per block. PTX 8.6 is what LLVM emits and every driver in use takes."""

TARGETS: Mapping[str, Target] = MappingProxyType(
    {**{f"cpu:{level}": t for level, t in CPU_LEVELS.items()}, "sm_90a": SM_90A}
)
"""Every target by the name that `parse_target` takes."""


def machine_flags(cpuinfo: str | None = None) -> frozenset[str]:
    """The CPU feature flags of this machine, as Linux names them (or those in the given text of /proc/cpuinfo)."""
    if cpuinfo is None:
        path = Path("/proc/cpuinfo")
        cpuinfo = path.read_text() if path.exists() else ""
    for line in cpuinfo.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def host_cpu(cpuinfo: str | None = None) -> Target:
    """The best CPU level of this machine; PlanError when it has none."""
    if cpuinfo is None and platform.machine() not in ("x86_64", "AMD64"):
        raise PlanError(
            f"this machine is {platform.machine()}: CPU code needs x86-64",
            hint="compile for sm_90a, or run on an x86-64 machine",
        )
    flags = machine_flags(cpuinfo)
    for target in CPU_LEVELS.values():
        if target.cpu_flags <= flags:
            return target
    missing = sorted(CPU_LEVELS["x86-64-v3"].cpu_flags - flags)
    raise PlanError(
        f"this CPU is below x86-64-v3: it lacks {', '.join(missing)}", hint="CPU code needs AVX2, FMA and F16C"
    )


def supports(target: Target, cpuinfo: str | None = None) -> bool:
    """Whether this machine's CPU runs code of `target`."""
    return target.family == "cpu" and target.cpu_flags <= machine_flags(cpuinfo)


def parse_target(text: str) -> Target:
    """The target called `text`; `cpu` is this machine's level. UsageError lists what exists."""
    if text == "cpu":
        return host_cpu()
    if found := TARGETS.get(text):
        return found
    raise UsageError(f"unknown target '{text}'", hint=f"targets: cpu (this machine's level), {', '.join(TARGETS)}")
