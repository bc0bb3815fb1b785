"""A whole plan.program at kernel level: arena, constants, tensor maps, launches; and what breaks when its memory plan or its launches are damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp, i64

from stepwell.dialects import plan, warp
from stepwell.dialects.graph import StepAttr
from stepwell.dialects.hopper.simulator import (
    Fault,
    GlobalBuffer,
    OutOfBoundsFault,
    PredecessorFault,
    Report,
    UninitialisedFault,
    WriteTwiceFault,
    check_complete,
    simulate_kernel,
    simulate_program,
)
from stepwell.dialects.hopper.simulator.launch import Argument
from stepwell.dialects.hopper.simulator.memory import Array, strided_elements
from stepwell.dialects.weights import WeightStore
from stepwell.runtime.errors import UsageError

Parse = Callable[[str], ModuleOp]

HALVE = """
  warp.kernel @halve(%x: !warp.global<f32>, %y: !warp.global<f16>, %m: i32, %n: i32) threads 128 shared 0 {
    %c0 = arith.constant 0 : i32
    %c8 = arith.constant 8 : i32
    warp.wait_predecessor
    %b = warp.block_id
    %r = arith.muli %b, %c8 : i32
    %v = warp.fragment_load %x[%r, %c0] stride %n bounds [%m, %n] <blocked 8x64 threads 128 width 4> access 4 : !warp.global<f32> -> vector<4xf32>
    %half = arith.constant dense<0.5> : vector<4xf32>
    %s = arith.mulf %v, %half : vector<4xf32>
    %w = arith.truncf %s : vector<4xf32> to vector<4xf16>
    warp.fragment_store %w, %y[%r, %c0] stride %n bounds [%m, %n] <blocked 8x64 threads 128 width 4> access 4 : vector<4xf16>, !warp.global<f16>
    warp.return
  }
"""
PROGRAM = """
  plan.program @main arena 65536 constants 20480 {
    %g1 = arith.constant 1 : i32
    %g13 = arith.constant 13 : i32
    %m = arith.constant 100 : i32
    %n = arith.constant 64 : i32
    %tiles = arith.constant 2 : i32
    %one = arith.constant 1 : i32
    %image = plan.binding "image" input : !plan.buffer<10x10x128xf16>
    %probabilities = plan.binding "probabilities" output : !plan.buffer<100x64xf16>
    %weights = plan.constant WEIGHT at 0 : !plan.buffer<64x128xf16>
    %bias = plan.constant dense<3.0> : tensor<64xf32> at 16384 : !plan.buffer<64xf32>
    %hidden = plan.slice at 1024 live [0, 1] : !plan.buffer<100x64xf32>
    %a = plan.view %image : !plan.buffer<10x10x128xf16> -> !plan.buffer<100x128xf16>
    %map_a = plan.tensor_map tiled %a box [128, 64] swizzle 128 : !plan.buffer<100x128xf16>
    %map_b = plan.tensor_map tiled %weights box [64, 64] swizzle 128 : !plan.buffer<64x128xf16>
    plan.launch @gemm(%map_a, %map_b, %bias, %hidden, %m, %n, %tiles, %one) grid %g1 block [384, 1, 1] shared 73776 pdl true reads [0, 1, 2] writes [3] : (!plan.tensor_map, !plan.tensor_map, !plan.buffer<64xf32>, !plan.buffer<100x64xf32>, i32, i32, i32, i32)
    plan.launch @halve(%hidden, %probabilities, %m, %n) grid %g13 block [128, 1, 1] shared 0 pdl true reads [0] writes [1] : (!plan.buffer<100x64xf32>, !plan.buffer<100x64xf16>, i32, i32)
  }
"""


@pytest.fixture
def network() -> tuple[str, WeightStore, Array, Array]:
    """The module's text, its weights, an input and the output."""
    generator = np.random.default_rng(0)
    image = generator.integers(-2, 3, (10, 10, 128)).astype(np.float16)
    weights = generator.integers(-2, 3, (128, 64)).astype(np.float16)
    store = WeightStore()
    reference = str(store.add("w", weights).then(StepAttr("transpose", [1, 0])))
    kernel = (Path(__file__).parent / "gemm.mlir").read_text().rstrip().removesuffix("}")
    text = kernel + HALVE + PROGRAM.replace("WEIGHT", reference) + "}"
    expected = (image.reshape(100, 128).astype(np.float32) @ weights.astype(np.float32) + 3) / 2
    return text, store, image, expected.astype(np.float16)


