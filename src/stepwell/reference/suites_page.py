"""The page of the suites: how many cases of each are right, and what is not, with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stepwell.reference.markdown import escape, page, table
from stepwell.testing.conformance.executors import EXECUTORS
from stepwell.testing.conformance.record import record_path
from stepwell.testing.conformance.suites import SUITES

SHOWN = 12
"""Most cases that are named for one reason."""
INTRODUCTION = """What others wrote to test such programs, and how each case ended here: *right* is what gives the reference's numbers, *refused* what is turned away with a reason before
anything is computed. Nothing may be wrong. The records lie in `tests/conformance` and only grow; `make conformance` runs all suites again, `python -m stepwell.testing.conformance SUITE` one."""


def suites_page(records: Path) -> str:
    """The page; `records` is the folder of what was run."""
    parts, rows = [], []
    for name, suite in SUITES.items():
        for executor in EXECUTORS:
            path = record_path(records, name, executor)
            if not path.exists():
                continue
            blocks = list(_blocks(path.read_text()))
            right = sum(len(cases) for heading, cases in blocks if heading == "right")
            rest = [(heading, cases) for heading, cases in blocks if heading != "right"]
            unit = "forms" if name == "sweep" else "cases"
            rows.append([suite.title, f"`{executor}`", unit, f"{right:,}", f"{sum(len(cases) for _, cases in rest):,}"])
            if rest:
                listed = table(["how it ended", "how many", "which"], map(_row, rest))
                parts += [f"## {suite.title} on `{executor}`", listed]
    return page("Suites of others", INTRODUCTION, table(["suite", "on", "of", "right", "not"], rows), *parts)


def _blocks(text: str) -> Iterator[tuple[str, list[str]]]:
    """Status with its reason, and the cases (the sweep's forms) of each block of a record."""
    heading, cases = "", list[str]()
    for line in text.splitlines():
        if line.startswith("# "):
            if heading:
                yield heading, cases
            heading, cases = line[2:], []
        else:
            cases += [line.partition(": ")[0]] if ": " in line else line.split()
    if heading:
        yield heading, cases


def _row(block: tuple[str, list[str]]) -> list[str]:
    heading, cases = block
    more = f" and {len(cases) - SHOWN} more" if len(cases) > SHOWN else ""
    return [escape(heading), str(len(cases)), ", ".join(f"`{case}`" for case in cases[:SHOWN]) + more]
