"""Strategies over `stepwell.types.layouts`: layouts, pairs that compose, register fragments, swizzles."""

from __future__ import annotations

from math import prod

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from stepwell.types.layouts import Fragment, Layout, Swizzle, blocked_fragment, wgmma_fragment


@st.composite
def layouts(draw: DrawFn, max_digits: int = 4) -> Layout:
    """Compact layouts: digits of 1 to 8 whose strides order them in any way, so that range(size) is permuted."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=max_digits))
    strides = [0] * len(sizes)
    stride = 1
    for position in draw(st.permutations(range(len(sizes)))):
        strides[position] = stride
        stride *= sizes[position]
    return Layout(tuple(sizes), tuple(strides))


@st.composite
def composable_layouts(draw: DrawFn) -> tuple[Layout, Layout]:
    """(outer, inner) such that `outer.compose(inner)` exists: inner takes each of outer's digits whole, in another order."""
    outer = draw(layouts())
    places = [prod(outer.sizes[:digit]) for digit in range(len(outer.sizes))]
    order = draw(st.permutations(range(len(outer.sizes))))
    return outer, Layout(tuple(outer.sizes[d] for d in order), tuple(places[d] for d in order))


@st.composite
def fragments(draw: DrawFn) -> Fragment:
    """Tiles spread over threads: accumulators of wgmma, or rows of vectors."""
    if draw(st.booleans()):
        return wgmma_fragment(8 * draw(st.integers(1, 32)))
    width = draw(st.sampled_from([1, 2, 4, 8]))
    across, down = draw(st.sampled_from([(1, 32), (2, 16), (4, 8), (8, 4), (16, 8), (32, 4)]))
    return blocked_fragment(down * draw(st.integers(1, 4)), width * across, across * down, width)


def swizzles() -> SearchStrategy[Swizzle]:
    """The three swizzles of shared memory."""
    return st.sampled_from([Swizzle(32), Swizzle(64), Swizzle(128)])
