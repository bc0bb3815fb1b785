"""Markdown from docstrings: prose with what Markdown would take for markup escaped, code blocks as they are, tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

FENCED = re.compile(r"(^```.*?^```[ ]*$)", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(`[^`]*`)")


def escape(text: str) -> str:
    """Prose whose stars and angle brackets mean themselves; what stands in backticks stays."""
    parts = SPAN.split(text)
    return "".join(part if part.startswith("`") else re.sub(r"([*<])", r"\\\1", part) for part in parts)


def document(text: str) -> str:
    """A docstring as Markdown. Paragraphs that are indented, or laid out in columns, become code blocks."""
    parts = FENCED.split(inspect.cleandoc(text))
    shown = [part if part.startswith("```") else "\n\n".join(map(_paragraph, _paragraphs(part))) for part in parts]
    return "\n\n".join(part.strip("\n") for part in shown if part.strip())


def _paragraphs(text: str) -> list[str]:
    return [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]


def _paragraph(text: str) -> str:
    lines = text.splitlines()
    if lines[0].startswith("- "):
        return "\n".join(escape(line) for line in lines)
    laid_out = [line for line in lines if line.startswith("  ") or re.search(r"\S {3,}\S", line)]
    return f"```text\n{text}\n```" if laid_out else escape(" ".join(lines))


def told(text: str, name: str) -> str:
    """A docstring without the name of what it is about, where it begins with that and a colon."""
    rest = re.sub(rf"^`?{name}`?: ", "", text)
    return rest if rest[1:2].isupper() else rest[:1].upper() + rest[1:]


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, as Markdown."""
    paragraph = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return escape(re.split(r"(?<=[.:])\s", paragraph + " ", maxsplit=1)[0].rstrip(":").rstrip("."))


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the empty string without rows."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings), *lines])


def page(title: str, *sections: str) -> str:
    """A page that says that it is generated."""
    note = "<!-- Written by `make docs` from the code; edit the code. -->"
    return "\n\n".join([note, f"# {title}", *(section for section in sections if section)]) + "\n"
