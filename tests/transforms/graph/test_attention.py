"""Attention as exporters write it: found in every form, refused with the reason where it is none, and expanded again without a difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType, f16, f32, i1, i32
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region

from stepwell.dialects import graph
from stepwell.dialects.graph.interpreter import interpret
from stepwell.driver.signature import signature_of
from stepwell.frontends.onnx import import_onnx
from stepwell.passes import StepwellContext, names_of
from stepwell.testing.check_pass import check_pass
from stepwell.testing.strategies import GeneratedGraph, graphs
from stepwell.transforms.graph.expand_attention import PASS as ExpandAttention
from stepwell.transforms.graph.fuse_attention import PASS as FuseAttention

B, H, S, T, D = 2, 3, 5, 7, 4
CAUSAL = np.where(np.tri(S, T, T - S, dtype=bool), 0, -1e9).astype(np.float32)[None, None]
SOME = (np.arange(S * T).reshape(1, 1, S, T) % 3 == 0) & (np.arange(T) > 0)
Shapes = Mapping[str, tuple[int, ...]]
Node = tuple[str, list[str], str, dict[str, Any]]
KT: Node = ("Transpose", ["k"], "kt", {"perm": [0, 1, 3, 2]})
SCORES: Node = ("MatMul", ["q", "kt"], "s", {})
OUT: Node = ("MatMul", ["p", "v"], "o", {})


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Node:
    return kind, inputs.split(), output, attributes


def softmax(of: str) -> Node:
    return node("Softmax", of, "p", axis=-1)


PLAIN: Shapes = {"q": (B, H, S, D), "k": (B, H, T, D), "v": (B, H, T, D)}
MASKED: Shapes = {**PLAIN, "m": (B, 1, 1, T)}
HALF: dict[str, Any] = {"c": np.float32(0.5)}
LOW: dict[str, Any] = {"low": np.float32(-1e9)}
Form = tuple[list[Node], Shapes, dict[str, Any], str]
FORMS: dict[str, Form] = {
    "plain": ([KT, SCORES, softmax("s"), OUT], PLAIN, {}, "scale 1:"),
    "divided": ([KT, SCORES, node("Div", "s c", "x"), softmax("x"), OUT], PLAIN, {"c": np.float32(4)}, "scale 0.25:"),
    "scaled before": (
        [node("Mul", "q c", "q2"), KT, node("Mul", "kt c", "k2"), node("MatMul", "q2 k2", "s"), softmax("s"), OUT],
        PLAIN, HALF, "scale 0.25:",
    ),
    "masked": ([KT, SCORES, node("Mul", "s c", "x"), node("Add", "x m", "y"), softmax("y"), OUT], MASKED, HALF, "scale 0.5, a mask:"),
    "mask of rows": ([KT, SCORES, node("Add", "m s", "y"), softmax("y"), OUT], {**PLAIN, "m": (S, T)}, {}, "a mask:"),
    "causal": ([KT, SCORES, node("Add", "s m", "y"), softmax("y"), OUT], PLAIN, {"m": CAUSAL}, "causal:"),
    "causal by where": ([KT, SCORES, node("Where", "b s low", "y"), softmax("y"), OUT], PLAIN, {"b": CAUSAL == 0, **LOW}, "causal:"),
    "causal, and a mask": (
        [KT, SCORES, node("Where", "b s low", "y"), node("Add", "y m", "z"), softmax("z"), OUT],
        MASKED, {"b": CAUSAL == 0, **LOW}, "causal, a mask:",
    ),
    "hidden by where": ([KT, SCORES, node("Where", "b low s", "y"), softmax("y"), OUT], PLAIN, {"b": SOME, **LOW}, "a mask:"),
    "hidden by -inf": (
        [KT, SCORES, node("Where", "b low s", "y"), softmax("y"), OUT], PLAIN, {"b": SOME, "low": np.float32(-np.inf)}, "a mask:",
    ),
    "capped": (
        [KT, SCORES, node("Div", "s c", "x"), node("Tanh", "x", "t"), node("Mul", "t c", "y"), softmax("y"), OUT],
        PLAIN, HALF, "softcap 0.5:",
    ),
    "heads behind rows": (
        [node("Transpose", "q", "qt", perm=[0, 2, 1, 3]), node("Transpose", "k", "kt", perm=[0, 2, 3, 1]),
         node("Transpose", "v", "vt", perm=[0, 2, 1, 3]), node("MatMul", "qt kt", "s"), softmax("s"),
         node("MatMul", "p vt", "ot"), node("Transpose", "ot", "o", perm=[0, 2, 1, 3])],
        {"q": (B, S, H, D), "k": (B, T, H, D), "v": (B, T, H, D)}, {}, "scale 1:",
    ),
    "three dims": (
        [node("Transpose", "k", "kt", perm=[0, 2, 1]), SCORES, softmax("s"), OUT],
        {"q": (B, S, D), "k": (B, T, D), "v": (B, T, D)}, {}, "scale 1:",
    ),
    "two dims": ([node("Transpose", "k", "kt", perm=[1, 0]), SCORES, softmax("s"), OUT], {"q": (S, D), "k": (T, D), "v": (T, D)}, {}, "scale 1:"),
    "groups": (
        [node("Unsqueeze", "k two", "k5"), node("Expand", "k5 wide", "k6"), node("Reshape", "k6 full", "k7"),
         node("Unsqueeze", "v two", "v5"), node("Expand", "v5 wide", "v6"), node("Reshape", "v6 full", "v7"),
         node("Transpose", "k7", "kt", perm=[0, 1, 3, 2]), SCORES, softmax("s"), node("MatMul", "p v7", "o")],
        {"q": (B, 6, S, D), "k": (B, 3, T, D), "v": (B, 3, T, D)},
        {"two": np.array([2]), "wide": np.array([B, 3, 2, T, D]), "full": np.array([B, 6, T, D])}, "2 query heads read one:",
    ),
}  # fmt: skip
REFUSED: dict[str, Form] = {
    "along rows": ([KT, SCORES, node("Softmax", "s", "p", axis=-2), OUT], PLAIN, {}, "not along the keys"),
    "logarithms": ([KT, SCORES, node("LogSoftmax", "s", "p", axis=-1), OUT], PLAIN, {}, "not along the keys"),
    "mask scaled": ([KT, SCORES, node("Add", "s m", "x"), node("Mul", "x c", "y"), softmax("y"), OUT], MASKED, HALF, "scaled behind their mask"),
    "relu": ([KT, SCORES, node("Relu", "s", "y"), softmax("y"), OUT], PLAIN, {}, "graph.unary stands between"),
    "no product": ([node("Relu", "m", "y"), softmax("y"), OUT], {"m": (B, H, S, T), "v": (B, H, T, D)}, {}, "graph.unary stands between"),
}  # fmt: skip


def network(nodes: list[Node], inputs: Shapes, weights: dict[str, Any]) -> tuple[ModuleOp, StepwellContext]:
    made = [
        helper.make_node(kind, names, [output], name=output, **attributes) for kind, names, output, attributes in nodes
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    result = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    values = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    model = helper.make_model(
        helper.make_graph(made, "g", ports, [result], values), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    context = StepwellContext()
    module, context.weights = import_onnx(model)
    return module, context


def attentions(module: ModuleOp) -> list[graph.AttentionOp]:
    return [op for op in module.walk() if isinstance(op, graph.AttentionOp)]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_one_attention_and_means_the_same(form: str) -> None:
    nodes, shapes, weights, said = FORMS[form]
    module, context = network(nodes, shapes, weights)
    inputs = signature_of(module).random_inputs(3)
    wanted = interpret(module, inputs, context.weights)["o"]
    FuseAttention().apply(context, module)
    module.verify()
    (attention,) = attentions(module)
    assert not any(isinstance(op, graph.SoftmaxOp | graph.MatmulOp) for op in module.walk())
    assert said in next(remark.message for remark in context.remarks if remark.kind == "passed")
    assert {"s", "p"} <= set(names_of(attention))
    np.testing.assert_allclose(interpret(module, inputs, context.weights)["o"], wanted, rtol=1e-5, atol=1e-6)
    ExpandAttention().apply(context, module)
    module.verify()
    assert not attentions(module)
    np.testing.assert_allclose(interpret(module, inputs, context.weights)["o"], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_attention_stays_with_the_reason(form: str) -> None:
    nodes, shapes, weights, reason = REFUSED[form]
    module, context = network(nodes, shapes, weights)
    before = str(module)
    FuseAttention().apply(context, module)
    assert str(module) == before
    assert reason in next(remark.message for remark in context.remarks if remark.kind == "missed")


@given(case=graphs(4, steps=("pattern", "unary"), patterns=("attention",)))
@settings(max_examples=10)
def test_fused_where_it_is_planted(case: GeneratedGraph) -> None:
    check_pass("graph-fuse-attention", case.module, case.context())


@given(case=graphs(4, steps=("pattern", "unary"), patterns=("attention",)))
@settings(max_examples=10)
def test_expanded_where_it_is_planted(case: GeneratedGraph) -> None:
    context = case.context()
    FuseAttention().apply(context, case.module)
    check_pass("graph-expand-attention", case.module, context)


@st.composite
def attention_modules(draw: st.DrawFn) -> ModuleOp:
    """Attention with any of its properties, operands as inputs."""
    groups, shared, queries, keys, depth = (draw(st.integers(1, 3)) for _ in range(5))
    batch, heads, keys, queries = draw(st.integers(1, 2)), groups * shared, keys * 2, queries * 2
    element = draw(st.sampled_from([f16, f32]))
    types: list[Attribute] = [
        TensorType(element, [batch, heads, queries, depth]),
        TensorType(element, [batch, groups, keys, depth]),
        TensorType(element, [batch, groups, keys, depth + 1]),
    ]
    bias, lengths = draw(st.sampled_from([None, element, i1])), draw(st.booleans())
    if bias is not None:
        shape = [draw(st.sampled_from([1, extent])) for extent in (batch, heads, queries)]
        types.append(TensorType(bias, [*shape, keys]))
    types += [TensorType(i32, [batch])] * lengths
    block = Block(arg_types=types)
    rest = list(block.args[3:])
    op = graph.AttentionOp(
        block.args[0], block.args[1], block.args[2], rest.pop(0) if bias is not None else None, rest.pop(0) if lengths else None,
        scale=draw(st.sampled_from([1.0, 0.5])), softcap=draw(st.sampled_from([0.0, 2.0])), causal=draw(st.booleans()),
        offset=draw(st.integers(-2, 2)), window=draw(st.integers(0, 2)), ahead=draw(st.integers(-1, 1)), from_end=draw(st.booleans()),
    )  # fmt: skip
    block.add_ops([op, ReturnOp(op.result)])
    return ModuleOp([FuncOp("main", FunctionType.from_lists(types, [op.result.type]), Region(block))])


@given(attention_modules(), st.integers(0, 9))
@settings(max_examples=40)
def test_expanding_means_the_same(module: ModuleOp, seed: int) -> None:
    """Masks, windows, lengths (0 too), caps and groups: rows that see nothing give zeros in both."""
    inputs = signature_of(module).random_inputs(seed)
    keys = attentions(module)[0].k.type.get_shape()[2]  # type: ignore[attr-defined]
    for name, array in inputs.items():
        if array.dtype == np.int32:
            inputs[name] = np.random.default_rng(seed).integers(0, keys + 1, array.shape, np.int32)
    wanted = next(iter(interpret(module, inputs).values())).astype(np.float64)
    context = StepwellContext()
    ExpandAttention().apply(context, module)
    module.verify()
    made = next(iter(interpret(module, inputs, context.weights).values())).astype(np.float64)
    assert not attentions(module)
    np.testing.assert_allclose(made, wanted, rtol=4e-3, atol=4e-3)
