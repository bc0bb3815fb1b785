"""Which room may import which: what stands later in `ROOMS` may import what stands before it, never the other way round, and no modules in a circle.

Imports inside functions count, and going up those under TYPE_CHECKING too: two modules may name each other's types. `stepwell` itself hands out the public names lazily, so only what is above the rooms imports it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "stepwell"
ROOMS = [
    "version",
    "runtime.errors",
    "types",
    "runtime",
    "ir",
    "dialects",
    "codegen",
    "frontends",
    "passes",
    "transforms",
    "plugins",
    "driver",
    "api",
    "opt",
    "cli",
    "__main__",
    "testing",
    "reference",
]
LAZY = "stepwell"
Graph = dict[str, set[str]]


def module_name(path: Path) -> str:
    parts = ("stepwell", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(text: str, modules: Iterable[str], *, typing: bool = True) -> set[str]:
    """The modules of the package that a source text imports, anywhere in it; without `typing` not under TYPE_CHECKING."""
    known, found = set(modules), set()
    tree = ast.parse(text)
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    left_out = {part for node in guarded for part in ast.walk(node)} if not typing else set()
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & known
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & known
            if inner - known and node.module in known:
                found.add(node.module)
    return found


def read_graph(*, typing: bool) -> Graph:
    files = [path for folder in SOURCE.iterdir() for path in (folder.rglob("*.py") if folder.is_dir() else [folder])]
    paths = {module_name(path): path for path in files if path.suffix == ".py"}
    return {name: imported(path.read_text(), paths, typing=typing) - {name} for name, path in paths.items()}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(typing=True)


def room(module: str) -> str:
    """The room of a module; errors are below the rest of theirs."""
    inner = module.removeprefix("stepwell.")
    return inner if inner in ROOMS else inner.split(".")[0]


def upward(graph: Graph) -> list[str]:
    """The imports that go up, or that reach through the lazy facade from where it may not be used."""
    rank = {name: place for place, name in enumerate(ROOMS)}
    found = []
    for module, targets in graph.items():
        if module == LAZY:
            continue
        for target in targets:
            above = rank["api"] if target == LAZY else rank[room(target)]
            if rank[room(module)] < above or (target == LAZY and rank[room(module)] == above):
                found.append(f"{module} imports {target}")
    return sorted(found)


def circles(graph: Graph) -> list[list[str]]:
    """The groups of modules that reach each other, found by taking away what imports nothing that is left, and what nothing left imports."""
    left = {module: targets & graph.keys() for module, targets in graph.items()}
    while left:
        used = set().union(*left.values())
        ends = {module for module, targets in left.items() if not targets or module not in used}
        if not ends:
            return [sorted(left)]
        left = {module: targets - ends for module, targets in left.items() if module not in ends}
    return []


def test_every_module_has_a_room(graph: Graph) -> None:
    assert {room(module) for module in graph if module != LAZY} == set(ROOMS)


def test_no_import_goes_up(graph: Graph) -> None:
    assert not upward(graph)


def test_what_goes_up_is_seen() -> None:
    seeded = {"stepwell.dialects.tile": {"stepwell.passes.base"}, "stepwell.driver.build": {"stepwell"}}
    assert len(upward(seeded)) == 2
    assert not upward({"stepwell.testing.ptx": {"stepwell", "stepwell.driver.build"}})


def test_no_modules_import_each_other() -> None:
    assert not circles(read_graph(typing=False))


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"c"}}) == [["b", "c"]]
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


def test_late_and_typing_imports_count() -> None:
    text = "def f():\n    from a.b import C\nif TYPE_CHECKING:\n    import d\nfrom a import b\nfrom a import e\n"
    assert imported(text, ["a", "a.b", "d", "x"]) == {"a", "a.b", "d"}
    assert imported(text, ["a", "a.b", "d"], typing=False) == {"a", "a.b"}
