"""Products of every element type, whole numbers, from the graph level to machine code: the CPU's, and PTX on the interpreter, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, bf16, f16, f32, i8, i32
from xdsl.ir import Attribute, Block, Operation, SSAValue

import stepwell
from stepwell.dialects import graph
from stepwell.dialects.numpy_types import FLOATS8, Array, numpy_dtype, ui8
from stepwell.dialects.weights import WeightStore
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import ptx_of, run_plan
from stepwell.passes import location_of
from stepwell.runtime.engine import Engine
from stepwell.runtime.plan_file import Plan
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies.network import GeneratedGraph, close_network

CPU = "x86-64-v3"


def whole(shape: Sequence[int], element: Attribute, seed: int, most: int = 2) -> Array:
    """Whole numbers from -most to most."""
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(numpy_dtype(element))


class Network:
    """Ops in a row, with weights."""

    def __init__(self, *inputs: TensorType[Attribute]) -> None:
        self.block, self.store, self.count = Block(arg_types=inputs), WeightStore(), 0

    def weight(self, array: Array) -> SSAValue:
        """A weight."""
        name = f"w{self.count}"
        return self.op(graph.WeightOp(self.store.add(name, array)))

    def op(self, op: Operation) -> SSAValue:
        """Append an op and give its result."""
        op.location = location_of([f"n{self.count}"])
        self.count += 1
        self.block.add_op(op)
        return op.results[0]

    def close(self, *outputs: SSAValue) -> GeneratedGraph:
        """The module."""
        return close_network(self.block, outputs, self.store)


def compiled(case: GeneratedGraph, target: str, precision: str = "model") -> Plan:
    """The plan for a target."""
    return stepwell.compile_plan(keep_weights(case.module.clone(), case.weights), target=target, precision=precision)


def results(case: GeneratedGraph, inputs: dict[str, Array], target: str, precision: str = "model") -> Array:
    """What machine code of the target gives; the tensor cores take part."""
    plan = compiled(case, target, precision)
    if target == "sm_90a":
        assert "wgmma.mma_async" in ptx_of(plan)
        return np.asarray(run_plan(plan, inputs).outputs["y0"])
    return np.asarray(Engine(plan, "cpu", threads=1).run(inputs)["y0"])


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize("element", [f16, bf16], ids=str)
def test_a_product_with_a_weight(element: Attribute, target: str) -> None:
    net = Network(TensorType(element, (70, 72)))
    weight, x = whole((72, 40), element, 1), whole((70, 72), element, 2)
    product = net.op(graph.MatmulOp(net.block.args[0], net.weight(weight)))
    case = net.close(net.op(graph.UnaryOp(product, kind="relu")))
    expected = np.maximum(x.astype(np.float32) @ weight.astype(np.float32), 0).astype(x.dtype)
    np.testing.assert_array_equal(results(case, {"x0": x}, target), expected)


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_network_of_f32_in_half_precision(precision: str, target: str) -> None:
    net = Network(TensorType(f32, (70, 72)))
    weights, x = [whole((72, 64), f32, 1), whole((64, 40), f32, 3, 1)], whole((70, 72), f32, 2)
    hidden = net.op(graph.UnaryOp(net.op(graph.MatmulOp(net.block.args[0], net.weight(weights[0]))), kind="relu"))
    case = net.close(net.op(graph.MatmulOp(hidden, net.weight(weights[1]))))
    expected = np.maximum(x @ weights[0], 0) @ weights[1]
    assert np.abs(x @ weights[0]).max() <= 256  # exact in bf16
    np.testing.assert_array_equal(results(case, {"x0": x}, target, precision), expected)


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize(
    "element, columns, result", [(i8, 40, i8), (i8, 9, i32), (i8, 48, f32), (ui8, 40, i32)], ids=str
)
def test_a_product_of_whole_numbers(element: Attribute, columns: int, result: Attribute, target: str) -> None:
    """i8 by i8 or ui8 by ui8, added in i32, with an epilogue that rounds."""
    net = Network(TensorType(element, (70, 160)))
    weight, x = (
        whole(shape, i32, seed, 127).astype(numpy_dtype(element))
        for seed, shape in ((1, (160, columns)), (2, (70, 160)))
    )
    product = net.op(graph.MatmulOp(net.block.args[0], net.weight(weight), element_type=i32))
    case = net.close(product if result == i32 else net.op(graph.CastOp(product, result)))
    expected = x.astype(np.int32) @ weight.astype(np.int32)
    np.testing.assert_array_equal(results(case, {"x0": x}, target), expected.astype(numpy_dtype(result)))


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize("element", [f16, i8], ids=str)
def test_a_product_for_each_index_of_two_computed_factors(element: Attribute, target: str) -> None:
    total = i32 if element == i8 else None
    shapes = [(2, 3, 70, 64), (2, 3, 40, 64)]
    net = Network(*(TensorType(element, shape) for shape in shapes))
    x, w = (whole(shape, element, seed) for seed, shape in enumerate(shapes))
    product = net.op(graph.MatmulOp(*net.block.args, transpose_b=True, element_type=total))
    case = net.close(net.op(graph.UnaryOp(product, kind="relu")))
    wide = np.float32 if total is None else np.int32
    expected = np.maximum(x.astype(wide) @ w.astype(wide).swapaxes(-1, -2), 0)
    np.testing.assert_array_equal(
        results(case, {"x0": x, "x1": w}, target), expected.astype(x.dtype if total is None else wide)
    )


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
def test_a_product_for_each_index_with_bias_and_residual(target: str) -> None:
    shapes = [(3, 70, 64), (3, 40, 64), (3, 70, 40)]
    net = Network(*(TensorType(f16, shape) for shape in shapes))
    x, w, residual = (whole(shape, f16, seed) for seed, shape in enumerate(shapes))
    bias = whole((40,), f16, 9)
    product = net.op(graph.MatmulOp(*net.block.args[:2], transpose_b=True))
    repeated = net.op(graph.BroadcastOp(net.weight(bias), dims=[2], shape=shapes[2]))
    biased = net.op(graph.BinaryOp(product, repeated, kind="add"))
    case = net.close(net.op(graph.BinaryOp(biased, net.block.args[2], kind="add")))
    expected = x.astype(np.float32) @ w.astype(np.float32).swapaxes(1, 2) + bias + residual
    found = results(case, {"x0": x, "x1": w, "x2": residual}, target)
    np.testing.assert_array_equal(found, expected.astype(np.float16))


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
def test_a_product_for_each_index_with_a_weight(target: str) -> None:
    net = Network(TensorType(f16, (3, 70, 64)))
    x, w = whole((3, 70, 64), f16, 1), whole((3, 64, 40), f16, 2)
    case = net.close(net.op(graph.MatmulOp(net.block.args[0], net.weight(w))))
    expected = (x.astype(np.float32) @ w.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(results(case, {"x0": x}, target), expected)


def quantised(zero: int, conv: bool, pads: int = 0) -> GeneratedGraph:
    """A product of dequantised i8 with a scale for each column, all of them powers of two, relu, and its result quantised."""
    net = Network(TensorType(i8, (2, 32, 6, 5) if conv else (70, 32)))
    filters = whole((24, 32, 3, 3) if conv else (32, 24), i8, 1, 20)
    scales = (2.0 ** np.random.default_rng(3).integers(-6, -2, 24)).astype(np.float32)
    parameters = net.weight(np.array(0.25, np.float32)), net.weight(np.array(zero, np.int8))
    left = net.op(graph.DequantizeOp(net.block.args[0], *parameters))
    zeros = net.weight(np.zeros(24, np.int8))
    right = net.op(graph.DequantizeOp(net.weight(filters), net.weight(scales), zeros, dims=[0 if conv else 1]))
    window = graph.ConvOp(left, right, strides=[1, 1], pads=[pads] * 4, dilations=[1, 1]) if conv else None
    product = net.op(window or graph.MatmulOp(left, right))
    positive = net.op(graph.UnaryOp(product, kind="relu"))
    return net.close(
        net.op(graph.QuantizeOp(positive, net.weight(np.array(4.0, np.float32)), net.weight(np.array(3, np.int8))))
    )


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize("zero, conv, pads", [(0, False, 0), (5, False, 0), (0, True, 1), (-3, True, 0)])
def test_a_quantised_product(zero: int, conv: bool, pads: int, target: str) -> None:
    """Per-channel scales, zero point and requantisation join the kernel of the integer product: with scales that are powers of two nothing is rounded before."""
    case = quantised(zero, conv, pads)
    x = whole((2, 32, 6, 5) if conv else (70, 32), i8, 7, 20)
    expected = stepwell.interpret(keep_weights(case.module.clone(), case.weights), {"x0": x})["y0"]
    assert len(np.unique(expected)) > 9
    plan = compiled(case, target)
    if target == "sm_90a":
        assert ".s32.s8.s8" in ptx_of(plan)
    assert conv or plan.sections[0].module.count("plan.launch") == 1
    np.testing.assert_array_equal(results(case, {"x0": x}, target), expected)


def test_what_a_pass_of_quantised_networks_declares() -> None:
    for zero, conv in ((0, False), (5, True)):
        case = quantised(zero, conv)
        check_pass("graph-fuse-quantized", case.module, case.context())


@pytest.mark.parametrize("target", [CPU, "sm_90a"])
@pytest.mark.parametrize("element", FLOATS8, ids=str)
def test_a_product_of_floats_of_8_bits(element: Attribute, target: str) -> None:
    """Added in f32; the tensor cores keep 13 bits of a sum, which hold these."""
    net = Network(TensorType(element, (70, 160)))
    weight, x = whole((160, 40), element, 1), whole((70, 160), element, 2)
    product = net.op(graph.MatmulOp(net.block.args[0], net.weight(weight), element_type=f32))
    case = net.close(net.op(graph.UnaryOp(product, kind="relu")))
    expected = np.maximum(x.astype(np.float32) @ weight.astype(np.float32), 0)
    np.testing.assert_array_equal(results(case, {"x0": x}, target), expected)
