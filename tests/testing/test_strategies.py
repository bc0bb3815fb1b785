"""What the strategies generate is legal, varied, and obeys the laws that its consumers rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp, TensorType, bf16, f16, f32, f64, i1, i8, i16, i32, i64
from xdsl.ir import Block, Operation, SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.extents import shape_of as extents_of
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import numpy_dtype
from stepwell.dialects.tile.config import Config, violations
from stepwell.dialects.weights import WeightStore
from stepwell.driver.signature import signature_of
from stepwell.ir.printing import module_text
from stepwell.ir.source import SourceMap, parse_text
from stepwell.testing.strategies import (
    GeneratedGraph,
    MemoryProblem,
    assert_keeps_values,
    composable_layouts,
    fragments,
    graphs,
    layouts,
    lifetimes,
    memory_problems,
    op_modules,
    swizzles,
    tile_configs,
)
from stepwell.testing.strategies.graphs import STEPS
from stepwell.testing.strategies.network import close_network
from stepwell.testing.strategies.op_parameters import COVERED
from stepwell.testing.strategies.patterns import PATTERNS
from stepwell.transforms.plan import _offsets
from stepwell.types.layouts import Fragment, Layout, Swizzle
from stepwell.types.targets import COMPILED

STRUCTURE = {"graph.custom", "graph.fusion", "graph.weight", "graph.yield"}


def run(case: GeneratedGraph, *, float64: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    return interpret(case.module, case.inputs(seed), case.weights, float64=float64)


def op_names(case: GeneratedGraph) -> set[str]:
    return {op.name for op in case.module.walk()}


# --- graphs


@given(graphs(steps=(*STEPS, "cast")))
def test_graphs_verify_run_and_survive_a_round_trip(case: GeneratedGraph) -> None:
    case.module.verify()
    text = module_text(case.module)
    assert module_text(parse_text(case.context(), text, SourceMap("generated"))) == text
    assert all(np.isfinite(array).all() for array in run(case).values())


@given(graphs(8, integers=True))
def test_whole_numbers_are_never_rounded(case: GeneratedGraph) -> None:
    narrow, wide = run(case), run(case, float64=True)
    for name, array in narrow.items():
        assert np.array_equal(array, wide[name]) and np.array_equal(array, np.round(array))
        assert np.array_equal(array.astype(np.float16).astype(np.float32), array)


def test_graphs_reach_every_op_and_every_sort_of_use() -> None:
    """Among some hundred examples all ops occur; so do dead values, second consumers and extra outputs."""
    seen: set[str] = set()

    @settings(max_examples=200)
    @given(graphs(8, steps=(*STEPS, "cast")))
    def collect(case: GeneratedGraph) -> None:
        seen.update(op_names(case))
        for op in case.module.walk():
            seen.update(f"{min(len(list(result.uses)), 2)} uses" for result in op.results)
            if op.name == "func.return":
                seen.add("extra outputs" if len(op.operands) > 1 else "one output")

    collect()
    wanted = {f"graph.{step}" for step in STEPS if step != "pattern"} | {
        "graph.broadcast",
        "graph.weight",
        "graph.cast",
    }
    wanted |= {"0 uses", "1 uses", "2 uses", "one output", "extra outputs"}
    assert wanted <= seen, f"never generated: {sorted(wanted - seen)}"


# --- single ops


def test_every_op_has_parameters() -> None:
    """A new op of the dialect needs a strategy."""
    assert {op.name for op in graph.GRAPH.operations} == COVERED | STRUCTURE


@pytest.mark.parametrize("name", sorted(COVERED))
def test_ops_with_generated_parameters_verify_and_run(name: str) -> None:
    @given(op_modules(name))
    def check(case: GeneratedGraph) -> None:
        assert name in op_names(case)
        results = run(case).values()
        (op,) = [op for op in case.module.walk() if op.name == name]
        for array, value in zip(results, op.results, strict=True):
            assert array.dtype == numpy_dtype(value.type)
            for actual, extent in zip(array.shape, extents_of(value.type), strict=True):  # type: ignore[arg-type]
                assert actual <= extent if isinstance(extent, graph.Extent) else actual == extent

    check()


# --- layouts


@given(layouts())
def test_layouts_are_permutations_with_inverses(layout: Layout) -> None:
    assert sorted(layout) == list(range(layout.size))
    inverse = layout.inverse()
    assert [inverse(offset) for offset in layout] == list(range(layout.size))


@given(composable_layouts())
def test_compose_is_function_composition(pair: tuple[Layout, Layout]) -> None:
    outer, inner = pair
    assert list(outer.compose(inner)) == [outer(offset) for offset in inner]


@given(fragments())
def test_fragments_hold_every_element_once(fragment: Fragment) -> None:
    places = {fragment.place(t, r) for t in range(fragment.threads) for r in range(fragment.registers)}
    assert places == {(row, column) for row in range(fragment.rows) for column in range(fragment.cols)}


@given(swizzles(), st.integers(0, 1 << 16))
def test_swizzles_undo_themselves_and_keep_chunks(swizzle: Swizzle, offset: int) -> None:
    assert swizzle(swizzle(offset)) == offset
    assert swizzle(offset) % 16 == offset % 16
    assert swizzle(offset) // 128 == offset // 128


# --- configs


@pytest.mark.parametrize("target", COMPILED)
def test_configs_are_legal(target: str) -> None:
    @given(tile_configs(target))
    def check(config: Config) -> None:
        assert not list(violations(config, target))

    check()


# --- memory


@given(lifetimes())
def test_lifetimes_are_ordered(found: tuple[tuple[int, int], ...]) -> None:
    assert all(0 <= first <= last for first, last in found)


@given(memory_problems(), st.sampled_from([1, 16, 256]))
def test_the_planner_loses_no_value(problem: MemoryProblem, alignment: int) -> None:
    offsets = _offsets.assign(problem.lifetimes, problem.sizes, alignment)
    total = _offsets.total(offsets, problem.sizes, alignment)
    assert_keeps_values(problem, offsets, total, alignment)
    assert _offsets.lower_bound(problem.lifetimes, problem.sizes, alignment) <= total
    assert total <= sum(_offsets.aligned(size, alignment) for size in problem.sizes)


# --- patterns


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_are_planted(name: str) -> None:
    """Each is found, by the ops that it makes, in many networks of default strategies; the pass or shape that looks for it says which."""
    found = 0

    @settings(max_examples=60)
    @given(graphs(4, steps=("pattern", "unary", "conv"), patterns=(name,)))
    def collect(case: GeneratedGraph) -> None:
        nonlocal found
        case.module.verify()
        found += MARKS[name](case.module)

    collect()
    assert found >= 5, f"{name} in {found} of 60 networks"


def test_swish_is_in_networks_of_the_default_strategy() -> None:
    found = 0

    @settings(max_examples=200)
    @given(graphs(8))
    def collect(case: GeneratedGraph) -> None:
        nonlocal found
        found += MARKS["swish"](case.module)

    collect()
    assert found >= 5, f"sigmoid(x) * x in {found} of 200 networks"


def made_by(value: SSAValue, kind: type[Operation]) -> Operation | None:
    return value.owner if isinstance(value.owner, kind) else None


def any_op(kind: type[Operation], holds: Callable[[Any], bool]) -> Callable[[ModuleOp], bool]:
    return lambda module: any(isinstance(op, kind) and holds(op) for op in module.walk())


def is_swish(op: graph.BinaryOp) -> bool:
    sides = (op.operands[0], op.operands[1])
    gates = [made_by(side, graph.UnaryOp) for side in sides]
    return op.kind == "mul" and any(
        isinstance(gate, graph.UnaryOp) and gate.kind == "sigmoid" and gate.operand is other
        for gate, other in zip(gates, reversed(sides), strict=True)
    )


def depth(value: SSAValue, *kinds: type[Operation]) -> bool:
    """Whether the value comes through ops of these kinds, the last first, by their first operands."""
    for kind in kinds:
        op = made_by(value, kind)
        if op is None:
            return False
        value = op.operands[0]
    return True


Contraction = (graph.ConvOp, graph.MatmulOp)
MARKS: dict[str, Callable[[ModuleOp], bool]] = {
    "swish": any_op(graph.BinaryOp, is_swish),
    "epilogue": any_op(graph.UnaryOp, lambda op: op.kind == "relu" and (
        depth(op.operand, graph.BinaryOp, graph.ConvOp) or depth(op.operand, graph.BinaryOp, graph.BinaryOp, graph.ConvOp))),
    "batch_norm": any_op(graph.BinaryOp, lambda op: op.kind == "add" and depth(op.operands[0], graph.BinaryOp, graph.ConvOp)),
    "inverse_transposes": any_op(graph.TransposeOp, lambda op: depth(op.operand, graph.TransposeOp) or depth(op.operand, graph.BinaryOp, graph.TransposeOp)),
    "transposed_operands": any_op(graph.BinaryOp, lambda op: all(made_by(side, graph.TransposeOp) for side in op.operands)),
    "flattened_product": any_op(graph.MatmulOp, lambda op: depth(op.a, graph.ReshapeOp, graph.TransposeOp)),
    "shared_operand": any_op(graph.BinaryOp, lambda op: op.operands[0] is op.operands[1] or op.operands[1] in getattr(op.operands[0].owner, "operands", ())),
    "second_consumer": any_op(graph.BinaryOp, lambda op: op.operands[0] in getattr(op.operands[1].owner, "operands", ())),
    "weight_chain": any_op(graph.TransposeOp, lambda op: made_by(op.operand, graph.WeightOp) is not None),
    "neutral": any_op(graph.ReshapeOp, lambda op: op.operand.type == op.result.type or depth(op.operand, graph.ReshapeOp)),
    "attention": any_op(graph.MatmulOp, lambda op: depth(op.a, graph.SoftmaxOp)),
    "casts": any_op(graph.UnaryOp, lambda op: depth(op.operand, graph.CastOp, graph.CastOp)),
}  # fmt: skip


ELEMENTS = (f16, bf16, f32, f64, i1, i8, i16, i32, i64)


@given(graphs(5, steps=(*STEPS, "cast"), elements=ELEMENTS, empty=True), st.integers(0, 9))
def test_every_element_type_empty_extents_and_special_values(case: GeneratedGraph, seed: int) -> None:
    """The interpreter takes them all, and what comes out has the types that the module says."""
    with np.errstate(all="ignore"):
        results = interpret(case.module, case.special_inputs(seed), case.weights)
    for port in signature_of(case.module).outputs:
        assert (results[port.name].dtype, results[port.name].shape) == (port.dtype, port.shape)


def test_special_inputs_hold_what_is_special() -> None:
    case = close_network(Block(arg_types=[TensorType(f32, [512]), TensorType(i8, [512])]), [], WeightStore())
    arrays = case.special_inputs()
    floats, whole = arrays["x0"], arrays["x1"]
    assert np.isnan(floats).any() and np.isinf(floats).any() and ((floats == 0) & np.signbit(floats)).any()
    assert ((floats != 0) & (np.abs(floats) < np.finfo(np.float32).tiny)).any()
    assert {127, -128} <= set(whole.tolist())
