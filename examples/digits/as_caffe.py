"""The digit classifier as Caffe's two files: the same weights, the same layers where Caffe has them.

    python examples/digits/as_caffe.py FOLDER        # writes digits.prototxt and digits.caffemodel

Caffe has no GELU: it is put together from Scale, Eltwise and TanH, by the formula with a tanh, which differs from the one with an error function by at most
0.0005. Up to it every number is the ONNX file's to the last bit; the labels are the same.
"""

from __future__ import annotations

import argparse
from math import pi, sqrt
from pathlib import Path

import numpy as np
from reference import Floats, load_weights

from stepwell.testing.caffe_files import caffemodel

HERE = Path(__file__).resolve().parent
CONVOLUTIONS = {"stem/conv": "stem", "block/conv1": "conv1", "block/conv2": "conv2"}
PRODUCTS = {"head/hidden_bias": "hidden", "logits": "logits"}
FACTORS = {"cubic": [0.044715 * sqrt(2 / pi)], "linear": [sqrt(2 / pi)], "gate": [0.5, 0.5]}
"""Of GELU, x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))): the factor, and what is added."""


def _layer(name: str, type: str, bottoms: str, parameters: str = "", top: str = "") -> str:
    named = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{type}" {named} top: "{top or name}" {parameters} }}'


def _convolution(name: str, bottom: str) -> str:
    return _layer(name, "Convolution", bottom, "convolution_param { num_output: 64 kernel_size: 3 pad: 1 }")


def _product(name: str, bottom: str, outputs: int) -> str:
    return _layer(name, "InnerProduct", bottom, f"inner_product_param {{ num_output: {outputs} transpose: true }}")


def prototxt(batch: int = 1) -> str:
    """The text of the network."""
    lines = [
        'name: "digits"',
        f'input: "image" input_shape {{ dim: {batch} dim: 1 dim: 8 dim: 8 }}',
        _convolution("stem/conv", "image"),
        _layer("stem/relu", "ReLU", "stem/conv"),
        _convolution("block/conv1", "stem/relu"),
        _layer("block/relu1", "ReLU", "block/conv1", top="block/conv1"),
        _convolution("block/conv2", "block/conv1"),
        _layer("block/add", "Eltwise", "block/conv2 stem/relu"),
        _layer("block/relu2", "ReLU", "block/add", top="block/add"),
        _layer("pool", "Pooling", "block/add", "pooling_param { pool: MAX kernel_size: 4 stride: 4 }"),
        _layer("flatten", "Flatten", "pool"),
        _product("head/hidden_bias", "flatten", 64),
        _layer(
            "cube", "Eltwise", "head/hidden_bias head/hidden_bias head/hidden_bias", "eltwise_param { operation: PROD }"
        ),
        _layer("cubic", "Scale", "cube"),
        _layer("linear", "Scale", "head/hidden_bias"),
        _layer("bent", "Eltwise", "linear cubic"),
        _layer("tanh", "TanH", "bent"),
        _layer("gate", "Scale", "tanh", "scale_param { bias_term: true }"),
        _layer("head/gelu", "Eltwise", "head/hidden_bias gate", "eltwise_param { operation: PROD }"),
        _product("logits", "head/gelu", 10),
    ]
    return "\n".join(lines) + "\n"


def blobs() -> dict[str, list[Floats]]:
    """The trained weights by layer, from the ONNX file."""
    weights = load_weights(HERE / "digits.onnx")
    factors = {layer: [np.full(64, number, np.float32) for number in numbers] for layer, numbers in FACTORS.items()}
    return factors | {
        layer: [np.asarray(weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        for layer, name in (CONVOLUTIONS | PRODUCTS).items()
    }


def write(folder: Path, batch: int = 1) -> tuple[Path, Path]:
    """Write both files; their paths."""
    network, weights = folder / "digits.prototxt", folder / "digits.caffemodel"
    network.write_text(prototxt(batch))
    weights.write_bytes(caffemodel(blobs()))
    return network, weights


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder), sep="\n")
