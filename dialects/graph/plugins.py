"""What a plugin gives to `graph.custom`: a shape function and a reference. Plugins are registered when their module is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, overload

from xdsl.ir import Attribute
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import Array

Key = tuple[str, str, str]
"""Namespace, name, version."""
Parameters = Mapping[str, Attribute]


class Plugin(Protocol):
    """One version of a plugin's op."""

    namespace: str
    name: str
    version: str

    def infer(self, operands: Sequence[Attribute], parameters: Parameters) -> Sequence[Attribute]:
        """The result types; VerifyException when operands or parameters do not fit."""
        ...

    def reference(self, arrays: Sequence[Array], parameters: Parameters) -> Sequence[Array]:
        """The results, in NumPy."""
        ...


_PLUGINS: dict[Key, Plugin] = {}


def register_plugin(plugin: Plugin) -> None:
    """Make a plugin known in this process; ValueError when another one has its name and version."""
    key = (plugin.namespace, plugin.name, plugin.version)
    if _PLUGINS.setdefault(key, plugin) is not plugin:
        raise ValueError(f'two plugins are called "{plugin.name}", version {plugin.version}, of "{plugin.namespace}"')


@overload
def find_plugin(namespace: str, name: str, version: str) -> Plugin: ...
@overload
def find_plugin(namespace: str, name: str, version: str, *, missing_ok: Literal[True]) -> Plugin | None: ...
def find_plugin(namespace: str, name: str, version: str, *, missing_ok: bool = False) -> Plugin | None:
    """The registered plugin; VerifyException, or None with `missing_ok`, where it is not loaded."""
    found = _PLUGINS.get((namespace, name, version))
    if found is None and not missing_ok:
        place = f' of "{namespace}"' if namespace else ""
        raise VerifyException(
            f'plugin "{name}", version {version}{place}, is not loaded: import the module that defines it'
        )
    return found
