"""From the level a module is at to a lower one, through the stages of a pipeline, each held to its level's contract."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from stepwell.driver import Driver, passes_of
from stepwell.levels import check_level, level_of, set_level
from stepwell.pipeline_value import Pipeline


def lower_in_place(module: ModuleOp, to: str, steps: Pipeline, driver: Driver) -> None:
    """Run the stages of `steps` that lead from the module's level to `to`; after each, a ModelError names every op that the level does not
    allow (the pipeline left it there)."""
    for stage in steps.between(level_of(module), to).stages:
        driver.run(module, passes_of(",".join(stage.passes)))
        set_level(module, stage.level)
        check_level(module, stage.level)
