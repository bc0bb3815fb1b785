"""Programs of plugins in networks: as the interpreter says, on every target."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stepwell
from stepwell import Network
from stepwell.dialects.graph import plugins as registry
from stepwell.driver.driver import passes_of
from stepwell.driver.run_ptx import run_plan
from stepwell.passes import StepwellContext
from stepwell.passes.target import resolve, write_target
from stepwell.plugins.universe import make_context
from stepwell.runtime.errors import ModelError
from stepwell.testing.check_pass import check_pass
from stepwell.transforms.pipelines import GRAPH, LINALG

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The plugins of the IR tests; they are not loaded twice."""
    if registry.find_plugin("tiles", "Bent", "1", missing_ok=True) is None:
        sys.path.insert(0, str(HERE))
        __import__("tile_plugins")
        sys.path.remove(str(HERE))


def network_of(shape: tuple[int, ...], slopes: list[float], name: str = "Bent") -> Network:
    """x through the plugin once for each slope, doubled."""
    network = Network("bent")
    x = network.add_input("x", shape)
    plugin = registry.find_plugin("tiles", name, "1")
    value = network.add_elementwise("SUB", x, x)
    value = network.add_elementwise("SUM", x, value)
    for slope in slopes:
        (value,) = network.add_plugin([value], plugin, {"slope": slope})  # type: ignore[arg-type]
    network.mark_output(network.add_elementwise("SUM", value, value), "y")
    return network


def bent(x: np.ndarray, slopes: list[float]) -> np.ndarray:
    for slope in slopes:
        x = np.maximum(x, np.float32(slope) * x)
    return x + x


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
SLOPES = st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=3)


@given(shape=SHAPES, slopes=SLOPES, target=st.sampled_from(["x86-64-v3", "x86-64-v4", "sm_90a"]))
@settings(max_examples=10, deadline=None)
def test_linking_changes_no_result(shape: tuple[int, ...], slopes: list[float], target: str) -> None:
    network = network_of(shape, slopes)
    module = network.module()
    write_target(module, resolve(target))
    context = make_context()
    assert isinstance(context, StepwellContext)
    for spec in [*GRAPH, *LINALG["model"], "stepwell-convert-linalg-to-tile"]:
        for made in passes_of(spec):
            made.apply(context, module)
    check_pass("tile-link-plugins", module, context)


@pytest.mark.parametrize("shape", [(33,), (2, 3, 5)])
@pytest.mark.parametrize("precision", ["model", "fp16"])
def test_compiled(shape: tuple[int, ...], precision: str) -> None:
    network, x = network_of(shape, [0.5, 0.25]), np.random.default_rng(0).integers(-9, 9, shape).astype(np.float32)
    engine = stepwell.compile(network, target="cpu", precision=precision)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], bent(x, [0.5, 0.25]))
    plan = stepwell.compile_plan(network, target="sm_90a", precision=precision)
    np.testing.assert_array_equal(run_plan(plan, {"x": x}).outputs["y"], bent(x, [0.5, 0.25]))


def test_what_is_wrong_is_told_before_the_first_pass() -> None:
    plugin = registry.find_plugin("tiles", "Bent", "1")
    network = Network("rank")
    (value,) = network.add_plugin([network.add_input("x", ())], plugin)  # type: ignore[arg-type]
    network.mark_output(value, "y")
    with pytest.raises(ModelError, match="Bent") as caught:
        stepwell.compile_plan(network, target="cpu")
    assert caught.value.exit_code == 3
