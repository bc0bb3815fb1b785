"""The reference pages are what the code says, every op has an example, and no link of a page leads nowhere."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from stepwell.reference.__main__ import main, reference_pages
from stepwell.reference.examples import shortened
from stepwell.reference.markdown import document, escape, first_sentence

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NAMES = ["graph", "tile", "plan", "warp", "hopper", "llvm_extra", "passes", "onnx", "targets"]
NAMES += ["support", "conformance"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<file>[^)#:\s]*)(?:#(?P<anchor>[^)\s]*))?\)")


@cache
def pages() -> dict[str, str]:
    return reference_pages(ROOT / "tests")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    committed = (DOCS / "reference" / f"{name}.md").read_text()
    assert committed == pages()[f"{name}.md"], f"docs/reference/{name}.md is out of date: run make docs"


def test_no_page_is_left_over() -> None:
    assert {path.name for path in (DOCS / "reference").iterdir()} == set(pages()), "run make docs"


def test_every_op_has_an_example() -> None:
    sections = [section for name in NAMES[:6] for section in pages()[f"{name}.md"].split("\n## ")[1:]]
    ops = [section for section in sections if not section.startswith("Attributes and types")]
    assert len(ops) > 70
    bare = [op.partition("\n")[0] for op in ops if "```mlir" not in op]
    assert not bare, f"no IR test under tests/ holds {', '.join(bare)}"


def test_every_section_of_a_pass_shows_what_it_does() -> None:
    for section in pages()["passes.md"].split("\n## ")[1:]:
        assert "```" in section, f"the docstring of {section.partition(chr(10))[0]} shows no IR before and after"


def test_writing_removes_what_nothing_writes(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("# Gone")
    assert main(["--folder", str(tmp_path), "--tests", str(ROOT / "tests")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.md" for name in NAMES}


def test_no_link_leads_nowhere() -> None:
    dead = []
    for path in DOCS.rglob("*.md"):
        for link in LINK.finditer(re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)):
            target = (path.parent / link["file"]) if link["file"] else path
            if not target.exists() or (link["anchor"] and link["anchor"] not in anchors(target)):
                dead.append(f"{path.relative_to(ROOT)}: {link[0]}")
    assert not dead


@cache
def anchors(path: Path) -> set[str]:
    """What hosts make of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_docstrings_become_markdown() -> None:
    assert escape("`a*b` is a*b<c>") == "`a*b` is a\\*b\\<c>"
    assert first_sentence("One thing. Another.") == "One thing"
    assert document("Text\n  that goes on.\n\nBefore:    After:\n  a          b") == (
        "```text\nText\n  that goes on.\n```\n\n```text\nBefore:    After:\n  a          b\n```"
    )
    assert document("- one\n- two\n\n```mlir\n  x\n```") == "- one\n- two\n\n```mlir\n  x\n```"


def test_long_examples_lose_their_middle() -> None:
    text = "\n".join(["f {", *(f"  {i}" for i in range(40)), "}"])
    assert shortened(text).splitlines()[-2:] == ["  ...", "}"]
