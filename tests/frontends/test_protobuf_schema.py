"""The schema language: what it makes reads what protobuf writes, and what is no schema is refused with its line."""

from __future__ import annotations

import itertools

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from stepwell.frontends.protobuf_schema import compile_schema

COUNTER = itertools.count()


def _package() -> str:
    return f"test_schema_{next(COUNTER)}"


def test_nested_types_maps_enums_and_defaults() -> None:
    classes = compile_schema(
        """
        message Node {                      // a comment
          enum Kind { PLAIN = 0; LOOP = 4; }
          message Attr { optional int32 x = 1 [default = -3]; optional Node inner = 2; }
          map<string, Attr> attr = 5;
          repeated Kind kind = 2;
          optional float eps = 7 [default = 1e-5];
        }
        """,
        _package(),
    )
    node = text_format.Parse('kind: LOOP kind: 0 attr { key: "k" value { inner { eps: 2 } } }', classes["Node"]())
    again = classes["Node"].FromString(node.SerializeToString())
    assert list(again.kind) == [4, 0]
    assert (again.attr["k"].x, again.attr["k"].inner.eps, again.eps) == (-3, 2.0, pytest.approx(1e-5))
    assert not again.HasField("eps") and again.attr["k"].inner.HasField("eps")


def test_a_packed_array_can_be_read_as_bytes() -> None:
    """A packed array and a byte string have one wire format: large arrays are read without a loop over their elements."""
    packed = compile_schema("message P { repeated float f = 8 [packed = true]; }", _package())["P"]
    raw = compile_schema("message P { repeated bytes f = 8; }", _package())["P"]
    assert raw.FromString(packed(f=[1.0, 2.0]).SerializeToString()).f == [b"\x00\x00\x80?\x00\x00\x00@"]


def test_the_numbers_are_those_of_a_known_definition() -> None:
    """A description of protobuf's own FieldDescriptorProto reads what protobuf wrote."""
    text = "message Field { optional string name = 1; optional int32 number = 3; enum Label { A = 1; R = 3; } optional Label label = 4; }"
    written = FieldDescriptorProto(name="dim", number=7, label=FieldDescriptorProto.LABEL_REPEATED)
    field = compile_schema(text, _package())["Field"].FromString(written.SerializeToString())
    assert (field.name, field.number, field.label) == ("dim", 7, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("message A { optional strng s = 1; }", "unknown type 'strng'"),
        ("message A { optional string s 1; }", "line 1: '1' stands where = must"),
        ("\n\nservice A { }", "line 3: 'service' is neither message nor enum"),
        ("message A { optional string s = 1;", "ends in the middle"),
        ("message A { optional string s = 1; ? }", r"line 1: '\?' is not understood"),
    ],
)
def test_what_is_no_schema(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compile_schema(text, _package())
