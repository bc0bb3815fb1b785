"""`stepwell.candidates`: which schedules the kernels of a network may have."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from stepwell.api.compile import lower
from stepwell.driver.candidates import answers
from stepwell.passes.levels import level_of
from stepwell.transforms.linalg.families.table import Answer


def candidates(module: ModuleOp, *, target: str | None = None, precision: str = "model") -> list[Answer]:
    """What every family of schedules says of each fusion: `candidates` with `id`, `estimate_ns` and `config`, `refused` with the reasons, and what is
    `chosen`. The module is lowered to linalg first where it is at graph; a candidate's config may be put on its fusion by hand."""
    made = (
        module
        if level_of(module) == "linalg" and target is None
        else lower(module, "linalg", target=target, precision=precision)
    )
    return answers(made, precision)
