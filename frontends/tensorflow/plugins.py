"""Nodes that are ops of plugins: TensorFlow calls them `Name`, or `namespace>Name`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.frontends.builder import GraphBuilder
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.plugins.definition import Plugin
from stepwell.frontends.plugins.lookup import emit_plugin, find_for
from stepwell.frontends.tensorflow.node import Node

_NUMBERS = ("i", "f", "b", "s")
"""Fields of an attribute, and of a list of one, that hold numbers and texts."""


def plugin_of(node: Node) -> Plugin | None:
    """The plugin whose op a node is; None where it is no plugin's."""
    return find_for("tensorflow", node.op)


def convert_plugin(build: GraphBuilder, node: Node, values: Sequence[SSAValue]) -> list[SSAValue]:
    """The plugin's op: its parameters are the attributes, but for those that name types and shapes of tensors, and those that begin with `_`."""
    plugin = plugin_of(node)
    assert plugin is not None
    given = {}
    for name in sorted(node.proto.attr):
        kind = _kind(node.proto.attr[name])
        if name in plugin.declared or not (name.startswith("_") or kind in ("type", "shape", "")):
            given[name] = _value(node.proto.attr[name], name)
    return emit_plugin(build, plugin, values, given)


def _kind(attribute: Message) -> str:
    """The field that is set; empty where none is."""
    return next((field.name for field, _ in attribute.ListFields()), "")


def _value(attribute: Message, name: str) -> Any:
    kind = _kind(attribute)
    if kind in _NUMBERS:
        return getattr(attribute, kind)
    if kind == "list":
        held = [getattr(attribute.list, field) for field in _NUMBERS]
        return next((list(values) for values in held if values), [])
    raise Unsupported(f"attribute {name!r} is a {kind or 'message of no kind'}: no parameter holds one")
