"""What an import costs: at most 2.2 times the bytes of the weights in memory, and seconds for the largest definitions, at every door. (Caffe's are beside its tests.)"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from stepwell.testing.conformance.backend_models import DRAWN, light_tests
from stepwell.testing.import_cost import cost_of
from stepwell.testing.tensorflow_files import GraphDef, write_saved_model

SECONDS = 10
MEMORY = 2.2
"""Times the weights."""
WIDTH, COUNT = 1024, 8
SIZE = 4 * WIDTH * WIDTH * COUNT
"""Bytes of the weights of a chain of products."""


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {f"w{n}": random.standard_normal((WIDTH, WIDTH)).astype(np.float32) for n in range(COUNT)}


def by_onnx(folder: Path, constants: bool = False, outside: bool = False) -> Path:
    """Weights as initialisers, as Constant nodes, or in a file of their own."""
    stored = [numpy_helper.from_array(array, name) for name, array in weights().items()]
    names = ["x", *(f"y{n}" for n in range(COUNT))]
    nodes = [helper.make_node("MatMul", [names[n], f"w{n}"], [names[n + 1]]) for n in range(COUNT)]
    held = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in stored] if constants else []
    x, y = (helper.make_tensor_value_info(name, 1, [1, WIDTH]) for name in (names[0], names[-1]))
    graph = helper.make_graph([*held, *nodes], "chain", [x], [y], [] if constants else stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "chain.onnx"
    onnx.save(model, path, save_as_external_data=outside, location="chain.data" if outside else None)
    return path


def by_tensorflow(folder: Path, saved: bool = False) -> Path:
    """A frozen graph, or a SavedModel with variables."""
    made = GraphDef()
    x = made.placeholder("x", [1, WIDTH])
    for name, array in weights().items():
        if saved:
            made.node(name, "VarHandleOp", dtype=np.dtype(np.float32), shared_name=name)
        else:
            made.const(name, array)
        made.node(f"{name}/read", "ReadVariableOp" if saved else "Identity", name)
        x = made.node(f"{name}/product", "MatMul", x, f"{name}/read")
    if saved:
        ends = {"x": ("x:0", [1, WIDTH])}, {"y": f"{x}:0"}
        return write_saved_model(folder / "chain", made, *ends, weights())
    return made.save(folder, "chain.pb")


CHAINS: dict[str, tuple[Callable[[Path], Path], list[str] | None]] = {
    "onnx": (by_onnx, None),
    "onnx constants": (partial(by_onnx, constants=True), None),
    "onnx external": (partial(by_onnx, outside=True), None),
    "tensorflow": (by_tensorflow, [f"w{COUNT - 1}/product"]),
    "tensorflow saved": (partial(by_tensorflow, saved=True), None),
}


@pytest.mark.parametrize("name", CHAINS)
def test_memory(name: str, tmp_path: Path) -> None:
    make, outputs = CHAINS[name]
    cost = cost_of(make(tmp_path), outputs=outputs)
    assert cost.memory <= MEMORY * SIZE, f"{cost.memory / SIZE:.2f} times the weights"
    assert cost.seconds < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "densenet121", "vgg19"])
def test_known_networks(name: str, tmp_path: Path) -> None:
    """With weights drawn: vgg19 has 548 MiB."""
    path = tmp_path / "net.onnx"
    onnx.save(light_tests()[f"test_{name}{DRAWN}"]().model, path)
    cost = cost_of(path)
    assert cost.memory <= MEMORY * path.stat().st_size
    assert cost.seconds < SECONDS
