"""What users do wrong ends in one error with the code of its kind, never in 70: files that are folders, full disks, patterns, nesting, names."""

from __future__ import annotations

import json
import os
import re
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from stepwell.api.compile import interpret
from stepwell.dialects.weights import WeightStore
from stepwell.driver.modules import LoadedModule, read_mlir
from stepwell.ir.source import SourceMap
from stepwell.runtime.engine import load
from stepwell.runtime.errors import InternalError, MemoryLimitError, UsageError
from stepwell.runtime.memory import available_bytes, from_exception, memory_for
from stepwell.testing.run_line import call

RELU = """func.func @main(%x: tensor<2x3xf32> {stepwell.name = "x"}) -> (tensor<2x3xf32> {stepwell.name = "y"}) {
  %y = graph.unary relu %x : tensor<2x3xf32> -> tensor<2x3xf32>
  func.return %y : tensor<2x3xf32>
}
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "relu.mlir"
    path.write_text(RELU)
    return path


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("relu")
    (folder / "relu.mlir").write_text(RELU)
    assert call(["stepwell", "compile", str(folder / "relu.mlir"), "--target", "cpu"])[0] == 0
    return folder / "relu.plan"


def ends(words: list[str], code: int, message: str) -> str:
    got, _, said = call(words)
    assert got == code and message in said, (got, said)
    assert said.count("error:") == 1 and "Traceback" not in said and said.startswith("error: ")
    return said


@pytest.mark.parametrize("ending", [".onnx", ".mlir", ".plan"])
def test_folders_are_no_models(ending: str, tmp_path: Path) -> None:
    folder = tmp_path / f"folder{ending}"
    folder.mkdir()
    ends(["stepwell", "compile", str(folder), "--target", "cpu", "-o", str(tmp_path / "x.plan")], 2, "is a folder")
    ends(["stepwell", "run", str(folder), "--random", "0"], 2, "is a folder")
    ends(["stepwell", "inspect", str(folder)], 2, "is a folder")
    ends(["stepwell-opt", str(folder)], 2, "Is a directory")
    weights = tmp_path / "folder.safetensors"
    weights.mkdir(exist_ok=True)
    (tmp_path / "a.mlir").write_text(RELU)
    ends(["stepwell-opt", str(tmp_path / "a.mlir"), "--weights", str(weights)], 3, str(weights))


def test_numbers_and_patterns_that_are_none(module: Path, plan: Path) -> None:
    ends(["stepwell", "run", str(plan), "--random", "-1"], 2, "seed -1 is negative")
    ends(["stepwell-opt", str(module), "-p", "cse", "--remarks-filter", "["], 2, "not a regular expression")
    ends(["stepwell", "compile", str(module), "--target", "cpu", "--remarks", "("], 2, "not a regular expression")
    ends(["stepwell-opt", str(module), "-t", "mlir{what=1}"], 2, "what")
    ends(["stepwell-opt", str(module), "-t", "llvm"], 3, "cannot be printed so")


@pytest.mark.parametrize("full", ["full.npz", "/proc/no/such.npz", "/nowhere/x.npz"])
def test_outputs_that_cannot_be_written(full: str, module: Path, plan: Path, tmp_path: Path) -> None:
    """The first is a link to a full device: what puts a file in its place harms the link only."""
    link = tmp_path / "full.npz"
    link.symlink_to("/dev/full")
    full = str(tmp_path / full)
    ends(["stepwell-opt", str(module), "-o", full], 2, "cannot write")
    ends(["stepwell-opt", str(module), "--weights", "random:0", "--weights-out", full], 2, "cannot write")
    ends(
        ["stepwell-opt", str(module), "--to", "tile", "--arch", "cpu", "--remarks-output-file", full], 2, "cannot write"
    )
    ends(["stepwell", "compile", str(module), "--target", "cpu", "-o", full], 2, "cannot write")
    ends(["stepwell", "run", str(plan), "--random", "0", "--output", full], 2, "cannot write")
    assert link.is_symlink()


def test_file_names_that_are_no_text(module: Path, tmp_path: Path) -> None:
    """Linux allows any bytes: they are shown escaped, and a text cannot name such a file."""
    odd = os.fsdecode(b"\xff")
    (tmp_path / f"{odd}.mlir").write_text(RELU)
    words = [str(tmp_path / f"{odd}.mlir"), "--weights", "random:0"]
    ends(["stepwell-opt", *words, "--weights-out", str(tmp_path / f"{odd}.safetensors")], 2, "not UTF-8")
    assert not (tmp_path / f"{odd}.safetensors").exists()
    command = [sys.executable, "-m", "stepwell", "compile", words[0], "--target", "cpu"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and "\\udcff.plan: cpu" in done.stdout, done.stderr


def test_weights_go_through_a_pipe(tmp_path: Path) -> None:
    """A pipe is written into and stays; the safetensors package puts a file in its place."""
    pipe = tmp_path / "weights.safetensors"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    WeightStore({"w": np.ones(3, np.float32)}).save(pipe)
    reader.join(10)
    assert stat.S_ISFIFO(pipe.stat().st_mode) and np.float32(1).tobytes() * 3 in read[0]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_standard_output_that_is_full_or_closed(module: Path) -> None:
    program = "import sys; from stepwell.cli import opt_main; sys.exit(opt_main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, str(module)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.count("error:") == 1 and "No space left" in done.stderr
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    done = subprocess.run(shell, check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "standard output is closed" in done.stderr


def nested(open_: str, close: str, count: int = 3000) -> str:
    return open_ * count + close * count


@pytest.mark.parametrize(
    "text",
    [
        nested('"test.op"() ({\n', "}) : () -> ()\n"),
        nested("builtin.module {\n", "}\n"),
        f"func.func @f(%a: {nested('tuple<', '>')}) {{ func.return }}",
        f"builtin.module attributes {{a = {nested('[', ']')}}} {{}}",
        f"builtin.module attributes {{a = dense<{nested('[', ']')}> : tensor<1xi32>}} {{}}",
        f"builtin.module attributes {{a = affine_map<(i) -> ({nested('(', ')')})>}} {{}}",
    ],
)
def test_deep_nesting_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.mlir"
    path.write_text(text)
    ends(["stepwell-opt", str(path)], 3, str(path))


def test_an_unclosed_string_is_refused_at_once(tmp_path: Path) -> None:
    """xDSL's own lexer needs a time exponential in the text behind the quote: 30 characters are hours."""
    path = tmp_path / "a.mlir"
    path.write_text('func.func @f() {\n  func.return\n} loc("' + "a" * 100_000 + "\n")
    ends(["stepwell-opt", str(path)], 3, f"{path}:3:7: this string does not end")


