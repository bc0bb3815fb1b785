"""docs/design/one-convolution.md names every file that a convolution goes through, and no other: found by tracing.

A function is the convolution's own when compiling a convolution calls it and compiling the same product without a window does not. Nested functions do not count.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import stepwell

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "design" / "one-convolution.md"
ROADS = {"To PTX": "sm_90a", "To x86": "x86-64-v3"}
MOST_FILES = 12
STEPS = ("frontends", "transforms", "codegen")
"""Folders of what moves a network from level to level; the dialects define what it is called on each."""


def network(nodes: list[NodeProto], weights: dict[str, np.ndarray[Any, Any]]) -> ModelProto:
    shape = [2, 64, 8, 8]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)


def convolution() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Relu", ["c"], ["y"], name="act"),
    ]
    return network(nodes, {"w": np.ones((64, 64, 3, 3), np.float32), "b": np.ones(64, np.float32)})


def product() -> ModelProto:
    """The same work at every pixel alone, behind functions that transposes move past until they cancel: no window."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], name="last", perm=[0, 2, 3, 1]),
        helper.make_node("Gelu", ["t"], ["g"], name="before", approximate="none"),
        helper.make_node("Add", ["g", "b"], ["s"], name="shift"),
        helper.make_node("Transpose", ["s"], ["h"], name="back", perm=[0, 3, 1, 2]),
        helper.make_node("Transpose", ["h"], ["k"], name="again", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["k", "rows"], ["r"], name="rows"),
        helper.make_node("Transpose", ["w"], ["v"], name="weight", perm=[1, 0]),
        helper.make_node("Gemm", ["r", "v", "b"], ["c"], name="fc", transB=1),
        helper.make_node("Relu", ["c"], ["a"], name="act"),
        helper.make_node("Reshape", ["a", "image"], ["i"], name="image"),
        helper.make_node("Transpose", ["i"], ["y"], name="first", perm=[0, 3, 1, 2]),
    ]
    weights: dict[str, np.ndarray[Any, Any]] = {"w": np.ones((64, 64), np.float32), "b": np.ones(64, np.float32)}
    return network(nodes, weights | {"rows": np.array([128, 64]), "image": np.array([2, 8, 8, 64])})


def functions_of(model: ModelProto, target: str) -> set[tuple[str, str]]:
    """(file, function) of every function of ours that compiling calls."""
    seen = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(note)
    try:
        stepwell.lower(stepwell.import_model(model), "llvm", target=target)
    finally:
        sys.setprofile(before)
    named = {(code.co_filename, code.co_qualname) for code in seen if "<" not in code.co_qualname}
    return {(str(Path(file).resolve()), name) for file, name in named}


@cache
def own_files(target: str) -> dict[str, set[str]]:
    """Files with functions that are the convolution's own, and those."""
    stepwell.lower(stepwell.import_model(convolution()), "llvm", target=target)  # what is imported late is not traced
    found: dict[str, set[str]] = {}
    for file, name in functions_of(convolution(), target) - functions_of(product(), target):
        path = Path(file)
        if path.is_relative_to(ROOT) and ".venv" not in path.parts:
            found.setdefault(path.relative_to(ROOT).as_posix(), set()).add(name)
    return found


def listed(heading: str) -> list[str]:
    """The files that a section of the page has rows for."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `([\w/.]+)`", section, re.MULTILINE)


@pytest.mark.parametrize("heading", ROADS)
def test_the_page_names_the_files_of_a_road(heading: str) -> None:
    found = own_files(ROADS[heading])
    steps = {file: names for file, names in found.items() if file.split("/")[0] in STEPS}
    assert set(listed(heading)) == set(steps), steps
    assert len(steps) <= MOST_FILES


def test_the_page_names_the_words_of_the_levels() -> None:
    found = set().union(*(own_files(target) for target in ROADS.values()))
    assert set(listed("What it is called")) == {file for file in found if file.startswith("dialects/")}
