"""Products on the vector units of a CPU: a micro-kernel of rows against a packed panel of columns; a window is read through a table of pointers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from stepwell.dialects.tile.config import Config, Facts
from stepwell.transforms.linalg._accesses import element, element_size, is_weight
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting, round_up
from stepwell.transforms.linalg.families.products import product_extents, product_refusals
from stepwell.transforms.linalg.families.rates import RATES
from stepwell.transforms.linalg.families.rules import (
    block_and_rules,
    shapeless,
    tiles_refusal,
    vector_copy,
    whole,
    write,
)
from stepwell.types.elements import ELEMENTS

PANELS: Mapping[str, Mapping[int, tuple[int, float]]] = MappingProxyType(
    {
        "x86-64-v4": {64: (6, 1.0), 48: (8, 0.95), 32: (12, 0.85), 16: (12, 0.6)},
        "x86-64-v3": {24: (4, 1.0), 16: (6, 0.95), 8: (6, 0.6)},
    }
)
"""Columns of a panel -> rows and relative speed of the micro-kernel whose accumulators fill the register file; more
than 12 rows spill the row pointers out of the general registers (measured)."""


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why the stages are no product of panels."""
    if "fma" not in setting.machine.products:
        yield f"fma is the vector instruction of CPUs, not of {setting.processor}"
        return
    if reasons := list(product_refusals(stages)):
        yield from reasons
        return
    structure = stages.single
    yield from shapeless(stages)
    b = structure.operands[1]
    if structure.roles is not None and structure.roles.batch:
        yield "the product is batched: one packed right factor serves all rows"
    if not is_weight(structure, b):
        yield "the right factor is not a weight: only weights are packed into panels"
    if not setting.machine.multiplies(str(element(b)), "fma"):
        taken = ", ".join(row.name for row in ELEMENTS.values() if row.product("fma") is not None)
        yield f"{element(b)} operands: the vector multiply-add takes {taken}"


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """A panel of each width: the estimate is the products on padded columns, and the elements that are stored."""
    structure = stages.single
    extents, rates = product_extents(structure), RATES[setting.processor]
    stored = extents.m * extents.n * (1 + extents.residuals) / rates.elements
    for panel, (rows, speed) in PANELS[setting.processor].items():
        products = extents.m * round_up(extents.n, panel) * extents.taps * extents.k
        cycles = products / (rates.products * speed) + stored
        config = Config(block=(min(rows, extents.m), panel), copy=vector_copy(structure), mma="fma")
        why = f"{extents}: the panel that wastes least of {extents.n} columns"
        yield Candidate(FAMILY.name, rates.nanoseconds(cycles), config, why)


def _takes(stages: Stages, config: Config) -> bool:
    return config.mma == "fma"


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config with mma = fma does not fit."""
    reasons = list(refusals(stages, setting))
    yield from reasons
    known = not reasons and whole(stages, config)
    facts = Facts(element_size(stages.single.operands[0])) if known else Facts()
    copies = (vector_copy(stages.single),) if not reasons else (config.copy,)
    yield from block_and_rules(stages, config, setting, facts, copies)


FAMILY = Family("fma", refusals, candidates, tiles_refusal, _takes, violations, write)
