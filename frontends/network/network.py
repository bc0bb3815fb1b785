"""The network API as users have it, and as a door of `import_model` and `compile`."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import ModuleOp

from stepwell.dialects.weights import WeightStore
from stepwell.frontends.events import ImportEvents, events_of
from stepwell.frontends.network.layers_control import ControlLayers
from stepwell.frontends.network.layers_elementwise import ElementwiseLayers
from stepwell.frontends.network.layers_movement import MovementLayers
from stepwell.frontends.network.layers_order import OrderLayers
from stepwell.frontends.network.layers_plugin import PluginLayers
from stepwell.frontends.network.layers_product import ProductLayers
from stepwell.frontends.network.layers_quantise import QuantiseLayers
from stepwell.frontends.network.layers_recurrent import RecurrentLayers
from stepwell.frontends.network.layers_window import WindowLayers


class Network(
    WindowLayers,
    ElementwiseLayers,
    ProductLayers,
    MovementLayers,
    RecurrentLayers,
    OrderLayers,
    QuantiseLayers,
    ControlLayers,
    PluginLayers,
):
    """A network built in Python, layer by layer.

    `add_input` and every `add_*` layer return a Tensor (`name`, `shape`, `dtype`), `mark_output` says what comes out; `stepwell.compile(network)` compiles it,
    `network.module()` is its graph-level module. A layer that cannot be is refused when it is added: ModelError, with the layer, its inputs and what
    to do, and the network stays as it was. Names of layers are given, or made of kind and number; they become the ops' locations. `network.inputs`,
    `.layers`, `.tensors` and `.outputs` say what is there; iterating gives the layers."""


def import_network(
    network: Network, *, outputs: Sequence[str] | None = None, events: ImportEvents | None = None
) -> tuple[ModuleOp, WeightStore]:
    """The graph-level module of a network and its weights; `outputs` are tensors by name in place of the marked ones, `events` collects what was done."""
    found = network.module_and_weights(outputs)
    if events is None:
        return found
    events_of(events, "network", network.name)
    for tensor in network.inputs:
        events.network_input(tensor.name, tensor.value)
    for name in found[1]:
        events.initializer(name)
    for layer in network:
        events.node(layer.name, layer.kind)
        events.inputs(layer.name, layer.kind, [(tensor.name, tensor.value) for tensor in layer.inputs])
        events.outputs(layer.name, layer.kind, [(tensor.name, tensor.value) for tensor in layer.outputs])
    known = {**network.tensors, **network.outputs}
    for name in network.outputs if outputs is None else outputs:
        events.output(name, known[name].value)
    return found
