"""From bytes to a GraphDef, binary or text."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.message import Message

from stepwell.frontends.files import decode_text, parse_message, parse_text_message, read_file
from stepwell.frontends.tensorflow.schema import messages
from stepwell.runtime.errors import ModelError

DEEPEST = 64
"""Most levels of nesting of a text graph; TensorFlow's own files have about ten."""
_WORD = re.compile(r"#[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|[{}<>]")


def read_graph(source: str | Path | bytes, where: str) -> Message:
    """The GraphDef of a file (text where it ends in .pbtxt) or of binary bytes; ModelError where it is none."""
    if isinstance(source, bytes):
        return parse_binary(source, where)
    data = read_file(Path(source), "the graph")
    return parse_text(data, where) if str(source).endswith(".pbtxt") else parse_binary(data, where)


def parse_binary(data: bytes, where: str) -> Message:
    """A GraphDef from its binary form."""
    graph = parse_message(messages()["GraphDef"], data, "a TensorFlow graph", where)
    if not graph.node:
        raise ModelError("the graph has no nodes", where=where, hint="give a frozen GraphDef")
    return graph


def parse_text(data: bytes, where: str) -> Message:
    """A GraphDef from its text form; fields that its definition does not have are passed over."""
    text = decode_text(data, "a text graph", where)
    _check_nesting(text, where)
    graph = parse_text_message(messages()["GraphDef"], text, "a TensorFlow graph", where)
    if not graph.node:
        raise ModelError("the graph has no nodes", where=where, hint="give a frozen GraphDef")
    return graph


def _check_nesting(text: str, where: str) -> None:
    depth = 0
    for found in _WORD.finditer(text):
        depth += {"{": 1, "<": 1, "}": -1, ">": -1}.get(found.group(), 0)
        if depth > DEEPEST:
            line = text.count("\n", 0, found.start()) + 1
            raise ModelError(f"line {line}: nested more than {DEEPEST} levels deep", where=where)
