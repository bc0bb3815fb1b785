"""The digit classifier in plain NumPy: what every compiled form of it must agree with.

    python examples/digits/reference.py                  # accuracy on the held-out images, and the smallest margin

Reads the weights from the ONNX file with the onnx package and uses nothing of Stepwell. `forward` computes in the type of the images it is
given (float32 as the model says, float64 as an oracle), each step one line, so that it can be checked by reading.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Floats = npt.NDArray[np.floating]
Weights = dict[str, Floats]

HERE = Path(__file__).resolve().parent
_erf = np.vectorize(math.erf, otypes=[np.float64])


def load_weights(model: str | Path | onnx.ModelProto) -> Weights:
    """The initialisers of an ONNX file or model by name."""
    proto = model if isinstance(model, onnx.ModelProto) else onnx.load(model)
    return {entry.name: numpy_helper.to_array(entry) for entry in proto.graph.initializer}


def load_heldout(path: str | Path = HERE / "heldout.npz") -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The held-out images [360,1,8,8], float32 in 0..1, and their labels [360]."""
    with np.load(path) as data:
        return data["images"], data["labels"]


def conv3x3(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Convolution [N,C,8,8] with [K,C,3,3] and [K], one pixel of zeros around the image."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # [N,C,8,8,3,3]
    return np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2) + bias[:, None, None]


def gelu(x: Floats) -> Floats:
    """x/2 * (1 + erf(x / sqrt 2))."""
    return (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)


def forward(weights: Weights, images: Floats) -> Floats:
    """Logits [N,10] of images [N,1,8,8], computed in the type of the images."""
    w = {name: value.astype(images.dtype) for name, value in weights.items()}
    stem = np.maximum(conv3x3(images, w["stem.weight"], w["stem.bias"]), 0)
    inner = np.maximum(conv3x3(stem, w["conv1.weight"], w["conv1.bias"]), 0)
    block = np.maximum(conv3x3(inner, w["conv2.weight"], w["conv2.bias"]) + stem, 0)
    pooled = block.reshape(len(images), -1, 2, 4, 2, 4).max(axis=(3, 5))
    hidden = gelu(pooled.reshape(len(images), -1) @ w["hidden.weight"] + w["hidden.bias"])
    return hidden @ w["logits.weight"] + w["logits.bias"]


def classify(weights: Weights, images: Floats) -> npt.NDArray[np.int64]:
    """The digit of each image: the index of its largest logit."""
    return forward(weights, images).argmax(axis=1)


def margins(logits: Floats) -> Floats:
    """For each row the largest logit less the second largest: a rounding error below half of it cannot change the label."""
    top = np.sort(logits, axis=1)
    return top[:, -1] - top[:, -2]


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify the held-out digits with NumPy.")
    parser.add_argument("--model", type=Path, default=HERE / "digits.onnx")
    arguments = parser.parse_args()
    images, labels = load_heldout()
    logits = forward(load_weights(arguments.model), images)
    right = logits.argmax(axis=1) == labels
    print(
        f"{right.sum()} of {len(labels)} right ({100 * right.mean():.2f} %), smallest margin {margins(logits).min():.3f}"
    )


if __name__ == "__main__":
    main()
