"""Which dims of a fusion run together: loops of ops and dims of values as labels, united where an op reads one by the other."""

from __future__ import annotations

from collections.abc import Sequence


class Labels:
    """Labels in classes. Loops of one op stay apart: what would unite two of them is refused."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.extents: list[int] = []
        self.apart: list[tuple[int, ...]] = []

    def new(self, extents: Sequence[int], *, apart: bool = False) -> tuple[int, ...]:
        """A fresh label for each extent; `apart`: no two of them may ever be in one class."""
        made = tuple(range(len(self.parents), len(self.parents) + len(extents)))
        self.parents += made
        self.extents += extents
        if apart:
            self.apart.append(made)
        return made

    def find(self, label: int) -> int:
        """The representative of a label's class."""
        while self.parents[label] != label:
            self.parents[label] = self.parents[self.parents[label]]
            label = self.parents[label]
        return label

    def unite(self, first: Sequence[int], second: Sequence[int]) -> bool:
        """Put labels into one class pairwise; False, and nothing is changed, where loops of one op would meet or extents differ."""
        before = list(self.parents)
        for a, b in zip(first, second, strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            if self.extents[low] != self.extents[high] or (low != high and self._meet(low, high)):
                self.parents = before
                return False
            self.parents[high] = low
        return True

    def _meet(self, first: int, second: int) -> bool:
        for group in self.apart:
            classes = {self.find(label) for label in group}
            if first in classes and second in classes:
                return True
        return False
