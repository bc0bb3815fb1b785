"""docs/design/graph-ops.md is complete and true: every ONNX operator once, every op it names listed, what the dialect has marked."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import onnx.defs
import pytest

from stepwell.dialects import graph

PAGE = Path(__file__).resolve().parents[2] / "docs" / "design" / "graph-ops.md"
OP = re.compile(r"`(graph\.\w+)`")
FORMS = {"linalg", "tile", "loops", "graph", "view", "plan", "build"}
TRAINING = {"NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"}


def rows(heading: str) -> list[dict[str, str]]:
    """The rows of every table whose first column is called `heading`, as column -> cell."""
    found: list[dict[str, str]] = []
    columns: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
        elif columns[0] == heading and set(line) - set("|- "):
            assert len(cells) == len(columns), line
            found.append(dict(zip(columns, cells, strict=True)))
    return found


@cache
def listed() -> dict[str, dict[str, str]]:
    """The op list: name -> row."""
    table = rows("op")
    names = [row["op"].strip("`") for row in table]
    assert len(set(names)) == len(names), "an op is listed twice"
    return dict(zip(names, table, strict=True))


def schemas() -> dict[str, onnx.defs.OpSchema]:
    """The newest schema of every operator of ONNX's main domain."""
    return {schema.name: schema for schema in onnx.defs.get_all_schemas() if schema.domain == ""}


def says(schema: Any) -> str:
    """What the column `ONNX says` must hold for an operator's schema."""
    words = ["deprecated"] if schema.deprecated else []
    if schema.has_function or schema.has_context_dependent_function:
        words.append("function" if schema.has_function else "function*")
    return ", ".join(words + (["training"] if schema.name in TRAINING else []))


def test_every_onnx_operator_stands_once() -> None:
    operators = [row["operator"] for row in rows("operator")]
    assert operators == sorted(set(operators)), "operators are out of order or stand twice"
    known = set(schemas())
    if onnx.defs.onnx_opset_version() == 28:
        assert set(operators) == known
    missing = {name for name in known - set(operators) if schemas()[name].since_version <= 28}
    assert not missing, f"operators without a row: {sorted(missing)}"


@pytest.mark.skipif(onnx.defs.onnx_opset_version() != 28, reason="the page describes opset 28")
def test_versions_and_forms_are_onnx_own() -> None:
    for row in rows("operator"):
        schema = schemas()[row["operator"]]
        assert (row["since"], row["ONNX says"]) == (str(schema.since_version), says(schema)), row["operator"]


def test_every_operator_goes_somewhere() -> None:
    for row in rows("operator"):
        named, how = OP.findall(row["graph ops"]), row["how"]
        assert how in {"op", "ops", "import", "refused"}, row
        assert bool(named) or how in {"import", "refused"}, f"{row['operator']} names no op"
        assert not (how == "refused" and named), row
        assert how != "refused" or row["notes"], f"{row['operator']} is refused without a reason"
        assert re.sub(OP, "", row["graph ops"]).strip() == "", row["graph ops"]


def test_every_op_named_on_the_page_is_listed() -> None:
    named = set(OP.findall(PAGE.read_text(encoding="utf-8")))
    assert named == set(listed()), named ^ set(listed())
    assert f"said with {len(listed())} ops" in PAGE.read_text(encoding="utf-8")


def test_what_the_dialect_has_is_marked() -> None:
    present = {op.name for op in graph.GRAPH.operations}
    assert present == {name for name, row in listed().items() if row["now"] == "yes"}


def test_every_op_is_reachable_and_has_a_form() -> None:
    """Each op is used by an operator of ONNX, or comes from elsewhere as its row says."""
    used = {op for row in rows("operator") for op in OP.findall(row["graph ops"])}
    for name, row in listed().items():
        assert set(row["from"].split()) <= set("OCTNFP"), name
        assert re.match(r"\w+", row["form"])[0] in FORMS, f"{name}: unknown form {row['form']}"  # type: ignore[index]
        if "O" in row["from"].split() and name not in {"graph.custom", "graph.fill_tail"}:
            assert name in used, f"{name} claims ONNX, but no operator becomes it"
        assert name not in used or "O" in row["from"].split(), name


@pytest.mark.parametrize(
    "family, kinds",
    [("graph.unary", graph.UnaryKind), ("graph.binary", graph.BinaryKind), ("graph.pool", graph.PoolKind)],
)
def test_kinds_of_the_dialect_are_the_bold_ones(family: str, kinds: type[graph.UnaryKind]) -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Kinds")[1].split("## The ops")[0]
    after = text.split(f"`{family}`:")[1]
    bold = re.search(r"\*\*([^*]+)\*\*", after)
    assert bold is not None
    assert set(bold[1].replace(">", "").split()) == {kind.value for kind in kinds}


def test_kinds_that_the_onnx_table_names_are_listed() -> None:
    text = PAGE.read_text(encoding="utf-8").split("## Kinds")[1].split("## The ops")[0]
    words = set(re.findall(r"\w+", text))
    for row in rows("operator"):
        if row["how"] == "op" and re.search(r"graph\.(unary|binary|compare|reduce|pool|arg_reduce)`", row["graph ops"]):
            for kind in re.findall(r"`([a-z_0-9]+)`", row["notes"]):
                assert kind in words, f"{row['operator']}: {kind}"
