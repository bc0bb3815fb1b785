"""The schedules that the fusions of a module at level linalg may have: every candidate of every family, and every refusal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects import graph, tile
from stepwell.passes.levels import level_of
from stepwell.passes.target import target_of
from stepwell.runtime.errors import UsageError
from stepwell.transforms import pipelines
from stepwell.transforms.linalg._stages import stages_of
from stepwell.transforms.linalg.families.base import Candidate, Setting, microseconds
from stepwell.transforms.linalg.families.table import Answer, answer


def answers(module: ModuleOp, precision: str = "model") -> list[Answer]:
    """What the families say of each fusion; configs that are there already are not asked about. UsageError below or above linalg, or without
    a target."""
    if level_of(module) != "linalg":
        raise UsageError(
            f"the module is at level {level_of(module)}: fusions have candidates at linalg", hint="say --to linalg"
        )
    target = target_of(module)
    if target is None:
        raise UsageError("candidates need a target", hint="say --arch sm_90a or --arch cpu")
    setting = Setting(target.processor, tf32=pipelines.NO_TF32 not in pipelines.LINALG[precision])
    fusions = [op for op in module.walk() if isinstance(op, graph.FusionOp)]
    return [answer(stages_of(fusion), setting, thorough=True) for fusion in fusions]


def listing(found: Iterable[Answer]) -> str:
    """Each fusion with its candidates, the cheapest of a family first, then why the other families refuse; `*` is what it has, or gets."""
    return "\n".join("\n".join(_lines(one)) + "\n" for one in found)


def _lines(found: Answer) -> Iterator[str]:
    config = found.stages.fusion.config
    taken = config.data if isinstance(config, tile.ConfigAttr) else found.chosen.config
    yield f"{found.name}: {found.chosen.why}"
    width = max(len(candidate.id) for candidate in found.candidates)
    for candidate in sorted(found.candidates, key=lambda one: one.estimate_ns):
        yield _line(candidate, width, mark="*" if candidate.config == taken else " ")
    for refused in found.refused:
        yield f"    {refused.id or refused.family}: {refused.reason}"


def _line(candidate: Candidate, width: int, mark: str) -> str:
    return (
        f"  {mark} {candidate.id:{width}}  {microseconds(candidate.estimate_ns):>9}  #tile.config<{candidate.config}>"
    )
