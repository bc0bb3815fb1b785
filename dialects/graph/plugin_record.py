"""Which plugins a module was made with: an attribute of the module, which goes down the ladder with it and into the plan."""

from __future__ import annotations

from typing import Any

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, IntegerAttr, ModuleOp, StringAttr, i1
from xdsl.ir import Attribute

from stepwell.dialects.graph.ops_extension import CustomOp
from stepwell.ir.locations import names_of

ATTRIBUTE = "stepwell.plugins"


def record_plugin(module: ModuleOp, op: CustomOp) -> None:
    """Note an op that is about to be replaced by what it means."""
    held = module.attributes.get(ATTRIBUTE)
    before = held.data if isinstance(held, ArrayAttr) else ()
    module.attributes[ATTRIBUTE] = ArrayAttr([*before, _entry(op)])


def used_plugins(module: ModuleOp) -> list[dict[str, Any]]:
    """Node, plugin, version, namespace and parameters of each op of a plugin, those that were replaced first."""
    held = module.attributes.get(ATTRIBUTE)
    recorded = list(held.data) if isinstance(held, ArrayAttr) else []
    recorded += [_entry(op) for op in module.walk() if isinstance(op, CustomOp)]
    return [_value(entry) for entry in recorded]


def _entry(op: CustomOp) -> DictionaryAttr:
    node = StringAttr(" + ".join(names_of(op)))
    who = {"plugin": op.plugin, "version": op.version, "namespace": op.namespace}
    return DictionaryAttr({"node": node, **who, "parameters": op.parameters})


def _value(attribute: Attribute) -> Any:
    match attribute:
        case DictionaryAttr():
            return {name: _value(held) for name, held in attribute.data.items()}
        case ArrayAttr():
            return [_value(held) for held in attribute.data]
        case IntegerAttr(type=type_) if type_ == i1:
            return bool(attribute.value.data)
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case StringAttr():
            return attribute.data
    return str(attribute)
