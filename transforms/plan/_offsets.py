"""Placing intervals of memory: the pure function behind plan-assign-offsets, and what its result is measured
against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Lifetime = tuple[int, int]


def aligned(size: int, alignment: int) -> int:
    """`size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def assign(lifetimes: Sequence[Lifetime], sizes: Sequence[int], alignment: int) -> list[int]:
    """Byte offsets, multiples of `alignment`, such that intervals whose lifetimes (inclusive) meet never overlap.

    Best fit: each interval in turn goes into the smallest gap, among those placed and alive with it, that holds it,
    else on top. Tried by falling size, by falling size x duration and by start; the smallest total is taken. Within 0
    to 10 % of the lower bound on real networks (greedy by size, Pisarchyk and Lee 2020, arXiv:2001.03288)."""
    if len(lifetimes) != len(sizes):
        raise ValueError(f"{len(lifetimes)} lifetimes for {len(sizes)} sizes")
    padded = [aligned(size, alignment) for size in sizes]
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-padded[i], lifetimes[i][0], i),
        lambda i: (-padded[i] * (lifetimes[i][1] - lifetimes[i][0] + 1), i),
        lambda i: (lifetimes[i][0], -padded[i], i),
    )
    candidates = [_place(sorted(range(len(sizes)), key=key), lifetimes, padded) for key in keys]
    return min(candidates, key=lambda offsets: total(offsets, sizes, alignment))


def _place(order: Sequence[int], lifetimes: Sequence[Lifetime], sizes: Sequence[int]) -> list[int]:
    offsets = [0] * len(sizes)
    placed: list[int] = []
    for index in order:
        first, last = lifetimes[index]
        together = sorted(
            (offsets[other], sizes[other])
            for other in placed
            if sizes[other] and lifetimes[other][0] <= last and first <= lifetimes[other][1]
        )
        offsets[index] = _best_gap(together, sizes[index])
        placed.append(index)
    return offsets


def _best_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    """Where to put `size` bytes among sorted (offset, size): the tightest gap, else behind everything."""
    best, best_gap, end = -1, -1, 0
    for offset, length in taken:
        gap = offset - end
        if gap >= size and (best < 0 or gap < best_gap):
            best, best_gap = end, gap
        end = max(end, offset + length)
    return end if best < 0 else best


def total(offsets: Sequence[int], sizes: Sequence[int], alignment: int) -> int:
    """Bytes of an arena that holds everything, a multiple of the alignment."""
    return max((offset + aligned(size, alignment) for offset, size in zip(offsets, sizes, strict=True)), default=0)


def lower_bound(lifetimes: Sequence[Lifetime], sizes: Sequence[int], alignment: int) -> int:
    """No arena is smaller: the most bytes that are alive in one step."""
    starts = {first for first, _ in lifetimes}
    return max(
        (
            sum(
                aligned(size, alignment)
                for (first, last), size in zip(lifetimes, sizes, strict=True)
                if first <= t <= last
            )
            for t in starts
        ),
        default=0,
    )
