"""What the page of ONNX operators promises: the records of the operator sweep and of ONNX's node tests, as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from stepwell.reference.markdown import escape, table
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.executors import EXECUTORS
from stepwell.testing.conformance.record import read, record_path
from stepwell.testing.conformance.sweep import OPERATORS, sweep_cases

Outcomes = Mapping[str, Outcome]
SHORT = {"float": "f", "int": "i", "uint": "u", "bfloat": "bf"}


def sweep_records(folder: Path) -> dict[str, Outcomes]:
    """Executor -> outcomes, of the executors whose sweep is recorded in `folder`."""
    found: dict[str, Outcomes] = {}
    for executor in EXECUTORS:
        path = record_path(folder, "sweep", executor)
        if path.exists():
            found[executor] = read(path.read_text(), sweep_cases(executor))
    return found


def counts(folder: Path) -> str:
    """How many cases each record holds, and how they ended."""
    rows = []
    for suite, title in (("sweep", "operator sweep"), ("nodes", "ONNX's node tests")):
        for executor in EXECUTORS:
            path = record_path(folder, suite, executor)
            if path.exists():
                seen = Counter(_statuses(path.read_text(), suite, executor))
                rows.append(
                    [title, f"`{executor}`", *(f"{n:,}" for n in (seen.total(), seen["right"], seen["refused"]))]
                )
    return table(["suite", "on", "run", "right", "refused"], rows)


def _statuses(text: str, suite: str, executor: str) -> Iterable[str]:
    if suite == "sweep":
        yield from (outcome.status for outcome in read(text, sweep_cases(executor)).values())
        return
    status = ""
    for line in text.splitlines():
        if line.startswith("# "):
            status = line[2:].partition(":")[0]
        else:
            yield from [status] * len(line.split())


def promise(op: str, records: Mapping[str, Outcomes]) -> str:
    """The table of an operator: its forms, and for each executor the element types that are right; then what is refused and why."""
    if op not in OPERATORS:
        return "Run by the interpreter of the graph level; no target compiles it yet."
    rows: dict[tuple[str, ...], list[str]] = {}
    for form in OPERATORS[op]:
        widths = {type: set(form.widths(type)) for type in form.types}
        cells = tuple(_cell(_of_form(outcomes, op, form.name), widths) for outcomes in records.values())
        rows.setdefault(cells, []).append(escape(form.name))
    headings = ["form", *(f"`{executor}`" for executor in records)]
    listed = table(headings, (["; ".join(forms), *cells] for cells, forms in rows.items()))
    refused: dict[str, list[str]] = {}
    for executor, outcomes in records.items():
        for line in _refusals(op, outcomes):
            refused.setdefault(line, []).append(f"`{executor}`")
    lines = [f"- Refused on {', '.join(executors)}: {line}" for line, executors in refused.items()]
    return "\n\n".join(part for part in (listed, "\n".join(lines)) if part)


def _of_form(outcomes: Outcomes, op: str, form: str) -> dict[str, dict[str, Outcome]]:
    """Element type -> width -> outcome."""
    found: dict[str, dict[str, Outcome]] = {}
    for name, outcome in outcomes.items():
        head, _, width = name.rpartition("/")
        place, _, type = head.rpartition("/")
        if place == f"{op}/{form}":
            found.setdefault(type, {})[width] = outcome
    return found


def _cell(types: Mapping[str, Mapping[str, Outcome]], widths: Mapping[str, set[str]]) -> str:
    """The types that ended right, those of which the same widths did together; `widths` are all that there are."""
    if not types:
        return "not run"
    together: dict[str, list[str]] = {}
    for type, outcomes in types.items():
        right = [width for width, outcome in outcomes.items() if outcome.status == "right"]
        if right:
            where = "" if set(right) == widths[type] else f" at {', '.join(right)}"
            together.setdefault(where, []).append(short(type))
    return "; ".join(", ".join(names) + where for where, names in together.items()) or "none"


def _refusals(op: str, outcomes: Outcomes) -> list[str]:
    """A line for each reason, with the forms and types that it is about."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for name, outcome in outcomes.items():
        operator, form, type, _ = name.split("/")
        if operator == op and outcome.status in ("refused", "late"):
            types = reasons.setdefault(outcome.reason, {}).setdefault(form, [])
            if short(type) not in types:
                types.append(short(type))
    return [f"{escape(reason)} ({_where(forms)})." for reason, forms in reasons.items()]


def _where(forms: Mapping[str, list[str]]) -> str:
    """Forms with the same types together."""
    together: dict[str, list[str]] = {}
    for form, types in forms.items():
        together.setdefault(", ".join(types), []).append(escape(form))
    return "; ".join(f"{', '.join(names)} of {types}" for types, names in together.items())


def short(type: str) -> str:
    """An element type as MLIR spells it, unsigned ones as u8."""
    letters = type.rstrip("0123456789")
    return "i1" if type == "bool" else SHORT[letters] + type.removeprefix(letters)
