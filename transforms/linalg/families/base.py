"""What a family of schedules is: a question about stages and a target, answered by candidates or by the reasons why there are none.

A *candidate* is one schedule that is legal, with an estimate of its time. `linalg-choose-config` takes the cheapest of all families;
`stepwell-opt --print-candidates` shows them all. A config given by hand is checked by the rules of the family that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import ceil, prod

from stepwell.dialects.tile import Config
from stepwell.dialects.tile._syntax import WHOLE
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg_to_tile.written import Replacement
from stepwell.types.targets import MACHINES, Target

_ID_KEYS = {
    "stages": "s",
    "warps": "w",
    "split_k": "p",
    "blocks_per_multiprocessor": "b",
    "copies": "c",
    "epilogue": "",
    "order": "",
    "rows": "",
    "edges": "",
}
"""Keys of a config that stand in the id of its candidate, behind the block and k; the others follow from the family and the fusion."""


@dataclass(frozen=True)
class Setting:
    """For what a schedule is made: a processor of `types.targets`, and whether f32 products may be rounded to tf32."""

    processor: str
    tf32: bool = True

    @property
    def machine(self) -> Target:
        """The processor's row in the table of targets."""
        return MACHINES[self.processor]


@dataclass(frozen=True)
class Candidate:
    """One legal schedule of a family: estimated nanoseconds of the kernel, the config, and in words what decided it."""

    family: str
    estimate_ns: float
    config: Config
    why: str

    @property
    def elements(self) -> int:
        """Elements of its block, without the dims that are not cut."""
        return prod(extent for extent in self.config.block if extent != WHOLE)

    @property
    def id(self) -> str:
        """A name that stays the same as long as the config does: `wgmma-128x64x64-s4`."""
        return candidate_id(self.family, self.config)


@dataclass(frozen=True)
class Family:
    """A family of schedules. `refusals`: why it does not apply, nothing where it does; `candidates`: asked only then. `check`: why the kernel
    of a candidate cannot be had, found by building it; empty where it can. `takes`: whether a config for these stages belongs to the family;
    `violations`: why such a config, given by hand, does not fit; `write`: the kernel of that config and name, for a target if it
    is known. `close`: the largest block is taken among candidates whose estimate is at most
    that factor above the cheapest."""

    name: str
    refusals: Callable[[Stages, Setting], Iterator[str]]
    candidates: Callable[[Stages, Setting], Iterator[Candidate]]
    check: Callable[[Stages, Config, Setting], str]
    takes: Callable[[Stages, Config], bool]
    violations: Callable[[Stages, Config, Setting], Iterator[str]]
    write: Callable[[Stages, Config, str, str | None], Replacement]
    close: float = 1.0


def candidate_id(family: str, config: Config) -> str:
    """The id of a config in a family: block, k where it is not 1, then the other keys that are set."""
    extents = [*config.block, *([config.k] if config.k != 1 else [])]
    others = [f"{letter}{getattr(config, key)}" for key, letter in _ID_KEYS.items() if _is_set(config, key)]
    return "-".join([family, "x".join("*" if extent == WHOLE else str(extent) for extent in extents), *others])


def _is_set(config: Config, key: str) -> bool:
    default = next(field.default for field in fields(Config) if field.name == key)
    return bool(getattr(config, key) != default) and not (key == "warps" and config.uses_wgmma)


def round_up(value: int, multiple: int) -> int:
    """The next multiple."""
    return ceil(value / multiple) * multiple


def microseconds(nanoseconds: float) -> str:
    """A time with three digits."""
    return f"{nanoseconds / 1000:.3g} us"
