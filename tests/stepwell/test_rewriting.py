"""`@rewrite`: names of what is inserted, time, ends, remarks, what is refused at the decoration, weights read and added."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, TensorType, f32
from xdsl.ir import Block, SSAValue
from xdsl.passes import ModulePass

from stepwell.dialects import graph
from stepwell.dialects.weights import RandomWeightStore, WeightStore
from stepwell.driver.driver import Driver
from stepwell.passes import (
    SWEEP_LIMIT,
    PassFailure,
    Rewriter,
    StepwellContext,
    StepwellPass,
    location_of,
    names_of,
    rewrite,
)
from stepwell.plugins.universe import find_pass, make_context
from stepwell.runtime.errors import ModelError, UsageError
from stepwell.testing.strategies.network import close_network


def chain(length: int, kind: str = "relu") -> ModuleOp:
    """A network of unary ops, one behind the other, called n0, n1, .."""
    block = Block(arg_types=[TensorType(f32, [2, 4])])
    value: SSAValue = block.args[0]
    for i in range(length):
        op = graph.UnaryOp(value, kind=kind)
        op.location = location_of([f"n{i}"])
        block.add_op(op)
        value = op.result
    return close_network(block, [value], WeightStore()).module


def unary_ops(module: ModuleOp) -> list[graph.UnaryOp]:
    return [op for op in module.walk() if isinstance(op, graph.UnaryOp)]


@rewrite("test-insert", level="graph", meaning="changes", recursive=False)
def insert_through_xdsl(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """A neg before every op, inserted by xDSL's rewriter."""
    inserted = graph.UnaryOp(op.operand, kind="neg")
    rewriter.xdsl.insert(inserted)
    rewriter.replace(op, graph.UnaryOp(inserted.result, kind=op.kind))


def test_what_is_inserted_has_the_matched_ops_name() -> None:
    module = chain(3)
    Driver(make_context()).run(module, [insert_through_xdsl()])
    named = [(op.kind, names_of(op)) for op in unary_ops(module)]
    assert named == [(kind, (f"n{i}",)) for i in range(3) for kind in ("neg", "relu")]


