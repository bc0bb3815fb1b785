"""What a plugin gives to `graph.custom`: a shape function and a reference. Plugins are registered when their module is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, overload, runtime_checkable

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.exceptions import VerifyException

from stepwell.dialects.numpy_types import Array

if TYPE_CHECKING:
    from stepwell.dialects.weights import WeightStore

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

    def run(self, arrays: Sequence[Array], parameters: Parameters) -> Sequence[Array]:
        """The results, in NumPy."""
        ...


DEEPEST = 16
"""How often ops of plugins may mean ops of plugins."""


@runtime_checkable
class Expanding(Protocol):
    """A plugin that may say its meaning in ops of the graph dialect."""

    @property
    def has_ops(self) -> bool:
        """Whether it does."""
        ...

    @property
    def form(self) -> str:
        """How it says its meaning, in words."""
        ...

    def expand(self, op: Operation, parameters: Parameters, weights: WeightStore, block: Block) -> Sequence[SSAValue]:
        """The op's results as ops that are appended to `block`, with new weights in the store; VerifyException where that cannot be."""
        ...


@runtime_checkable
class Linking(Protocol):
    """A plugin that may say its meaning as a program of the tile level."""

    @property
    def has_program(self) -> bool:
        """Whether it does."""
        ...

    def program(self, operands: Sequence[Attribute], parameters: Parameters, target: str) -> ModuleOp:
        """The meaning for a machine as a module of the tile level, whose @main takes the operands; VerifyException where it refuses or is none."""
        ...


_PLUGINS: dict[Key, Plugin] = {}


def register_plugin(plugin: Plugin, *, replaces: Callable[[Plugin, Plugin], bool] | None = None) -> None:
    """Make a plugin known in this process; ValueError when another one has its name and version, unless it `replaces` that one (old, new)."""
    key = (plugin.namespace, plugin.name, plugin.version)
    old = _PLUGINS.get(key)
    if old is None or (replaces is not None and replaces(old, plugin)):
        _PLUGINS[key] = plugin
    elif old is not plugin:
        raise ValueError(f'two plugins are called "{plugin.name}", version {plugin.version}, of "{plugin.namespace}"')


def loaded_plugins() -> tuple[Plugin, ...]:
    """All registered plugins."""
    return tuple(_PLUGINS.values())


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
