"""From an operator that no converter knows to the plugin that it means, and to its op."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.dialects.graph.plugins import loaded_plugins
from stepwell.frontends.emitter import Emitter, Unsupported
from stepwell.frontends.plugins.definition import Plugin


def plugins_of_door(door: str) -> Iterator[tuple[str, Plugin]]:
    """All plugins, each with what the files of a door call it."""
    for plugin in loaded_plugins():
        if isinstance(plugin, Plugin):
            for name in _names(plugin, door):
                yield name, plugin


def find_for(door: str, name: str, version: str = "") -> Plugin | None:
    """The plugin that the files of a door call `name`, of this version or the newest; None where there is none, Unsupported where several are."""
    found = [plugin for called, plugin in plugins_of_door(door) if called == name]
    if len({plugin.namespace for plugin in found}) > 1:
        raise Unsupported(
            f"{name!r} may be any of {', '.join(map(repr, found))}: give one of them names={{{door!r}: ...}}"
        )
    return _newest(name, found, version)


def find_named(name: str, namespace: str, version: str = "") -> Plugin | None:
    """The plugin of this version, or the newest; None where none is called so, Unsupported where it is there in other versions only."""
    loaded = [plugin for plugin in loaded_plugins() if isinstance(plugin, Plugin)]
    return _newest(name, [p for p in loaded if (p.name, p.namespace) == (name, namespace)], version)


def _newest(name: str, found: Sequence[Plugin], version: str) -> Plugin | None:
    fitting = [plugin for plugin in found if version in ("", plugin.version)]
    if found and not fitting:
        known = ", ".join(plugin.version for plugin in found)
        raise Unsupported(f"plugin {name!r} is loaded in version {known}, version {version} is asked for")
    return max(fitting, key=lambda plugin: _number(plugin.version), default=None)


def emit_plugin(build: Emitter, plugin: Plugin, values: Sequence[SSAValue], given: Mapping[str, Any]) -> list[SSAValue]:
    """A `graph.custom` of the plugin, parameters written out; Unsupported or VerifyException where it does not take them."""
    held = plugin.parameters(given)
    op = graph.CustomOp(plugin.name, list(values), held, version=plugin.version, namespace=plugin.namespace)
    return list(build.emit_all(op))


def _names(plugin: Plugin, door: str) -> tuple[str, ...]:
    if door in plugin.names:
        return (plugin.names[door],)
    if door == "caffe" or not plugin.namespace:
        return (plugin.name,)
    if door == "onnx":
        return (f"{plugin.namespace}::{plugin.name}",)
    return f"{plugin.namespace}>{plugin.name}", plugin.name


def _number(version: str) -> list[tuple[int, str]]:
    """Versions in order: numbers by value."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.\-+]", version)]
