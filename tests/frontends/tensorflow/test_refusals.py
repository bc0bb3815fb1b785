"""What is no graph, or none that can be imported: one ModelError with every reason, for any bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.frontends.tensorflow.schema import messages
from stepwell.runtime.errors import ModelError, StepwellError, UsageError

PATCHES = ("ksizes", "strides", "rates")


def _refused(made: GraphDef, *outputs: str) -> str:
    with pytest.raises(ModelError) as caught:
        import_tensorflow(made.proto.SerializeToString(), outputs=list(outputs))
    return str(caught.value)


def test_without_outputs_the_candidates_are_listed(tmp_path: Path) -> None:
    made = GraphDef()
    made.placeholder("x", [2])
    made.node("left", "Relu", "x")
    made.node("right", "Tanh", "x")
    with pytest.raises(ModelError, match="candidates are left, right"):
        stepwell.import_model(made.save(tmp_path))
    with pytest.raises(UsageError, match="'other' is no tensor"):
        stepwell.import_model(made.save(tmp_path), outputs=["other"])
    with pytest.raises(UsageError, match="fewer outputs"):
        stepwell.import_model(made.save(tmp_path), outputs=["left:3"])
    with pytest.raises(UsageError, match="'left' is no input"):
        stepwell.import_model(made.save(tmp_path), outputs=["left"], shapes={"left": "2"})


def test_all_reasons_at_once() -> None:
    """Two unknown operators, an input without a shape, a string: each named."""
    made = GraphDef()
    made.placeholder("x", [-1, 3])
    made.placeholder("free")
    made.node("a", "Fancy", "x")
    made.node("b", "Fancier", "a")
    made.node("words", "Const")
    made.proto.node[-1].attr["value"].tensor.dtype = 7
    made.node("y", "AddN", "b", "free", "words")
    text = _refused(made, "y")
    for part in (
        "5 reasons",
        "node 'x' (Placeholder): its shape is ?x3: give one, --shape x:",
        "node 'free' (Placeholder): its shape is unknown",
        "node 'a' (Fancy): this operator is not supported",
        "node 'b' (Fancier): this operator is not supported",
        "node 'words' (Const): its type is DT_STRING",
    ):
        assert part in text


def test_cycles_missing_and_second_names() -> None:
    made = GraphDef()
    made.node("a", "Relu", "b")
    made.node("b", "Relu", "a")
    made.node("c", "Relu", "nowhere")
    made.node("c", "Relu", "a")
    made.node("", "Relu", "a")
    made.node("y", "Add", "b", "c")
    text = _refused(made, "y")
    assert "two nodes are called 'c'" in text
    assert "node 4 (Relu) has no name" in text
    assert "input 'nowhere' is not in the graph" in text
    assert "it is part of a cycle through" in text


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "reason"),
    [
        ("MatMul", ["x", "v"], {}, "matrices are needed"),
        ("MatMul", ["x"], {}, "it has 1 inputs, 2 are needed"),
        ("Conv2D", ["x", "v"], {"strides": [1], "padding": "SAME"}, "must have one rank"),
        ("Cast", ["x"], {"DstT": 3}, "attribute 'DstT' is of the wrong kind"),
        ("Cast", ["x"], {}, "attribute 'DstT' is missing"),
        ("Reshape", ["x", "x"], {}, "the shape must be a constant"),
        ("Add", ["x", "v:2"], {}, "input 'v:2' is no output of its node"),
        ("Add", ["x", "whole"], {}, "operands have element types f32 and i64"),
        ("Fill", ["huge", "one"], {}, "the shape is no shape: shape [-5, 7]: extents are 0 to"),
        ("Split", ["zero", "x"], {"num_split": 1 << 40}, "outputs: at most"),
        ("FakeQuantWithMinMaxArgs", ["x"], {"num_bits": 1 << 40}, "2 to 16"),
        ("ExtractImagePatches", ["image"], {n: [1, 1 << 20, 1 << 20, 1] for n in PATCHES}, "more than 4096"),
        ("Unpack", ["long"], {}, "outputs: at most"),
        ("Reshape", ["x", "huge"], {}, "6 elements have no shape [-5, 7]"),
    ],
)
def test_reasons_of_nodes(op: str, inputs: list[str], attributes: dict[str, object], reason: str) -> None:
    made = GraphDef()
    made.placeholder("x", [2, 3])
    made.const("v", np.ones(3, np.float32))
    made.const("whole", np.ones(3, np.int64))
    made.const("huge", np.array([-5, 7], np.int64))
    made.const("one", np.float32(1))
    made.const("zero", np.int32(0))
    made.placeholder("image", [1, 9, 9, 1])
    made.placeholder("long", [1 << 30])
    made.node("y", op, *inputs, **attributes)
    text = _refused(made, "y")
    assert f"node 'y' ({op}): " in text
    assert reason in text


def test_constants_that_do_not_fit_their_shape() -> None:
    made = GraphDef()
    made.const("short", np.ones(4, np.float32))
    made.proto.node[0].attr["value"].tensor.tensor_shape.dim[0].size = 5
    made.const("huge", np.ones(1, np.float32))
    made.proto.node[1].attr["value"].tensor.tensor_shape.dim[0].size = 1 << 60
    made.node("y", "Add", "short", "huge")
    text = _refused(made, "y")
    assert "a constant has 16 bytes, 20 are needed" in text
    assert f"a constant has shape [{1 << 60}]" in text


def test_four_bytes_do_not_ask_for_all_memory() -> None:
    made = GraphDef()
    made.node("big", "Const")
    tensor = made.proto.node[-1].attr["value"].tensor
    tensor.dtype = 3
    tensor.int_val.append(1)
    tensor.tensor_shape.dim.add(size=2**31 - 1)
    made.node("y", "Neg", "big")
    assert "node 'big' (Const): a constant of shape [2147483647] has 1 values: at most 67108864" in _refused(made, "y")


def test_text_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "graph.pbtxt"
    for text, reason in (
        ("node {", "not a TensorFlow graph"),
        ("node { attr { value { list { " * 40, "nested more than"),
        ("", "the graph has no nodes"),
    ):
        path.write_text(text)
        with pytest.raises(ModelError, match=reason):
            stepwell.import_model(path, outputs=["y"])


def _whole() -> bytes:
    made = GraphDef()
    made.placeholder("x", [1, 4, 4, 2])
    made.const("f", np.ones((2, 2, 2, 3), np.float32))
    made.node("c", "Conv2D", "x", "f", strides=[1, 1, 1, 1], padding="SAME")
    made.const("shape", np.array([1, -1], np.int32))
    made.node("y", "Reshape", "c", "shape")
    return bytes(made.proto.SerializeToString())


WHOLE = _whole()


@given(st.binary(max_size=64), st.integers(0, len(WHOLE)))
def test_any_bytes(data: bytes, at: int) -> None:
    """Noise, and a graph with some bytes replaced: nothing but our own errors."""
    for bad in (data, WHOLE[:at] + data + WHOLE[at + len(data) :], WHOLE[:at]):
        try:
            import_tensorflow(bad, outputs=["y"])
        except StepwellError:
            continue


def test_the_numbers_of_the_published_definitions() -> None:
    """Field numbers as TensorFlow's files have them."""
    fields = {
        "GraphDef": {"node": 1, "versions": 4, "library": 2},
        "NodeDef": {"name": 1, "op": 2, "input": 3, "device": 4, "attr": 5},
        "AttrValue": {"s": 2, "i": 3, "f": 4, "b": 5, "type": 6, "shape": 7, "tensor": 8, "list": 1, "func": 10},
        "TensorProto": {
            "dtype": 1,
            "tensor_shape": 2,
            "tensor_content": 4,
            "half_val": 13,
            "float_val": 5,
            "int64_val": 10,
        },
        "TensorShapeProto": {"dim": 2, "unknown_rank": 3},
    }
    for message, numbers in fields.items():
        found = messages()[message].DESCRIPTOR.fields_by_name
        assert {name: found[name].number for name in numbers} == numbers
