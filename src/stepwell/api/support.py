"""The table of what runs where: operators of each door, element types, and the interpreter, the CPU and sm_90a. Its file is written by
`stepwell.testing.conformance.support` and ships with the package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files

from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, element_type_named, numpy_dtype

DOORS = ("onnx", "caffe", "tensorflow", "network")
RUNNERS = ("graph", "cpu", "sm_90a")
"""The interpreter of the graph level, and the families of targets."""
Table = Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]]
"""Door and operator -> runner -> element types."""


@dataclass(frozen=True)
class Seen:
    """An operator of a door ran with this element type."""

    door: str
    operator: str
    element: str
    runner: str


def written(found: Iterable[Seen]) -> str:
    """The file: a line for each operator, `onnx Abs | graph f32 f16 | cpu f32 | sm_90a f32`, the layers of the network API with their kind."""
    rows: dict[tuple[str, str], dict[str, set[str]]] = {}
    for seen in found:
        rows.setdefault((seen.door, seen.operator), {}).setdefault(seen.runner, set()).add(seen.element)
    lines = []
    for door, operator in sorted(rows, key=lambda key: (DOORS.index(key[0]), key[1])):
        parts = [f"{door} {operator}"]
        for runner in RUNNERS:
            if elements := rows[door, operator].get(runner):
                parts.append(" ".join([runner, *sorted(elements, key=ELEMENT_TYPE_NAMES.index)]))
        lines.append(" | ".join(parts))
    return "".join(f"{line}\n" for line in lines)


def read(text: str) -> Table:
    """What `written` wrote."""
    found = {}
    for line in text.splitlines():
        head, *parts = line.split(" | ")
        door, _, operator = head.partition(" ")
        words = [part.split() for part in parts]
        found[door, operator] = {runner: tuple(elements) for runner, *elements in words}
    return found


def shipped() -> Table:
    """The table that the package holds, and every operator with a converter that no case of a suite has: it runs nowhere as far as anyone saw."""
    seen = read((files("stepwell.api") / "support.txt").read_text())
    names = {(door, operator): seen.get((door, operator), {}) for door, operator in converted()}
    return {key: names[key] for key in sorted(names, key=lambda key: (DOORS.index(key[0]), key[1]))}


def converted() -> Iterator[tuple[str, str]]:
    """Door and operator of every converter, and of every layer that the network API adds."""
    from stepwell.frontends.caffe.converters import LAYERS as CAFFE
    from stepwell.frontends.onnx.converters import CONVERTERS as ONNX
    from stepwell.frontends.tensorflow.control_flow import CONTROL
    from stepwell.frontends.tensorflow.converters import CONVERTERS as TENSORFLOW
    from stepwell.frontends.tensorflow.tensor_list import OPERATORS as ARRAYS

    yield from (("onnx", name) for name in {*ONNX, "Constant"})
    yield from (("caffe", name) for name in CAFFE)
    yield from (("tensorflow", name) for name in {*TENSORFLOW, *CONTROL, *ARRAYS})
    yield from (("network", name) for name in network_layers())


def network_layers() -> list[str]:
    """The layers of the network API: methods, with each kind of those that have kinds."""
    from stepwell.frontends.network import Network
    from stepwell.frontends.network.activations import ACTIVATIONS
    from stepwell.frontends.network.layers_elementwise import BINARY, UNARY
    from stepwell.frontends.network.layers_product import REDUCE

    kinds: Mapping[str, Iterable[str]] = {
        "add_activation": ACTIVATIONS,
        "add_elementwise": BINARY,
        "add_unary": UNARY,
        "add_reduce": REDUCE,
        "add_pooling": ("AVERAGE", "MAX"),
    }
    methods = [name for name in dir(Network) if name.startswith("add_") and name not in ("add_input", "add_plugin")]
    return [f"{name} {kind}".strip() for name in methods for kind in kinds.get(name, ("",))]


def chosen(table: Table, doors: Iterable[str], pattern: str) -> Table:
    """The rows of these doors whose operator matches, whatever the case."""
    wanted = pattern.lower()
    return {key: row for key, row in table.items() if key[0] in doors and fnmatchcase(key[1].lower(), wanted)}


def short(dtype: str) -> str:
    """NumPy's name of an element type as MLIR spells it."""
    names = {numpy_dtype(element_type_named(name)).name: name for name in ELEMENT_TYPE_NAMES}
    return names[dtype]
