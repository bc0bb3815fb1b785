"""The suites by name, how each is cut into batches, and the part of each that `make test` runs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from stepwell.testing.conformance import record
from stepwell.testing.conformance.case import Outcome
from stepwell.testing.conformance.node_tests import node_tests
from stepwell.testing.conformance.run import Make
from stepwell.testing.conformance.sweep import sweep_cases


@dataclass(frozen=True)
class Suite:
    """`cases` of an executor; `group`: names with the same group may be compiled together, at most `together` of them."""

    cases: Callable[[str], dict[str, Make]]
    group: Callable[[str], str]
    together: int

    def batches(self, names: list[str], known: Mapping[str, Outcome]) -> list[list[str]]:
        """What is known to be right all together, what nobody has run by groups, everything else alone: a batch in which a case fails has to be split."""
        groups: dict[str, list[str]] = {}
        for name in names:
            status = known[name].status if name in known else ""
            groups.setdefault({"right": "", "": self.group(name)}.get(status, name), []).append(name)
        n = self.together
        return [group[i : i + n] for group in groups.values() for i in range(0, len(group), n)]


def kin(name: str) -> str:
    """Sweep cases that most likely end alike: one operator and form, and floats, integers or booleans."""
    op, form, type, _ = name.split("/")
    return f"{op}/{form}/{type.strip('0123456789')}"


SUITES: Mapping[str, Suite] = {
    "sweep": Suite(sweep_cases, kin, 24),
    "nodes": Suite(lambda executor: node_tests(), lambda name: name, together=1),
}
"""`sweep`: 24 together. `nodes`: each test is a model of its own."""


def recorded(path: Path, cases: Mapping[str, Make]) -> dict[str, Outcome]:
    """What the record at `path` holds."""
    return record.read(path.read_text(), cases)


def sample(names: list[str], share: int, salt: str = "") -> list[str]:
    """About one name in `share`, always the same ones."""
    return [name for name in names if zlib.crc32(f"{salt}{name}".encode()) % share == 0]
