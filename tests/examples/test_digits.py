"""The demo's network, its held-out images, its NumPy reference and its integer twin are what the other tests take them for."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "digits"


def load(name: str) -> ModuleType:
    """The script `examples/digits/<name>.py` as a module."""
    spec = importlib.util.spec_from_file_location(f"examples_digits_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_trainer() -> ModuleType:
    """`train.py`; skips the test where scikit-learn, which holds the images, is not installed (the `examples` extra)."""
    pytest.importorskip("sklearn")
    return load("train")


reference, integer_model = load("reference"), load("integer_model")


def test_model_file() -> None:
    path = FOLDER / "digits.onnx"
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert path.stat().st_size < 500_000
    assert [entry.version for entry in model.opset_import] == [20]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    names = [node.name for node in model.graph.node]
    assert names[:3] == ["stem/conv", "stem/relu", "block/conv1"] and "head/gelu" in names


def test_heldout_images_are_the_split_that_training_leaves_out() -> None:
    train = load_trainer()
    images, labels = reference.load_heldout()
    seen, _, held_images, held_labels = train.load_split()
    assert images.shape == (360, 1, 8, 8) and images.dtype == np.float32 and images.min() == 0 and images.max() == 1
    assert np.array_equal(images, held_images) and np.array_equal(labels, held_labels)
    assert len(seen) == 1437


def test_reference_accuracy_and_margin() -> None:
    images, labels = reference.load_heldout()
    weights = reference.load_weights(FOLDER / "digits.onnx")
    logits = reference.forward(weights, images)
    assert (logits.argmax(axis=1) == labels).mean() >= 0.98
    assert reference.margins(logits).min() > 0.1
    half = {name: value.astype(np.float16) for name, value in weights.items()}
    assert np.abs(reference.forward(half, images[:48].astype(np.float16)) - logits[:48]).max() < 0.02


def test_reference_agrees_with_onnx() -> None:
    evaluator = ReferenceEvaluator(onnx.load(FOLDER / "digits.onnx"))
    images, _ = reference.load_heldout()
    weights = reference.load_weights(FOLDER / "digits.onnx")
    expected = next(iter(evaluator.run(None, {"image": images[:8]})))
    np.testing.assert_allclose(reference.forward(weights, images[:8]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_integer_model_is_exact(seed: int) -> None:
    images = integer_model.integer_images(64, seed)
    ranges = integer_model.self_check(integer_model.integer_model(seed=seed), images)
    assert ranges["head/hidden_bias"][0] < 0 < ranges["head/hidden_bias"][1]


def test_integer_model_in_every_type_of_the_reference() -> None:
    weights = reference.load_weights(integer_model.integer_model(batch=32, seed=0))
    images = integer_model.integer_images(32, 7)
    exact = reference.forward(weights, images.astype(np.float64))
    for kind in (np.float32, np.float16):
        assert np.array_equal(reference.forward(weights, images.astype(kind)), exact), kind


def test_integer_model_batch() -> None:
    model = integer_model.integer_model(batch=128)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 128
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_value == 128
    assert integer_model.integer_model().graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_trainer_learns_and_writes(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    command = [sys.executable, str(FOLDER / "train.py"), "--quick", "--output", str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    images, labels = reference.load_heldout(tmp_path / "heldout.npz")
    predicted = reference.classify(reference.load_weights(tmp_path / "digits.onnx"), images)
    assert (predicted == labels).mean() > 0.5, printed


def test_trainer_gradients() -> None:
    """The hand-written backward pass against a central difference along its own direction, one random direction per weight."""
    train = load_trainer()
    rng = np.random.default_rng(3)
    images, labels = reference.load_heldout()
    images, labels = images[:4], labels[:4]
    weights = {name: value + rng.normal(0, 0.05, value.shape) for name, value in train.init_weights(rng).items()}

    def loss(moved: dict[str, np.ndarray]) -> float:
        return float(train.cross_entropy(train.forward(moved, images.astype(np.float64))[0], labels)[0])

    logits, kept = train.forward(weights, images.astype(np.float64))
    grads = train.backward(weights, kept, train.cross_entropy(logits, labels)[1])
    for name, gradient in grads.items():
        direction = gradient / np.linalg.norm(gradient)
        step = 1e-3
        slope = (
            loss(weights | {name: weights[name] + step * direction})
            - loss(weights | {name: weights[name] - step * direction})
        ) / (2 * step)
        assert slope == pytest.approx(np.linalg.norm(gradient), rel=0.05), name


def test_the_demo_fits_a_screen_and_cuts_no_token(tmp_path: Path) -> None:
    """One convolution at every level, a table, and what the runs gave, in lines of at most 100 columns."""
    path = FOLDER / "demo.py"
    done = subprocess.run(
        [sys.executable, str(path), "--batch", "4"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    sections = sum(line.startswith("On this machine") for line in lines)
    assert max(map(len, lines)) <= 100 and list(tmp_path.iterdir()) == []
    assert len(lines) <= 80 + 9 * sections, "a machine with a GPU shows what both sections gave"
    headings = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    levels = ["graph", "linalg", "tile", "plan", "kernel", "llvm"]
    assert headings[2:8] == levels and headings[9:16] == ["level", *levels]
    shown = "\n".join(lines)
    for op in (
        "graph.conv",
        "linalg.generic",
        "tile.mma",
        "plan.launch @block_conv1",
        "hopper.wgmma",
        "wgmma.mma_async",
    ):
        assert op in shown
    assert "360 of 360 labels equal the NumPy reference's" in shown
    assert any(line.startswith("memory      weights 36") and "MiB" not in line for line in lines)
    assert shown.count("(") == shown.count(")") and "..." not in shown.replace(" ...", "")
