"""A plugin's op as a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, FloatAttr, IntegerAttr, StringAttr, f64, i1, i64
from xdsl.ir import Attribute

from stepwell.dialects import graph
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.network.core import NetworkCore
from stepwell.frontends.network.tensor import Tensor


def _attribute(name: str, value: Any) -> Attribute:
    """A plugin's parameter as it stands in the module: i1, i64, f64, a string, or an array of these."""
    if isinstance(value, Attribute):
        return value
    if isinstance(value, bool):
        return IntegerAttr(int(value), i1)
    if isinstance(value, int):
        return IntegerAttr(value, i64)
    if isinstance(value, float):
        return FloatAttr(value, f64)
    if isinstance(value, str):
        return StringAttr(value)
    if isinstance(value, list | tuple):
        return ArrayAttr([_attribute(name, item) for item in value])
    raise Unsupported(f"parameter {name!r} is a {type(value).__name__}: give a number, a text, or a list of them")


class PluginLayers(NetworkCore):
    """Ops that plugins define; the module that registers a plugin must be imported."""

    def add_plugin(
        self,
        inputs: Sequence[Tensor],
        plugin: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        version: str = "1",
        namespace: str = "",
        name: str = "",
    ) -> tuple[Tensor, ...]:
        """The op of a registered plugin, whose shape function says what comes out; parameters are numbers, texts and lists of them."""
        with self._layer("plugin", name, *inputs) as build:
            held = {key: _attribute(key, value) for key, value in (parameters or {}).items()}
            values = [tensor.value for tensor in inputs]
            results = build.emit_all(graph.CustomOp(plugin, values, held, version=version, namespace=namespace))
            return self._results({str(index): value for index, value in enumerate(results)})
