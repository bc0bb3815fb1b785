"""Trained networks that others wrote, where they are at hand (STEPWELL_CORPORA, or ../shared/corpora beside the checkout)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import stepwell
from stepwell.testing.corpora import corpora

CORPORA = corpora()
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not here: set STEPWELL_CORPORA")


@pytest.mark.parametrize("name", ["mnist_fc", "mnist_lstm", "autoencoder", "espcn_x2", "fsrcnn_x2"])
def test_trained_networks(name: str) -> None:
    """Within 1e-4 of the largest reference output."""
    folder = CORPORA / "models" / name
    (entry,) = [e for e in json.loads((CORPORA / "models" / "manifest.json").read_text()) if e["name"] == name]
    held = np.load(folder / "io.npz")
    inputs = {key[4:]: held[key] for key in held.files if key.startswith("in__")}
    module = stepwell.import_model(
        Path(folder / entry["files"][0]), outputs=entry["outputs"], shapes={k: v.shape for k, v in inputs.items()}
    )
    results = stepwell.interpret(module, inputs)
    for output in entry["outputs"]:
        wanted = held[f"out__{output}"]
        assert results[output].shape == wanted.shape
        assert np.abs(results[output] - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_v2"])
def test_saved_models(name: str) -> None:
    """TensorFlow 1's variables, and TensorFlow 2's functions with an object graph."""
    folder = CORPORA / "models" / name
    held = np.load(folder / "io.npz")
    module = stepwell.import_model(folder / "saved_model", shapes={"x": held["in__x"].shape})
    assert np.allclose(stepwell.interpret(module, {"x": held["in__x"]})["y"], held["out__y"], rtol=1e-6)
