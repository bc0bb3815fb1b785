"""What may come of a command whatever its input is: an exit code of the contract, one clear error, no traceback, no signal."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from stepwell.testing.hostile.children import Ended

ALLOWED = (0, 2, 3, 4, 5)
"""Done, usage, model, plan, memory. 1 is a comparison's, 70 our fault, 99 no end at all."""


def complaints(ended: Ended, allowed: Collection[int] = ALLOWED) -> list[str]:
    """Everything that is wrong with how a command ended."""
    if ended.code < 0:
        return [f"killed by {signal.Signals(-ended.code).name}"]
    said = ended.err.lstrip()
    found = []
    if ended.code not in allowed:
        found.append(f"exit code {ended.code}")
    if "Traceback" in ended.err:
        found.append("a traceback")
    if ended.code and not _is_one_error(said):
        found.append("standard error is not one error")
    return found


def _is_one_error(said: str) -> bool:
    """`error: ..` at the beginning and nowhere else, or argparse's usage and error."""
    return said.startswith("usage: ") or (said.startswith("error: ") and "\nerror: " not in said)


@dataclass
class Tally:
    """Counts of a net: how commands ended, and those that should not have ended so."""

    codes: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, ended: Ended, allowed: Collection[int] = ALLOWED) -> bool:
        """Record how the case `name` ended; True when all is well."""
        self.codes[ended.code] += 1
        wrong = complaints(ended, allowed)
        if wrong:
            self.fault(name, f"{'; '.join(wrong)}: {ended.err.strip()[:600]}")
        return not wrong

    def fault(self, name: str, what: str) -> None:
        """Record something that is wrong."""
        self.faults.append(f"{name}: {what}")

    def __str__(self) -> str:
        ends = ", ".join(f"{count} ended in {code}" for code, count in sorted(self.codes.items()))
        listed = "".join(f"\n- {fault}" for fault in self.faults)
        return f"{sum(self.codes.values())} commands: {ends}; {len(self.faults)} faults{listed}"