@rewrite("test-gelu", level="graph", meaning="changes")
def relu_to_gelu(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """Every relu becomes a gelu."""
    if op.kind != "relu":
        rewriter.missed(f"{op.kind} is no relu")
        return
    rewriter.replace(op, graph.UnaryOp(op.operand, kind="gelu"))
    rewriter.passed("relu -> gelu")


def seconds(pass_: ModulePass, length: int) -> float:
    """Processor time of the pass on a chain."""
    module = chain(length)
    begun = time.process_time()
    pass_.apply(make_context(), module)
    return time.process_time() - begun


def test_four_thousand_ops_take_less_than_two_seconds() -> None:
    assert seconds(relu_to_gelu(), 4000) < 2.0


def test_outlining_takes_linear_time() -> None:
    """Four times the ops take about four times as long, quadratic work sixteen times: by the best of three, since others use the machine."""
    fuse = find_pass("graph-fuse-single")()
    short, long = (min(seconds(fuse, length) for _ in range(3)) for length in (400, 1600))
    assert long < 8 * short


def back_and_forth(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    rewriter.replace(op, graph.UnaryOp(op.operand, kind="relu" if op.kind == "neg" else "neg"))


def grow(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    rewriter.xdsl.insert(graph.UnaryOp(op.operand, kind="relu"))


def in_place(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    rewriter.xdsl.has_done_action = True


def touch(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    rewriter.xdsl.notify_op_modified(op)


def split(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    rewriter.replace(op, [first := graph.UnaryOp(op.operand, kind="relu"), graph.UnaryOp(first.result, kind="relu")])


ENDLESS: list[Callable[[graph.UnaryOp, Rewriter], None]] = [back_and_forth, grow, in_place, touch, split]


@pytest.mark.parametrize("function", ENDLESS, ids=lambda f: str(f.__name__))
def test_a_pass_that_does_not_end_is_stopped_within_seconds(function: Callable[..., None]) -> None:
    pass_ = rewrite("test-endless", level="graph", meaning="changes")(function)()
    module = chain(40)
    before = str(module)
    begun = time.process_time()
    with pytest.raises(PassFailure, match=r"n\d+: test-endless does not end: .* graph.unary \(n\d+\)"):
        Driver(make_context()).run(module, [pass_])
    assert time.process_time() - begun < 5.0
    assert str(module) == before


def test_walks_that_each_change_the_module_are_counted() -> None:
    pass_ = rewrite("test-endless", level="graph", meaning="changes")(in_place)()
    with pytest.raises(PassFailure, match=f"{SWEEP_LIMIT} walks over the module each changed it"):
        Driver(make_context()).run(chain(4), [pass_])


def test_a_rewrite_says_nothing_about_what_it_made() -> None:
    ctx, module = make_context(), chain(2)
    unary_ops(module)[1].properties["kind"] = graph.UnaryOp(unary_ops(module)[0].operand, kind="neg").properties["kind"]
    Driver(ctx).run(module, [relu_to_gelu()])
    assert [str(remark) for remark in ctx.remarks] == [
        "remark: [passed] test-gelu: n0: relu -> gelu",
        "remark: [missed] test-gelu: n1: neg is no relu",
    ]


def no_class(op: int, rewriter: Rewriter) -> None:
    """Its first argument is no op."""


def no_default(op: graph.UnaryOp, rewriter: Rewriter, *, depth: int) -> None:
    """Its option has no default."""


def right(op: graph.UnaryOp, rewriter: Rewriter) -> None:
    """Nothing is wrong with it."""


WRONG = [
    (right, {"level": "grahp"}, "level='grahp' is no level\n  hint: it is one of graph, linalg"),
    (right, {"meaning": "exactly"}, "meaning='exactly' is no meaning\n  hint: .* rounds"),
    (right, {"meaning": "rounds"}, "a pass that rounds says how much"),
    (right, {"rtol": 0.5}, "rtol=0.5 is for meaning='rounds', the meaning is 'exact'"),
    (no_class, {}, ".*argument 'op' is annotated with <class 'int'>"),
    (lambda: None, {}, ".*there is no argument"),
    (no_default, {}, "option 'depth' needs a type and a default"),
]


@pytest.mark.parametrize(("function", "words", "message"), WRONG)
def test_wrong_declarations_are_refused_at_the_decoration(
    function: Callable[..., None], words: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"test-declared: {message}"):
        rewrite("test-declared", **{"level": "graph", "meaning": "exact", **words})(function)


def test_wrong_declarations_of_classes_are_refused_too() -> None:
    with pytest.raises(UsageError, match="test-class: level='tiles' is no level"):
        type("Wrong", (StepwellPass,), {"name": "test-class", "level": "tiles", "meaning": "exact"})


@rewrite("test-scale", level="graph", meaning="changes", idempotent=False, recursive=False)
def scale_weights(op: graph.WeightOp, rewriter: Rewriter) -> None:
    """Every weight becomes one of twice its values."""
    rewriter.replace(op, rewriter.add_weight(2 * rewriter.read(op), "scaled").clone())


def weighted(store: WeightStore, reference: graph.WeightAttr) -> ModuleOp:
    block = Block(arg_types=[reference.type])
    weight = graph.WeightOp(reference)
    total = graph.BinaryOp(block.args[0], weight.result, kind="add")
    for op in (weight, total):
        op.location = location_of(["sum"])
        block.add_op(op)
    return close_network(block, [total.result], store).module


def added(module: ModuleOp) -> graph.WeightAttr:
    return next(op.ref for op in module.walk() if isinstance(op, graph.WeightOp) and "#" in op.ref.source.data)


def test_a_pass_reads_and_adds_values() -> None:
    store, values = WeightStore(), np.arange(6, dtype=np.float32)
    module = weighted(store, store.add("w", values))
    again = module.clone()
    for copy in (module, again):
        Driver(StepwellContext(weights=store)).run(copy, [scale_weights()])
    reference = added(module)
    assert reference == added(again) and reference.source.data == f"scaled#{reference.sha256.data[:12]}"
    np.testing.assert_array_equal(store.evaluate(reference), 2 * values)


def test_an_added_weight_is_never_made_up() -> None:
    store = RandomWeightStore(0)
    module = weighted(store, graph.WeightAttr("w", "0" * 64, TensorType(f32, [6])))
    ctx = StepwellContext(weights=store)
    old = store.evaluate(graph.WeightAttr("w", "0" * 64, TensorType(f32, [6])))
    Driver(ctx).run(module, [scale_weights()])
    np.testing.assert_array_equal(store.evaluate(added(module)), 2 * old)
    with pytest.raises(ModelError, match="a pass computed this weight, and random:0 cannot make it up"):
        RandomWeightStore(0).evaluate(added(module))


@rewrite("test-read", level="graph", meaning="exact")
def read_operand(op: graph.BinaryOp, rewriter: Rewriter) -> None:
    """Reads a value that is none."""
    rewriter.read(op.lhs)


def test_values_that_are_not_there() -> None:
    store = WeightStore()
    module = weighted(store, store.add("w", np.zeros(6, np.float32)))
    with pytest.raises(
        PassFailure, match="sum: the values of weight 'w' are needed and none were given\n  hint: --weig"
    ):
        Driver(make_context()).run(module.clone(), [scale_weights()])
    with pytest.raises(PassFailure, match="no weight 'w' in the weight store"):
        Driver(StepwellContext(weights=WeightStore())).run(module.clone(), [scale_weights()])
    with pytest.raises(PassFailure, match="sum: the value is no weight"):
        Driver(StepwellContext(weights=store)).run(module.clone(), [read_operand()])
