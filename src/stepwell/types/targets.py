"""The targets: what each machine has, as data. `parse_target` reads `cpu`, `cpu:x86-64-v3`, `sm_90a`; `host_cpu` finds this machine's level."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from stepwell.runtime.errors import PlanError, UsageError
from stepwell.types.elements import element

X86_LAYOUT = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i64:64-i128:128-f80:128-n8:16:32:64-S128"
AARCH64_LAYOUT = "e-m:e-p270:32:32-p271:32:32-p272:64:64-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128-Fn32"
NVPTX_LAYOUT = "e-p3:32:32-p4:32:32-p5:32:32-p6:32:32-p7:32:32-i64:64-i128:128-i256:256-v16:16-v32:32-n16:32:64"


@dataclass(frozen=True)
class Target:
    """One machine. `name` as in `stepwell.target`; `family` is the pipeline that compiles for it (empty: none yet); `processor` as LLVM calls it. `copies`
    and `products`: how tiles are fetched and which instructions multiply them (`types.elements` says what). `tile_elements`: what its tiles hold, empty for
    all. CPU: `vector_bytes`, `vector_registers` and the micro-kernel `block` (rows, columns) that fills them. CUDA: `capability` (ten times),
    `shared_bytes` that one block may take, `registers` of 32 bits and `multiprocessors` of the machine that schedules are made for, `max_threads` of a block."""

    name: str
    family: Literal["cpu", "sm_90a", ""]
    processor: str
    triple: str
    data_layout: str
    features: str = ""
    copies: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    tile_elements: tuple[str, ...] = ()
    vector_bytes: int = 0
    vector_registers: int = 0
    block: tuple[int, int] = (0, 0)
    cpu_flags: frozenset[str] = frozenset()
    capability: int = 0
    shared_bytes: int = 0
    registers: int = 0
    multiprocessors: int = 0
    max_threads: int = 0

    def multiplies(self, name: str, instruction: str) -> bool:
        """Whether the machine's `instruction` multiplies elements of the type called `name`."""
        way = element(name).product(instruction)
        return way is not None and instruction in self.products and way.since <= self.capability


_V3 = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"})
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def _x86(level: str, width: int, registers: int, block: tuple[int, int], flags: frozenset[str]) -> Target:
    return Target(
        "cpu",
        "cpu",
        level,
        "x86_64-unknown-linux-gnu",
        X86_LAYOUT,
        copies=("direct", "pointer_table"),
        products=("fma",),
        vector_bytes=width,
        vector_registers=registers,
        block=block,
        cpu_flags=flags,
    )


def _cuda(
    name: str,
    features: str,
    capability: int,
    copies: tuple[str, ...],
    products: tuple[str, ...],
    kib: int,
    processors: int,
) -> Target:
    """64 Ki registers and blocks of 1024 threads have been the same since sm_50 (CUDA programming guide, table of compute capabilities)."""
    family: Literal["sm_90a", ""] = "sm_90a" if name == "sm_90a" else ""
    return Target(
        name,
        family,
        name,
        "nvptx64-nvidia-cuda",
        NVPTX_LAYOUT,
        features,
        copies,
        products,
        ("f16", "bf16", "f32", "i8", "i16", "i32", "ui8", "ui16", "ui32", "f8E4M3FN", "f8E5M2"),
        capability=capability,
        shared_bytes=kib * 1024,
        registers=64 * 1024,
        multiprocessors=processors,
        max_threads=1024,
    )


CPU_LEVELS: Mapping[str, Target] = MappingProxyType(
    {"x86-64-v4": _x86("x86-64-v4", 64, 32, (6, 64), _V4), "x86-64-v3": _x86("x86-64-v3", 32, 16, (4, 24), _V3)}
)
"""CPU level -> target, best first. 6x64 fills 24 + 4 + 1 of 32 zmm, 4x24 fills 12 + 3 + 1 of 16 ymm registers."""

SM_90A = _cuda("sm_90a", "+ptx86", 90, ("direct", "cp_async", "tma", "tma_im2col"), ("mma_sync", "wgmma"), 227, 132)
"""H100 SXM and H200. PTX 8.6 is what LLVM emits and every driver in use takes."""

MACHINES: Mapping[str, Target] = MappingProxyType(
    {
        "sm_75": _cuda("sm_75", "+ptx63", 75, ("direct",), ("mma_sync",), 64, 40),  # T4
        "sm_80": _cuda("sm_80", "+ptx70", 80, ("direct", "cp_async"), ("mma_sync",), 163, 108),  # A100
        "sm_90a": SM_90A,
        **CPU_LEVELS,
        "aarch64": Target(
            "cpu",
            "",
            "aarch64",
            "aarch64-unknown-linux-gnu",
            AARCH64_LAYOUT,
            copies=("direct", "pointer_table"),
            products=("fma",),
            vector_bytes=16,
            vector_registers=32,
            block=(8, 12),  # 24 + 3 + 1 of 32 registers
        ),
    }
)
"""The table of targets, by processor (CUDA programming guide, tables of compute capabilities; data sheets for the number of multiprocessors)."""

COMPILED = tuple(name for name, machine in MACHINES.items() if machine.family)
"""The processors that there is a code generator for."""

TARGETS: Mapping[str, Target] = MappingProxyType(
    {**{f"cpu:{level}": t for level, t in CPU_LEVELS.items()}, "sm_90a": SM_90A}
)
"""Every target that is compiled for, by the name that `parse_target` takes."""


def machine_of(processor: str | None) -> Target | None:
    """The row of a processor, if it has one and is known."""
    return None if processor is None else MACHINES.get(processor)


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
    if text in MACHINES:
        raise UsageError(f"there is no code generator for {text} yet", hint=f"targets: cpu, {', '.join(TARGETS)}")
    raise UsageError(f"unknown target '{text}'", hint=f"targets: cpu (this machine's level), {', '.join(TARGETS)}")
