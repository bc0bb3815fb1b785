"""Whole networks that others made, on both targets: the values are ONNX Runtime's, products are products, and little is left to loops."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

import stepwell
from stepwell.dialects import tile
from stepwell.testing.conformance.backend_models import light_tests

SLOW = pytest.mark.slow
LOOPS = {
    "bvlc_alexnet": 11, "densenet121": 58, "inception_v1": 11, "inception_v2": 17, "resnet50": 0, "shufflenet": 166,
    "squeezenet": 8, "vgg19": 0, "zfnet512": 2,
}  # fmt: skip
"""Launches of kernels of loops: concatenations, slices, windows that are cut off, LRN. No more than these."""
NETWORKS = [pytest.param(name, marks=() if name == "squeezenet" else SLOW) for name in LOOPS]
CPU = "x86-64-v3"


def launches(model: onnx.ModelProto, target: str) -> Counter[str]:
    """How often kernels of each form are applied."""
    module = stepwell.lower(stepwell.import_model(model), to="tile", target=target)
    kinds = {op.sym_name.data: op.name for op in module.ops if isinstance(op, tile.KernelOp | tile.LoopsKernel)}
    return Counter(kinds[op.kernel.string_value()] for op in module.walk() if isinstance(op, tile.ApplyOp))


@pytest.mark.parametrize("name", NETWORKS)
def test_on_a_cpu(name: str) -> None:
    """With weights drawn: those that are stored would survive a wrong order of channels."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    case = light_tests()[f"test_{name}_drawn"]()
    session = onnxruntime.InferenceSession(case.model.SerializeToString(), options)
    found = stepwell.compile(case.model, target=CPU).run(dict(case.feeds))
    for output, expected in zip(session.get_outputs(), session.run(None, dict(case.feeds)), strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found[output.name], expected, rtol=0, atol=1e-4 * largest)
    assert launches(case.model, CPU)["tile.loops"] <= LOOPS[name]


@SLOW
@pytest.mark.parametrize("name", LOOPS)
def test_for_sm_90a(name: str) -> None:
    case = light_tests()[f"test_{name}_drawn"]()
    assert launches(case.model, "sm_90a")["tile.loops"] <= LOOPS[name]
    stepwell.compile_plan(case.model, target="sm_90a")
