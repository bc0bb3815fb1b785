"""What the fuzzer found: files that once ended in something other than one clear error, as small as it could make them. Add a case by its bytes:
`python -m stepwell.testing.hostile fuzz` prints where each lies."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.frontends.tensorflow.graph_defs import GraphDef

from stepwell.testing.hostile.parsers import PARSERS, judge

FOUND: dict[str, tuple[str, tuple[bytes, ...]]] = {
    "a pool without a window": (
        "graphdef",
        (b'\n.\n\x05image\x12\x0bPlaceholder*\x0b\n\x05dtype\x12\x020\x01*\x0b\n\x05shape\x12\x020\x01\n\x1b\n\tavg_pool1\x12\x07AvgPool\x1a\x05image',),
    ),
    "an input's name that is no text": ("graphdef", (b"\n\x14\n\x03Add\x12\x03Add\x1a\x06relu-\xb1\x12\x00",)),
    "the name of the output that is no text": ("graphdef", (b"\n\x0b\n\x03a\xb1b\x12\x04Relu",)),
    "a concatenation of nothing": ("graphdef", (b"\n\x0e\n\x04in_1\x12\x06Concat",)),
    "more elements than an address reaches": (
        "graphdef",
        (b'\n>\n\x05Const\x12\x05Const*\x0b\n\x05dtype\x12\x020\x01*!\n\x05value\x12\x18B\x16\x08\x01\x12\x12\x12\x00\x12\x02\x08\x02\x12\n\x08\x80\x80\x80\x80\x80\x80\x80\x80@\n\x10\n\x01y\x12\x04Relu\x1a\x05Const',),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_found_files(name: str, tmp_path: Path) -> None:
    parser, parts = FOUND[name]
    fault = judge(PARSERS[parser], parts, tmp_path)
    assert fault is None, fault.text


def switch_without_a_predicate() -> GraphDef:
    """Half a branch."""
    made = GraphDef()
    made.placeholder("x", [2])
    made.node("y", "Switch", "x")
    return made


def loop_without_a_body() -> GraphDef:
    """An exit that nothing enters."""
    made = GraphDef()
    made.node("y", "Exit")
    return made


@pytest.mark.parametrize("make", [switch_without_a_predicate, loop_without_a_body])
def test_found_graphs(make: object, tmp_path: Path) -> None:
    assert callable(make)
    fault = judge(PARSERS["graphdef"], (make().proto.SerializeToString(),), tmp_path)
    assert fault is None, fault.text
