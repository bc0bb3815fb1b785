"""No pass refuses a network that compiling let through: generated networks, single ops and epilogues, on both targets, down to their code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from xdsl.dialects.builtin import ModuleOp, TensorType, bf16, f16, f32, f64, i1, i8, i32
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

import stepwell
from stepwell.codegen.llvm_text import translate
from stepwell.codegen.objects import compile_module
from stepwell.codegen.ptx import emit_ptx
from stepwell.dialects import graph
from stepwell.dialects.numpy_types import ui8, ui32
from stepwell.driver.driver import Observer
from stepwell.driver.modules import keep_weights
from stepwell.passes import PassFailure, location_of
from stepwell.passes.target import resolve
from stepwell.runtime.errors import ModelError
from stepwell.testing.strategies import GeneratedGraph, graphs, op_modules
from stepwell.testing.strategies.network import close_network
from stepwell.testing.strategies.op_parameters import COVERED
from stepwell.testing.strategies.shapes import broadcasts
from stepwell.transforms import legality
from stepwell.transforms.pipelines import PRECISIONS_OF

TARGETS = {"sm_90a": "sm_90a", "cpu": "x86-64-v3"}
STEPS = ("conv", "conv", "matmul", "unary", "binary", "pool", "reshape", "transpose", "cast")
ELEMENTS = (f32, f16, bf16, f64, i32, i8, ui8, ui32, i1)


class Recorder(Observer):
    """Whether a pass was run."""

    started = False

    def before(self, step: int, pass_: ModulePass, module: ModuleOp) -> None:
        self.started = True


def lowers(case: GeneratedGraph, family: str, precision: str) -> bool:
    """True when the network becomes code, False when it is refused before the first pass; anything else is an error."""
    target, recorder = resolve(TARGETS[family]), Recorder()
    module = keep_weights(case.module.clone(), case.weights)
    try:
        made = stepwell.lower(module, to="llvm", target=TARGETS[family], precision=precision, observers=[recorder])
    except ModelError:
        assert not recorder.started, "a pass was run before the refusal"
        return False
    if family == "cpu":
        compile_module(made, target)
    else:
        emit_ptx(translate(made, target))
    return True


@st.composite
def epilogues(draw: DrawFn) -> GeneratedGraph:
    """A product or convolution with up to three elementwise ops behind it, whose operands run along any of its dims, in any element type."""
    element = draw(st.sampled_from([f32, f32, f16, bf16, f64, i32, i8, ui8]))
    rows, channels, columns = (draw(st.sampled_from([0, 1, 2, 5, 8, 16])) for _ in range(3))
    window = rows > 0 and draw(st.booleans())
    shapes = [(2, channels, rows, 4), (columns, channels, 1, 1)] if window else [(rows, channels), (channels, columns)]
    block = Block(arg_types=[TensorType(element, shape) for shape in shapes])
    ops: list[Operation] = [root(window, *block.args)]
    for _ in range(draw(st.integers(1, 3))):
        value = ops[-1].results[0]
        assert isinstance(value.type, TensorType)
        if draw(st.booleans()):
            ops.append(graph.CastOp(value, draw(st.sampled_from(ELEMENTS))))
        elif value.type.element_type != i1:
            operand, dims = draw(broadcasts(value.type.get_shape()))
            other = block.insert_arg(TensorType(value.type.element_type, operand), len(block.args))
            repeated = graph.BroadcastOp(other, dims=dims, shape=value.type.get_shape())
            ops += [repeated, graph.BinaryOp(value, repeated, kind=draw(st.sampled_from(["add", "mul", "max"])))]
    for position, op in enumerate(ops):
        op.location = location_of([f"n{position}"])
        block.add_op(op)
    return close_network(block, [ops[-1].results[0]])


def root(window: bool, x: SSAValue, w: SSAValue) -> Operation:
    """What an epilogue stands behind."""
    if not window:
        return graph.MatmulOp(x, w)
    return graph.ConvOp(x, w, strides=[1, 1], pads=[1, 0, 1, 0], dilations=[1, 1])


WITH_RULES = sorted({op.name for op in legality.RULES} & COVERED)
KINDS: dict[str, Callable[[], Any]] = {
    "networks": lambda: graphs(5, steps=STEPS),
    "single ops": lambda: st.one_of(st.sampled_from(WITH_RULES).flatmap(op_modules), op_modules()),
    "epilogues": epilogues,
}


@pytest.mark.parametrize("family", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_allowed_becomes_code(kind: str, family: str) -> None:
    outcomes = []

    @settings(max_examples=max(5, settings().max_examples // 3))
    @given(KINDS[kind](), st.sampled_from(PRECISIONS_OF[family]))
    def check(case: GeneratedGraph, precision: str) -> None:
        outcomes.append(lowers(case, family, precision))

    check()
    assert any(outcomes) and (kind == "single ops" or all(outcomes))


def test_a_rule_that_is_missing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a table that allows everything, an op without a lowering fails in a pass."""
    block = Block(arg_types=[TensorType(f32, (3,))])
    op = graph.UnaryOp(block.args[0], kind="cosh")
    op.location = location_of(["n0"])
    block.add_op(op)
    case = close_network(block, [op.result])
    assert not lowers(case, "sm_90a", "model")
    monkeypatch.setattr(legality, "supported", lambda *_: None)
    with pytest.raises(PassFailure):
        lowers(case, "sm_90a", "model")
