"""Files as bytes, text and messages: what is damaged is named by its byte or its field."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from stepwell.frontends.files import decode_text, parse_message, parse_text_message, read_file
from stepwell.frontends.tensorflow.schema import messages
from stepwell.runtime.errors import ModelError

MODEL = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="first")], "net", [], []))
DATA = MODEL.SerializeToString()


def refusal(data: bytes, kind: type = onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        parse_message(kind, data, "a model", "net")
    return str(caught.value)


def test_whole_messages_are_read() -> None:
    assert parse_message(onnx.ModelProto, DATA, "a model", "net") == MODEL
    assert parse_message(onnx.ModelProto, b"", "a model", "net") == onnx.ModelProto()


@pytest.mark.parametrize(
    "data, place",
    [
        (b"\x08", "byte 0 of 1"),  # a number without an end
        (b"\x08\x0a\x08" + b"\xff" * 10, "byte 2 of 13"),  # a number of more than ten bytes
        (b"\x08\x0a\x07", "byte 2 of 3"),  # a wire type that there is not
        (b"\x08\x0a\x02\x01", "byte 2 of 4"),  # field 0
        (b"\x08\x0a\x12\x05abc", "byte 2 of 7"),  # a string that is longer than the file
        (b"\x08\x0a\x3a\x03\x0a\x05x", "byte 4 of 7"),  # a node in the graph that is longer than the graph
    ],
)
def test_the_byte_is_named(data: bytes, place: str) -> None:
    assert refusal(data) == f"net: not a model: at {place} it is damaged, cut off or nested too deeply"


def test_a_message_that_is_cut_off_says_where_its_last_field_begins() -> None:
    assert refusal(DATA[:-1]).startswith("net: not a model: at byte ")


def test_strings_are_text() -> None:
    """Protobuf gives bytes for what is not UTF-8 in a name, and converters ask names whether they begin with something."""
    at = DATA.index(b"first")
    said = "net: not a model: graph.node[0].name is not UTF-8"
    assert refusal(DATA[:at] + b"\xff" + DATA[at + 1 :]) == said
    graph = messages()["GraphDef"]()
    node = graph.node.add(name="x", input=["a", "b"])
    node.attr["key"].s = b"\xff"  # bytes may be anything
    data = graph.SerializeToString()
    assert parse_message(messages()["GraphDef"], data, "a graph", "net") == graph
    assert "not a model: node[0].attr is not" in refusal(data.replace(b"key", b"\xfe\xfe\xfe"), messages()["GraphDef"])
    assert "not a model: node[0].input[1] is not" in refusal(
        data.replace(b"\x01b", b"\x01\xfe"), messages()["GraphDef"]
    )


def test_text_below_a_map_is_looked_at() -> None:
    graph = messages()["GraphDef"]()
    graph.node.add(name="x").attr["key"].func.name = "inner"
    data = graph.SerializeToString().replace(b"inner", b"inne\xff")
    assert "node[0].attr['key'].func.name is not UTF-8" in refusal(data, messages()["GraphDef"])
    graph = messages()["GraphDef"]()
    graph.library.function.add().ret["key"] = "inner"
    data = graph.SerializeToString()
    assert parse_message(messages()["GraphDef"], data, "a graph", "net") == graph
    assert "function[0].ret" in refusal(data.replace(b"inner", b"inne\xff"), messages()["GraphDef"])


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """A message or a ModelError that names a place."""
    try:
        parse_message(onnx.ModelProto, data, "a model", "net")
    except ModelError as error:
        assert "at byte " in str(error) or " is not UTF-8" in str(error)


@pytest.mark.parametrize(
    "text, said",
    [
        ('node { name: "a" } node {', "line 1: "),
        ('node { name: "a" }\nnode { other: ! }', "line 2: Invalid field value: !"),
        ("node {\n name: 5 }", "line 2: "),
        ('node {\n name: "a\\377" }', "line 2: "),
        ('node {\n\n attr { key: "\\377" } }', "line 3: "),
    ],
)
def test_text_messages(text: str, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_text_message(messages()["GraphDef"], text, "a graph", "net")
    assert str(caught.value).startswith(f"net: not a graph: {said}")


def test_fields_of_other_versions_are_passed_over() -> None:
    made = parse_text_message(messages()["GraphDef"], 'node { name: "a" since: 3 later { x: "y" } }', "a graph", "net")
    assert [node.name for node in made.node] == ["a"]


def test_text_and_files(tmp_path: Path) -> None:
    assert decode_text("é".encode(), "a prototxt", "net") == "é"
    with pytest.raises(ModelError, match="net: not a prototxt: byte 2 is not UTF-8"):
        decode_text(b"ab\xff", "a prototxt", "net")
    for name, reason in (("none", "No such file"), ("", "Is a directory"), ("\0", "null byte")):
        with pytest.raises(ModelError, match=f"cannot read the model: .*{reason}"):
            read_file(tmp_path / name, "the model")
