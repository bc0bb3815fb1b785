"""The page of what runs where: every operator of every door by element type."""

from __future__ import annotations

from stepwell.api.support import DOORS, RUNNERS, Table, shipped
from stepwell.reference.markdown import page, table

TITLES = {"onnx": "ONNX", "caffe": "Caffe", "tensorflow": "TensorFlow", "network": "The network API"}
COLUMNS = {"graph": "interpreter", "cpu": "cpu", "sm_90a": "sm_90a"}
INTRODUCTION = """Every operator that a door takes, and with which element types (of its first input) it was seen to run: in the interpreter of the graph level, compiled for
a CPU, compiled for sm_90a. `stepwell ops` prints the same table; `stepwell ops --operator 'Conv*'` a part of it. An element type stands here if at least one case of the suites that are
[recorded](conformance.md) ran with it, not in every form of the operator: [the page of ONNX operators](onnx.md) has the forms, and `stepwell compile` names everything that it cannot take.
For ONNX the columns of the targets are what the operator sweep and the node tests compiled and ran (sm_90a: assembled); for the other doors the lowering was asked whether it takes the ops that
the operator becomes. "-" says that no case has the operator, or that it leaves no op of its own behind, as those of TensorFlow's that branches, loops and arrays are recovered from. `python -m stepwell.testing.conformance.support` writes the table anew."""


def support_page() -> str:
    """The page."""
    found = shipped()
    sections = [part for door in DOORS for part in (f"## {TITLES[door]}", *_section(found, door))]
    return page("What runs where", INTRODUCTION, *sections)


def _section(found: Table, door: str) -> tuple[str, str]:
    rows = {operator: row for (of, operator), row in found.items() if of == door}
    counts = ", ".join(f"{COLUMNS[r]} {sum(r in row for row in rows.values())}" for r in RUNNERS)
    lines = [[operator, *(_cell(row.get(runner, ())) for runner in RUNNERS)] for operator, row in rows.items()]
    return f"{len(rows)} operators; {counts}.", table(["operator", *COLUMNS.values()], lines)


def _cell(elements: tuple[str, ...]) -> str:
    return " ".join(elements) or "-"
