"""What is installed: xDSL's dialects, passes and targets, ours (`stepwell.plugins.registry`) and those of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE, Universe

from stepwell.plugins import installed_plugins
from stepwell.plugins.registry import DIALECT_NAMES, UNIVERSE, pass_modules

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore
    from stepwell.passes import StepwellContext

__all__ = ["DIALECT_NAMES", "UNIVERSE", "find_pass", "installed_universe", "make_context", "pass_modules"]


def installed_universe() -> Universe:
    """xDSL's, ours and those of installed plugins (`stepwell.plugins`); ours also where the package is only on the path."""
    universes = [XDSL_UNIVERSE, UNIVERSE, *(plugin.universe for plugin in installed_plugins())]
    return Universe(
        all_dialects={name: make for universe in universes for name, make in universe.all_dialects.items()},
        all_passes={name: make for universe in universes for name, make in universe.all_passes.items()},
        all_targets={name: make for universe in universes for name, make in universe.all_targets.items()},
    )


def make_context(weights: WeightStore | None = None) -> StepwellContext:
    """A context that knows every installed dialect (each is loaded when an op of it is met)."""
    from stepwell.passes import StepwellContext

    ctx = StepwellContext(weights=weights)
    for name, factory in installed_universe().all_dialects.items():
        ctx.register_dialect(name, factory)
    return ctx


def find_pass(name: str) -> type[ModulePass]:
    """The class of the pass called `name`; a UsageError suggests the names that are near."""
    from difflib import get_close_matches

    from stepwell.runtime.errors import UsageError

    passes = installed_universe().all_passes
    if name not in passes:
        near = get_close_matches(name, passes, n=3)
        raise UsageError(
            f"unknown pass '{name}'",
            hint=f"did you mean {' or '.join(near)}?" if near else "stepwell-opt --list-passes prints the names",
        )
    return passes[name]()
