"""Networks that take and return channels first: transposes of data have kernels of their own, both ways, on both targets, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import stepwell
from stepwell.codegen import ptx
from stepwell.codegen.llvm_text import translate
from stepwell.dialects import tile
from stepwell.types.targets import CPU_LEVELS, SM_90A, supports

LEVELS = ("graph", "linalg", "tile", "plan")
NATIVE = [
    pytest.param(name, marks=pytest.mark.skipif(not supports(level), reason=f"this CPU is below {name}"))
    for name, level in CPU_LEVELS.items()
]
PRECISIONS = ("model", "fp16")
Arrays = dict[str, np.ndarray]


def model(nodes: list[onnx.NodeProto], x: tuple[int, ...], y: tuple[int, ...], weights: Arrays) -> onnx.ModelProto:
    """A graph from "x" to "y"."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", x), ("y", y))]
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", infos[:1], infos[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def integers(shape: tuple[int, ...], seed: int, most: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(-most, most + 1, shape).astype(np.float32)


@cache
def convolutions(channels: int) -> onnx.ModelProto:
    """[N, C, H, W] -> convolution, relu -> H and W exchanged -> a convolution that is the output, channels first."""
    pads = [1, 1, 1, 1]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b"], ["a"], "conv1", pads=pads),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Transpose", ["r"], ["t"], "swap", perm=[0, 1, 3, 2]),
        helper.make_node("Conv", ["t", "w2"], ["y"], "conv2", pads=pads),
    ]
    weights = {"w1": integers((8, channels, 3, 3), 0), "b": integers((8,), 1), "w2": integers((5, 8, 3, 3), 2, 1)}
    return model(nodes, (2, channels, 6, 4), (2, 5, 4, 6), weights)


@cache
def products() -> onnx.ModelProto:
    """A product, turned around, is a factor of the next one."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], "fc1"),
        helper.make_node("Transpose", ["a"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["t", "w2"], ["y"], "fc2"),
    ]
    return model(nodes, (24, 8), (40, 5), {"w1": integers((8, 40), 0), "w2": integers((24, 5), 1)})


def transpose(shape: tuple[int, ...], order: tuple[int, ...]) -> onnx.ModelProto:
    nodes = [helper.make_node("Transpose", ["x"], ["y"], "turn", perm=order)]
    return model(nodes, shape, tuple(shape[dim] for dim in order), {})


NETWORKS: dict[str, tuple[Callable[[], onnx.ModelProto], tuple[int, ...]]] = {
    "rgb": (lambda: convolutions(3), (2, 3, 6, 4)),
    "wide": (lambda: convolutions(16), (2, 16, 6, 4)),
    "products": (products, (24, 8)),
}


@cache
def expected(name: str) -> tuple[Arrays, Arrays]:
    """Inputs, and what the graph interpreter makes of them."""
    make, shape = NETWORKS[name]
    inputs = {"x": integers(shape, 3, 3)}
    return inputs, stepwell.interpret(stepwell.import_model(make()), inputs)


def same(found: Arrays, wanted: Arrays, where: str = "") -> None:
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=f"{where} {name}")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", ["x86-64-v4", "x86-64-v3", "sm_90a"])
def test_levels_agree(target: str, name: str, precision: str) -> None:
    """Down to the plan, and on sm_90a to the simulated kernels."""
    inputs, wanted = expected(name)
    module = stepwell.import_model(NETWORKS[name][0]())
    for level in (*LEVELS, *(["kernel"] if target == "sm_90a" else [])):
        module = stepwell.lower(module, to=level, target=target, precision=precision)
        same(stepwell.interpret(module, inputs), wanted, level)
        kernels = sum(isinstance(op, tile.KernelOp) for op in module.walk())
        assert level != "tile" or kernels >= 3, "the transposes are kernels"


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("level", NATIVE)
def test_native_code_agrees(level: str, name: str, precision: str) -> None:
    inputs, wanted = expected(name)
    with stepwell.compile(NETWORKS[name][0](), target=level, precision=precision) as engine:
        same(engine.run(inputs), wanted)


@pytest.mark.skipif(ptx.find_assembler() is None, reason="no ptxas: pip install nvidia-cuda-nvcc")
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_kernels_keep_to_their_registers(name: str, precision: str) -> None:
    module = stepwell.import_model(NETWORKS[name][0]())
    code = ptx.compile_module(
        translate(stepwell.lower(module, to="llvm", target="sm_90a", precision=precision), SM_90A)
    )
    assert code.cubin is not None
    assert all(report.spill_stores == report.stack == 0 for report in code.kernels)


def test_transposes_store_sixteen_bytes_at_once() -> None:
    module = stepwell.import_model(transpose((2, 16, 6, 4), (0, 2, 3, 1)))
    code = ptx.emit_ptx(translate(stepwell.lower(module, to="llvm", target="sm_90a"), SM_90A))
    assert "st.global.v4" in code and "ld.global.v4" not in code and "local" not in code


@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
@pytest.mark.parametrize("road", ["native", "simulator"])
def test_transposes_of_every_order(road: str, data: st.DataObject) -> None:
    """Up to four dims in any order, on blocks that are whole and cut."""
    shape = tuple(data.draw(st.lists(st.sampled_from([1, 2, 3, 5, 8, 17, 33]), min_size=2, max_size=4)))
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    inputs = {"x": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}
    net = transpose(shape, order)
    if road == "native":
        with stepwell.compile(net, target="cpu") as engine:
            found = engine.run(inputs)
    else:
        module = stepwell.lower(stepwell.import_model(net), to="kernel", target="sm_90a")
        found = stepwell.interpret(module, inputs)
    same(found, {"y": inputs["x"].transpose(order)})


@pytest.mark.parametrize("target", ["cpu", "sm_90a"])
def test_five_dims_in_another_order_are_loops(target: str) -> None:
    """Tiles have up to four dims; loops over elements take any number."""
    module = stepwell.import_model(transpose((2, 3, 2, 3, 2), (4, 3, 2, 1, 0)))
    lowered = stepwell.lower(module, to="tile", target=target)
    assert [type(op) for op in lowered.walk() if isinstance(op, tile.KernelOp | tile.LoopsOp)] == [tile.LoopsOp]
    inputs = {"x": np.arange(72, dtype=np.float32).reshape(2, 3, 2, 3, 2)}
    same(stepwell.interpret(stepwell.lower(lowered, to="kernel"), inputs), {"y": inputs["x"].transpose()})
