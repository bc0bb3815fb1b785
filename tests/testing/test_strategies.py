"""What the strategies generate is legal, varied, and obeys the laws that its consumers rely on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.codegen.layouts import Fragment, Layout, Swizzle
from stepwell.dialects import graph
from stepwell.dialects.graph.extents import shape_of as extents_of
from stepwell.dialects.graph.interpreter import interpret
from stepwell.dialects.numpy_types import element_type_of
from stepwell.dialects.tile.config import TARGETS, Config, violations
from stepwell.printing import module_text
from stepwell.source import SourceMap, parse_text
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
from stepwell.testing.strategies.op_parameters import COVERED
from stepwell.transforms.lower._graph_ops_to_linalg import CONVERSIONS
from stepwell.transforms.plan import _offsets

STRUCTURE = {"graph.custom", "graph.fusion", "graph.if", "graph.loop", "graph.weight", "graph.yield"}


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
    wanted = {op.name for op in CONVERSIONS} | {"graph.weight"}
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
            assert element_type_of(array.dtype) == value.type.element_type  # type: ignore[attr-defined]
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


@pytest.mark.parametrize("target", TARGETS)
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
