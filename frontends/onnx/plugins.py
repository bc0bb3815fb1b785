"""Nodes that are ops of plugins: those of a plugin's domain, and those that name it as TensorRT's exporters do, by `plugin_namespace` and `plugin_version`."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import numpy_helper
from xdsl.ir import SSAValue

from stepwell.frontends.emitter import Unsupported
from stepwell.frontends.onnx.builder import GraphBuilder
from stepwell.frontends.onnx.model_file import DEFAULT_DOMAINS
from stepwell.frontends.onnx.node import Node
from stepwell.frontends.plugins.definition import Plugin
from stepwell.frontends.plugins.lookup import emit_plugin, find_for

NAMESPACE, VERSION = "plugin_namespace", "plugin_version"


def plugin_of(node: Node) -> Plugin | None:
    """The plugin whose op a node is, None where it is no plugin's; Unsupported where the plugin has not the version that the node asks for."""
    domain = "" if node.proto.domain in DEFAULT_DOMAINS else node.proto.domain
    version = node.text(VERSION, "")
    for space in dict.fromkeys((node.text(NAMESPACE, domain), domain)):
        found = find_for("onnx", f"{space}::{node.op_type}" if space else node.op_type, version)
        if found is not None:
            return found
    return None


def convert_plugin(plugin: Plugin, node: Node, build: GraphBuilder) -> list[SSAValue]:
    """The plugin's op: its inputs are the node's, its parameters the attributes."""
    given = len(node.inputs) - next((k for k, name in enumerate(reversed(node.inputs)) if name), len(node.inputs))
    values = [build.value(node, index) for index in range(given)]
    names = [a.name for a in node.proto.attribute if a.name not in (NAMESPACE, VERSION) or a.name in plugin.declared]
    results = emit_plugin(build, plugin, values, {name: _value(node, name) for name in names})
    node.ignore(NAMESPACE, VERSION)
    if len(results) < len(node.outputs):
        raise Unsupported(f"it has {len(node.outputs)} outputs, plugin {plugin} gives {len(results)}")
    return results


def _value(node: Node, name: str) -> Any:
    value = node.value(name)
    if isinstance(value, onnx.TensorProto):
        array = numpy_helper.to_array(value)
        return array.item() if array.ndim == 0 else array.reshape(-1)
    if isinstance(value, onnx.GraphProto | onnx.SparseTensorProto | onnx.TypeProto):
        raise Unsupported(f"attribute {name!r} is a {type(value).__name__}: no parameter holds one")
    return value
