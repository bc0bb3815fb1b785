"""Layouts: bijective, invertible, composable; fragments cover their tile once; swizzles and magic numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.types.layouts import (
    Layout,
    LayoutError,
    Swizzle,
    blocked_fragment,
    magic_number,
    pixel_order,
    wgmma_fragment,
)


@st.composite
def compact_layouts(draw: st.DrawFn) -> Layout:
    """A permutation: sizes in some order, strides as if they stood in another."""
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    order = draw(st.permutations(range(len(sizes))))
    strides, place = [0] * len(sizes), 1
    for position in order:
        strides[position] = place
        place *= sizes[position]
    return Layout(tuple(sizes), tuple(strides))


@given(compact_layouts())
def test_compact_layouts_are_bijections(layout: Layout) -> None:
    assert layout.is_compact()
    assert sorted(layout) == list(range(layout.size))


@given(compact_layouts())
def test_inverse_undoes(layout: Layout) -> None:
    inverse = layout.inverse()
    assert [inverse(layout(index)) for index in range(layout.size)] == list(range(layout.size))


@given(compact_layouts(), st.integers(0, 3))
def test_composition_is_function_composition(first: Layout, shift: int) -> None:
    second = Layout((first.size,), (3 + shift,))
    composed = second.compose(first)
    assert list(composed) == [second(first(index)) for index in range(first.size)]


@given(compact_layouts())
def test_composition_with_the_inverse_is_the_identity(layout: Layout) -> None:
    try:
        composed = layout.compose(layout.inverse())
    except LayoutError:
        return  # digits of the inverse that straddle ours cannot be written as digits
    assert list(composed) == list(range(layout.size))


def test_composition_walks_through_digits() -> None:
    outer = Layout((4, 6), (6, 1))
    assert list(outer.compose(Layout((2, 3), (2, 4)))) == [outer(2 * a + 4 * b) for b in range(3) for a in range(2)]
    with pytest.raises(LayoutError, match="splits a digit"):
        outer.compose(Layout((2,), (3,)))
    with pytest.raises(LayoutError, match="run past the end"):
        outer.compose(Layout((2,), (24,)))


def test_layouts_that_are_no_permutation_have_no_inverse() -> None:
    with pytest.raises(LayoutError, match="no permutation"):
        Layout((4,), (2,)).inverse()


@pytest.mark.parametrize("cols", [8, 24, 64, 96, 256])
def test_wgmma_fragment_covers_the_tile_once(cols: int) -> None:
    fragment = wgmma_fragment(cols)
    places = {fragment.place(t, r) for t in range(128) for r in range(fragment.registers)}
    assert len(places) == 64 * cols == 128 * fragment.registers
    # PTX ISA: thread 37 = lane 5 of warp 1; d[3] is in the lower half, odd column
    assert fragment.place(37, 3) == (16 + 8 + 5 // 4, 2 * (5 % 4) + 1)


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([32, 64, 128, 256]), st.integers(1, 4), st.sampled_from([8, 32]))
def test_blocked_fragment_covers_the_tile_once(width: int, threads: int, repeats: int, cols: int) -> None:
    rows = repeats * threads // (cols // width)
    fragment = blocked_fragment(rows, cols, threads, width)
    places = {fragment.place(t, r) for t in range(threads) for r in range(fragment.registers)}
    assert len(places) == rows * cols
    for thread in (0, threads - 1):
        row, col = fragment.place(thread, 0)
        assert [fragment.place(thread, v) for v in range(width)] == [(row, col + v) for v in range(width)]


def test_fragments_that_do_not_fit_are_refused() -> None:
    for build in (
        lambda: wgmma_fragment(12),
        lambda: blocked_fragment(8, 30, 64, 4),
        lambda: blocked_fragment(3, 32, 32, 4),
    ):
        with pytest.raises(LayoutError):
            build()


@pytest.mark.parametrize("row_bytes", [32, 64, 128])
def test_swizzles_are_involutions_that_keep_chunks_and_spread_columns(row_bytes: int) -> None:
    swizzle = Swizzle(row_bytes)
    offsets = range(2 * swizzle.alignment)
    assert all(swizzle(swizzle(offset)) == offset for offset in offsets)
    assert sorted(swizzle(offset) for offset in offsets) == list(offsets)
    assert all(swizzle(offset) - swizzle(offset & ~15) == offset & 15 for offset in offsets)
    column = {swizzle(row * row_bytes) // 16 % 8 for row in range(8)}
    assert len(column) == 8, "eight rows of one column fall into eight different bank groups"


def test_pixels_are_numbered_columns_first() -> None:
    order = pixel_order(2, 3, 5)
    assert list(order) == list(range(30)) and order.sizes == (5, 3, 2)


@given(st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_magic_numbers_divide(divisor: int, n: int) -> None:
    mul, shift = magic_number(divisor)
    assert 0 < mul < 2**32 and 31 <= shift <= 62
    for value in (n, 2**31 - 1, divisor - 1, divisor, n // divisor * divisor):
        if value < 2**31:
            assert value * mul >> shift == value // divisor


def test_magic_numbers_have_a_range() -> None:
    with pytest.raises(LayoutError):
        magic_number(0)
