"""No command writes where it reads: models, weights, arrays, plans and modules survive a wrong `-o`, under every name that they have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from stepwell.testing.run_line import call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with its weights in a file beside it."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xy")
    weight = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "net", [x], [y], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "net.onnx"
    onnx.save(made, path, save_as_external_data=True, location="net.data", size_threshold=0)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refused(words: list[str], folder: Path) -> None:
    before = contents(folder)
    code, _, said = call(words)
    assert code == 2 and "would overwrite" in said and said.count("error:") == 1, said
    assert contents(folder) == before


def aliases(path: Path) -> list[str]:
    """`path` by other names: relative, through a folder, a symbolic and a hard link."""
    symbolic, hard = path.with_name(f"symbolic-{path.name}"), path.with_name(f"hard-{path.name}")
    symbolic.symlink_to(path.name)
    os.link(path, hard)
    return [str(path), os.path.relpath(path), f"{path.parent}/./{path.name}", str(symbolic), str(hard)]


def test_compile_keeps_the_model_and_its_external_data(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "net.data"
    link = tmp_path / "link.data"
    link.symlink_to(data)
    for output in [*aliases(model), str(data), str(link)]:
        refused(["stepwell", "compile", str(model), "--target", "cpu", "-o", output], tmp_path)
    refused(["stepwell", "compile", str(model), "--weights", "random:0", "-o", str(data)], tmp_path)


def test_compile_keeps_a_module_its_weights_and_a_plan(model: Path, tmp_path: Path) -> None:
    module, weights, plan = tmp_path / "net.mlir", tmp_path / "net.safetensors", tmp_path / "net.plan"
    assert call(["stepwell-opt", str(model), "-o", str(module), "--weights-out", str(weights)])[0] == 0
    assert call(["stepwell", "compile", str(module), "--target", "cpu", "-o", str(plan)])[0] == 0
    refused(["stepwell", "compile", str(module), "--target", "cpu", "-o", str(weights)], tmp_path)
    refused(["stepwell", "compile", str(module), "--weights", str(weights), "-o", str(weights)], tmp_path)
    refused(["stepwell", "compile", str(plan)], tmp_path)
    for option in ("-o", "--weights-out", "--remarks-output-file"):
        refused(["stepwell-opt", str(module), "-p", "cse", option, str(module)], tmp_path)
        refused(["stepwell-opt", str(module), "-p", "cse", option, str(weights)], tmp_path)
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    for output in aliases(tmp_path / "x.npy"):
        refused(["stepwell", "run", str(plan), "--input", f"x={tmp_path}/x.npy", "--output", output], tmp_path)
    refused(["stepwell", "run", str(plan), "--random", "1", "--output", str(plan)], tmp_path)


def test_two_outputs_are_two_files(model: Path, tmp_path: Path) -> None:
    both = str(tmp_path / "both")
    refused(["stepwell-opt", str(model), "-o", both, "--weights-out", both], tmp_path)
    refused(["stepwell-opt", str(model), "-o", both, "--remarks-output-file", both], tmp_path)


def test_a_tree_of_modules_keeps_its_input(model: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    assert call(["stepwell-opt", str(model), "-p", "cse", "--print-ir-tree-dir", str(tree), "-o", "/dev/null"])[0] == 0
    for kept in ("00_input.mlir", "01_cse.mlir"):
        refused(["stepwell-opt", str(tree / kept), "-p", "cse", "--print-ir-tree-dir", str(tree)], tree)
    words = ["stepwell-opt", str(model), "-p", "cse", "--print-ir-tree-dir", str(tree)]
    refused([*words, "-o", str(tree / "index.json")], tree)


def test_devices_are_no_files_to_lose(model: Path) -> None:
    words = ["stepwell-opt", str(model), "-o", "/dev/null", "--remarks-output-file", "/dev/null"]
    assert call(words)[0] == 0
