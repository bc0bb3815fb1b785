"""Generated networks through the commands: right, or refused with a reason; and the net itself, which sees what is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest

from stepwell.cli.arrays import read_inputs, write_outputs
from stepwell.testing.hostile.children import Children, Ended
from stepwell.testing.hostile.judge import Tally, complaints
from stepwell.testing.hostile.networks import HostileNetwork, network
from stepwell.testing.hostile.oracle import differences

PART = 50
"""Networks of one test, so that many tests run side by side."""
REFUSED = (0, 3, 5)
"""Compiling may refuse what is not supported, and what no machine has the memory for."""


def right_or_refused(case: HostileNetwork, name: str, folder: Path, children: Children, tally: Tally) -> str:
    """Compile, run and compare one network; faults go to the tally."""
    onnx.save(case.model, folder / "net.onnx")
    compiled = children.run(["stepwell", "compile", "net.onnx", "--target", "cpu"], folder)
    if not tally.add(f"{name} {case.steps}", compiled, REFUSED):
        return "fault"
    if compiled.code or case.huge:
        return "refused" if compiled.code else "compiled"
    write_outputs(folder / "in.npz", case.inputs)
    words = ["stepwell", "run", "net.plan", "--threads", "1", "--input", "in.npz", "--output", "out.npz"]
    if not tally.add(f"{name} {case.steps}", children.run(words, folder), (0,)):
        return "fault"
    if not case.comparable or children.run(["oracle", "net.onnx", "in.npz", "ort.npz"], folder).code:
        return "not compared"
    found, expected = (read_inputs([str(folder / file)]) for file in ("out.npz", "ort.npz"))
    wrong = differences(found, expected)
    if wrong:
        tally.fault(f"{name} {case.steps}", f"wrong: {wrong}")
    return "wrong" if wrong else "right"


def net(seeds: range, children: Children, folder: Path) -> Counter[str]:
    tally, outcomes = Tally(), Counter[str]()
    for seed in seeds:
        place = folder / str(seed)
        place.mkdir()
        outcomes[right_or_refused(network(Random(f"network {seed}")), str(seed), place, children, tally)] += 1
    print(dict(outcomes), tally)
    assert not tally.faults, f"{dict(outcomes)}; {tally}"
    return outcomes


def test_networks_are_right_or_refused(children: Children, tmp_path: Path) -> None:
    outcomes = net(range(16), children, tmp_path)
    assert outcomes["right"] >= 2 and outcomes["refused"] >= 1, outcomes


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 1500, PART))
def test_many_networks_are_right_or_refused(start: int, children: Children, tmp_path: Path) -> None:
    outcomes = net(range(start, start + PART), children, tmp_path)
    assert outcomes["right"] >= PART // 5, outcomes


def test_a_seed_is_a_network() -> None:
    one, other = (network(Random("network 7")) for _ in range(2))
    assert one.model == other.model
    for name, array in one.inputs.items():
        np.testing.assert_array_equal(array, other.inputs[name])


@pytest.mark.parametrize(
    ("ended", "what"),
    [
        (Ended((), -11, "", "", 0), "killed by SIGSEGV"),
        (Ended((), 70, "", "error: x", 0), "exit code 70"),
        (Ended((), 3, "", "Traceback (most recent call last)", 0), "a traceback"),
        (Ended((), 3, "", "something", 0), "standard error is not one error"),
        (Ended((), 3, "", "error: a\nerror: b", 0), "standard error is not one error"),
        (Ended((), 99, "", "error: x", 0), "exit code 99"),
    ],
)
def test_the_judge_sees(ended: Ended, what: str) -> None:
    assert what in complaints(ended)
    assert not complaints(Ended((), 3, "", "error: x\n  - a reason\n", 0))


def test_wrong_results_are_seen() -> None:
    right = {"y": np.asarray([1.0, np.nan, np.inf], np.float32)}
    assert not differences(right, right)
    for wrong in ([1.01, np.nan, np.inf], [1.0, 0.0, np.inf], [1.0, np.nan, -np.inf], [np.nan, np.nan, np.inf]):
        assert differences({"y": np.asarray(wrong, np.float32)}, right)
    assert differences({"z": right["y"]}, right)
    assert differences({"y": right["y"].astype(np.float64)}, right)
    assert differences({"y": np.asarray([1, 2])}, {"y": np.asarray([1, 3])})


def test_children_are_capped(children: Children, tmp_path: Path) -> None:
    """A command that takes more time or memory than it may is ended, and the next one is not harmed."""
    (tmp_path / "a.mlir").write_text("builtin.module {}\n")
    (tmp_path / "long.mlir").write_text("func.func @f() { func.return }\n" * 200_000)
    assert children.run(["stepwell-opt", "long.mlir"], tmp_path, seconds=1).code < 0
    assert children.run(["stepwell-opt", "a.mlir"], tmp_path, seconds=10, memory=1 << 30).code == 0
    ended = children.run(["stepwell-opt", "long.mlir"], tmp_path, memory=1 << 28)
    assert ended.code == 5 and "bytes are available" in ended.err, ended


def test_a_sample_in_processes_of_their_own(tmp_path: Path) -> None:
    """What forks do, new interpreters do."""
    (tmp_path / "a.onnx").write_bytes(b"\x08\x07")
    words = [sys.executable, "-m", "stepwell", "compile", "a.onnx", "--target", "cpu"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and done.stderr.startswith("error: a.onnx: not an ONNX model")
