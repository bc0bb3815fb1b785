"""Attention as one kernel of sm_90a: from the graph level through every pass, executed by the tile interpreter, the simulator and the PTX interpreter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import FunctionType, ModuleOp, StringAttr, TensorType, f16, f32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from stepwell.api.compile import compile_plan, lower
from stepwell.dialects import graph, tile, warp
from stepwell.dialects.graph.interpreter import interpret as interpret_graph
from stepwell.dialects.hopper.simulator.program import simulate_program
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import WeightStore
from stepwell.driver.driver import passes_of
from stepwell.driver.execute import interpret
from stepwell.driver.modules import keep_weights
from stepwell.driver.run_ptx import ptx_of, run_plan
from stepwell.driver.signature import signature_of
from stepwell.passes import PassFailure, StepwellContext
from stepwell.transforms.legality import supported
from stepwell.transforms.pipelines import RINGS

ROUNDED = 4e-3
"""Of a mean of values around 1: shares and results are rounded to f16."""


@dataclass(frozen=True)
class Case:
    """Heads of Q and of K and V, queries, keys, depth; f16 operands, or f32 that the kernel converts; causal from the last query on."""

    heads: int
    groups: int
    queries: int
    keys: int
    depth: int
    half: bool
    causal: bool = False
    batch: int = 1
    mask: tuple[int, int, int] | None = None
    """Extents of a mask before its keys."""

    @property
    def precision(self) -> str:
        return "model" if self.half else "fp16"

    def module(self, scale: float | None = None) -> ModuleOp:
        element = f16 if self.half else f32
        shapes = ((self.heads, self.queries), (self.groups, self.keys), (self.groups, self.keys))
        types = [TensorType(element, [self.batch, heads, rows, self.depth]) for heads, rows in shapes]
        if self.mask is not None:
            types.append(TensorType(element, [*self.mask, self.keys]))
        block = Block(arg_types=types)
        offset = self.keys - self.queries if self.causal else 0
        scale = self.depth**-0.5 if scale is None else scale
        q, k, v, *bias = block.args
        op = graph.AttentionOp(q, k, v, *bias, scale=scale, causal=self.causal, offset=offset)
        block.add_ops([op, ReturnOp(op.result)])
        function = FuncOp("main", FunctionType.from_lists(types, [op.result.type]), Region(block))
        return ModuleOp([function], {"stepwell.level": StringAttr("graph")})


SHORT = [
    Case(1, 1, 1, 1, 64, half=True),
    Case(2, 1, 65, 129, 64, half=True, causal=True),
    Case(2, 1, 65, 70, 32, half=False, causal=True),
    Case(1, 1, 63, 130, 128, half=True),
    Case(1, 1, 20, 66, 128, half=False),
    Case(2, 2, 65, 70, 64, half=False, batch=2, mask=(2, 1, 1)),
    Case(2, 1, 66, 66, 32, half=True, causal=True, mask=(1, 1, 66)),
]
LONG = [
    *(Case(1, 1, n, n, depth, half=half, causal=causal) for n in (1, 63, 64, 65, 197) for depth in (32, 64, 128) for half in (True, False) for causal in (False, True)),
    Case(4, 2, 300, 20, 40, half=True, batch=2),
    Case(3, 3, 130, 100, 16, half=False, causal=True),
    *(Case(2, 1, 65, 70, 64, half=half, batch=2, mask=mask) for half in (True, False) for mask in ((1, 1, 1), (2, 1, 65), (2, 2, 1), (2, 2, 65))),
]  # fmt: skip


def run(case: Case, module: ModuleOp, inputs: dict[str, Array]) -> tuple[Array, Array, str]:
    """What the simulator and the PTX interpreter make, and the PTX."""
    kernel = lower(module.clone(), "kernel", target="sm_90a", precision=case.precision)
    assert [op.name for op in kernel.ops if isinstance(op, warp.KernelOp)] == ["warp.kernel"]
    (simulated,) = simulate_program(kernel, inputs, WeightStore()).outputs.values()
    plan = compile_plan(module.clone(), target="sm_90a", precision=case.precision)
    (executed,) = run_plan(plan, inputs).outputs.values()
    return np.asarray(simulated), np.asarray(executed), ptx_of(plan)


def check(case: Case) -> None:
    module = case.module()
    inputs = signature_of(module).random_inputs(1)
    if case.mask is not None:
        mask = list(inputs.values())[-1]
        mask[np.random.default_rng(0).random(mask.shape) < 0.3] = -np.inf
    (wanted,) = interpret_graph(module, inputs).values()
    simulated, executed, ptx = run(case, module, inputs)
    assert ptx.count(".entry") == 1 and "wgmma.mma_async" in ptx
    np.testing.assert_array_equal(simulated, executed)
    np.testing.assert_allclose(simulated.astype(np.float64), wanted.astype(np.float64), rtol=ROUNDED, atol=ROUNDED)


@pytest.mark.parametrize("case", SHORT, ids=str)
def test_one_kernel_with_products_of_the_tensor_cores(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", LONG, ids=str)
def test_heads_lengths_and_masks(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("half", [True, False])
def test_whole_numbers_keep_their_bits(half: bool) -> None:
    """Each query meets one key with a score of 400 and the others with 0: their shares are exactly 0, and the results are rows of V."""
    case = Case(2, 2, 70, 130, 64, half=half)
    rng, dtype = np.random.default_rng(0), np.float16 if half else np.float32
    met = rng.integers(0, 64, (1, 2, 70))
    inputs = {
        "arg0": (20 * np.eye(64)[met]).astype(dtype),
        "arg1": np.zeros((1, 2, 130, 64), dtype),
        "arg2": rng.integers(-100, 100, (1, 2, 130, 64)).astype(dtype),
    }
    places = np.stack([rng.permutation(130)[:64] for _ in range(2)])
    for head in range(2):
        inputs["arg1"][0, head, places[head]] = 20 * np.eye(64)
    module = case.module(scale=1.0)
    names = [port.name for port in signature_of(module).inputs]
    given_inputs = dict(zip(names, inputs.values(), strict=True))
    wanted = np.stack([inputs["arg2"][0, head, places[head][met[0, head]]] for head in range(2)])[None]
    simulated, executed, _ = run(case, module, given_inputs)
    np.testing.assert_array_equal(simulated, wanted)
    np.testing.assert_array_equal(executed, wanted)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Small attention of every form that a kernel takes."""
    groups, shared = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    queries, keys = draw(st.sampled_from([1, 3, 64, 65, 130])), draw(st.sampled_from([1, 2, 63, 64, 65, 129]))
    depth = draw(st.sampled_from([8, 16, 24, 32, 64, 72, 128]))
    return Case(groups * shared, groups, queries, keys, depth, draw(st.booleans()), draw(st.booleans()))


