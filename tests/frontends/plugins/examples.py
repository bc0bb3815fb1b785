"""The example plugins, and a network of one op through each door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from onnx import TensorProto, helper
from xdsl.dialects.builtin import ModuleOp

from stepwell import Network, import_model
from stepwell.dialects.graph.plugins import find_plugin
from stepwell.dialects.numpy_types import Array
from stepwell.dialects.weights import keep_weights
from stepwell.frontends.caffe import import_caffe
from stepwell.frontends.plugins import Plugin
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.frontends.tensorflow.schema import messages
from stepwell.plugins.sources import load_plugins

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "plugins"
Door = Callable[[Plugin, Sequence[Array], Mapping[str, Any]], ModuleOp]
"""A module of one op of the plugin: inputs x0, x1, ..; outputs y0, y1, .. but for the network API, where they are op.0, op.1, .."""


def example(file: str, name: str) -> Plugin:
    """The plugin that an example file defines."""
    load_plugins([FOLDER / file])
    found = find_plugin("examples", name, "1")
    assert isinstance(found, Plugin)
    return found


def results_of(plugin: Plugin, arrays: Sequence[Array], parameters: Mapping[str, Any]) -> list[Array]:
    """What its reference gives."""
    return list(plugin.run(arrays, plugin.parameters(parameters)))


def by_onnx(plugin: Plugin, arrays: Sequence[Array], parameters: Mapping[str, Any]) -> ModuleOp:
    """A node of the plugin's domain."""
    outputs = results_of(plugin, arrays, parameters)
    node = helper.make_node(
        plugin.name,
        [f"x{k}" for k in range(len(arrays))],
        [f"y{k}" for k in range(len(outputs))],
        name="op",
        domain=plugin.namespace,
        **parameters,
    )
    return import_model(onnx_model(node, arrays, outputs, plugin.namespace))


def onnx_model(node: Any, arrays: Sequence[Array], outputs: Sequence[Array], domain: str) -> Any:
    """A model of one node."""

    def infos(letter: str, given: Sequence[Array]) -> list[Any]:
        return [
            helper.make_tensor_value_info(f"{letter}{k}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for k, a in enumerate(given)
        ]

    graph = helper.make_graph([node], "one", infos("x", arrays), infos("y", outputs))
    opsets = [helper.make_opsetid("", 20), *([helper.make_opsetid(domain, 1)] if domain else [])]
    assert TensorProto.FLOAT
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def by_caffe(plugin: Plugin, arrays: Sequence[Array], parameters: Mapping[str, Any]) -> ModuleOp:
    """A layer, its parameters in a message."""
    tops = "".join(f' top: "y{k}"' for k in range(len(results_of(plugin, arrays, parameters))))
    bottoms = "".join(f' bottom: "x{k}"' for k in range(len(arrays)))
    words = " ".join(f"{name}: {_text(value)}" for name, value in parameters.items())
    message = f"{FIELDS[plugin.name]} {{ {words} }}" if parameters else ""
    inputs = "".join(
        f'input: "x{k}" input_shape {{ {" ".join(f"dim: {extent}" for extent in a.shape)} }}\n'
        for k, a in enumerate(arrays)
    )
    text = f'{inputs}layer {{ name: "op" type: "{plugin.name}"{bottoms}{tops} {message} }}'
    return keep_weights(*import_caffe(text.encode()))


FIELDS = {"Mish": "mish_param", "MultiBoxDecoder": "multi_box_decoder_param", "EfficientNMS": "efficient_nms_param"}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def by_tensorflow(plugin: Plugin, arrays: Sequence[Array], parameters: Mapping[str, Any]) -> ModuleOp:
    """A node of a GraphDef."""
    graph = messages()["GraphDef"]()
    for k, array in enumerate(arrays):
        node = graph.node.add(name=f"x{k}", op="Placeholder")
        node.attr["dtype"].type = 1
        for extent in array.shape:
            node.attr["shape"].shape.dim.add(size=extent)
    called = plugin.names.get("tensorflow", f"{plugin.namespace}>{plugin.name}")
    op = graph.node.add(name="op", op=called, input=[f"x{k}" for k in range(len(arrays))])
    op.attr["T"].type = 1
    for name, value in parameters.items():
        _set(op.attr[name], value)
    count = len(results_of(plugin, arrays, parameters))
    return keep_weights(
        *import_tensorflow(graph.SerializeToString(), outputs=["op", *(f"op:{k}" for k in range(1, count))])
    )


def _set(attribute: Message, value: Any) -> None:
    kinds: dict[type, str] = {bool: "b", int: "i", float: "f", str: "s"}
    setattr(attribute, kinds[type(value)], value.encode() if isinstance(value, str) else value)


def by_network(plugin: Plugin, arrays: Sequence[Array], parameters: Mapping[str, Any]) -> ModuleOp:
    """A layer of the network API, the plugin by name."""
    network = Network("one")
    inputs = [network.add_input(f"x{k}", array.shape, array.dtype) for k, array in enumerate(arrays)]
    for tensor in network.add_plugin(inputs, plugin.name, parameters, namespace=plugin.namespace, name="op"):
        network.mark_output(tensor)
    return network.module()


DOORS: Mapping[str, Door] = {
    "onnx": by_onnx,
    "caffe": by_caffe,
    "tensorflow": by_tensorflow,
    "network": by_network,
}
F32 = np.float32
