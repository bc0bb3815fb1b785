"""Files that are read: what the fuzzer changes. Small ones, made here or found in the onnx package and in the corpora, one for each set of operators."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf import text_format
from onnx import helper, numpy_helper

from stepwell.testing.conformance.backend_models import stored_tests
from stepwell.testing.conformance.node_tests import node_tests
from stepwell.testing.conformance.run import MakeModel
from stepwell.testing.corpora import absent, corpora, manifest
from stepwell.testing.tensorflow_files import GraphDef, write_saved_model

Parts = tuple[bytes, ...]
LARGEST = 20_000
"""Bytes of a seed: small files are read often."""

PROTOTXT = """name: "net"
input: "data"
input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
"""
ARRAYS: Mapping[str, Any] = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3)}


def message_class(door: str, name: str) -> Any:
    """The class of a message of a door."""
    if door == "onnx":
        return getattr(onnx, name)
    from stepwell.frontends.caffe import schema as caffe
    from stepwell.frontends.tensorflow import schema as tensorflow

    return {"caffe": caffe, "tensorflow": tensorflow}[door].messages()[name]


# --- ONNX


def small_model() -> onnx.ModelProto:
    """A convolution, a pool and a product."""
    generator = np.random.default_rng(0)
    shapes = {"w": (3, 2, 3, 3), "b": (3,), "g": (5, 27), "h": (5,)}
    weights = [numpy_helper.from_array(generator.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "g", "h"], ["y"], transB=1),
    ]
    x, y = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 2, 6, 6]), ("y", [1, 5])))
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def onnx_models() -> Iterator[Parts]:
    """The small model, operators that PyTorch exported, and of ONNX's node tests the first of each set of operators and attributes."""
    yield (small_model().SerializeToString(),)
    seen = set()
    for make in _onnx_cases():
        model = make().model
        kinds = frozenset((node.op_type, attribute.name) for node in model.graph.node for attribute in node.attribute)
        kinds |= {(node.op_type, "") for node in model.graph.node}
        data = model.SerializeToString()
        if kinds not in seen and len(data) < LARGEST:
            seen.add(kinds)
            yield (data,)


def _onnx_cases() -> Iterator[MakeModel]:
    """Those first that are files: collecting the others takes seconds."""
    yield from stored_tests("operator").values()
    yield from node_tests().values()


def external_models() -> Iterator[Parts]:
    """The small model with its weights in a file of their own."""
    model = small_model()
    for tensor in model.graph.initializer:
        tensor.raw_data = numpy_helper.to_array(tensor).tobytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
        yield (folder / "net.onnx").read_bytes(), (folder / "net.data").read_bytes()


# --- Caffe


def prototxts() -> Iterator[Parts]:
    """The network above, and small definitions of others."""
    yield (PROTOTXT.encode(),)
    if absent():
        return
    for path in sorted((corpora() / "caffe_definitions").rglob("*.prototxt")):
        if path.stat().st_size < LARGEST // 2:
            yield (path.read_bytes(),)


def caffe_models() -> Iterator[Parts]:
    """The network above with its weights, in today's layers and in those before, shaped and with the four legacy extents, floats and doubles."""
    generator = np.random.default_rng(0)
    blobs = {"conv": ((4, 3, 3, 3), (4,)), "fc": ((5, 64), (5,))}
    for layers, doubles, legacy in (("layer", False, False), ("layer", True, False), ("layers", False, True)):
        weights = message_class("caffe", "NetParameter")(name="net")
        for name, shapes in blobs.items():
            layer = getattr(weights, layers).add(name=name)
            for shape in shapes:
                _fill(layer.blobs.add(), generator.standard_normal(shape), doubles, legacy)
        yield PROTOTXT.encode(), weights.SerializeToString()


def _fill(blob: Any, array: Any, doubles: bool, legacy: bool) -> None:
    if legacy:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)
    if doubles:
        blob.double_data.append(array.astype("<f8").tobytes())
    else:
        blob.data.append(array.astype("<f4").tobytes())


# --- TensorFlow


def graph_defs() -> Iterator[Parts]:
    """A product behind a placeholder, a branch and a loop of functions, and the first of each set of operators in the corpora."""
    yield (_product().SerializeToString(),)
    yield (_functional(),)
    seen = set()
    for name, entry in {}.items() if absent() else manifest("tf_graphs").items():
        path, operators = corpora() / "tf_graphs" / name / "graph.pb", frozenset(entry["ops"])
        if operators not in seen and path.stat().st_size < LARGEST:
            seen.add(operators)
            yield (path.read_bytes(),)


def _product() -> Any:
    graph = message_class("tensorflow", "GraphDef")()
    x = graph.node.add(name="x", op="Placeholder")
    x.attr["dtype"].type = 1
    for extent in (2, 3):
        x.attr["shape"].shape.dim.add(size=extent)
    w = graph.node.add(name="w", op="Const")
    w.attr["value"].tensor.dtype = 1
    w.attr["value"].tensor.tensor_content = np.ones((3, 4), np.float32).tobytes()
    for extent in (3, 4):
        w.attr["value"].tensor.tensor_shape.dim.add(size=extent)
    graph.node.add(name="y", op="MatMul", input=["x", "w"])
    return graph


