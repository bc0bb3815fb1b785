"""Examples of ops: the shortest of each in the IR tests, which are executed, so that no example is out of date."""

from __future__ import annotations

import io
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation
from xdsl.printer import Printer

from stepwell.ir.locations import op_name
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import StepwellError

LINES = 16
"""Most lines of an example; longer ones are cut in the middle."""


def modules_of(tests: Path) -> list[ModuleOp]:
    """The modules of the `.mlir` files under `tests`, those of the dialects' round trips first; files that are there to be wrong are left out."""
    files = sorted(
        tests.rglob("*.mlir"), key=lambda path: (path.stem != "roundtrip", "dialects" not in path.parts, path)
    )
    found = []
    for path in files:
        text = path.read_text()
        if "verify-diagnostics" in text or "split-input-file" in text:
            continue
        try:
            found.append(parse_text(make_context(), text, SourceMap(path.name)))
        except StepwellError:
            continue
    return found


def collect(modules: list[ModuleOp]) -> dict[str, str]:
    """Op name -> example: the shortest in the first module that holds the op."""
    found: dict[str, str] = {}
    for module in modules:
        here: dict[str, list[Operation]] = {}
        for op in module.walk():
            here.setdefault(op_name(op), []).append(op)
        for name, ops in here.items():
            if name not in found:
                found[name] = min(map(_text, ops), key=lambda text: (text.count("\n"), len(text)))
    return {name: shortened(text) for name, text in found.items()}


def _text(op: Operation) -> str:
    stream = io.StringIO()
    Printer(stream).print_op(op)
    return stream.getvalue()


def shortened(text: str) -> str:
    """The text with its middle left out where it is long."""
    lines = text.splitlines()
    if len(lines) <= LINES:
        return text
    indent = " " * (len(lines[LINES - 3]) - len(lines[LINES - 3].lstrip()))
    return "\n".join([*lines[: LINES - 2], f"{indent}...", lines[-1]])
