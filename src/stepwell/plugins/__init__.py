"""Plugins: packages that bring dialects, passes and targets through the entry point `xdsl.universe`, and what their ops may say of themselves.

A plugin that cannot be loaded is left out with a warning on standard error that names it; everything else goes on. What it calls as xDSL, Stepwell
or an earlier plugin does is left out too. Where the environment variable `STEPWELL_PLUGIN_PATH` is set, only plugins installed in the folders that it lists are
loaded, none if it is empty: Stepwell's own tests and executed pages see nothing else. The traits of ops are `AtLevels`, `Interpreted` and `Reference`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import XDSL_UNIVERSE, Universe
from xdsl.utils.target import Target

from stepwell.dialects.op_interfaces import AtLevels, Interpreted, Reference
from stepwell.plugins.registry import UNIVERSE
from stepwell.runtime.errors import UsageError

__all__ = ["AtLevels", "Interpreted", "Plugin", "Reference", "installed_plugins", "plugin_of_pass"]

GROUP = "xdsl.universe"
PATH_VARIABLE = "STEPWELL_PLUGIN_PATH"
OWN = ("stepwell", "xdsl")
"""Modules whose universes are no plugins."""
T = TypeVar("T")


@dataclass(frozen=True)
class Plugin:
    """An installed plugin: `name` is the entry point's, `package` the distribution with its version."""

    name: str
    package: str
    universe: Universe

    def __str__(self) -> str:
        return f"plugin '{self.name}' ({self.package})"


def installed_plugins() -> list[Plugin]:
    """The plugins that can be loaded, by name. Each fault is told once in a process."""
    taken: dict[str, set[str]] = {"dialect": set(), "pass": set(), "target": set()}
    found = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.value.partition(":")[0].partition(".")[0] in OWN or not _wanted(entry):
            continue
        plugin = _load(entry)
        if plugin is not None:
            found.append(_without_clashes(plugin, taken))
    return found


def plugin_of_pass(name: str) -> Plugin | None:
    """The plugin that brings the pass, if one does."""
    return next((plugin for plugin in installed_plugins() if name in plugin.universe.all_passes), None)


def _wanted(entry: EntryPoint) -> bool:
    """Whether the plugin is installed in one of the folders that the environment names, if it names any."""
    said = os.environ.get(PATH_VARIABLE)
    if said is None:
        return True
    folders = {Path(folder).resolve() for folder in said.split(os.pathsep) if folder}
    return entry.dist is not None and Path(str(entry.dist.locate_file(""))).resolve() in folders


def _load(entry: EntryPoint) -> Plugin | None:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
    try:
        universe = entry.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is the plugin's
        warn(f"plugin '{entry.name}' ({package}) is left out: {entry.value} cannot be loaded: {_told(error)}")
        return None
    if not isinstance(universe, Universe):
        warn(f"plugin '{entry.name}' ({package}) is left out: {entry.value} is no xdsl.universe.Universe")
        return None
    return Plugin(entry.name, package, universe)


def _without_clashes(plugin: Plugin, taken: dict[str, set[str]]) -> Plugin:
    """The plugin without what others have called the same before it; what is left says whose it is when it cannot be made."""
    parts: dict[str, Mapping[str, Callable[[], Any]]] = {}
    for kind, attribute in (("dialect", "all_dialects"), ("pass", "all_passes"), ("target", "all_targets")):
        named: dict[str, Callable[[], Any]] = getattr(plugin.universe, attribute)
        known = {*getattr(XDSL_UNIVERSE, attribute), *getattr(UNIVERSE, attribute), *taken[kind]}
        for name in sorted(known & set(named)):
            warn(f"{plugin}: its {kind} '{name}' is left out: there is one already")
        parts[kind] = {
            name: _made(make, f"{plugin}: {kind} '{name}'", kind) for name, make in named.items() if name not in known
        }
        taken[kind] |= set(named)
    universe = Universe(
        all_dialects=dict(parts["dialect"]), all_passes=dict(parts["pass"]), all_targets=dict(parts["target"])
    )
    return Plugin(plugin.name, plugin.package, universe)


def _made(make: Callable[[], T], what: str, kind: str) -> Callable[[], T]:
    """`make` with a UsageError that says what cannot be made and why."""

    def guarded() -> T:
        try:
            made = make()
        except (Exception, SystemExit) as error:
            raise UsageError(f"cannot be loaded: {_told(error)}", where=what, hint="repair or uninstall it") from error
        wanted = {"dialect": Dialect, "pass": ModulePass, "target": Target}[kind]
        if not (isinstance(made, wanted) or (isinstance(made, type) and issubclass(made, wanted))):
            raise UsageError(f"cannot be loaded: {made!r} is no {wanted.__name__}", where=what)
        return made

    return guarded


def _told(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


@cache
def warn(message: str) -> None:
    """Print the warning, the first time."""
    print(f"warning: {message}", file=sys.stderr)
