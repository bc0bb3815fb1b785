"""What plugins add to Caffe's schema. The parameters of a plugin's layer stand, as those of Caffe's own do, in a message called after its type: `mish_param
{ beta: 1.0 }` for type `Mish`."""

from __future__ import annotations

import re

from stepwell.frontends.plugins.lookup import plugins_of_door

FIRST_NUMBER = 1 << 28
"""Numbers of the fields that plugins add: the text says names only, and no published definition goes so far."""
SCALARS = {int: "int64", float: "double", bool: "bool", str: "string"}


def field_of(layer_type: str) -> str:
    """The field that holds a layer type's parameters: `DetectionOutput` has `detection_output_param`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", layer_type)
    return re.sub(r"\W", "_", words).lower() + "_param"


def plugin_fields(known: str) -> tuple[str, str]:
    """What loaded plugins add to the schema: fields of a layer, and their messages. Layers that `known`, the schema, has keep theirs."""
    fields, messages, seen = "", "", set[str]()
    for layer_type, plugin in plugins_of_door("caffe"):
        field = field_of(layer_type)
        if f" {field} =" in known or field in seen or not plugin.declared:
            continue
        seen.add(field)
        name = f"Plugin{len(seen)}Parameter"
        fields += f"optional {name} {field} = {FIRST_NUMBER + len(seen)};\n"
        messages += f"message {name} {{ {_members(layer_type)} }}\n"
    return fields, messages


def _members(layer_type: str) -> str:
    """The parameters of all plugins that are called so: a version may have some that another has not."""
    parameters = {
        p.name: p for name, plugin in plugins_of_door("caffe") if name == layer_type for p in plugin.declared.values()
    }
    lines = (
        f"{'repeated' if p.many else 'optional'} {SCALARS[p.kind]} {p.name} = {number};"
        for number, p in enumerate(parameters.values(), 1)
    )
    return " ".join(lines)
