"""The page of ONNX operators, from the converter table."""

from __future__ import annotations

from functools import partial

from stepwell.frontends.onnx.converters import CONVERTERS
from stepwell.frontends.onnx.importer import FOLD_LIMIT
from stepwell.frontends.onnx.model_file import DEFAULT_DOMAINS, IR_VERSIONS, OPSETS
from stepwell.reference.markdown import escape, page, table

OPS = {"_unary": "graph.unary", "_binary": "graph.binary", "_variadic": "graph.binary"}
"""The op that a converter with a kind makes."""


def operator_page() -> str:
    """The page."""
    domains = ", ".join(f"`{domain}`" for domain in DEFAULT_DOMAINS if domain)
    introduction = f"""{len(CONVERTERS) + 1} operators of ONNX's default domain ({domains}, or the empty name), versions {OPSETS[0]} to {OPSETS[1]} of its operator set,
files of IR version {IR_VERSIONS[0]} to {IR_VERSIONS[1]}. Anything else is refused before anything is compiled, with all reasons at once: unknown operators, attributes
that no converter reads, inputs without a fixed shape. Nodes whose inputs are all constant are computed at import where they hold at most {FOLD_LIMIT:,} elements
(shape arithmetic). [All of ONNX's operators](../design/graph-ops.md) and what will become of each are in the design notes."""
    rows = [[name, *_row(name)] for name in sorted([*CONVERTERS, "Constant"])]
    return page("ONNX operators", introduction, table(["operator", "becomes"], rows))


def _row(name: str) -> list[str]:
    if name == "Constant":
        return ["a weight, or the constant operand of another node"]
    converter = CONVERTERS[name]
    if isinstance(converter, partial):
        op = OPS[converter.func.__name__]
        several = ", from left to right" if converter.func.__name__ == "_variadic" else ""
        return [f"`{op} {converter.args[0]}`{several}"]
    said = " ".join((converter.__doc__ or "").split())
    return [escape(said.removeprefix(f"{name}: ").rstrip("."))]
