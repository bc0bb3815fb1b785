"""IR text: with the source names of ops unless asked otherwise."""

from __future__ import annotations

from io import StringIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.printer import Printer


def module_text(module: ModuleOp, *, locations: bool = True, generic: bool = False) -> str:
    """The text of `module`, ending in a newline."""
    stream = StringIO()
    Printer(stream=stream, print_debuginfo=locations, print_generic_format=generic).print_op(module)
    return stream.getvalue() + "\n"
