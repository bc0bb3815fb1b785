"""A plugin's op as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.ir import SSAValue

from stepwell.dialects import graph
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor
from stepwell.frontends.plugins.definition import Plugin
from stepwell.frontends.plugins.lookup import emit_plugin, find_named
from stepwell.frontends.plugins.parameters import to_attribute


class PluginLayers(NetworkCore):
    """Ops that plugins define; the module that registers a plugin must be imported."""

    def add_plugin(
        self,
        inputs: Sequence[Tensor],
        plugin: str | Plugin,
        parameters: Mapping[str, Any] | None = None,
        *,
        version: str = "",
        namespace: str = "",
        name: str = "",
    ) -> tuple[Tensor, ...]:
        """The op of a plugin, given itself or by its name, namespace and version (the newest, unless one is said); its shape function says what comes
        out. Parameters are numbers, texts and lists of them; those left out have their defaults."""
        with self._layer("plugin", name, *inputs) as build:
            values = [tensor.value for tensor in inputs]
            found = find_named(plugin, namespace, version) if isinstance(plugin, str) else plugin
            if found is not None:
                results: Sequence[SSAValue] = emit_plugin(build, found, values, parameters or {})
            else:
                held = {key: to_attribute(key, value) for key, value in (parameters or {}).items()}
                made = graph.CustomOp(str(plugin), values, held, version=version or "1", namespace=namespace)
                results = build.emit_all(made)
            return self._results({str(index): value for index, value in enumerate(results)})
