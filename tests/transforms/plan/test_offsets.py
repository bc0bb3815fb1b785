"""The planner of the arena: values keep their bytes, offsets are aligned, and the arena is close to the lower bound."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import find, given, settings

from stepwell.testing.strategies import MemoryProblem, assert_keeps_values, memory_problems
from stepwell.transforms.plan._offsets import Lifetime, aligned, assign, lower_bound, total

Planner = Callable[[Sequence[Lifetime], Sequence[int], int], list[int]]


@given(memory_problems())
def test_values_keep_their_bytes(problem: MemoryProblem) -> None:
    offsets = assign(problem.lifetimes, problem.sizes, 256)
    assert_keeps_values(problem, offsets, total(offsets, problem.sizes, 256), 256)


@given(memory_problems(20))
def test_the_total_is_between_the_bounds(problem: MemoryProblem) -> None:
    needed = total(assign(problem.lifetimes, problem.sizes, 256), problem.sizes, 256)
    assert lower_bound(problem.lifetimes, problem.sizes, 256) <= needed
    assert needed <= sum(aligned(size, 256) for size in problem.sizes)


def test_a_chain_takes_its_two_largest_neighbours() -> None:
    """Each value is read by the next step only: two buffers, as in ping-pong."""
    sizes = [4096 * (1 + i % 3) for i in range(40)]
    lifetimes = [(i, i + 1) for i in range(40)]
    assert total(assign(lifetimes, sizes, 256), sizes, 256) == lower_bound(lifetimes, sizes, 256)


def residual_network(rng: random.Random) -> tuple[list[Lifetime], list[int]]:
    """Blocks of two or three steps whose input lives until the block ends; sizes halve now and then."""
    lifetimes: list[Lifetime] = []
    sizes, step, size = [], 0, rng.randrange(1, 9) * 100_000
    for _ in range(rng.randrange(4, 20)):
        length = rng.randrange(2, 4)
        size = size // 2 if rng.random() < 0.3 else size
        for inner in range(length):
            lifetimes.append((step, step + 1 if inner < length - 1 else step + length))
            sizes.append(size // (1 if inner == length - 1 else 4))
            step += 1
    return lifetimes, sizes


def test_quality_on_residual_networks() -> None:
    """Within 10 % of the lower bound on average, never above 1.5 times it."""
    rng = random.Random(0)
    ratios = []
    for _ in range(60):
        lifetimes, sizes = residual_network(rng)
        ratios.append(total(assign(lifetimes, sizes, 256), sizes, 256) / max(1, lower_bound(lifetimes, sizes, 256)))
    assert sum(ratios) / len(ratios) < 1.1
    assert max(ratios) < 1.5


def test_different_numbers_of_lifetimes_and_sizes() -> None:
    with pytest.raises(ValueError, match="1 lifetimes for 2 sizes"):
        assign([(0, 1)], [1, 2], 256)


def ends_one_step_early(lifetimes: Sequence[Lifetime], sizes: Sequence[int], alignment: int) -> list[int]:
    """Wrong: takes the last step as exclusive."""
    return assign([(first, max(first, last - 1)) for first, last in lifetimes], sizes, alignment)


def forgets_the_rest_of_a_unit(lifetimes: Sequence[Lifetime], sizes: Sequence[int], alignment: int) -> list[int]:
    """Wrong: rounds sizes down."""
    return assign(lifetimes, [size // alignment * alignment for size in sizes], alignment)


def ignores_alignment(lifetimes: Sequence[Lifetime], sizes: Sequence[int], alignment: int) -> list[int]:
    """Wrong: packs bytes."""
    return assign(lifetimes, sizes, 1)


@pytest.mark.parametrize("planner", [ends_one_step_early, forgets_the_rest_of_a_unit, ignores_alignment])
def test_wrong_planners_are_caught(planner: Planner) -> None:
    few = settings(max_examples=200, database=None, derandomize=True)
    find(memory_problems(), lambda problem: _breaks(planner, problem), settings=few)


def _breaks(planner: Planner, problem: MemoryProblem) -> bool:
    offsets = planner(problem.lifetimes, problem.sizes, 256)
    try:
        assert_keeps_values(problem, offsets, total(offsets, problem.sizes, 256), 256)
    except AssertionError:
        return True
    return False