@given(cases())
@settings(max_examples=6)
def test_every_step_means_the_same(case: Case) -> None:
    """The tile interpreter after every pass that says how tiles move, lie, overlap and who does what."""
    module = case.module()
    inputs = signature_of(module).random_inputs(2)
    (wanted,) = interpret_graph(module, inputs).values()
    module = lower(module, "plan", target="sm_90a", precision=case.precision)
    before: Array | None = None
    for pass_ in passes_of(",".join(RINGS)):
        pass_.apply(StepwellContext(), module)
        module.verify()
        (made,) = interpret(module, inputs).values()
        np.testing.assert_allclose(made.astype(np.float64), wanted.astype(np.float64), rtol=ROUNDED, atol=ROUNDED)
        assert before is None or np.array_equal(before, made), pass_.name
        before = made


def test_roles_and_copies_are_said() -> None:
    """Operands of f16 come by the copy engine; f32 is packed by a role, but for the queries, which stay in registers."""
    for half, labels, said in ((True, ["load", "multiply"], "via tma"), (False, ["pack", "multiply"], "via pack")):
        case = Case(1, 1, 65, 65, 64, half=half)
        module = lower(case.module(), "plan", target="sm_90a", precision=case.precision)
        context = StepwellContext()
        for pass_ in passes_of(",".join(RINGS)):
            pass_.apply(context, module)
        (kernel,) = [op for op in module.ops if isinstance(op, tile.KernelOp)]
        assert [role.label.data for role in kernel.roles] == labels
        remarks = [remark.message for remark in context.remarks if remark.pass_name == "tile-assign-copies"]
        assert any(said in remark for remark in remarks)
        assert any("a from registers" in remark for remark in remarks)


def test_copies_do_not_take_turns_where_tiles_differ_in_length() -> None:
    """Causal rows see different numbers of keys, so no copy knows where in the ring its tile begins."""
    module = lower(Case(2, 2, 300, 300, 64, half=True, causal=True).module(), "plan", target="sm_90a")
    passes = ",".join(RINGS).replace("tile-split-roles", "tile-split-roles{copies=2}")
    with pytest.raises(PassFailure, match="stands in a loop of another length for each tile"):
        for pass_ in passes_of(f"{passes},stepwell-convert-tile-to-hopper"):
            pass_.apply(StepwellContext(), module)


