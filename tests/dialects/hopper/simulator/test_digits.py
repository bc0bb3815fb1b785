"""The whole digit network, compiled for sm_90a, on the simulator: the reference's bits in both precisions, and damages to each kernel noticed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import stepwell
from stepwell.dialects import plan, warp
from stepwell.dialects.hopper.simulator import ProgramReport, judge_launch, simulate_program
from stepwell.dialects.hopper.simulator.program import BeforeLaunch
from stepwell.driver.modules import weights_of


def _integer_model() -> ModuleType:
    path = Path(__file__).resolve().parents[4] / "examples" / "digits" / "integer_model.py"
    spec = importlib.util.spec_from_file_location("examples_digits_integer_model_for_simulator", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = _integer_model()
WHOLE_TILES = {"store past the last row", "store past the last column"}
"""Damages to bounds that decide nothing where all tiles are whole."""
SHORT = {"drop empty wait", "release slot early", "drop running product wait", "lose arrives", "count one arrival more"}
"""Damages to the release of slots, which decide nothing where no slot is used twice."""

ONE_STEP = SHORT | {"every block does the first tile", "expect too few bytes", "expect too many bytes", "flip parity"}
"""Damages to the code for later tiles and later steps of the reduction, which one tile with one step does not reach."""


def run(batch: int, precision: str, seed: int = 0, before_launch: BeforeLaunch | None = None) -> ProgramReport:
    """Simulate the network and check its outputs."""
    model, images = EXAMPLE.integer_model(batch), EXAMPLE.integer_images(batch, seed)
    module = stepwell.lower(stepwell.import_model(model), to="kernel", target="sm_90a", precision=precision)
    weights = weights_of(module)
    assert weights is not None
    report = simulate_program(module, {"image": images}, weights, seed=seed, before_launch=before_launch)
    (expected,) = ReferenceEvaluator(model).run(None, {"image": images})
    np.testing.assert_array_equal(report.outputs["logits"], expected)
    return report


@pytest.mark.parametrize("precision", ["model", "fp16"])
def test_the_network_gives_the_bits_of_the_reference(precision: str) -> None:
    report = run(3, precision)
    assert sum(launch.statistics.products for launch in report.launches) > 100
    assert all(share == 1 for launch in report.launches for share in launch.written.values())


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["model", "fp16"])
@pytest.mark.parametrize("seed", [1, 2])
def test_more_images_in_other_orders(precision: str, seed: int) -> None:
    run(8, precision, seed)


def test_damages_to_every_kernel_are_noticed() -> None:
    judged: dict[str, tuple[int, set[str]]] = {}

    def judge(launch: plan.LaunchOp, kernel: warp.KernelOp, arguments: object) -> None:
        name = kernel.sym_name.data
        if name.endswith("conv2"):  # conv1 with a residual
            return
        mutants = judge_launch(launch, kernel, arguments)  # type: ignore[arg-type]
        judged[name] = (
            sum(bool(m.caught) for m in mutants),
            {m.name.rstrip(" 0123456789") for m in mutants if not m.caught},
        )

    run(1, "fp16", before_launch=judge)
    assert len(judged) >= 5
    for name, (caught, survived) in judged.items():
        assert caught >= 4, name
        unreached = {"head_hidden": SHORT, "head_logits": ONE_STEP}.get(name, set())
        harmless = WHOLE_TILES | {"drop gather mask"} | unreached
        assert survived <= harmless, name
