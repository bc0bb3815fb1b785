"""How long the graph level's interpreter takes for a real network (`slow`)."""

from __future__ import annotations

import time

import numpy as np
import pytest

import stepwell
from stepwell.testing.corpora import corpora

RESNET = corpora() / "caffe_definitions/resnet/prototxt/ResNet-50-deploy.prototxt"


@pytest.mark.slow
@pytest.mark.skipif(not RESNET.is_file(), reason="the corpora are not here: set STEPWELL_CORPORA")
def test_resnet_50_takes_less_than_five_seconds() -> None:
    """Of processor time, which on two cores that are free is more than the time on the clock."""
    module = stepwell.import_model(RESNET, weights="random:0", shapes={"data": (1, 3, 224, 224)})
    image = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    begun = time.process_time()
    (scores,) = stepwell.interpret(module, {"data": image}).values()
    assert scores.shape == (1, 1000) and scores.dtype == np.float32
    assert time.process_time() - begun < 5
