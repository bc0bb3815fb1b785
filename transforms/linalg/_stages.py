"""What families of schedules are asked about: a fusion as stages."""

from __future__ import annotations

from dataclasses import dataclass

from stepwell.dialects import graph
from stepwell.passes import PassFailure
from stepwell.transforms.linalg._structure import Structure, structure_of


@dataclass(frozen=True)
class Stages:
    """One fusion. `structure`: its one root and the elementwise work behind it, where it has that form; else `refusal` says why not."""

    fusion: graph.FusionOp
    structure: Structure | None
    refusal: str = ""

    @property
    def single(self) -> Structure:
        """The structure; a PassFailure where there is none."""
        if self.structure is None:
            raise PassFailure(self.refusal)
        return self.structure


def stages_of(fusion: graph.FusionOp) -> Stages:
    """Analyse a fusion."""
    try:
        return Stages(fusion, structure_of(fusion))
    except PassFailure as failure:
        return Stages(fusion, None, failure.message)
