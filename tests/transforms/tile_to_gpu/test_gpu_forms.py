"""Networks at the edges of what kernels for sm_90a take: the simulator computes what the graph interpreter does, and LLVM makes PTX of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import TensorType, f16, f32, f64, i1, i8, i32
from xdsl.ir import Attribute, SSAValue

import stepwell
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.ptx import emit_ptx
from stepwell.dialects import graph
from stepwell.driver.execute import interpret
from stepwell.driver.modules import keep_weights
from stepwell.testing.strategies import GeneratedGraph
from stepwell.types.targets import SM_90A

MakeNetwork = Callable[..., GeneratedGraph]


def ptx_of(case: GeneratedGraph, precision: str = "model") -> str:
    """Lower to the simulator's level and compare there, then on to PTX."""
    module = keep_weights(case.module.clone(), case.weights)
    kernels = stepwell.lower(module, to="kernel", target="sm_90a", precision=precision)
    rng = np.random.default_rng(1)
    inputs = {name: rng.integers(-2, 3, a.shape).astype(a.dtype) for name, a in case.inputs().items()}
    expected = interpret(case.module, inputs, weights=case.weights)
    found = interpret(kernels, inputs, weights=case.weights)
    for name, array in expected.items():
        tolerance = 0.0 if array.dtype.kind != "f" else 1e-2 if precision == "fp16" else 1e-6
        np.testing.assert_allclose(found[name].astype(float), array.astype(float), rtol=tolerance, atol=tolerance)
    return emit_ptx(translate(stepwell.lower(kernels, to="llvm"), SM_90A))


def one_channel(x: SSAValue, w: SSAValue, b: SSAValue) -> list[Any]:
    conv = graph.ConvOp(x, w, strides=[1, 1], pads=[0] * 4, dilations=[1, 1])
    bias = graph.BroadcastOp(b, dims=[1], shape=(2, 1, 6, 6))
    return [conv, bias, graph.BinaryOp(conv, bias, kind="add")]


@pytest.mark.parametrize("kernel, precision", [(1, "model"), (3, "fp32"), (1, "fp16")])
def test_a_convolution_with_one_output_channel_and_a_bias(network: MakeNetwork, kernel: int, precision: str) -> None:
    extent = 5 + kernel
    types = [TensorType(f32, (2, 8, extent, extent)), TensorType(f32, (1, 8, kernel, kernel)), TensorType(f32, (1,))]
    ptx_of(network(one_channel, *types), precision)


@pytest.mark.parametrize("pool", ["average", "max"])
def test_pools_behind_a_kernel_in_half_precision(network: MakeNetwork, pool: str) -> None:
    """A global average reads what the kernel before it makes in f32: nothing is cast between an argument and a root."""

    def ops(x: SSAValue) -> list[Any]:
        relu = graph.UnaryOp(x, kind="relu")
        return [relu, graph.PoolOp(relu, kind=pool, kernel=[7, 7], strides=[1, 1], pads=[0] * 4)]

    ptx_of(network(ops, TensorType(f32, (2, 16, 7, 7))), "fp16")


@pytest.mark.parametrize("count", [3, 33])
@pytest.mark.parametrize("elements", [(f32, f16), (f16, f32)])
def test_odd_numbers_of_half_precision(network: MakeNetwork, count: int, elements: tuple[Attribute, Attribute]) -> None:
    ptx_of(network(lambda x: [graph.CastOp(x, elements[1])], TensorType(elements[0], (count,))))


@pytest.mark.parametrize("shape, dims, element", [((70,), [0], f16), ((40,), [1], f32), ((), [], f32)])
def test_epilogue_operands_of_a_product(
    network: MakeNetwork, shape: tuple[int, ...], dims: list[int], element: Attribute
) -> None:
    """Along rows, along columns and one number: in the registers of the accumulator, without a kernel of their own."""

    def ops(a: SSAValue, b: SSAValue, c: SSAValue) -> list[Any]:
        product = graph.MatmulOp(a, b, transpose_b=True)
        repeated = graph.BroadcastOp(c, dims=dims, shape=(70, 40))
        return [product, repeated, graph.BinaryOp(product, repeated, kind="add")]

    types = [TensorType(element, extents) for extents in ((70, 64), (40, 64), shape)]
    ptx = ptx_of(network(ops, *types))
    assert ptx.count(".entry") == 1 and "wgmma.mma_async" in ptx


