"""SavedModels made by hand: variables from a bundle, functions inlined, signatures; damaged files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.frontends.tensorflow.graph_defs import GraphDef

import stepwell
from stepwell.frontends.tensorflow.bundle import MAGIC, Bundle, _table, unpacked
from stepwell.frontends.tensorflow.schema import messages
from stepwell.runtime.errors import ModelError, StepwellError, UsageError
from stepwell.testing.tensorflow_files import bundle_index, bundle_of

VARIABLES: dict[str, Any] = {"bias": np.array([1, 2], np.float32), "w": np.arange(6, dtype=np.float32).reshape(3, 2)}


def _saved(folder: Path) -> Path:
    """y = x w + bias behind a function that calls another."""
    made = GraphDef()
    made.node("in", "PlaceholderWithDefault", "nothing")
    for name, op in (("w", "VarHandleOp"), ("bias", "VariableV2")):
        made.node(name, op, dtype=np.dtype(np.float32))
    made.node("call", "StatefulPartitionedCall", "in", "w", "bias")
    made.proto.node[-1].attr["f"].func.name = "outer"
    for name, inner in (("outer", "inner"), ("inner", "")):
        function = made.proto.library.function.add()
        function.signature.name = name
        for argument in ("x", "w", "b"):
            function.signature.input_arg.add(name=argument)
        function.signature.output_arg.add(name="result")
        if inner:
            node = function.node_def.add(name="call", op="PartitionedCall", input=["x", "w", "b"])
            node.attr["f"].func.name = inner
            function.ret["result"] = "call:output:0"
            continue
        function.node_def.add(name="read", op="ReadVariableOp", input=["w"])
        function.node_def.add(name="product", op="MatMul", input=["x", "read:value:0"])
        function.node_def.add(name="sum", op="BiasAdd", input=["product:product:0", "b"])
        function.ret["result"] = "sum:output:0"
    model = messages()["SavedModel"]()
    graph = model.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.graph_def.CopyFrom(made.proto)
    signature = graph.signature_def["serving_default"]
    info = signature.inputs["image"]
    info.name, info.dtype = "in:0", 1
    info.tensor_shape.dim.add(size=-1)
    info.tensor_shape.dim.add(size=3)
    signature.outputs["label"].name = "call:0"
    (folder / "variables").mkdir()
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    (folder / "variables" / "variables.index").write_bytes(bundle_index(VARIABLES))
    data = b"".join(array.tobytes() for array in VARIABLES.values())
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    return folder


def test_variables_functions_and_names(tmp_path: Path) -> None:
    """Inputs and outputs are called as the signature calls them; the folder and the file in it mean the same."""
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    folder = _saved(tmp_path)
    for path in (folder, folder / "saved_model.pb"):
        module = stepwell.import_model(path, shapes={"image": "2x3"})
        np.testing.assert_array_equal(
            stepwell.interpret(module, {"image": x})["label"], x @ VARIABLES["w"] + VARIABLES["bias"]
        )
    with pytest.raises(UsageError, match="serving_default: image -> label"):
        stepwell.import_model(folder, outputs=["other"])


def test_what_is_missing_or_damaged(tmp_path: Path) -> None:
    folder = _saved(tmp_path)
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(
        ModelError, match=r"node 'w' \(VarHandleOp\): variables.data-00000-of-00001 ends before byte 32"
    ):
        stepwell.import_model(folder, shapes={"image": "2x3"})
    (folder / "variables" / "variables.index").write_bytes(b"x" * 60)
    with pytest.raises(ModelError, match="does not end as a table does"):
        stepwell.import_model(folder, shapes={"image": "2x3"})
    (folder / "variables" / "variables.index").write_bytes(b"\xff" * 52 + MAGIC.to_bytes(8, "little"))
    with pytest.raises(ModelError, match="the number at byte 12 has more than ten bytes"):
        stepwell.import_model(folder, shapes={"image": "2x3"})
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(ModelError, match="cannot read the variables"):
        stepwell.import_model(folder, shapes={"image": "2x3"})


def test_a_function_that_calls_itself(tmp_path: Path) -> None:
    folder = _saved(tmp_path)
    model = messages()["SavedModel"].FromString((folder / "saved_model.pb").read_bytes())
    model.meta_graphs[0].graph_def.library.function[0].node_def[0].attr["f"].func.name = "outer"
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="function 'outer' calls itself"):
        stepwell.import_model(folder)


def test_snappy() -> None:
    """A literal, a copy of one, two and four bytes of offset, and one that overlaps itself."""
    assert unpacked(b"\x0c\x08abc\x15\x03") == b"abcabcabcabc"
    assert unpacked(b"\x06\x08abc\x0a\x03\x00") == b"abcabc"
    assert unpacked(b"\x06\x08abc\x0b\x03\x00\x00\x00") == b"abcabc"
    assert unpacked(b"\x3e\xf0\x3d" + bytes(range(62))) == bytes(range(62))
    with pytest.raises(ValueError, match="before the block"):
        unpacked(b"\x06\x08abc\x0a\x04\x00")


@given(st.binary(max_size=40), st.integers(0, 200))
def test_any_index(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    """Noise in an index: nothing but our own errors."""
    folder = tmp_path_factory.getbasetemp()
    whole = bundle_index(VARIABLES)
    (folder / "variables.index").write_bytes(whole[:at] + data + whole[at + len(data) :])
    try:
        Bundle(folder)
    except StepwellError:
        return


def test_signatures_are_listed_and_chosen(tmp_path: Path) -> None:
    """By outputs, by SIGNATURE:OUTPUT, by a signature's name alone; without any where none is the default."""
    folder = _saved(tmp_path)
    model = messages()["SavedModel"].FromString((folder / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    for name, output in (("score", "call:0"), ("raw", "w:0")):
        signatures[name].inputs["image"].CopyFrom(signatures["serving_default"].inputs["image"])
        signatures[name].outputs["label"].name = "call:0"
        signatures[name].outputs[name].name = output
    del signatures["serving_default"]
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match="raw: image -> label, raw; score: image -> label, score") as caught:
        stepwell.import_model(folder, shapes={"image": "2x3"})
    assert "--outputs SIGNATURE" in str(caught.value)
    for outputs, names in (
        (["score"], ["score"]),
        (["score:label"], ["label"]),
        (["raw", "label"], ["raw", "label"]),
        (["label"], ["label"]),
    ):
        module = stepwell.import_model(folder, outputs=outputs, shapes={"image": "2x3"})
        results = stepwell.interpret(module, {"image": np.ones((2, 3), np.float32)})
        assert list(results) == names
    signatures["whole"].CopyFrom(signatures["score"])
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    module = stepwell.import_model(folder, outputs=["whole"], shapes={"image": "2x3"})
    assert list(stepwell.interpret(module, {"image": np.ones((2, 3), np.float32)})) == ["label", "score"]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("shard_id", -1, r"cannot read variables\.data--0001-of-00001"),
        ("shard_id", 1 << 30, r"cannot read variables\.data-1073741824-of-00001"),
        ("offset", -8, r"ends before byte 16"),
        ("offset", 1 << 60, r"ends before byte"),
        ("size", 1 << 60, r"has 1152921504606846976 bytes for \[3, 2\]"),
        ("dtype", 7, r"its type is DT_STRING"),
    ],
)
def test_entries_name_no_other_file(tmp_path: Path, field: str, value: int, reason: str) -> None:
    """A data file is named by two numbers, so no entry leads out of the folder; bytes outside of it are none of a variable."""
    folder = _saved(tmp_path)
    entries = dict(_table((folder / "variables" / "variables.index").read_bytes()))
    entry = messages()["BundleEntryProto"].FromString(entries[b"w"])
    setattr(entry, field, value)
    entries[b"w"] = entry.SerializeToString()
    (folder / "variables" / "variables.index").write_bytes(bundle_of(entries))
    with pytest.raises(ModelError, match=r"node 'w' \(VarHandleOp\): .*" + reason):
        stepwell.import_model(folder, shapes={"image": "2x3"})


