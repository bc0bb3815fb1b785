"""The tables of faults: every entry can still be put in, none is lost, and a few of each kind are seen to be caught. All of them: `make mutants`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from stepwell.testing.mutants import (
    STALE,
    PtxMutant,
    SourceMutant,
    case_of,
    copy_of,
    judged,
    load_equivalent,
    load_floor,
    load_mutants,
    main,
    plan_of,
)
from stepwell.testing.ptx import judge_ptx

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
MUTANTS = load_mutants(FOLDER)
PTX = [m for m in MUTANTS if isinstance(m, PtxMutant)]
SOURCE = [m for m in MUTANTS if isinstance(m, SourceMutant)]
SHORT = [m for m in PTX if m.kernel in ("gemm_n10", "gemm_n10_f16", "conv_dilated")]


def test_no_area_has_fewer_faults_than_before() -> None:
    counts = Counter(mutant.area for mutant in MUTANTS)
    floor = load_floor(FOLDER)
    assert counts.keys() == floor.keys(), "give a new area its floor"
    assert all(counts[area] >= least for area, least in floor.items())
    assert len(MUTANTS) >= 60


@pytest.mark.parametrize("mutant", SOURCE, ids=[m.name for m in SOURCE])
def test_a_fault_of_the_source_has_its_place(mutant: SourceMutant) -> None:
    assert mutant.count(ROOT) == 1
    assert mutant.old != mutant.new
    for test in mutant.tests:
        assert (ROOT / test.partition("::")[0]).exists(), test


def test_what_cannot_be_seen_has_its_proof() -> None:
    for entry in load_equivalent(FOLDER).values():
        file, _, name = entry["proof"].partition("::")
        assert f"def {name}(" in (ROOT / file).read_text() and entry["reason"]


@pytest.mark.parametrize("mutant", SHORT, ids=[m.name for m in SHORT])
def test_a_fault_of_the_ptx_is_caught(mutant: PtxMutant) -> None:
    assert mutant.judge()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [m for m in PTX if m not in SHORT], ids=[m.name for m in PTX if m not in SHORT])
def test_every_other_fault_of_the_ptx_is_caught(mutant: PtxMutant) -> None:
    assert mutant.judge()


def test_what_is_not_damaged_is_right() -> None:
    for name in ("gemm_n10", "conv_dilated"):
        assert (
            judge_ptx(
                plan_of(name), case_of(name).inputs, lambda text: text + "// unchanged", {"y": case_of(name).expected}
            )
            == ""
        )


def test_a_fault_that_nobody_sees_survives_and_one_that_cannot_be_put_in_is_named() -> None:
    unseen = PtxMutant("waits", "a comment", "gemm_n10", "// begin inline asm", "// begins")
    stale = PtxMutant("waits", "gone", "gemm_n10", "no such text", "")
    answers = [caught for _, caught in judged([unseen, stale], ROOT, 1)]
    assert answers[0] == "" and answers[1].startswith(STALE)


def test_a_fault_of_the_source_is_put_into_a_copy(tmp_path: Path) -> None:
    copy = copy_of(ROOT, tmp_path)
    assert (copy / "src/stepwell/dialects").is_symlink()
    mutant = SourceMutant("kit", "x", "src/stepwell/passes/remarks.py", "def ", "def ", ("tests/none",))
    with pytest.raises(ValueError, match="neither passed nor failed"):
        mutant.judge(copy)


def test_the_command_says_what_survived(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(ROOT), "--only", "products/transposed", "--jobs", "1"]) == 0
    assert "2 of 2 faults are caught" in capsys.readouterr().out