@pytest.mark.parametrize("text", ["func.func @f() { %x = arith.constant ² : i32 func.return }", "²", "é", "^0:", "%-1"])
def test_other_alphabets_are_no_tokens(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text(text)
    ends(["stepwell-opt", str(path)], 3, f"{path}:1:")


@pytest.mark.parametrize("values", [[np.ones((2, 3), np.float32)], np.ones((2, 3), np.float32), "x", 1, [1, 2]])
def test_inputs_are_given_by_name(values: object, plan: Path) -> None:
    with load(plan) as engine, pytest.raises(UsageError, match="inputs are given by name"):
        engine.run(values)  # type: ignore[arg-type]


def test_lists_that_are_no_arrays(plan: Path) -> None:
    loaded: LoadedModule = read_mlir(RELU, SourceMap("relu"), Path())
    for ragged in ([[1.0], [1.0, 2.0]], object(), [[1.0, "a", None]]):
        with load(plan) as engine, pytest.raises(UsageError):
            engine.run({"x": ragged})
        with pytest.raises(UsageError):
            interpret(loaded.module, {"x": ragged})  # type: ignore[dict-item]


def test_two_bindings_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text(RELU.replace('"y"', '"x"'))
    ends(["stepwell", "compile", str(path), "--target", "cpu"], 3, "two inputs or outputs are called 'x'")


def test_a_tensor_beyond_any_plan_is_refused_before_the_first_pass(tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text(RELU.replace("2x3x", f"{1 << 32}x{1 << 9}x"))
    ends(["stepwell", "compile", str(path), "--target", "cpu"], 3, f"{1 << 43} bytes")


def test_a_kernel_level_arena_beyond_any_plan_is_refused(module: Path, tmp_path: Path) -> None:
    """A module that comes at the kernel level passes none of the checks before."""
    lowered, path = tmp_path / "kernel.mlir", tmp_path / "huge.mlir"
    assert call(["stepwell-opt", str(module), "--to", "kernel", "--arch", "cpu", "-o", str(lowered)])[0] == 0
    changed, count = re.subn(r"arena \d+", f"arena {1 << 43}", lowered.read_text(), count=1)
    assert count == 1, lowered.read_text()[:2000]
    path.write_text(changed)
    ends(["stepwell", "compile", str(path)], 5, f"{1 << 43:,} bytes")


def test_memory_that_is_not_there(plan: Path, tmp_path: Path) -> None:
    left = available_bytes()
    assert left is not None and left > 0
    message = rf"needs {left + (1 << 40):,} bytes.* bytes are available"
    with pytest.raises(MemoryLimitError, match=message), memory_for("a test", left + (1 << 40)):
        pytest.fail("not refused")
    with pytest.raises(MemoryError) as caught:
        np.zeros(1 << 62, np.uint8)
    assert f"{1 << 62:,} bytes" in str(from_exception(caught.value, "a test"))
    assert from_exception(ValueError(), "a test") is None


def test_available_memory_is_the_least_of_all_limits(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    3000 kB\n")
    assert available_bytes(tmp_path) == 3_072_000
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("5000\n")
    (group / "memory.current").write_text("1000\n")
    assert available_bytes(tmp_path) == 4000
    (group / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) == 3_072_000


def test_a_cap_on_memory_ends_in_5(tmp_path: Path) -> None:
    """A network of 8 GiB under `ulimit -v` of 3 GiB, as a command of its own."""
    path = tmp_path / "a.mlir"
    path.write_text(RELU.replace("2x3x", f"{1 << 30}x"))
    assert call(["stepwell", "compile", str(path), "--target", "cpu"])[0] == 0
    plan = str(tmp_path / "a.plan")
    cap = (3 << 30, 3 << 30)
    done = subprocess.run(
        [sys.executable, "-m", "stepwell", "run", plan, "--random", "0"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, cap),
    )
    assert done.returncode == 5, done.stderr
    assert (
        done.stderr.startswith("error: ") and done.stderr.count("error:") == 1 and "bytes are available" in done.stderr
    )


@pytest.mark.parametrize("megabytes", [250, 350])
def test_compiling_under_a_cap_ends_in_5(megabytes: int, module: Path) -> None:
    """LLVM ends the process where it runs out of memory, and its library may not even be mapped."""
    cap = (megabytes << 20, megabytes << 20)
    done = subprocess.run(
        [sys.executable, "-m", "stepwell", "compile", str(module), "--target", "cpu"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, cap),
    )
    assert done.returncode == 5, done.stderr
    assert (
        done.stderr.startswith("error: ") and done.stderr.count("error:") == 1 and "bytes are available" in done.stderr
    )


def test_a_fault_leaves_one_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stepwell.runtime.plan_file.read_plan", lambda path: 1 // 0)
    for _ in range(2):
        code, _, said = call(["stepwell", "inspect", str(plan)])
        assert code == 70 and "ZeroDivisionError" in said
    (report,) = (tmp_path / "stepwell-reproducers").iterdir()
    assert f"stepwell-reproducers/{report.name}" in said and os.listdir(tmp_path) == ["stepwell-reproducers"]
    text = report.read_text()
    assert "inspect" in text and "ZeroDivisionError" in text and json.dumps(str(plan))[1:-1] in text
    monkeypatch.setenv("STEPWELL_REPRODUCERS", str(tmp_path / "elsewhere"))
    call(["stepwell", "inspect", str(plan)])
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


def test_a_fault_while_making_code_leaves_a_reproducer_that_runs(
    tmp_path: Path, module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise InternalError("seeded")

    monkeypatch.setenv("STEPWELL_REPRODUCERS", str(tmp_path / "left"))
    monkeypatch.setattr("stepwell.codegen.objects.compile_module", broken)
    ends(["stepwell", "compile", str(module), "--target", "cpu", "-o", str(tmp_path / "x.plan")], 70, "seeded")
    (reproducer,) = (tmp_path / "left").iterdir()
    assert reproducer.read_text().startswith("// RUN: stepwell-opt %s -t stepwell-asm\n// InternalError: seeded\n")
    assert call(["stepwell-opt", str(reproducer), "-t", "stepwell-asm"])[0] == 0
