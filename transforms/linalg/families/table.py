"""Every family of schedules asked about a fusion: what each offers or why not, and which candidate is taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stepwell.dialects.tile import Config
from stepwell.passes import names_of
from stepwell.transforms.linalg._stages import Stages
from stepwell.transforms.linalg.families import attention, columns, elementwise, fma, loops, rows, wgmma
from stepwell.transforms.linalg.families.base import Candidate, Family, Setting

FAMILIES: tuple[Family, ...] = (
    attention.FAMILY,
    wgmma.FAMILY,
    fma.FAMILY,
    rows.FAMILY,
    columns.FAMILY,
    elementwise.FAMILY,
)
"""In the order in which they are preferred."""
LAST = loops.FAMILY
"""It takes everything, and is asked where none of the others has a candidate."""
UNSURE = 4.0
"""Estimates of different families differ by so much before they say anything: a later family is taken when it is faster by more."""


@dataclass(frozen=True)
class Refused:
    """Why a family, or one candidate of it (`id`), is not to be had."""

    family: str
    reason: str
    id: str = ""


@dataclass(frozen=True)
class Answer:
    """What all families say of one fusion. `chosen` is one of `candidates`."""

    stages: Stages
    candidates: tuple[Candidate, ...]
    refused: tuple[Refused, ...]
    chosen: Candidate

    @property
    def name(self) -> str:
        """The source names of the fusion, else its own."""
        fusion = self.stages.fusion
        return " + ".join(names_of(fusion)) or fusion.fusion_name.data


def answer(stages: Stages, setting: Setting, *, thorough: bool = False) -> Answer:
    """Ask all families and choose. Whether the kernel of a candidate can be built is tried for the one that is taken; `thorough`: for every one,
    and what comes last is shown as well."""
    open_, refused = _asked(stages, setting)
    tried: set[str] = set()
    while open_:
        wanted = [c for c in open_ if c.id not in tried] if thorough else [preferred(open_)]
        if not wanted:
            every = (*open_, *LAST.candidates(stages, setting))
            return Answer(stages, every, tuple(refused), preferred(open_))
        candidate = wanted[0]
        tried.add(candidate.id)
        reason = _family(candidate).check(stages, candidate.config, setting)
        if not reason and not thorough:
            return Answer(stages, tuple(open_), tuple(refused), candidate)
        if reason:
            open_.remove(candidate)
            refused.append(Refused(candidate.family, reason, candidate.id))
    last = tuple(LAST.candidates(stages, setting))
    return Answer(stages, last, tuple(refused), last[0])


def _asked(stages: Stages, setting: Setting) -> tuple[list[Candidate], list[Refused]]:
    offered: list[Candidate] = []
    refused: list[Refused] = []
    for family in FAMILIES:
        reasons = [Refused(family.name, reason) for reason in family.refusals(stages, setting)]
        refused += reasons
        offered += family.candidates(stages, setting) if not reasons else ()
    return offered, refused


def _family(candidate: Candidate) -> Family:
    return next(family for family in FAMILIES if family.name == candidate.family)


def preferred(candidates: list[Candidate]) -> Candidate:
    """The best of the family that is fastest by more than `UNSURE`, else of the first."""
    best: Candidate | None = None
    for family in FAMILIES:
        own = [candidate for candidate in candidates if candidate.family == family.name]
        if own and (best is None or _least(own) * UNSURE < best.estimate_ns):
            best = _best(own, family.close)
    assert best is not None, "there is a candidate"
    return best


def _least(candidates: list[Candidate]) -> float:
    return min(candidate.estimate_ns for candidate in candidates)


def _best(candidates: list[Candidate], close: float) -> Candidate:
    """The largest block among those that cost at most `close` times the cheapest, the cheaper one of two."""
    limit = close * _least(candidates)
    near = [candidate for candidate in candidates if candidate.estimate_ns <= limit]
    return min(near, key=lambda candidate: (-candidate.elements, candidate.estimate_ns))


def family_of(stages: Stages, config: Config) -> Family | None:
    """The family that a config belongs to, with these stages."""
    return next((family for family in (*FAMILIES, LAST) if family.takes(stages, config)), None)


def given_violations(stages: Stages, config: Config, setting: Setting) -> Iterator[str]:
    """Why a config that was given by hand is illegal: the rules of the family that it belongs to."""
    family = family_of(stages, config)
    if family is None:
        yield stages.refusal or "no family of schedules has such a config for this fusion"
        return
    yield from family.violations(stages, config, setting)