def _functional() -> bytes:
    """y = x doubled as often as an input says, kept in a list; or negated where a bool says so."""
    from stepwell.testing.tensorflow_files import GraphDef

    made, going, body, negated, kept = (GraphDef() for _ in range(5))
    going.node("less", "Less", "i", "n")
    made.function("going", ["i", "n", "v", "l"], {"r": "less:z:0"}, going)
    body.const("one", np.int32(1))
    body.node("next", "AddV2", "i", "one:output:0")
    body.node("sum", "AddV2", "v", "v")
    body.node("list", "TensorListSetItem", "l", "i", "sum:z:0")
    results = {"i": "next:z:0", "n": "n", "v": "sum:z:0", "l": "list:output_handle:0"}
    made.function("body", ["i", "n", "v", "l"], results, body)
    negated.node("less", "Neg", "v")
    made.function("negated", ["v"], {"r": "less:y:0"}, negated)
    made.function("kept", ["v"], {"r": "v"}, kept)
    made.placeholder("x", [3])
    made.placeholder("n", [], "int32")
    made.placeholder("c", [], "bool")
    made.const("zero", np.int32(0))
    made.const("size", np.int32(4))
    made.const("shape", np.array([3], np.int32))
    made.node("list", "TensorListReserve", "shape", "size", element_dtype=np.dtype(np.float32))
    made.call("loop", "While", "zero", "n", "x", "list", cond="going", body="body")
    made.node("rows", "TensorListStack", "loop:3", "shape", element_dtype=np.dtype(np.float32))
    made.call("chosen", "If", "c", "x", then_branch="negated", else_branch="kept")
    made.node("y", "AddV2", "rows", "chosen")
    return bytes(made.proto.SerializeToString())


def text_graph_defs() -> Iterator[Parts]:
    """The same graphs as text."""
    for (data,) in graph_defs():
        text = text_format.MessageToString(message_class("tensorflow", "GraphDef").FromString(data)).encode()
        if len(text) < LARGEST:
            yield (text,)


def saved_models() -> Iterator[Parts]:
    """A variable behind a function, and those of the corpora."""
    with tempfile.TemporaryDirectory() as name:
        yield _parts_of(_saved_sum(Path(name)))
    for name in () if absent() else ("half_plus_two", "half_plus_two_v2"):
        folder = corpora() / "models" / name / "saved_model"
        if (folder / BUNDLE[2]).is_file():
            yield _parts_of(folder)


def _saved_sum(folder: Path) -> Path:
    made, body = GraphDef(), GraphDef()
    body.node("read", "ReadVariableOp", "w")
    body.node("sum", "AddV2", "x", "read:value:0")
    made.function("add", ["x", "w"], {"result": "sum:z:0"}, body)
    made.placeholder("serving_x", [2, 3])
    made.node("w", "VarHandleOp", dtype=np.dtype(np.float32), shared_name="w")
    made.call("called", "StatefulPartitionedCall", "serving_x", "w", f="add")
    return write_saved_model(
        folder, made, {"x": ("serving_x:0", [2, 3])}, {"y": "called:0"}, {"w": np.ones(3, np.float32)}
    )


BUNDLE = ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001")
"""The files of a SavedModel."""


def _parts_of(folder: Path) -> Parts:
    return tuple((folder / name).read_bytes() for name in BUNDLE)


# --- our own


@cache
def _own() -> Mapping[str, tuple[bytes, ...]]:
    """The small model as our own files, by ending: modules at every level for both targets, plans, weights."""
    import stepwell
    from stepwell.dialects.weights import weights_of
    from stepwell.driver.pipeline import LEVELS
    from stepwell.ir.printing import module_text

    model, texts = small_model(), []
    for target in ("cpu", "sm_90a"):
        module = stepwell.import_model(model)
        for level in LEVELS:
            module = stepwell.lower(module, to=level, target=target)
            texts.append(module_text(module).encode())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stepwell.compile(model, target="cpu").save(folder / "net.plan")
        store = weights_of(stepwell.import_model(model))
        assert store is not None
        store.save(folder / "net.safetensors")
        return {
            "mlir": tuple(texts),
            "plan": ((folder / "net.plan").read_bytes(),),
            "safetensors": ((folder / "net.safetensors").read_bytes(),),
        }


def modules() -> Iterable[Parts]:
    """The small model at every level, for both targets."""
    return ((text,) for text in _own()["mlir"])


def plans() -> Iterable[Parts]:
    """The small model compiled."""
    return ((data,) for data in _own()["plan"])


def weights() -> Iterable[Parts]:
    """The weights of the small model."""
    return ((data,) for data in _own()["safetensors"])


def archives() -> Iterator[Parts]:
    """Two arrays, stored and deflated."""
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, **ARRAYS)
        yield (stream.getvalue(),)
