"""The table of targets."""

from __future__ import annotations

import pytest

from stepwell.runtime.errors import PlanError, UsageError
from stepwell.types.targets import CPU_LEVELS, TARGETS, host_cpu, parse_target, supports

V3 = "flags : fpu avx avx2 bmi1 bmi2 f16c fma movbe abm"


def test_levels_are_found_from_flags() -> None:
    assert host_cpu(V3).processor == "x86-64-v3"
    assert host_cpu(V3 + " avx512f avx512bw avx512cd avx512dq avx512vl").processor == "x86-64-v4"
    assert supports(CPU_LEVELS["x86-64-v3"], V3) and not supports(CPU_LEVELS["x86-64-v4"], V3)


def test_old_machines_are_told_what_they_lack() -> None:
    with pytest.raises(PlanError, match="lacks abm, avx2"):
        host_cpu("flags : fpu avx bmi1 bmi2 f16c fma movbe")


def test_unknown_targets_list_what_exists() -> None:
    with pytest.raises(UsageError) as caught:
        parse_target("sm_99")
    assert all(name in str(caught.value) for name in TARGETS)


def test_blocks_fit_the_registers() -> None:
    """Accumulators, one row of the panel and one broadcast element; alignment of a panel's rows."""
    for target in CPU_LEVELS.values():
        rows, columns = target.block
        vectors = columns * 4 // target.vector_bytes
        assert columns * 4 % target.vector_bytes == 0
        assert rows * vectors + vectors + 1 <= target.vector_registers
