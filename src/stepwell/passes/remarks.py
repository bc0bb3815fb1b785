"""Remarks: what a pass did, declined, failed at or found out, in LLVM's four kinds, once per op, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

from stepwell.runtime.errors import UsageError

Kind = Literal["passed", "missed", "failed", "analysis"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Remark:
    """One remark. `names` are the source node names of the op that it is about."""

    kind: Kind
    pass_name: str
    names: tuple[str, ...]
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = " + ".join(self.names) or "module"
        advice = f" (hint: {self.hint})" if self.hint else ""
        return f"remark: [{self.kind}] {self.pass_name}: {place}: {self.message}{advice}"


@dataclass
class RemarkCollector:
    """Keeps remarks in order and drops exact repeats: a greedy walker visits an op more than once."""

    remarks: list[Remark] = field(default_factory=list)
    _seen: set[Remark] = field(default_factory=set)

    def add(self, remark: Remark) -> None:
        """Record `remark` unless the same one is already there."""
        if remark in self._seen:
            return
        self._seen.add(remark)
        self.remarks.append(remark)

    def begin_module(self) -> None:
        """Another module follows: what was said of the one before may be said again."""
        self._seen.clear()

    def __iter__(self) -> Iterator[Remark]:
        return iter(self.remarks)

    def __len__(self) -> int:
        return len(self.remarks)

    def matching(self, pattern: str = ".*", kinds: tuple[Kind, ...] = KINDS) -> list[Remark]:
        """The remarks whose pass name matches the regular expression `pattern` and whose kind is in `kinds`."""
        wanted = check_pattern(pattern)
        return [r for r in self.remarks if r.kind in kinds and wanted.search(r.pass_name)]


def check_pattern(pattern: str, where: str = "remarks") -> re.Pattern[str]:
    """The compiled regular expression; a UsageError about the option `where` when it is none."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"not a regular expression: {error}", where=where) from None
