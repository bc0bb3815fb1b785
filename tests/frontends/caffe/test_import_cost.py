"""What an import costs: seconds, and memory beside the size of the weight file."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from stepwell.dialects.graph import WeightOp
from stepwell.frontends.caffe import import_caffe
from stepwell.testing.caffe_files import blobs_of, caffemodel
from stepwell.testing.corpora import absent, corpora

pytestmark = pytest.mark.skipif(bool(absent()), reason=absent())
SECONDS = 10
MEMORY = 2.2
"""Times the weight file, beside what Python and its libraries take."""
CHILD = textwrap.dedent(r"""
    import re, sys, time
    from pathlib import Path
    from stepwell.frontends.caffe import import_caffe
    from stepwell.frontends.caffe.schema import messages
    messages()
    most = lambda: 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
    before, begun = most(), time.process_time()
    module, weights = import_caffe(Path(sys.argv[1]), caffemodel=Path(sys.argv[2]))
    print(time.process_time() - begun, most() - before)
""")


def _definition(name: str) -> Path:
    return corpora() / "caffe_definitions" / name


def _weights(definition: Path, folder: Path) -> Path:
    """A caffemodel of zeros, with what the definition asks for."""
    from stepwell.frontends.caffe.prototxt import parse_prototxt

    network, _ = parse_prototxt(definition.read_bytes(), str(definition))
    references = [op.ref for op in import_caffe(definition)[0].walk() if isinstance(op, WeightOp)]
    arrays = {ref.source.data: np.zeros(ref.type.get_shape(), np.float32) for ref in references}
    path = folder / "zeros.caffemodel"
    path.write_bytes(caffemodel(blobs_of(list(network.layer), arrays)))
    return path


def _cost(definition: Path, weights: Path) -> tuple[float, float]:
    """Seconds of the processor, and memory as a multiple of the weight file."""
    run = subprocess.run(
        [sys.executable, "-c", CHILD, str(definition), str(weights)], capture_output=True, text=True, check=True
    )
    seconds, memory = map(float, run.stdout.split())
    return seconds, memory / weights.stat().st_size


def test_a_large_definition_is_imported_quickly() -> None:
    begun = time.process_time()
    import_caffe(_definition("resnet/prototxt/ResNet-152-deploy.prototxt"))
    assert time.process_time() - begun < SECONDS


def test_weights_of_a_small_network_are_held_once(tmp_path: Path) -> None:
    """AlexNet's file is 244 MB; SqueezeNet's, 5 MB, is small beside what the ops of a module take: the bound is a sum."""
    definition = _definition("squeezenet/SqueezeNet_v1.1/deploy.prototxt")
    weights = _weights(definition, tmp_path)
    seconds, memory = _cost(definition, weights)
    assert seconds < SECONDS and memory * weights.stat().st_size < MEMORY * weights.stat().st_size + 30e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet/prototxt/ResNet-152-deploy.prototxt", "senet/models/SENet-154.prototxt"])
def test_the_largest_definitions_with_weights(tmp_path: Path, name: str) -> None:
    seconds, memory = _cost(_definition(name), _weights(_definition(name), tmp_path))
    print(f"{name}: {seconds:.1f} s, {memory:.2f} times the weight file")
    assert seconds < SECONDS and memory < MEMORY