@pytest.mark.parametrize(
    "properties, reason",
    [({"softcap": 2.0}, "its scores are capped (2)"), ({"window": 3}, "it sees a window of keys"), ({"ahead": 1}, "it sees a window of keys")],
)  # fmt: skip
def test_what_no_kernel_takes_is_expanded_with_the_reason(properties: dict[str, float], reason: str) -> None:
    module = Case(1, 1, 5, 6, 8, half=True).module()
    (op,) = [op for op in module.walk() if isinstance(op, graph.AttentionOp)]
    made = graph.AttentionOp(*op.operands, scale=1.0, **properties)  # type: ignore[arg-type]
    block = op.parent_block()
    assert block is not None
    block.insert_op_before(made, op)
    op.result.replace_all_uses_with(made.result)
    op.detach()
    op.erase()
    context = StepwellContext()
    for pass_ in passes_of('graph-expand-attention{kernels="f16"}'):
        pass_.apply(context, module)
    assert not any(isinstance(inner, graph.AttentionOp) for inner in module.walk())
    assert any(reason in remark.message for remark in context.remarks)


@pytest.mark.parametrize("depth, taken", [(64, True), (512, False)])
def test_scores_that_are_too_many_are_no_matter_to_a_kernel(depth: int, taken: bool) -> None:
    """4096 queries and keys of 160 heads have 2**31 scores and more: one kernel holds some at a time, products would store them all."""
    module = Case(160, 160, 4096, 4096, depth, half=True).module()
    (op,) = [op for op in module.walk() if isinstance(op, graph.AttentionOp)]
    refusal = supported(op, "sm_90a")
    assert refusal is None if taken else "scores, and is no kernel of its own" in str(refusal)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("mask", [None, (1, 1, 300)])
def test_the_widest_heads_have_registers(half: bool, mask: tuple[int, int, int] | None) -> None:
    """Without a spill: the assembler's report is checked where there is one."""
    case = Case(4, 2, 300, 300, 128, half=half, causal=True, mask=mask)
    assert ptx_of(compile_plan(case.module(), target="sm_90a", precision=case.precision)).count(".entry") == 1


def test_a_mask_among_the_weights_is_added() -> None:
    """As exporters write it: products, a mask for some keys, a softmax; the kernel reads the mask where it lies."""
    rng, weights = np.random.default_rng(0), WeightStore()
    mask = graph.WeightOp(weights.add("mask", np.where(rng.random((1, 1, 1, 70)) < 0.3, -1e9, 0).astype(np.float32)))
    types = [TensorType(f32, [1, 2, rows, 64]) for rows in (65, 70, 70)]
    block = Block(arg_types=types)
    q, k, v = block.args
    scores = graph.MatmulOp(q, k, transpose_b=True)
    row = graph.ReshapeOp(mask, [70])
    repeated = graph.BroadcastOp(row, dims=[3], shape=[1, 2, 65, 70])
    shares = graph.SoftmaxOp(masked := graph.BinaryOp(scores, repeated, kind="add"), dims=[3])
    result = graph.MatmulOp(shares, v)
    block.add_ops([mask, scores, row, repeated, masked, shares, result, ReturnOp(result.result)])
    function = FuncOp("main", FunctionType.from_lists(types, [result.result.type]), Region(block))
    module = keep_weights(ModuleOp([function], {"stepwell.level": StringAttr("graph")}), weights)
    inputs = signature_of(module).random_inputs(1)
    (wanted,) = interpret_graph(module, inputs, weights).values()
    plan = compile_plan(module, weights, target="sm_90a", precision="fp16")
    (made,) = run_plan(plan, inputs).outputs.values()
    assert ptx_of(plan).count(".entry") == 1
    np.testing.assert_allclose(made, wanted, rtol=2e-2, atol=2e-2)


def test_heads_that_are_too_wide_are_expanded() -> None:
    module = Case(1, 1, 5, 6, 264, half=True).module()
    context = StepwellContext()
    for pass_ in passes_of('graph-expand-attention{kernels="f16"}'):
        pass_.apply(context, module)
    assert any("heads of 264 in Q and K" in remark.message for remark in context.remarks)
