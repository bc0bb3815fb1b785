"""Trained networks and definitions that others wrote, where they are at hand (STEPWELL_CORPORA, or ../shared/corpora beside the checkout)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import stepwell
from stepwell.frontends.caffe import import_caffe
from stepwell.runtime.errors import ModelError

CORPORA = Path(os.environ.get("STEPWELL_CORPORA", Path(__file__).resolve().parents[4] / "shared" / "corpora"))
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not here: set STEPWELL_CORPORA")
QUICK = ("lenet", "cifar10_quick_v1", "mtcnn_det1")


def _models() -> list[str]:
    if not CORPORA.is_dir():
        return []
    entries = json.loads((CORPORA / "models" / "manifest.json").read_text())
    return [entry["name"] for entry in entries if entry["frontend"] == "caffe"]


def _check(name: str) -> None:
    """Within 1e-5 of the largest reference output."""
    folder = CORPORA / "models" / name
    held = np.load(folder / "io.npz")
    inputs = {key[4:]: held[key].astype(np.float32) for key in held.files if key.startswith("in__")}
    module = stepwell.import_model(
        next(folder.glob("*.prototxt")),
        next(folder.glob("*.caffemodel")),
        shapes={key: array.shape for key, array in inputs.items()},
    )
    results = stepwell.interpret(module, inputs)
    for key in held.files:
        if key.startswith("out__"):
            error = np.abs(np.asarray(results[key[5:]], np.float64) - held[key]).max()
            assert error <= 1e-5 * np.abs(held[key]).max(), key


@pytest.mark.parametrize("name", [name for name in _models() if name in QUICK])
def test_trained_networks(name: str) -> None:
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in _models() if name not in QUICK])
def test_other_trained_networks(name: str) -> None:
    _check(name)


def test_definitions_of_every_kind() -> None:
    """A network in each syntax and of each family; a solver and a label map are named as what they are."""
    folder = CORPORA / "caffe_definitions"
    for name in (
        "bvlc/models/bvlc_reference_rcnn_ilsvrc13/deploy.prototxt",
        "bvlc/examples/mnist/lenet.prototxt",
        "squeezenet/SqueezeNet_v1.1/train_val.prototxt",
        "bvlc/examples/siamese/mnist_siamese.prototxt",
    ):
        path = folder / name
        if path.exists():
            shapes = {"data": "1x3x224x224"} if "train_val" in name else None
            import_caffe(path, shapes=shapes)[0].verify()
    with pytest.raises(ModelError, match="this is a solver"):
        import_caffe(folder / "bvlc/examples/mnist/lenet_solver.prototxt")
    with pytest.raises(ModelError, match="this is a label map"):
        import_caffe(folder / "ssd/data/coco/labelmap_coco.prototxt")
