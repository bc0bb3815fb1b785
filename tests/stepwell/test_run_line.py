"""The RUN-line collector."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.testing.run_line import RunLineError, call, execute, parse, run_lines


def test_lines_are_joined_at_backslashes() -> None:
    text = "// RUN: a %s | \\\n// RUN:   b\n// CHECK: x\n// RUN: c\n"
    assert [" ".join(line.split()) for line in run_lines(text)] == ["a %s | b", "c"]


def test_pipes_quotes_and_redirections() -> None:
    ((first, second),) = parse("stepwell-opt x -p 'a,b{c=1 d=\"e\"}' 2>&1 | filecheck y > out")
    assert first.words == ["stepwell-opt", "x", "-p", 'a,b{c=1 d="e"}'] and first.merge
    assert second.words == ["filecheck", "y"] and second.stdout == "out"
    assert [len(pipe) for pipe in parse("a && b | c")] == [1, 2]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rm -rf %t", "unknown command 'rm'"),
        ("stepwell-opt %s -p no-such", "unknown pass"),
        ("not stepwell-opt %s", "RUN: not stepwell-opt"),
        ("stepwell-opt %s | filecheck %s --check-prefix OTHER", "No check strings"),
        ("cat %s >", "needs a file"),
    ],
)
def test_failures_say_what_failed(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text("builtin.module {}\n")
    with pytest.raises(RunLineError, match=message):
        execute(line, path, tmp_path)


def test_commands_run_in_this_process() -> None:
    code, out, err = call(["stepwell-opt", "-p", "cse"], "func.func @f() { func.return }")
    assert (code, err) == (0, "") and "func.func @f" in out


def test_not_and_files(tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text("builtin.module {}\n// CHECK: builtin.module\n")
    execute("stepwell-opt %s > %t && cat < %t | filecheck %s && not stepwell-opt %s -p no 2> %T/said", path, tmp_path)
    assert "unknown pass" in (tmp_path / "said").read_text()
