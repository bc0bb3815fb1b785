"""Every layer of the network API on small tensors of one element type: what the table of supported layers is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from stepwell.dialects.numpy_types import ELEMENT_TYPE_NAMES, Array, element_type_named, numpy_dtype
from stepwell.frontends.network import Network, Tensor
from stepwell.frontends.network.activations import ACTIVATIONS
from stepwell.frontends.network.layers_elementwise import BINARY, UNARY
from stepwell.frontends.network.layers_product import REDUCE

Layer = Callable[[Network, Tensor, Callable[..., Array]], Any]
"""Adds the layer to a network with an input x [2, 4, 6, 6]; the function makes weights of a shape."""


def _flat(network: Network, x: Tensor) -> Tensor:
    return network.add_shuffle(x, reshape=[2, 144])


def _steps(network: Network, x: Tensor) -> Tensor:
    return network.add_shuffle(x, reshape=[8, 6, 6])


def _activation(kind: str) -> Layer:
    alpha, beta = (0.0, 6.0) if kind == "CLIP" else (None, None)
    return lambda n, x, w: n.add_activation(x, kind, alpha=alpha, beta=beta)


def _elementwise(kind: str) -> Layer:
    return lambda n, x, w: n.add_elementwise(kind, x, x)


def _unary(kind: str) -> Layer:
    return lambda n, x, w: n.add_unary(x, kind)


def _reduce(kind: str) -> Layer:
    return lambda n, x, w: n.add_reduce(x, kind, [2, 3])


LAYERS: Mapping[str, Layer] = {
    **{f"add_activation {kind}": _activation(kind) for kind in ACTIVATIONS},
    **{f"add_elementwise {kind}": _elementwise(kind) for kind in BINARY},
    **{f"add_unary {kind}": _unary(kind) for kind in UNARY},
    **{f"add_reduce {kind}": _reduce(kind) for kind in REDUCE},
    "add_attention": lambda n, x, w: n.add_attention(x, x, x),
    "add_batch_normalization": lambda n, x, w: n.add_batch_normalization(x, w(4), w(4), w(4), w(4)),
    "add_cast": lambda n, x, w: n.add_cast(x, "f32"),
    "add_concatenation": lambda n, x, w: n.add_concatenation([x, x]),
    "add_constant": lambda n, x, w: n.add_constant(w(2, 3)),
    "add_convolution": lambda n, x, w: n.add_convolution(x, 3, 3, w(3, 4, 3, 3), w(3), pads=1),
    "add_cumulative": lambda n, x, w: n.add_cumulative(x, "SUM", 1),
    "add_deconvolution": lambda n, x, w: n.add_deconvolution(x, 3, 3, w(4, 3, 3, 3), w(3), strides=2),
    "add_dequantize": lambda n, x, w: n.add_dequantize(x, 0.5),
    "add_fully_connected": lambda n, x, w: n.add_fully_connected(x, 5, w(5, 144), w(5)),
    "add_gather": lambda n, x, w: n.add_gather(x, n.add_constant(np.array([1, 0])), 1),
    "add_grid_sample": lambda n, x, w: n.add_grid_sample(x, n.add_constant(w(2, 3, 3, 2))),
    "add_gru": lambda n, x, w: n.add_gru(_steps(n, x), 3, w(9, 6), w(9, 3)),
    "add_identity": lambda n, x, w: n.add_identity(x),
    "add_if": lambda n, x, w: n.add_if(n.add_constant(np.array(True)), lambda: x, lambda: n.add_unary(x, "NEG")),
    "add_loop": lambda n, x, w: n.add_loop([x], lambda step, v: n.add_elementwise("SUM", v, x), 2),
    "add_lrn": lambda n, x, w: n.add_lrn(x, 3),
    "add_lstm": lambda n, x, w: n.add_lstm(_steps(n, x), 3, w(12, 6), w(12, 3)),
    "add_matrix_multiply": lambda n, x, w: n.add_matrix_multiply(_flat(n, x), n.add_constant(w(144, 5))),
    "add_nms": lambda n, x, w: n.add_nms(n.add_shuffle(x, reshape=[2, 36, 4]), n.add_constant(w(2, 1, 36)), 3),
    "add_normalization": lambda n, x, w: n.add_normalization(x, w(6), w(6), [3]),
    "add_padding": lambda n, x, w: n.add_padding(x, [1, 1], [1, 1]),
    "add_one_hot": lambda n, x, w: n.add_one_hot(x, 3),
    "add_parametric_relu": lambda n, x, w: n.add_parametric_relu(x, w(4)),
    "add_pooling AVERAGE": lambda n, x, w: n.add_pooling(x, "AVERAGE", 2, strides=2),
    "add_pooling MAX": lambda n, x, w: n.add_pooling(x, "MAX", 2, strides=2),
    "add_quantize": lambda n, x, w: n.add_quantize(x, 0.5),
    "add_resize": lambda n, x, w: n.add_resize(x, [12, 12]),
    "add_reverse": lambda n, x, w: n.add_reverse(x, 1),
    "add_rnn": lambda n, x, w: n.add_rnn(_steps(n, x), 3, w(3, 6), w(3, 3)),
    "add_roi_align": lambda n, x, w: n.add_roi_align(x, n.add_constant(w(3, 4)), n.add_constant(np.zeros(3, np.int64)), [2, 2]),
    "add_scale": lambda n, x, w: n.add_scale(x, "CHANNEL", w(4), w(4)),
    "add_scatter": lambda n, x, w: n.add_scatter(x, n.add_constant(np.array([[1]])), n.add_constant(w(1, 4, 6, 6))),
    "add_select": lambda n, x, w: n.add_select(n.add_elementwise("EQUAL", x, x), x, x),
    "add_shuffle": lambda n, x, w: n.add_shuffle(x, first_transpose=[0, 2, 3, 1]),
    "add_slice": lambda n, x, w: n.add_slice(x, [0, 1, 0, 0], [2, 2, 6, 3]),
    "add_softmax": lambda n, x, w: n.add_softmax(x),
    "add_top_k": lambda n, x, w: n.add_top_k(x, "MAX", 2, 1),
}  # fmt: skip
"""Layer -> how it is added. The plugins of `add_plugin` say themselves what they take."""


def networks() -> Iterator[tuple[str, str, Callable[[], Network]]]:
    """Layer, element type, and what builds a network of it, which refuses types that the layer does not take."""
    for layer in LAYERS:
        for element in ELEMENT_TYPE_NAMES:
            yield layer, element, partial(_built, layer, element)


def _built(layer: str, element: str) -> Network:
    network, dtype = Network(layer), numpy_dtype(element_type_named(element))

    def weights(*shape: int) -> Array:
        return np.ones(shape).astype(dtype)

    x = network.add_input("x", (2, 4, 6, 6), element)
    made = LAYERS[layer](network, x, weights)
    network.mark_output(made[0] if isinstance(made, tuple) else made, "y")
    return network
