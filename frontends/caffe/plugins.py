"""Layers that are ops of plugins."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message
from xdsl.ir import SSAValue

from stepwell.frontends.caffe.layer import CaffeBuilder
from stepwell.frontends.caffe.plugin_fields import field_of
from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.plugins.definition import Plugin
from stepwell.frontends.plugins.lookup import emit_plugin, find_for


def plugin_of(layer: Message) -> Plugin | None:
    """The plugin whose op a layer is; None where it is no plugin's."""
    return find_for("caffe", layer.type)


def convert_plugin(build: CaffeBuilder, layer: Message, bottoms: Sequence[SSAValue]) -> list[SSAValue]:
    """The plugin's op: its inputs are the bottoms, then the layer's trained blobs, with the shapes that the weights give them."""
    plugin = plugin_of(layer)
    assert plugin is not None
    given, field = {}, field_of(layer.type)
    message = getattr(layer, field) if field in layer.DESCRIPTOR.fields_by_name else None
    for member, value in message.ListFields() if message is not None else ():
        given[member.name] = value if not hasattr(value, "append") else list(value)
    return emit_plugin(build, plugin, [*bottoms, *_blobs(build, layer, plugin, len(bottoms))], given)


def _blobs(build: CaffeBuilder, layer: Message, plugin: Plugin, bottoms: int) -> list[SSAValue]:
    held = list((build.blobs or {}).get(layer.name, ()))
    wanted = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in plugin.inputs) - bottoms
    if wanted > len(held):
        raise Unsupported(
            f"plugin {plugin} takes {wanted} trained blobs after {bottoms} bottoms: give the caffemodel that holds them"
        )
    return [build.blob(layer, index, array.shape) for index, array in enumerate(held)]
