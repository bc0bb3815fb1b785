"""What a suite came to, in lines: passed, failed and refused, those counted apart for themselves, and the reasons by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stepwell.testing.conformance.case import BAD, Outcome
from stepwell.testing.conformance.record import general, losses

FAILED = (*BAD, "late")
REASONS = 40
"""So many reasons are printed; the record holds all."""


@dataclass(frozen=True)
class Result:
    """A suite on an executor: what the record knew, what was seen, which cases are counted apart."""

    suite: str
    executor: str
    known: Mapping[str, Outcome]
    seen: Mapping[str, Outcome]
    apart: Mapping[str, str]

    @property
    def lost(self) -> list[str]:
        """What is worse than recorded."""
        return losses(self.known, self.seen)

    @property
    def failed(self) -> list[str]:
        """Names of cases that ended as none may."""
        return [name for name, outcome in self.seen.items() if outcome.status in FAILED]

    @property
    def is_bad(self) -> bool:
        """Whether the command fails for it."""
        return bool(self.lost or self.failed)

    def lines(self) -> Iterator[str]:
        """Everything but the counts: what failed, what was lost, and why cases were refused."""
        for name in self.failed:
            yield f"{self.seen[name].status:8}{name}: {self.seen[name].reason}"
        yield from (f"lost: {line}" for line in self.lost)
        reasons = Counter(general(outcome.reason) for outcome in self.seen.values() if outcome.status == "refused")
        yield from (f"{count:6} refused: {reason}" for reason, count in reasons.most_common(REASONS))
        if more := len(reasons) - REASONS:
            yield from [f"       and {more} reasons more"] * (more > 0)

    def summary(self) -> str:
        """One line of counts."""
        groups: dict[str, list[Outcome]] = {"": []}
        for name, outcome in self.seen.items():
            groups.setdefault(self.apart.get(name, ""), []).append(outcome)
        parts = [_counts(groups.pop("")), *(f"{kind}: {_counts(held)}" for kind, held in sorted(groups.items()))]
        return f"{self.suite} on {self.executor}: {'; '.join(parts)}"


def _counts(outcomes: Iterable[Outcome]) -> str:
    """`1700 of 1757 passed, 0 failed, 57 refused`."""
    found = Counter("failed" if outcome.status in FAILED else outcome.status for outcome in outcomes)
    return f"{found['right']} of {found.total()} passed, {found['failed']} failed, {found['refused']} refused"
