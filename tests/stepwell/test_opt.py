"""`stepwell-opt` as a user meets it: exit codes, one error, no half-written file, what can be watched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stepwell.testing.run_line import call

SUM = """func.func @sum() -> i32 {
  %one = arith.constant 1 : i32 loc("one")
  %two = arith.constant 2 : i32 loc("two")
  %total = arith.addi %one, %two : i32 loc("total")
  func.return %total : i32 loc("total")
}
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "sum.mlir"
    path.write_text(SUM)
    return path


BAD = [
    (["missing.mlir"], 2, "cannot read"),
    (["{}", "-p", "nonsense"], 2, "unknown pass"),
    (["{}", "-p", "cse{x}"], 2, "cse"),
    (["{}", "--to", "tile"], 2, "needs a target"),
    (["{}", "--arch", "sm_20"], 2, "unknown target"),
    (["{}", "--level", "graph"], 3, "arith.addi"),
    (["{}", "--shape", "x"], 2, "not a shape"),
    (["{}", "--shape", "x:1x0"], 2, "is no shape"),
    (["{}", "-t", "stepwell-ptx"], 2, "not 'llvm'"),
    (["{}", "--weights", "what"], 2, "weights"),
    (["{}", "--shrink"], 2, "xdsl-opt"),
    (["--help-pass", "nonsense"], 2, "unknown pass"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD)
def test_mistakes_end_in_one_error(words: list[str], code: int, message: str, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    got, printed, said = call(["stepwell-opt", *[w.replace("{}", str(source)) for w in words], "-o", str(out)])
    assert (got, printed) == (code, "")
    assert message in said and said.count("error:") == 1 and "Traceback" not in said
    assert not out.exists() and {p.name for p in tmp_path.iterdir()} == {"sum.mlir"}


@pytest.mark.parametrize(
    "text", ["func.func @f() {", "\x00", 'loc("', "func.func @f() -> i32 { func.return }", "%x = 1"]
)
def test_texts_that_are_no_module(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_text(text)
    code, _, said = call(["stepwell-opt", str(path)])
    assert code == 3 and "Traceback" not in said and str(path) in said


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.mlir"
    path.write_bytes(b"\xff\xfe\x00")
    assert call(["stepwell-opt", str(path)])[0] == 3


def test_unwritable_output_leaves_nothing(source: Path, tmp_path: Path) -> None:
    code, _, said = call(["stepwell-opt", str(source), "-o", str(tmp_path / "no" / "out.mlir")])
    assert code == 2 and "cannot write" in said


def test_existing_output_survives_a_failure(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mlir"
    out.write_text("precious")
    assert call(["stepwell-opt", str(source), "-p", "nonsense", "-o", str(out)])[0] == 2
    assert out.read_text() == "precious"
    assert call(["stepwell-opt", str(source), "-o", str(out)])[0] == 0
    assert "@sum" in out.read_text()


def test_tree_dir_holds_every_step(source: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    code, _, _ = call(["stepwell-opt", str(source), "-p", "canonicalize,cse", "--print-ir-tree-dir", str(tree)])
    index = json.loads((tree / "index.json").read_text())
    assert code == 0 and [entry["pass"] for entry in index] == ["input", "canonicalize", "cse"]
    assert [entry["changed"] for entry in index] == [True, True, False]
    assert all((tree / entry["file"]).exists() for entry in index)
    assert index[0]["ops"] == {"arith": 3, "func": 2} and index[1]["ops"] == {"arith": 1, "func": 2}


def test_time_passes_and_print_after_change(source: Path) -> None:
    words = ["stepwell-opt", str(source), "-p", "canonicalize,cse", "--time-passes", "--print-ir-after-change"]
    _, _, said = call(words)
    assert "IR Dump After canonicalize //" in said and "IR Dump After cse (no change)" in said
    assert "Pass execution timing report" in said


def test_lists_and_pages() -> None:
    code, out, _ = call(["stepwell-opt", "--list-passes"])
    assert code == 0 and "canonicalize" in out
    code, out, _ = call(["stepwell-opt", "--print-pipeline", "--arch", "sm_90a", "--to", "tile", "-p", "cse"])
    assert (
        code == 0 and out.startswith("cse,graph-") and out.strip().endswith("tile-split-reduction,tile-merge-kernels")
    )