def test_bundles_that_are_not_read(tmp_path: Path) -> None:
    """Variables in slices, and numbers with the highest byte first."""
    folder = _saved(tmp_path)
    index = folder / "variables" / "variables.index"
    whole = dict(_table(index.read_bytes()))
    entry = messages()["BundleEntryProto"].FromString(whole[b"w"])
    entry.slices.extend([b"", b""])
    index.write_bytes(bundle_of(whole | {b"w": entry.SerializeToString()}))
    with pytest.raises(ModelError, match="variable 'w' is stored in 2 slices: save it whole"):
        stepwell.import_model(folder, shapes={"image": "2x3"})
    header = messages()["BundleHeaderProto"](num_shards=1, endianness=1)
    index.write_bytes(bundle_of(whole | {b"": header.SerializeToString()}))
    with pytest.raises(ModelError, match="the highest byte first"):
        stepwell.import_model(folder, shapes={"image": "2x3"})


@pytest.mark.slow
def test_memory_is_twice_the_weights(tmp_path: Path) -> None:
    """At most 2.2 times the file while it is imported."""
    made = GraphDef()
    made.placeholder("x", [1, 2048])
    last, values = "x", np.ones((2048, 2048), np.float32)
    for number in range(16):
        made.const(f"w{number}", values * number)
        last = made.node(f"y{number}", "MatMul", last, f"w{number}")
    path = made.save(tmp_path)
    script = (
        "import resource, sys, stepwell\n"
        "from stepwell.frontends.tensorflow import import_tensorflow\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = peak()\n"
        "module = stepwell.import_model(sys.argv[1], outputs=[sys.argv[2]])\n"
        "print(peak() - before)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(path), last], capture_output=True, text=True, check=True, timeout=300
    )
    assert int(run.stdout) <= 2.2 * path.stat().st_size
