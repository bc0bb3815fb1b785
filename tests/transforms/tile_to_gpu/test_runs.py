"""Kernels of plain loops on the simulator and the PTX interpreter: a thread reads what itself stored, and nothing else of this launch."""

import numpy as np
import pytest

import stepwell
from stepwell.api.compile import compile_plan
from stepwell.dialects.hopper.simulator.faults import RaceFault, WriteTwiceFault
from stepwell.dialects.weights import WeightStore
from stepwell.driver.execute import interpret
from stepwell.driver.run_ptx import run_plan
from stepwell.ir.source import SourceMap, parse_text
from stepwell.plugins.universe import make_context

TWICE = """
builtin.module attributes {stepwell.level = "tile"} {
  tile.parallel @twice(%x: memref<3xf32>) -> (%y: memref<3x2xf32>) for %n below 3 config #tile.config<block = [64], form = loops> {
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    %v = memref.load %x[%n] : memref<3xf32>
    memref.store %v, %y[%n, %zero] : memref<3x2xf32>
    %own = memref.load %y[%n, %zero] : memref<3x2xf32>
    %sum = arith.addf %own, %v : f32
    memref.store %sum, %y[%n, %one] : memref<3x2xf32>
  }
  func.func @main(%x: tensor<3xf32> {stepwell.name = "x"}) -> (tensor<3x2xf32> {stepwell.name = "y"}) {
    %y = tile.apply @twice(%x) : (tensor<3xf32>) -> tensor<3x2xf32>
    func.return %y : tensor<3x2xf32>
  }
}
"""
X = {"x": np.array([1, 2, 4], np.float32)}


def on_simulator(text: str) -> np.ndarray:
    module = parse_text(make_context(), text, SourceMap("test"))
    kernels = stepwell.lower(module, to="kernel", target="sm_90a")
    return interpret(kernels, X, weights=WeightStore())["y"]


def test_a_thread_reads_its_own() -> None:
    assert on_simulator(TWICE).tolist() == [[1, 2], [2, 4], [4, 8]]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("%own = memref.load %y[%n, %zero]", "%own = memref.load %y[%one, %zero]", RaceFault),
        ("%sum, %y[%n, %one]", "%sum, %y[%n, %zero]", WriteTwiceFault),
    ],
)
def test_what_is_not_its_own_is_a_fault(old: str, new: str, fault: type[Exception]) -> None:
    assert old in TWICE
    with pytest.raises(fault):
        on_simulator(TWICE.replace(old, new))


@pytest.mark.parametrize("own", [True, False])
def test_on_the_ptx_interpreter(own: bool) -> None:
    text = TWICE if own else TWICE.replace("%own = memref.load %y[%n, %zero]", "%own = memref.load %y[%one, %zero]")
    plan = compile_plan(parse_text(make_context(), text, SourceMap("test")), WeightStore(), target="sm_90a")
    if own:
        assert run_plan(plan, X).outputs["y"].tolist() == [[1, 2], [2, 4], [4, 8]]
        return
    with pytest.raises(RaceFault):
        run_plan(plan, X)
