"""How fast one core of a CPU is at what kernels do, in cycles; from them the estimates of the families in nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Rates:
    """`products`: fused multiply-adds a cycle of a micro-kernel whose accumulators fill the registers; `elements`: elements loaded, stored or
    computed a cycle by one op of a vector kernel; `steps`: elements a cycle of code that goes element by element."""

    gigahertz: float
    products: float
    elements: float
    steps: float

    def nanoseconds(self, cycles: float) -> float:
        """What so many cycles take."""
        return cycles / self.gigahertz


RATES: Mapping[str, Rates] = MappingProxyType(
    {"x86-64-v4": Rates(2.5, 19.2, 3.2, 0.1), "x86-64-v3": Rates(2.5, 9.6, 1.6, 0.1)}
)
"""One core at 2.5 GHz as the kernels reach it (docs/design/cpu-kernels.md): 48 products and 8 elements a nanosecond with 16 lanes, half of it
with 8; element loops spend some ten cycles on indices for each step."""