Network = tuple[str, WeightStore, Array, Array]


def test_the_program_computes_the_network(parse: Parse, network: Network) -> None:
    text, store, image, expected = network
    report = simulate_program(parse(text), {"image": image}, store)
    np.testing.assert_array_equal(report.outputs["probabilities"], expected)
    assert [launch.kernel for launch in report.launches] == ["gemm", "halve"]


def test_inputs_are_checked(parse: Parse, network: Network) -> None:
    text, store, image, _ = network
    with pytest.raises(UsageError, match='input "image" is missing'):
        simulate_program(parse(text), {"x": image}, store)
    with pytest.raises(UsageError, match="the program takes float16"):
        simulate_program(parse(text), {"image": image.astype(np.float32)}, store)
    with pytest.raises(UsageError, match="no plan.program @network"):
        simulate_program(parse(text), {"image": image}, store, name="network")


def launches(module: ModuleOp) -> list[plan.LaunchOp]:
    return [op for op in module.walk() if isinstance(op, plan.LaunchOp)]


def test_a_launch_of_too_few_blocks_leaves_the_output_unwritten(parse: Parse, network: Network) -> None:
    text, store, image, _ = network
    module = parse(text.replace("%g13 = arith.constant 13", "%g13 = arith.constant 12"))
    with pytest.raises(
        WriteTwiceFault, match=r"step 1, @halve: .* 256 of 6400 elements of probabilities are not written"
    ):
        simulate_program(module, {"image": image}, store)


def test_a_launch_that_contradicts_its_kernel_is_refused(parse: Parse, network: Network) -> None:
    text, store, image, _ = network
    module = parse(text)
    launches(module)[0].properties["block"] = DenseArrayBase.from_list(i64, [256, 1, 1])
    with pytest.raises(Fault, match=r"launched with block \(256, 1, 1\)"):
        simulate_program(module, {"image": image}, store)


def test_a_slice_that_dies_too_early_is_read_as_poison(parse: Parse, network: Network) -> None:
    text, store, image, _ = network
    module = parse(text)
    slice_op = next(op for op in module.walk() if isinstance(op, plan.SliceOp))
    slice_op.properties["live"] = plan.SliceOp(slice_op.type, (0, 0)).live
    with pytest.raises(UninitialisedFault, match=r"step 1, @halve, block 0 of 13, .* reads %hidden at element 0"):
        simulate_program(module, {"image": image}, store)


def test_bindings_are_not_constants(parse: Parse, network: Network) -> None:
    text, store, image, _ = network
    module = parse(text.replace("warp.wait_predecessor\n        scf.for", "scf.for"))
    with pytest.raises(PredecessorFault, match=r"step 0, @gemm, .* of image issued by producer"):
        simulate_program(module, {"image": image}, store)


@pytest.mark.parametrize("stride", [96, 64, 100])
def test_a_strided_output_is_complete_when_its_own_elements_are_written(parse: Parse, stride: int) -> None:
    """Rows of 64 elements, 96 from each other: the gaps belong to others, and whoever writes there is told."""
    text = HALVE.replace("%n: i32)", "%n: i32, %ld: i32)").replace("%y[%r, %c0] stride %n", "%y[%r, %c0] stride %ld")
    kernel = next(op for op in parse(f"builtin.module {{{text}}}").ops if isinstance(op, warp.KernelOp))
    x = np.random.default_rng(0).integers(-8, 8, (100, 64)).astype(np.float32)
    elements = strided_elements((100, 64), (96, 1))
    assert elements is not None and elements.sum() == 6400
    y = GlobalBuffer.poisoned("y", 99 * 96 + 64, np.float16)
    y.elements = elements
    arguments: list[Argument] = [GlobalBuffer.of_array("x", x), y, 100, 64, stride]
    if stride != 96:
        with pytest.raises(OutOfBoundsFault, match="lies between those of the view"):
            simulate_kernel(kernel, arguments, 13)
        return
    check_complete(simulate_kernel(kernel, arguments, 13), [y])
    np.testing.assert_array_equal(y.values()[elements].reshape(100, 64), x / 2)
    assert strided_elements((100, 64), (64, 1)) is None
    y.memory.writer[y.memory.writer == 12] = -1
    with pytest.raises(WriteTwiceFault, match="256 of 9568 elements"):
        check_complete(Report("halve", 13, ()), [y])
