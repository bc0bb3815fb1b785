"""What the project registers with xDSL: dialects, passes found by file name and targets (nothing is imported until it is used)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE, Universe
from xdsl.utils.target import Target

if TYPE_CHECKING:
    from stepwell.frontends.weights import WeightStore
    from stepwell.passes import StepwellContext

DIALECT_NAMES = ("graph", "tile", "plan", "warp", "hopper", "llvm_extra")
PASS_FOLDERS = ("graph", "linalg", "tile", "plan", "lower")
TARGET_CLASSES = {
    "stepwell-linalg-export": "LinalgExportTarget",
    "stepwell-llvm": "LLVMTextTarget",
    "stepwell-ptx": "PTXTarget",
    "stepwell-asm": "AssemblyTarget",
}


def _dialect_factory(name: str) -> Callable[[], Dialect]:
    return lambda: import_module(f"stepwell.dialects.{name}").DIALECT


def _pass_factory(module: str) -> Callable[[], type[ModulePass]]:
    return lambda: import_module(module).PASS


def _target_factory(class_name: str) -> Callable[[], type[Target]]:
    return lambda: getattr(import_module("stepwell.opt.targets"), class_name)


def pass_modules() -> dict[str, str]:
    """Pass name -> module, by the rule of `stepwell.transforms`."""
    found: dict[str, str] = {}
    for folder in PASS_FOLDERS:
        prefix = "stepwell" if folder == "lower" else folder
        for entry in sorted(files(f"stepwell.transforms.{folder}").iterdir(), key=lambda e: e.name):
            stem, _, ending = entry.name.rpartition(".")
            if ending != "py" or stem.startswith("_"):
                continue
            found[f"{prefix}-{stem.replace('_', '-')}"] = f"stepwell.transforms.{folder}.{stem}"
    return found


UNIVERSE = Universe(
    all_dialects={name: _dialect_factory(name) for name in DIALECT_NAMES},
    all_passes={name: _pass_factory(module) for name, module in pass_modules().items()},
    all_targets={name: _target_factory(class_name) for name, class_name in TARGET_CLASSES.items()},
)


def installed_universe() -> Universe:
    """xDSL's, ours and those of installed plugins (`stepwell.plugins`); ours also where the package is only on the path."""
    from stepwell.plugins import installed_plugins

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
