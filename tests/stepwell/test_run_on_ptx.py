"""`stepwell run --on ptx`: outputs by name and a line per launch, or one error with its code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from xdsl.parser import Parser

from stepwell.driver.modules import keep_weights, make_context
from stepwell.driver.run_ptx import run_plan
from stepwell.runtime.plan_file import Plan, Section, read_plan, write_plan
from stepwell.testing import gpu_kernels
from stepwell.testing.gpu_contractions import Case
from stepwell.testing.ptx import ptx_plan, substituted
from stepwell.testing.run_line import call


@pytest.fixture(scope="module")
def case() -> Case:
    return next(case for case in gpu_kernels.small_cases() if case.name == "gemm_n10")


@pytest.fixture(scope="module")
def plan(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    module = keep_weights(Parser(make_context(case.weights), case.text).parse_module(), case.weights)
    folder = tmp_path_factory.mktemp("plans")
    write_plan(ptx_plan(module), folder / "gemm.plan")
    np.save(folder / "x.npy", case.inputs["x"])
    return folder / "gemm.plan"


def damaged(plan: Path, pattern: str, replacement: str) -> Path:
    """The plan with another PTX."""
    (section,) = read_plan(plan).sections
    text = substituted(pattern, replacement)(bytes(section.code["ptx"]).decode())
    other = Section(
        section.name,
        section.target,
        section.level,
        section.program,
        section.module,
        {"ptx": text.encode()},
        section.constants,
    )
    path = plan.parent / "damaged.plan"
    write_plan(Plan((other,)), path)
    return path


def test_outputs_are_those_of_the_network(case: Case, plan: Path, tmp_path: Path) -> None:
    words = ["stepwell", "run", str(plan), "--on", "ptx", "--input", f"x={plan.parent / 'x.npy'}", "--seed", "5"]
    code, said, error = call([*words, "--output", str(tmp_path / "y.npz")])
    assert (code, error) == (0, "")
    lines = said.splitlines()
    assert lines[0] == "section sm_90a on the PTX interpreter"
    assert lines[1].startswith("  @kernel: 2 of 2 blocks, 8 copies") and "written: %y 100 %" in lines[1]
    assert lines[2].startswith("y: float32[128, 10], min ")
    with np.load(tmp_path / "y.npz") as arrays:
        np.testing.assert_array_equal(arrays["y"], case.expected)


def test_a_fault_names_entry_block_threads_and_line(plan: Path) -> None:
    path = damaged(plan, r"griddepcontrol\.wait;", "")
    code, _, error = call(["stepwell", "run", str(path), "--on", "ptx", "--random", "0"])
    assert code == 1
    assert (
        "launch 0, @kernel, block 0 of 2" in error
        and "PTX line " in error
        and "touched before predecessor wait" in error
    )


def test_an_unknown_instruction_is_refused_with_its_line(plan: Path) -> None:
    path = damaged(plan, r"add\.rn\.f32", "add.f32")
    code, _, error = call(["stepwell", "run", str(path), "--on", "ptx", "--random", "0"])
    assert code == 4 and "without .rn means nothing" in error and "PTX line " in error


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--on", "ptx"], 2, '"x" (float32[128, 64]) is missing'),
        (["--on", "ptx", "--random", "0", "--threads", "2"], 2, "mean nothing"),
        (["--on", "ptx", "--random", "0", "--profile"], 2, "mean nothing"),
        (["--on", "ptx", "--random", "0", "--seed", "-1"], 2, "negative"),
        (["--on", "ptx", "--random", "0", "--target", "cpu"], 4, "section cpu holds no PTX"),
        (["--random", "0", "--seed", "1"], 2, "say --on ptx"),
    ],
)
def test_what_does_not_fit_is_one_error(plan: Path, words: list[str], code: int, message: str) -> None:
    got, _, error = call(["stepwell", "run", str(plan), *words])
    assert got == code and message in error and "Traceback" not in error


def test_a_plan_without_ptx(tmp_path: Path) -> None:
    section = Section("cpu", "cpu", "x86-64-v3", {"module_hash": "4" * 64}, "builtin.module {}", {"o": b""}, b"")
    with pytest.raises(Exception, match="no section holds PTX"):
        run_plan(Plan((section,)), {})


def test_chosen_blocks_write_their_part_only(case: Case, plan: Path) -> None:
    report = run_plan(plan, case.inputs, blocks="first")
    (output,) = report.outputs.values()
    written = (output != 0).any(axis=1)
    assert written[:64].any() and not written[64:].any()
    np.testing.assert_array_equal(output[:64], case.expected[:64])
    assert report.launches[0].blocks == (0,)
