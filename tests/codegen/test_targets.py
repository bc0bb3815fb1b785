"""The table of targets."""

from __future__ import annotations

import pytest

from stepwell.runtime.errors import PlanError, UsageError
from stepwell.types.targets import COMPILED, CPU_LEVELS, MACHINES, TARGETS, host_cpu, parse_target, supports

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


def test_a_machine_without_a_code_generator_is_named() -> None:
    with pytest.raises(UsageError, match="there is no code generator for sm_80 yet"):
        parse_target("sm_80")
    assert set(MACHINES) - set(COMPILED) == {"sm_75", "sm_80", "aarch64"}


@pytest.mark.parametrize(
    ("processor", "element", "instruction", "expected"),
    [
        ("sm_75", "f16", "mma_sync", True),
        ("sm_75", "bf16", "mma_sync", False),
        ("sm_80", "f8E4M3FN", "mma_sync", False),
        ("sm_80", "f16", "wgmma", False),
        ("sm_90a", "bf16", "wgmma", True),
        ("sm_90a", "f64", "wgmma", False),
        ("aarch64", "f32", "fma", True),
        ("x86-64-v4", "i8", "fma", True),
        ("x86-64-v4", "i64", "fma", False),
    ],
)
def test_what_a_machine_multiplies(processor: str, element: str, instruction: str, expected: bool) -> None:
    assert MACHINES[processor].multiplies(element, instruction) is expected


def test_blocks_fit_the_registers() -> None:
    """Accumulators, one row of the panel and one broadcast element; alignment of a panel's rows."""
    for target in (machine for machine in MACHINES.values() if machine.vector_registers):
        rows, columns = target.block
        vectors = columns * 4 // target.vector_bytes
        assert columns * 4 % target.vector_bytes == 0
        assert rows * vectors + vectors + 1 <= target.vector_registers
