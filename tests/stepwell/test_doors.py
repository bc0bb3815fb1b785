"""Files of other frameworks through the library and the commands: the same words at every door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import stepwell
from stepwell.cli import main, opt_main
from stepwell.dialects.graph.interpreter import interpret
from stepwell.driver.modules import weights_of
from stepwell.frontends.events import ImportEvents
from stepwell.runtime.errors import ModelError, UsageError

NETWORK = """
name: "tiny" input: "data" input_shape { dim: 2 dim: 3 dim: 4 dim: 4 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
"""
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.prototxt"
    path.write_text(NETWORK)
    return path


def test_weights_of_every_kind(network: Path, tmp_path: Path) -> None:
    random = stepwell.import_model(network, "random:3")
    store = weights_of(random)
    assert store is not None
    arrays = {
        op.ref.source.data: store.evaluate(op.ref)  # type: ignore[attr-defined]
        for op in random.walk()
        if op.name == "graph.weight"
    }
    wanted = interpret(random, {"data": X}, store)["fc"]
    by_name = stepwell.import_model(network, arrays)
    assert np.array_equal(interpret(by_name, {"data": X}, weights_of(by_name))["fc"], wanted)
    held = weights_of(by_name)
    assert held is not None
    held.save(tmp_path / "w.safetensors")
    from_file = stepwell.import_model(network, tmp_path / "w.safetensors")
    assert np.array_equal(stepwell.interpret(from_file, {"data": X})["fc"], wanted)


def test_missing_and_foreign_weights(network: Path) -> None:
    with pytest.raises(ModelError, match=r"3 weights are not in .*: conv.1, fc.0, fc.1"):
        stepwell.import_model(network, {"conv.0": np.zeros((8, 3, 3, 3), np.float32)})
    with pytest.raises(ModelError, match="the weight is a tensor<1xf32>"):
        stepwell.import_model(network, {name: np.zeros(1, np.float32) for name in ("conv.0", "conv.1", "fc.0", "fc.1")})


def test_compiled_on_the_cpu(network: Path) -> None:
    wanted = stepwell.interpret(stepwell.import_model(network, "random:3"), {"data": X})["fc"]
    found = stepwell.compile(network, "random:3", target="cpu").run({"data": X})["fc"]
    assert np.allclose(np.asarray(found, np.float32), wanted, rtol=1e-5, atol=1e-5)


def test_outputs_and_shapes(network: Path) -> None:
    module = stepwell.import_model(network, "random:0", ["conv"], {"data": "1x3x6x6"})
    assert stepwell.interpret(module, {"data": np.zeros((1, 3, 6, 6), np.float32)})["conv"].shape == (1, 8, 4, 4)
    with pytest.raises(UsageError, match="'nonsense' is no top"):
        stepwell.import_model(network, None, ["nonsense"])


def test_events_of_an_import(network: Path) -> None:
    events = ImportEvents("Caffe")
    stepwell.import_model(network, events=events)
    texts = [str(event) for event in events.records]
    assert "Adding network input: data with dtype: f32, dimensions: (2, 3, 4, 4)" in texts
    assert "Parsing node: fc [InnerProduct]" in texts and "Searching for input: conv" in texts
    assert "fc [InnerProduct] outputs: [fc -> (2, 5)]" in texts and "Marking fc as output: fc" in texts
    assert {event.kind for event in events.records} >= {"network-input", "tensor", "node", "inputs", "layer", "outputs"}


def test_commands(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt_main([str(network), "--outputs", "conv"]) == 0
    printed = capsys.readouterr().out
    assert "graph.conv" in printed and "graph.matmul" not in printed
    plan = tmp_path / "tiny.plan"
    assert main(["compile", str(network), "--weights", "random:1", "--target", "cpu", "-o", str(plan)]) == 0
    assert plan.exists()
    network.write_text(NETWORK.replace('"ReLU"', '"Nonsense"'))
    assert main(["compile", str(network), "--target", "cpu"]) == 3
    assert "layer 'relu' (Nonsense): this layer is not supported" in capsys.readouterr().err
