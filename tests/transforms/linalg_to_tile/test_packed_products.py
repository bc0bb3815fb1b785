"""Products of a network's f32 input under precision=fp16: the kernel that reads the input converts it, by a role that packs it into shared memory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, TensorType, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from stepwell.api.compile import compile_plan, lower
from stepwell.dialects import graph, warp
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.hopper.simulator.program import simulate_program
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import ptx_of, run_plan
from stepwell.driver.signature import signature_of
from stepwell.passes import StepwellContext
from stepwell.transforms.pipelines import stages


def network(
    rows: int, k: int, columns: int, *, relu: bool = True, residual: bool = False, seed: int = 0
) -> tuple[ModuleOp, WeightStore]:
    """relu(x W + b), with whole numbers; x again as a residual where it has the result's shape."""
    rng, weights = np.random.default_rng(seed), WeightStore()
    w = graph.WeightOp(weights.add("w", rng.integers(-2, 3, (k, columns)).astype(np.float32)))
    b = graph.WeightOp(weights.add("b", rng.integers(-3, 4, columns).astype(np.float32)))
    block = Block(arg_types=[TensorType(f32, [rows, k])])
    x = block.args[0]
    product = graph.MatmulOp(x, w)
    bias = graph.BroadcastOp(b, dims=[1], shape=[rows, columns])
    ops = [w, b, product, bias, graph.BinaryOp(product, bias, kind="add")]
    if residual and k == columns:
        ops.append(graph.BinaryOp(ops[-1], x, kind="add"))
    if relu:
        ops.append(graph.UnaryOp(ops[-1], kind="relu"))
    result = ops[-1].results[0]
    block.add_ops([*ops, ReturnOp(result)])
    function = FuncOp("main", FunctionType.from_lists([x.type], [result.type]), Region(block))
    module = ModuleOp([function], {"stepwell.level": StringAttr("graph")})
    return keep_weights(module, weights), weights


def check(module: ModuleOp, weights: WeightStore) -> None:
    """One kernel with products of f16, and the bits of the graph level in both executors."""
    port = signature_of(module).inputs[0]
    inputs = {port.name: np.random.default_rng(1).integers(-2, 3, port.shape).astype(np.float32)}
    (wanted,) = interpret(module, inputs, weights).values()
    kernel = lower(module.clone(), "kernel", target="sm_90a", precision="fp16")
    assert len([op for op in kernel.ops if isinstance(op, warp.KernelOp)]) == 1
    (simulated,) = simulate_program(kernel, inputs, weights).outputs.values()
    plan = compile_plan(module.clone(), weights, target="sm_90a", precision="fp16")
    (executed,) = run_plan(plan, inputs).outputs.values()
    assert "f32.f16.f16" in ptx_of(plan) and "tf32" not in ptx_of(plan)
    np.testing.assert_array_equal(simulated, wanted)
    np.testing.assert_array_equal(executed, wanted)


@pytest.mark.parametrize("shape", [(1, 8, 1), (65, 72, 130)])
def test_the_kernel_converts_its_input(shape: tuple[int, int, int]) -> None:
    check(*network(*shape))


def test_the_input_is_read_again_as_it_is() -> None:
    check(*network(70, 64, 64, residual=True))


@pytest.mark.slow
@given(
    st.sampled_from([1, 63, 64, 65, 130]),
    st.sampled_from([8, 64, 72, 200]),
    st.sampled_from([1, 7, 64, 65, 130]),
    st.booleans(),
)
@settings(max_examples=20)
def test_rows_channels_and_columns(rows: int, k: int, columns: int, relu: bool) -> None:
    check(*network(rows, k, columns, relu=relu))


@pytest.mark.parametrize("k, target, said", [(64, "sm_90a", "its kernel converts the network's input"), (63, "sm_90a", "multiplies f32"), (64, "cpu", "multiplies f32")])  # fmt: skip
def test_who_converts_is_said(k: int, target: str, said: str) -> None:
    module, weights = network(10, k, 8)
    module.attributes["stepwell.target"] = StringAttr(target)
    context = StepwellContext()
    context.weights = weights
    passes = dict(stages("sm_90a", "fp16"))["graph"]
    for pass_ in passes_of(",".join(passes)):
        pass_.apply(context, module)
    assert any(said in remark.message for remark in context.remarks if remark.pass_name == "graph-set-precision")
