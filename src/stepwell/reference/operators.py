"""The page of ONNX operators, from the converter table and the records of what was run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stepwell.frontends.onnx.convert_reduction import REDUCTIONS
from stepwell.frontends.onnx.converters import CONVERTERS
from stepwell.frontends.onnx.importer import FOLD_LIMIT
from stepwell.frontends.onnx.model_file import DEFAULT_DOMAINS, IR_VERSIONS, OPSETS
from stepwell.reference.markdown import escape, page, table
from stepwell.reference.promises import counts, promise, sweep_records

OPS = {
    "_unary": "graph.unary",
    "_binary": "graph.binary",
    "_variadic": "graph.binary",
    "_compare": "graph.compare",
    "_arg": "graph.arg_reduce",
    "_cumulative": "graph.cumulative",
}
"""The op that a converter with a kind makes."""


RUN = """Each operator was run in *forms*, which name the attribute, the rank or the way of broadcasting that is tried: every attribute of every version is in one.
A form is tried with every element type that ONNX allows for the first operand and at widths beside the vector: 1, one less than its lanes, the lanes, one more, and two rows of each.
CPU results are compared with ONNX Runtime, or with ONNX's reference evaluator for what it does not implement, bit for bit where nothing is rounded differently; code for sm_90a
is lowered and assembled. The tables list the element types that ended right; widths are named where not all were run, or not all are right ("-" is a shape that follows no width).
A type that is not listed was refused with a reason, or was not run.
The records are checked in under `tests/conformance` and may only grow; `python -m stepwell.testing.conformance` repeats them."""


def operator_page(records: Path) -> str:
    """The page; `records` is the folder of what was run."""
    domains = ", ".join(f"`{domain}`" for domain in DEFAULT_DOMAINS if domain)
    introduction = f"""{len(CONVERTERS) + 1} operators of ONNX's default domain ({domains}, or the empty name), versions {OPSETS[0]} to {OPSETS[1]} of its operator set,
files of IR version {IR_VERSIONS[0]} to {IR_VERSIONS[1]}. Anything else is refused before anything is compiled, with all reasons at once: unknown operators, attributes
that no converter reads, inputs without a fixed shape. Nodes whose inputs are all constant are computed at import where they hold at most {FOLD_LIMIT:,} elements
(shape arithmetic). [All of ONNX's operators](../design/graph-ops.md) and what will become of each are in the design notes."""
    names = sorted([*CONVERTERS, "Constant"])
    swept = sweep_records(records)
    rows = [[f"[{name}](#{name.lower()})", *_row(name)] for name in names]
    sections = [f"## {name}\n\n{promise(name, swept)}" for name in names]
    return page(
        "ONNX operators",
        introduction,
        table(["operator", "becomes"], rows),
        "## What was run",
        RUN,
        counts(records),
        *sections,
    )


def _row(name: str) -> list[str]:
    if name == "Constant":
        return ["a weight, or the constant operand of another node"]
    converter = CONVERTERS[name]
    if isinstance(converter, partial) and converter.func.__name__ in SPOKEN:
        return [SPOKEN[converter.func.__name__](converter.args[0])]
    if isinstance(converter, partial):
        op = OPS[converter.func.__name__]
        several = ", from left to right" if converter.func.__name__ == "_variadic" else ""
        return [f"`{op} {converter.args[0]}`{several}"]
    said = " ".join((converter.__doc__ or "").split())
    return [escape(said.removeprefix(f"{name}: ").rstrip("."))]


def _reduction(kind: str) -> str:
    """The elements' function, the reduction, and what is done to its result."""
    before, reduced, after = REDUCTIONS[kind]
    first = "`graph.binary mul`" if before == "square" else f"`graph.unary {before}`" if before else ""
    steps = (first, f"`graph.reduce {reduced}`", after != "mean" and after and f"`graph.unary {after}`")
    return ", ".join(step for step in steps if step) + (", divided by the count" if after == "mean" else "")


def _softmax(log: bool) -> str:
    return "`graph.softmax`, its logarithm" if log else "`graph.softmax`"


SPOKEN: dict[str, Callable[..., str]] = {"_reduce": _reduction, "_softmax": _softmax}
"""Converters with an argument that is not the kind of one op."""
