"""`make passes` is complete: every registered pass has IR tests, holds its properties alone, and leaves remarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.plugins.universe import pass_modules
from stepwell.testing.pass_table import HEADINGS, Row, main, table_text

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples" / "digits" / "digits.onnx"


def test_no_cell_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--tests", str(ROOT / "tests"), "--model", str(MODEL)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    named = [line.split()[0] for line in printed.out.splitlines()]
    assert named[: len(pass_modules()) + 1] == ["pass", *pass_modules()]  # behind them stand those of installed plugins


def test_an_empty_cell_is_a_problem() -> None:
    full = Row("graph-remove-dead", 1, 1, ("verifies",), 0.5, {"passed"})
    assert not full.problems()
    assert Row("graph-remove-dead", 1).problems() == [
        "graph-remove-dead: nothing in column IR refusals, properties, solo run, remarks"
    ]
    full.faults.append("two runs differ")
    assert full.problems() == ["graph-remove-dead: two runs differ"]


def test_columns_line_up() -> None:
    lines = table_text([Row("graph-remove-dead", changed=3), Row("tile-expand-math")]).splitlines()
    assert lines[1].index("3") == lines[0].index("IR changes") and len(HEADINGS) == len(Row("tile-expand-math").cells())
