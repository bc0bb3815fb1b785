"""Shapes and attributes that fit them, drawn forward: an operand's shape is there first, attributes follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

Shape = tuple[int, ...]

EXTENTS = st.one_of(st.integers(1, 4), st.sampled_from([5, 7, 8, 9, 11, 16]))
"""Extents from 1 on: small ones, primes, powers of two and their neighbours."""


def tensor_shapes(least: int = 0, most: int = 5, elements: int = 512) -> SearchStrategy[Shape]:
    """Shapes of rank `least` to `most`; later extents are 1 once `elements` would be exceeded."""

    def bounded(extents: list[int]) -> Shape:
        shape: list[int] = []
        for extent in extents:
            shape.append(extent if prod(shape) * extent <= elements else 1)
        return tuple(shape)

    return st.lists(EXTENTS, min_size=least, max_size=most).map(bounded)


@st.composite
def image_shapes(draw: DrawFn, spatial: int | None = None, channels_last: bool = False) -> Shape:
    """[N, C, spatial..] or [N, spatial.., C]: few images, 1 to 9 channels, 1 to 3 spatial dims of 1 to 9."""
    count = draw(st.sampled_from([2, 2, 2, 1, 3])) if spatial is None else spatial
    most = {1: 9, 2: 9, 3: 4}[count]
    batch, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3, 4, 5, 8, 9]))
    extents = tuple(draw(st.lists(st.integers(1, most), min_size=count, max_size=count)))
    return (batch, *extents, channels) if channels_last else (batch, channels, *extents)


@dataclass(frozen=True)
class Window:
    """Legal window attributes for some spatial extents; `pads` lists begins, then ends."""

    kernel: Shape
    strides: Shape
    pads: Shape
    dilations: Shape


@st.composite
def windows(draw: DrawFn, spatial: Sequence[int], *, same: bool = False, half_padded: bool = False) -> Window:
    """A window that fits into `spatial`. `same`: stride 1 and pads that keep the extents; `half_padded`: pads are smaller than the window's span, as
    a pool needs."""
    kernel: list[int] = []
    strides: list[int] = []
    begins: list[int] = []
    ends: list[int] = []
    dilations: list[int] = []
    for extent in spatial:
        dilation = draw(st.sampled_from([1, 1, 1, 2]))
        taps = draw(st.integers(1, 3))
        span = (taps - 1) * dilation + 1
        if same:
            begin = draw(st.sampled_from([(span - 1) // 2, span // 2]))
            end, stride = span - 1 - begin, 1
        else:
            most = span - 1 if half_padded else 2
            begin, end = draw(st.integers(0, min(2, most))), draw(st.integers(0, min(2, most)))
            stride = draw(st.integers(1, 3))
        if extent + begin + end < span:
            taps, dilation = 1, 1
            begin, end = (0, 0) if same or half_padded else (begin, end)
        for values, value in ((kernel, taps), (strides, stride), (begins, begin), (ends, end), (dilations, dilation)):
            values.append(value)
    return Window(tuple(kernel), tuple(strides), (*begins, *ends), tuple(dilations))


def permutations(rank: int) -> SearchStrategy[Shape]:
    """Every order of `rank` dims."""
    return st.permutations(range(rank)).map(tuple)


@st.composite
def reshapes(draw: DrawFn, shape: Shape) -> Shape:
    """Another shape of as many elements: neighbours merged, factors split off, extents of 1 put in."""
    current = list(shape)
    for _ in range(draw(st.integers(1, 3))):
        choice = draw(st.sampled_from(["merge", "split", "one"]))
        if choice == "merge" and len(current) >= 2:
            at = draw(st.integers(0, len(current) - 2))
            current[at : at + 2] = [current[at] * current[at + 1]]
        elif choice == "split" and current and 0 not in current:
            at = draw(st.integers(0, len(current) - 1))
            factors = [f for f in range(1, current[at] + 1) if current[at] % f == 0]
            factor = draw(st.sampled_from(factors))
            current[at : at + 1] = [factor, current[at] // factor]
        elif len(current) < 6:
            current.insert(draw(st.integers(0, len(current))), 1)
    return tuple(current)


@st.composite
def broadcasts(draw: DrawFn, result: Shape) -> tuple[Shape, Shape]:
    """(operand shape, dims) of a broadcast to `result`: any subset of its dims, in order."""
    dims = tuple(dim for dim in range(len(result)) if draw(st.booleans()))
    return tuple(result[dim] for dim in dims), dims
