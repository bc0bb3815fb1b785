"""ONNX's model tests, which ship with the onnx package: networks and operators that PyTorch exported, simple models, and the topologies of nine well-known
networks. Those come with one constant for each weight, which a wrong order of channels would survive: each is run a second time with weights drawn."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from stepwell.dialects.numpy_types import Array
from stepwell.testing.conformance.case import Case
from stepwell.testing.conformance.node_tests import as_array
from stepwell.testing.conformance.run import MakeModel

KINDS: Mapping[str, str] = {"converted": "pytorch-converted", "operator": "pytorch-operator", "simple": "simple"}
"""Our name of a suite -> ONNX's."""
DRAWN = "_drawn"
"""The end of the name of a case whose weights are drawn."""


def stored_tests(suite: str) -> dict[str, MakeModel]:
    """Test name -> case, of a suite whose models and data are files."""
    from onnx.backend.test.loader import load_model_tests

    tests = sorted(load_model_tests(kind=KINDS[suite]), key=lambda test: str(test.name))
    return {test.name: partial(_stored, test.name, Path(str(test.model_dir)), test.rtol, test.atol) for test in tests}


def light_tests() -> dict[str, MakeModel]:
    """Test name -> case: with the weights as they are stored, and with weights drawn."""
    from onnx.backend.test.loader import DATA_DIR

    found: dict[str, MakeModel] = {}
    for path in sorted((Path(DATA_DIR) / "light").glob("*.onnx")):
        name = path.stem.replace("light_", "test_")
        found[name] = partial(_light, name, path)
        found[name + DRAWN] = partial(_drawn, name + DRAWN, path)
    return found


def _stored(name: str, folder: Path, rtol: float, atol: float) -> Case:
    """The model with its first data set, whose shapes are those of inputs that leave them open."""
    model = onnx.load(folder / "model.onnx")
    stored = {entry.name for entry in model.graph.initializer}
    data = folder / "test_data_set_0"
    files = sorted(data.glob("input_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    inputs = zip(model.graph.input, files, strict=False)
    feeds = {entry.name: _read(path, entry) for entry, path in inputs if entry.name not in stored}
    for entry in model.graph.input:
        for dim, extent in zip(entry.type.tensor_type.shape.dim, np.shape(feeds.get(entry.name, ())), strict=False):
            dim.dim_value = extent
    expected = {entry.name: _read(data / f"output_{n}.pb", entry) for n, entry in enumerate(model.graph.output)}
    return Case(name, model, feeds, expected, rtol, max(atol, 1e-6))


def _read(path: Path, entry: Any) -> Array:
    if entry.type.HasField("sequence_type"):
        return as_array(numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes())))
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _light(name: str, path: Path) -> Case:
    model = onnx.load(path)
    (output,) = model.graph.output
    expected = _read(path.with_name(f"{path.stem}_output_0.pb"), output)
    return Case(name, model, _ramp(model), {output.name: expected}, rtol=2e-3, atol=1e-6)


def _ramp(model: onnx.ModelProto) -> dict[str, Array]:
    """What ONNX's runner feeds: 0 to 1 in equal steps."""
    stored = {entry.name for entry in model.graph.initializer}
    (entry,) = [entry for entry in model.graph.input if entry.name not in stored]
    shape = [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
    return {entry.name: (np.arange(np.prod(shape)).reshape(shape) / np.prod(shape)).astype(np.float32)}


def _drawn(name: str, path: Path) -> Case:
    """The topology with weights in place of its ConstantOfShape nodes: filters scaled to keep the size of what passes (He), scales about 1, biases small.
    The output before the closing softmax is compared, whose probabilities a sharp distribution would hide."""
    model = onnx.load(path)
    random = np.random.default_rng(0)
    shapes = {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer}
    uses = {name: (node.op_type, at) for node in model.graph.node for at, name in enumerate(node.input)}
    kept = []
    for node in model.graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        weight = _weight(random, tuple(int(extent) for extent in shapes[node.input[0]]), *uses[node.output[0]])
        model.graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
    last = kept[-1]
    if last.op_type == "Softmax":
        kept.pop()
        model.graph.output[0].name = last.input[0]
        model.graph.output[0].type.tensor_type.ClearField("shape")
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.ir_version = 8  # before 4, initialisers are inputs too
    return Case(name, model, _ramp(model), None, rtol=1e-3, atol=1e-3)


def _weight(random: np.random.Generator, shape: tuple[int, ...], op: str, position: int) -> Array:
    if op == "BatchNormalization" and position in (1, 4):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    if len(shape) < 2:
        return random.uniform(-0.1, 0.1, shape).astype(np.float32)
    return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
