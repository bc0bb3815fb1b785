"""The digit network on a GPU: whole numbers agree bit for bit with the graph interpreter, the CPU and the simulator; real images get the right labels."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import stepwell
from stepwell.dialects.hopper.simulator import simulate_program
from stepwell.driver.modules import weights_of
from stepwell.runtime import PlanError
from stepwell.runtime.cuda_driver import check_device

pytestmark = pytest.mark.gpu
DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
BATCH = 20


@pytest.fixture(autouse=True)
def on_hopper() -> None:
    try:
        check_device("sm_90a")
    except PlanError as error:
        pytest.skip(str(error))


def example(name: str) -> ModuleType:
    """A script of examples/digits as a module."""
    spec = importlib.util.spec_from_file_location(f"examples_digits_{name}_on_the_gpu", DIGITS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("precision", ["model", "fp16"])
def test_whole_numbers_bit_for_bit(precision: str) -> None:
    integers = example("integer_model")
    model, images = integers.integer_model(BATCH), integers.integer_images(BATCH, 7)
    module = stepwell.import_model(model)
    (expected,) = stepwell.interpret(module, {"image": images}).values()
    lowered = stepwell.lower(module, to="kernel", target="sm_90a", precision=precision)
    weights = weights_of(lowered)
    assert weights is not None
    simulated = simulate_program(lowered, {"image": images}, weights).outputs["logits"]
    found = {"simulator": simulated}
    for target in ("cpu", "sm_90a"):
        with stepwell.compile(model, target=target, precision=precision) as engine:
            (found[target],) = engine.run({"image": images}).values()
    for name, logits in found.items():
        np.testing.assert_array_equal(logits.view(np.uint32), expected.view(np.uint32), err_msg=name)


@pytest.mark.parametrize("precision", ["model", "fp16"])
def test_labels_of_the_reference(precision: str) -> None:
    reference = example("reference")
    images, _ = reference.load_heldout()
    expected = reference.classify(reference.load_weights(DIGITS / "digits.onnx"), images)
    shapes = {"image": images.shape}
    with stepwell.compile(DIGITS / "digits.onnx", target="sm_90a", precision=precision, shapes=shapes) as engine:
        (logits,) = engine.run({"image": images}).values()
    np.testing.assert_array_equal(logits.argmax(axis=1), expected)
