"""Trained networks that others published, against what another program computed: ten times nearer than the suite `models` asks."""

from __future__ import annotations

import numpy as np
import pytest

import stepwell
from stepwell.frontends.caffe import import_caffe
from stepwell.runtime.errors import ModelError
from stepwell.testing.corpora import absent, corpora, manifest, references, relative_difference

pytestmark = pytest.mark.skipif(bool(absent()), reason=absent())
QUICK = ("lenet", "cifar10_quick_v1", "mtcnn_det1")
TOLERANCE = 1e-5
"""Of the largest reference output."""


def _models() -> list[str]:
    return [] if absent() else [entry["name"] for entry in manifest("models") if entry["frontend"] == "caffe"]


def _check(name: str) -> None:
    folder = corpora() / "models" / name
    inputs, outputs = references(folder)
    feeds = {key: array.astype(np.float32) for key, array in inputs.items()}
    module = stepwell.import_model(
        next(folder.glob("*.prototxt")),
        next(folder.glob("*.caffemodel")),
        shapes={key: array.shape for key, array in feeds.items()},
    )
    results = stepwell.interpret(module, feeds)
    for key, wanted in outputs.items():
        assert relative_difference(results[key], wanted, TOLERANCE) == "", key


@pytest.mark.parametrize("name", [name for name in _models() if name in QUICK])
def test_trained_networks(name: str) -> None:
    _check(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in _models() if name not in QUICK])
def test_other_trained_networks(name: str) -> None:
    _check(name)


def test_files_that_are_no_networks() -> None:
    """A solver and a label map are named as what they are."""
    folder = corpora() / "caffe_definitions"
    with pytest.raises(ModelError, match="this is a solver, not a network; its network is 'examples/mnist/"):
        import_caffe(folder / "bvlc/examples/mnist/lenet_solver.prototxt")
    with pytest.raises(ModelError, match="this is a label map"):
        import_caffe(folder / "ssd/data/coco/labelmap_coco.prototxt")
