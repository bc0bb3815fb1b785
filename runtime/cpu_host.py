"""What this machine's processors can do, and the levels that code is compiled for."""

from __future__ import annotations

from pathlib import Path

from stepwell.runtime.errors import PlanError

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
LEVEL_FLAGS = {
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}
"""What each level adds, in the words of /proc/cpuinfo (System V ABI, AMD64 supplement, table 3.1)."""


def host_flags(cpuinfo: str = "/proc/cpuinfo") -> frozenset[str]:
    """The features of this machine's processors; empty where the system does not tell (not Linux on x86-64)."""
    try:
        text = Path(cpuinfo).read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def host_level(flags: frozenset[str] | None = None) -> str:
    """The highest level that this machine has, or "" when it has none."""
    present, best = host_flags() if flags is None else flags, ""
    for level in LEVELS:
        if not LEVEL_FLAGS[level] <= present:
            break
        best = level
    return best


def check_host(level: str, flags: frozenset[str] | None = None) -> None:
    """PlanError when this machine lacks what code for `level` needs."""
    if level not in LEVELS:
        raise PlanError(f'the code is for "{level}", which this runtime does not know', hint="upgrade stepwell")
    present = host_flags() if flags is None else flags
    needed = set().union(*(LEVEL_FLAGS[name] for name in LEVELS[: LEVELS.index(level) + 1]))
    missing = sorted(needed - present)
    if missing:
        hint = f"compile for this machine (its level is {host_level(present) or 'below x86-64-v2'})"
        raise PlanError(f"the code needs {level}; this machine lacks {', '.join(missing)}", hint=hint)
