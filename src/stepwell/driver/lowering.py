"""From the level a module is at to a lower one, through the stages of a pipeline, each held to its level's contract."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp

from stepwell.driver.driver import Driver, passes_of
from stepwell.driver.pipeline import Pipeline
from stepwell.driver.signature import check_bindings
from stepwell.passes import StepwellContext
from stepwell.passes.levels import check_level, level_of, rank, set_level
from stepwell.passes.target import target_of
from stepwell.runtime.errors import UsageError
from stepwell.transforms.legality import check_module


def lower_in_place(module: ModuleOp, to: str, steps: Pipeline, driver: Driver) -> None:
    """Run the stages of `steps` that lead from the module's level to `to`; after each, a ModelError names every op that the level does not
    allow (the pipeline left it there). A module that leaves the graph level is asked first whether the lowering can take all of its ops."""
    if rank(level_of(module)) < rank("plan") <= rank(to):
        check_bindings(module)
    leaves_graph = level_of(module) == "graph" and rank(to) > rank("graph")
    for stage in steps.between(level_of(module), to).stages:
        passes = stage.passes
        if stage.level == "graph" and leaves_graph:
            ahead = steps.before_lowering
            driver.run(module, passes_of(",".join(ahead)))
            weights = driver.ctx.weights if isinstance(driver.ctx, StepwellContext) else None
            check_module(module, _family(module), steps.precision, weights)
            passes = passes[len(ahead) :]
        driver.run(module, passes_of(",".join(passes)))
        set_level(module, stage.level)
        check_level(module, stage.level)


def _family(module: ModuleOp) -> str:
    target = target_of(module)
    if target is None:
        raise UsageError("a level below graph needs a target", hint='target="sm_90a" or target="cpu"')
    return target.family
