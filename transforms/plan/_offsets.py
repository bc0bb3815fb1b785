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
    else on top. Tried by falling size, by falling size x duration and by start (greedy by size: Pisarchyk and Lee 2020,
    arXiv:2001.03288), and by start from both ends of an arena of the lower bound's size in turn, which is the best
    there is for a chain. The smallest total is taken."""
    if len(lifetimes) != len(sizes):
        raise ValueError(f"{len(lifetimes)} lifetimes for {len(sizes)} sizes")
    padded = [aligned(size, alignment) for size in sizes]
    orders = [sorted(range(len(sizes)), key=key) for key in _keys(lifetimes, padded)]
    candidates = [_place(order, lifetimes, padded) for order in orders]
    candidates.append(_place(orders[-1], lifetimes, padded, lower_bound(lifetimes, sizes, alignment)))
    return min(candidates, key=lambda offsets: total(offsets, sizes, alignment))


def _keys(lifetimes: Sequence[Lifetime], sizes: Sequence[int]) -> tuple[Callable[[int], tuple[int, ...]], ...]:
    """Orders in which intervals are placed; the last is by start."""
    return (
        lambda i: (-sizes[i], lifetimes[i][0], i),
        lambda i: (-sizes[i] * (lifetimes[i][1] - lifetimes[i][0] + 1), i),
        lambda i: (lifetimes[i][0], -sizes[i], i),
    )


def _place(order: Sequence[int], lifetimes: Sequence[Lifetime], sizes: Sequence[int], ceiling: int = 0) -> list[int]:
    """One candidate. With a ceiling the space up to it counts as a gap, and every other interval goes to the upper end
    of its gap."""
    offsets = [0] * len(sizes)
    placed: list[int] = []
    for turn, index in enumerate(order):
        first, last = lifetimes[index]
        together = sorted(
            (offsets[other], sizes[other])
            for other in placed
            if sizes[other] and lifetimes[other][0] <= last and first <= lifetimes[other][1]
        )
        begin, end = _best_gap(together, sizes[index], ceiling)
        offsets[index] = end - sizes[index] if ceiling and turn % 2 else begin
        placed.append(index)
    return offsets


def _best_gap(taken: Sequence[tuple[int, int]], size: int, ceiling: int) -> tuple[int, int]:
    """The tightest gap for `size` bytes among sorted (offset, size), else the space behind everything."""
    best: tuple[int, int] | None = None
    end = 0
    for offset, length in (*taken, (ceiling, 0)):
        if offset - end >= size and (best is None or offset - end < best[1] - best[0]):
            best = (end, offset)
        end = max(end, offset + length)
    return best or (end, end + size)


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
