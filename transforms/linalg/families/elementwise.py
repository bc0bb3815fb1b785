"""No reduction: each element of the results is a map of loaded elements, in blocks of rows and vectors. Transposes and broadcasts are loads in
another order."""

from __future__ import annotations

from collections.abc import Iterator

from stepwell.dialects.tile.config import Config
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting
from stepwell.transforms.linalg.families.rules import kernel_shape, shapeless, tiles_refusal, write
from stepwell.transforms.linalg.families.vectors import vector_config, vector_nanoseconds, vector_violations


def refusals(stages: Stages, setting: Setting) -> Iterator[str]:
    """Why the stages are not elementwise."""
    yield from shapeless(stages)
    if stages.structure is not None and stages.structure.root is not None:
        yield "there is a reduction"


def candidates(stages: Stages, setting: Setting) -> Iterator[Candidate]:
    """The block that the target's registers hold."""
    structure = stages.single
    config = vector_config(structure, setting)
    shape = " x ".join(map(str, kernel_shape(structure)))
    why = f"no reduction, {shape} elements in vectors along the last dim"
    yield Candidate(FAMILY.name, vector_nanoseconds(stages, config, setting), config, why)


def _takes(stages: Stages, config: Config) -> bool:
    structure = stages.structure
    plain = config.mma == "none" and config.form == "tiles" and not config.takes_whole
    return plain and structure is not None and structure.root is None


def violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config of registers does not fit elementwise work."""
    reasons = list(refusals(stages, setting))
    yield from reasons or vector_violations(stages, config, setting)


FAMILY = Family("elementwise", refusals, candidates, tiles_refusal, _takes, violations, write)