@pytest.mark.parametrize("shape, dims", [((), []), ((1,), [1]), ((3,), [1])], ids=["scalar", "one", "channels"])
def test_scalars_and_channels_are_repeated(network: MakeNetwork, shape: tuple[int, ...], dims: list[int]) -> None:
    result = (2, shape[0] if shape else 3, 5, 7)

    def ops(x: SSAValue, s: SSAValue) -> list[Any]:
        repeated = graph.BroadcastOp(s, dims=dims, shape=result)
        return [repeated, graph.BinaryOp(x, repeated, kind="mul")]

    ptx_of(network(ops, TensorType(f32, result), TensorType(f32, shape)))


@pytest.mark.parametrize("kind, element", [("exp", f32), ("sigmoid", f16)])
def test_the_simulator_runs_exponentials(network: MakeNetwork, kind: str, element: Attribute) -> None:
    """Their expansion shifts integers and reads bits as floats."""
    case = network(lambda x: [graph.UnaryOp(x, kind=kind)], TensorType(element, (5, 9)))
    kernels = stepwell.lower(keep_weights(case.module, case.weights), to="kernel", target="sm_90a")
    inputs = case.inputs(3)
    (found,) = interpret(kernels, inputs, weights=case.weights).values()
    (expected,) = interpret(case.module, inputs).values()
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=1e-3 if element == f16 else 1e-6)


LOOPS: dict[str, tuple[Callable[..., list[Any]], list[TensorType[Attribute]]]] = {
    "integers": (lambda x, y: [graph.BinaryOp(x, y, kind="div")], [TensorType(i32, (5,)), TensorType(i32, (5,))]),
    "bytes": (lambda x: [graph.TransposeOp(x, (1, 0))], [TensorType(i8, (5, 9))]),
    "bools": (lambda x: [graph.CastOp(x, f16)], [TensorType(i1, (33,))]),
    "to bools": (lambda x: [graph.CastOp(x, i1)], [TensorType(f64, (3, 11))]),
    "doubles": (lambda x: [graph.UnaryOp(x, kind="tanh")], [TensorType(f64, (7,))]),
    "product of doubles": (lambda a, b: [graph.MatmulOp(a, b)], [TensorType(f64, (3, 4)), TensorType(f64, (4, 5))]),
    "no elements": (lambda x: [graph.UnaryOp(x, kind="relu")], [TensorType(f32, (0, 4))]),
    "an empty sum": (lambda a, b: [graph.MatmulOp(a, b)], [TensorType(f16, (3, 0)), TensorType(f16, (0, 5))]),
    "no filters": (
        lambda x, w: [graph.ConvOp(x, w, strides=[1, 1], pads=[0] * 4, dilations=[1, 1])],
        [TensorType(f32, (2, 8, 1, 4)), TensorType(f32, (0, 8, 1, 1))],
    ),
    "line": (
        lambda x: [graph.PoolOp(x, kind="average", kernel=[3], strides=[2], pads=[1, 1])],
        [TensorType(f32, (2, 3, 9))],
    ),
    "volume": (
        lambda x, w: [graph.ConvOp(x, w, strides=[1] * 3, pads=[1] * 6, dilations=[1] * 3)],
        [TensorType(f32, (1, 2, 3, 4, 3)), TensorType(f32, (3, 2, 3, 3, 3))],
    ),
    "groups": (
        lambda x, w: [graph.ConvOp(x, w, strides=[1, 1], pads=[1] * 4, dilations=[1, 1], groups=2)],
        [TensorType(f16, (1, 4, 5, 5)), TensorType(f16, (6, 2, 3, 3))],
    ),
    "five groups of dims": (
        lambda x: [graph.TransposeOp(x, (4, 2, 0, 3, 1))],
        [TensorType(f32, (2, 3, 2, 2, 3))],
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_what_has_no_tiles_is_loops(network: MakeNetwork, name: str) -> None:
    """One thread for each element: element types, ranks, windows and extents that tiles of sm_90a do not have."""
    assert "wgmma" not in ptx_of(network(LOOPS[name][0], *LOOPS[name][1]))
