"""Lifetimes of values for memory planning, and the property that a plan must have: no value is lost while it lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

Lifetime = tuple[int, int]
"""First and last step, both inclusive."""


@dataclass(frozen=True)
class MemoryProblem:
    """Values to place: when each lives and how many bytes it takes."""

    lifetimes: tuple[Lifetime, ...]
    sizes: tuple[int, ...]


@st.composite
def lifetimes(draw: DrawFn, max_values: int = 12) -> tuple[Lifetime, ...]:
    """As a network has them: value i is written in step i and read last in a later one, most often the next; some live to the end."""
    count = draw(st.integers(0, max_values))
    ages = st.sampled_from([1, 1, 1, 2, 2, 3, 5, count])
    return tuple((step, min(step + draw(ages), max(count - 1, step))) for step in range(count))


@st.composite
def _problems(draw: DrawFn, max_values: int) -> MemoryProblem:
    if draw(st.booleans()):
        found = draw(lifetimes(max_values))
    else:
        spans = st.tuples(st.integers(0, 8), st.integers(0, 4)).map(lambda span: (span[0], span[0] + span[1]))
        found = tuple(draw(st.lists(spans, max_size=max_values)))
    sizes = st.one_of(st.integers(1, 2000), st.sampled_from([0, 1, 255, 256, 257, 512, 4096]))
    return MemoryProblem(found, tuple(draw(st.lists(sizes, min_size=len(found), max_size=len(found)))))


def memory_problems(max_values: int = 12) -> SearchStrategy[MemoryProblem]:
    """Lifetimes with sizes: chains as networks have them, or any intervals; sizes around the alignment too."""
    return _problems(max_values)


def assert_keeps_values(problem: MemoryProblem, offsets: Sequence[int], total: int, alignment: int = 1) -> None:
    """AssertionError unless the offsets work, found by doing: in its first step every value fills its bytes of a poisoned arena with a mark of
    its own, and after its last step the marks must still be there. Values that meet in one step are all alive in it."""
    assert len(offsets) == len(problem.sizes), f"{len(offsets)} offsets for {len(problem.sizes)} values"
    for index, (offset, size) in enumerate(zip(offsets, problem.sizes, strict=True)):
        assert offset >= 0 and offset % alignment == 0, (
            f"value {index}: offset {offset} is not a multiple of {alignment}"
        )
        assert offset + size <= total, f"value {index} ends at {offset + size}, the arena at {total}"
    arena = np.full(total, -1, np.int64)
    for step in sorted({step for lifetime in problem.lifetimes for step in lifetime}):
        alive = [i for i, (first, last) in enumerate(problem.lifetimes) if first <= step <= last]
        for index in alive:
            if problem.lifetimes[index][0] == step:
                arena[offsets[index] : offsets[index] + problem.sizes[index]] = index
        for index in alive:
            found = arena[offsets[index] : offsets[index] + problem.sizes[index]]
            lost = np.flatnonzero(found != index)
            if lost.size:
                raise AssertionError(
                    f"step {step}: byte {lost[0]} of value {index}, live {list(problem.lifetimes[index])}, "
                    f"was overwritten by value {found[lost[0]]}"
                )
