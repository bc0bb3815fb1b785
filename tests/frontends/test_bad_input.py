"""Files of every door that are damaged or meant to harm, as a user meets them: `stepwell import` ends in 3, its first line says `error: ..`, every reason names its
node or byte, and neither time nor memory run away."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import helper, numpy_helper
from tests.frontends.tensorflow.graph_defs import GraphDef

from stepwell.frontends.tensorflow.schema import messages
from stepwell.testing.run_line import call

SECONDS = 10.0
MEMORY = 600 << 20
"""Bytes that the process may grow by: nothing that is refused is made first."""

Files = dict[str, bytes]


def imported(folder: Path, files: Files, *options: str) -> tuple[int, str]:
    """Exit code and standard error of `stepwell import` on the first of the files."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    code, _, err = call(["stepwell", "import", str(folder / next(iter(files))), *options])
    return code or 0, err


def check(folder: Path, files: Files, pattern: str, *options: str) -> None:
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, err = imported(folder, files, *options)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert code == 3, err
    assert err.startswith("error: ")
    assert err.count("error: ") == 1 and "Traceback" not in err
    assert re.search(pattern, err), err
    assert time.process_time() - begun < SECONDS
    assert grown < MEMORY


# --- ONNX


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node, called by its operator and its first output; names divided by spaces."""
    made = outputs.split()
    return helper.make_node(op, inputs.split(), made, name=f"{op.lower()}_{made[0]}", **attributes)


def net(*nodes: onnx.NodeProto, shape: tuple[Any, ...] = (2, 3), type: int = 1, **weights: Any) -> Files:
    """A model from x to y, however little it holds together."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    x, y = helper.make_tensor_value_info("x", type, shape), helper.make_tensor_value_info("y", 1, [2, 3])
    graph = helper.make_graph(nodes, "net", [x], [y], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return {"net.onnx": model.SerializeToString()}


def truncated() -> Files:
    """An initialiser of three numbers whose file has two."""
    files = net(node("Add", "x w", "y"), w=np.ones(3, np.float32))
    model = onnx.ModelProto.FromString(files["net.onnx"])
    model.graph.initializer[0].raw_data = bytes(8)
    return {"net.onnx": model.SerializeToString()}


def nameless() -> Files:
    """An initialiser that nothing can name."""
    model = onnx.ModelProto.FromString(net(node("Neg", "x", "y"), w=np.ones(3, np.float32))["net.onnx"])
    model.graph.initializer[0].name = ""
    return {"net.onnx": model.SerializeToString()}


def nested(depth: int) -> Files:
    """Branches in branches."""
    y = helper.make_tensor_value_info("y", 1, [2, 3])
    other = helper.make_graph([node("Abs", "x", "y")], "other", [], [y])
    inner = helper.make_graph([node("Neg", "x", "y")], "inner", [], [y])
    for _ in range(depth):
        inner = helper.make_graph([node("If", "c", "y", then_branch=inner, else_branch=other)], "outer", [], [y])
    return net(*inner.node, c=np.array(True))


BIG = np.array([1 << 31, 1 << 31], np.int64)
ONNX: dict[str, tuple[Callable[[], Files], str]] = {
    "a cycle": (lambda: net(node("Neg", "b", "y"), node("Neg", "y", "b")), r"'neg_y' \(Neg.*input 'b' is not computed"),
    "a node that reads itself": (lambda: net(node("Add", "x y", "y")), "'add_y'.*input 'y' is not computed"),
    "a missing tensor": (lambda: net(node("Add", "x gone", "y")), "'add_y'.*input 'gone' is not computed"),
    "a missing output": (lambda: net(node("Neg", "x", "z")), "'y'"),
    "a tensor made twice": (lambda: net(node("Neg", "x", "y"), node("Abs", "x", "y")), "'abs_y'.*output 'y' is already"),
    "no input": (lambda: net(node("Add", "", "y")), "'add_y'"),
    "too few inputs": (lambda: net(node("Conv", "x", "y")), "'conv_y'"),
    "a wrong rank": (lambda: net(node("Conv", "x w", "y"), w=np.ones((1, 3, 1, 1), np.float32)), "'conv_y'"),
    "shapes that do not fit": (lambda: net(node("MatMul", "x w", "y"), w=np.ones((2, 2), np.float32)), "'matmul_y'"),
    "types that do not fit": (lambda: net(node("Add", "x w", "y"), w=np.ones(3, np.int64)), "'add_y'"),
    "a type without numbers": (lambda: net(node("Neg", "x", "y"), type=8), "'neg_y'"),
    "a type that there is not": (lambda: net(node("Neg", "x", "y"), type=99), "input 'x'"),
    "a negative extent": (lambda: net(node("Neg", "x", "y"), shape=(-2, 3)), "input 'x'"),
    "huge extents": (lambda: net(node("Neg", "x", "y"), shape=(1 << 62, 1 << 62)), "input 'x'"),
    "a huge result": (lambda: net(node("Expand", "x n", "y"), shape=(1, 1), n=BIG), "'expand_y'"),
    "a huge constant": (lambda: net(node("ConstantOfShape", "n", "c"), node("Add", "x c", "y"), n=BIG), "_c'"),
    "a huge range": (lambda: net(node("Range", "a n a1", "c"), node("Add", "x c", "y"), a=np.array(0), n=np.array(2**50), a1=np.array(1)), "_c'|add_y"),
    "a huge pad": (lambda: net(node("Pad", "x n", "y"), n=np.array([0, 0, 2**50, 2**50])), "'pad_y'"),
    "a negative pad": (lambda: net(node("Pad", "x n", "y"), n=np.array([-9, 0, 0, 0])), "'pad_y'"),
    "a wrong kind": (lambda: net(node("Softmax", "x", "y", axis=1.5)), "'softmax_y'|axis"),
    "a text for a list": (lambda: net(node("Transpose", "x", "y", perm="ab")), "'transpose_y'|perm"),
    "an axis outside": (lambda: net(node("Softmax", "x", "y", axis=7)), "'softmax_y'"),
    "cut off weights": (truncated, "initialiser 'w'|'w'"),
    "weights without a name": (nameless, "initialiser 0 of the graph, '', has no name"),
    "branches in branches": (lambda: nested(32), "at byte .* nested too deeply"),
    "two reasons": (lambda: net(node("Fancy", "x", "a"), node("Fancier", "a", "y")), r"(?s)2 reasons.*'fancy_a'.*'fancier_y'"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_onnx(name: str, tmp_path: Path) -> None:
    make, pattern = ONNX[name]
    check(tmp_path, make(), pattern)


# --- TensorFlow


def graph(*nodes: tuple[str, str, str], **constants: Any) -> GraphDef:
    """A placeholder x, constants, and nodes by name, operator and inputs."""
    made = GraphDef()
    made.placeholder("x", [2, 3])
    for name, value in constants.items():
        made.const(name, np.asarray(value))
    for name, op, inputs in nodes:
        made.node(name, op, *inputs.split())
    return made


def shaped(*shape: int) -> GraphDef:
    made = GraphDef()
    made.placeholder("x", list(shape))
    made.node("y", "Neg", "x")
    return made


def wrong_kind() -> GraphDef:
    made = graph(("y", "Transpose", "x"))
    made.node("z", "Conv2D", "x", "x", strides="abc", padding=3)
    made.node("out", "AddN", "y", "z")
    return made


def cut_const() -> GraphDef:
    made = graph(("y", "Add", "x w"), w=np.ones(3, np.float32))
    made.proto.node[1].attr["value"].tensor.tensor_content = bytes(8)
    return made


GRAPHS: dict[str, tuple[Callable[[], GraphDef], str, str]] = {
    "a cycle": (lambda: graph(("a", "Add", "x y"), ("y", "Neg", "a")), "y", "'a'|'y'"),
    "a node that reads itself": (lambda: graph(("y", "Add", "x y")), "y", "'y'"),
    "a missing node": (lambda: graph(("y", "Add", "x gone")), "y", "'gone'"),
    "a name twice": (lambda: graph(("y", "Neg", "x"), ("y", "Abs", "x")), "y", "'y'"),
    "a name of nothing": (lambda: graph(("", "Neg", "x"), ("y", "Neg", "x")), "y", "no name|''"),
    "a port that is none": (lambda: graph(("a", "Neg", "x"), ("y", "Neg", "a:7")), "y", "'a:7'|'a'"),
    "a port of many digits": (lambda: graph(("y", "Neg", "x:" + "9" * 500)), "y", "'y'|'x"),
    "no input": (lambda: graph(("y", "Neg", "")), "y", r"'y' \(Neg\)"),
    "too few inputs": (lambda: graph(("y", "MatMul", "x")), "y", r"'y' \(MatMul\)"),
    "a wrong rank": (lambda: graph(("y", "BiasAdd", "x b"), b=np.ones((3, 3), np.float32)), "y", "'y'"),
    "types that do not fit": (lambda: graph(("y", "MatMul", "x b"), b=np.ones((3, 3), np.int32)), "y", "'y'"),
    "a negative extent": (lambda: shaped(-7, 3), "y", "'x'"),
    "huge extents": (lambda: shaped(1 << 62, 1 << 62), "y", "'x'"),
    "a huge fill": (lambda: graph(("y", "Fill", "n v"), n=np.array([1 << 30] * 4), v=np.float32(1)), "y", "'y'"),
    "a huge tile": (lambda: graph(("y", "Tile", "x n"), n=np.array([1 << 40, 1 << 40])), "y", "'y'"),
    "a huge range": (lambda: graph(("y", "Range", "a n b"), a=0, n=1 << 50, b=1), "y", "'y'"),
    "a step of nothing": (lambda: graph(("y", "Range", "a n b"), a=0, n=9, b=0), "y", "'y'"),
    "a wrong kind": (wrong_kind, "out", "(?s)'y'.*'z'"),
    "a cut off constant": (cut_const, "y", r"'w' \(Const\)"),
    "a file of the user's": (lambda: graph(("y", "ReadFile", "p"), p=np.zeros(1, np.uint8)), "y", r"'y' \(ReadFile\)"),
    "a checkpoint elsewhere": (lambda: graph(("y", "RestoreV2", "p p p"), p=np.zeros(1, np.uint8)), "y", "RestoreV2"),
    "two reasons": (lambda: graph(("a", "Fancy", "x"), ("y", "Fancier", "a")), "y", "(?s)2 reasons.*'a'.*'y'"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_tensorflow(name: str, tmp_path: Path) -> None:
    """As a binary file and as text."""
    make, outputs, pattern = GRAPHS[name]
    proto = make().proto
    check(tmp_path, {"net.pb": proto.SerializeToString()}, pattern, "--outputs", outputs)
    check(tmp_path, {"net.pbtxt": text_format.MessageToString(proto).encode()}, pattern, "--outputs", outputs)


def saved_model(folder: str, variables: Files) -> Files:
    """A SavedModel that reads a variable of that name."""
    model = messages()["SavedModel"]()
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    made = GraphDef()
    made.node("v", "VarHandleOp", dtype=np.dtype(np.float32), shared_name=folder)
    made.node("y", "ReadVariableOp", "v")
    meta.graph_def.CopyFrom(made.proto)
    meta.signature_def["serving_default"].outputs["y"].name = "y:0"
    return {"saved_model.pb": model.SerializeToString(), **variables}


SAVED: dict[str, tuple[Callable[[], Files], str]] = {
    "a variable of another folder": (
        lambda: saved_model("../../../etc/passwd", {"variables/variables.index": bytes(60)}),
        "variables.index.*byte 60",
    ),
    "no variables": (lambda: saved_model("v", {}), "cannot read the variables"),
    "no graph": (lambda: {"saved_model.pb": b""}, "the model has no graph"),
    "cut off": (lambda: {"saved_model.pb": saved_model("v", {})["saved_model.pb"][:-3]}, "at byte"),
}


@pytest.mark.parametrize("name", SAVED)
def test_saved_models(name: str, tmp_path: Path) -> None:
    make, pattern = SAVED[name]
    files = make()
    for target in (tmp_path / "model").parents[0], tmp_path:
        check(target, files, pattern)


# --- text formats

LAUGHS = 'layer { name: "a" type: "ReLU" }\n'
TEXTS: dict[str, tuple[str, str]] = {
    "net.prototxt": ("layer { " * 5000, "line 1: nested more than 64 levels deep"),
    "deep.pbtxt": ("node { attr { value { list { func { attr { value { " * 900, "nested more than 64 levels deep"),
    "angles.pbtxt": ("node < " * 5000, "nested more than 64 levels deep"),
    "open.prototxt": ('layer { name: "' + "x" * 3_000_000, "not a Caffe network: .*1:"),
    "open.pbtxt": ('node { name: "' + "x" * 3_000_000, "not a TensorFlow graph: .*1:"),
    "lists.pbtxt": ("node { input: [" + '"a", ' * 200_000, "not a TensorFlow graph: .*1:"),
    "many.prototxt": (LAUGHS * 20_000, "this layer|'a'|no bottom|reasons"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_grow(name: str, tmp_path: Path) -> None:
    """Neither format has entities, so what is left of a billion laughs is depth, length and repetition."""
    text, pattern = TEXTS[name]
    check(tmp_path, {name: text.encode()}, pattern)
