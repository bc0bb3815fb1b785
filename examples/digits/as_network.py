"""The digit classifier by the network API: the same ops as the ONNX file's, so the same numbers to the last bit."""

from __future__ import annotations

from pathlib import Path

from reference import load_weights

from stepwell.frontends.network import Network
from stepwell.frontends.network.tensor import Tensor

HERE = Path(__file__).resolve().parent


def build(batch: int = 1) -> Network:
    """The network of digits.onnx with its weights, layer by layer."""
    weights = load_weights(HERE / "digits.onnx")
    network = Network("digits", max_batch_size=batch)

    def convolved(x: Tensor, layer: str, name: str) -> Tensor:
        filters, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        return network.add_convolution(x, 64, 3, filters, bias, pads=1, name=name)

    def dense(x: Tensor, layer: str) -> Tensor:
        product = network.add_matrix_multiply(x, network.add_constant(weights[f"{layer}.weight"]), name=f"head/{layer}")
        bias = network.add_constant(weights[f"{layer}.bias"])
        return network.add_elementwise("SUM", product, bias, name=f"head/{layer}_bias")

    stem = network.add_activation(convolved(network.add_input("image", (1, 8, 8)), "stem", "stem/conv"), "RELU")
    first = network.add_activation(convolved(stem, "conv1", "block/conv1"), "RELU")
    added = network.add_elementwise("SUM", convolved(first, "conv2", "block/conv2"), stem)
    pooled = network.add_pooling(network.add_activation(added, "RELU"), "MAX", 4, strides=4)
    flat = network.add_shuffle(pooled, reshape=[0, -1])
    network.mark_output(dense(network.add_activation(dense(flat, "hidden"), "GELU_ERF"), "logits"), "logits")
    return network
