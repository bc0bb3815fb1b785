"""Train the digit classifier with NumPy and write it as ONNX.

    python examples/digits/train.py                     # about 45 s on two cores; writes digits.onnx and heldout.npz here
    python examples/digits/train.py --quick --output D  # a few steps on a part of the images, to check the trainer

The images are the 1,797 handwritten 8x8 digits that scikit-learn ships (scaled to 0..1); a fixed 360 of them are held out. All
arithmetic is float32 and every random number comes from one seed, so a run repeats itself up to the rounding order of NumPy's BLAS.
Feature maps are [N, 8, 8, C] while training, so that a 3x3 convolution is one matrix product over gathered patches; the file
that is written uses ONNX's own order.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]
Kept = dict[str, npt.NDArray[Any]]

HERE = Path(__file__).resolve().parent
CHANNELS, HIDDEN, CLASSES, HELD_OUT = 64, 64, 10, 360
TAPS = [(r, s) for r in range(3) for s in range(3)]
_erf = np.vectorize(math.erf, otypes=[np.float32])


# --- data


def load_split() -> tuple[Array, npt.NDArray[np.int64], Array, npt.NDArray[np.int64]]:
    """Training images [1437,1,8,8] and labels, held-out images [360,1,8,8] and labels; always the same split."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(1797).permutation(len(images))
    held, train = np.sort(order[:HELD_OUT]), np.sort(order[HELD_OUT:])
    return images[train], labels[train], images[held], labels[held]


def augment(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by up to one pixel, scaled in brightness by up to 10 % and with a little noise."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    rows, columns = rng.choice(3, size=(2, len(images)), p=[0.2, 0.6, 0.2])
    windows = np.lib.stride_tricks.sliding_window_view(padded[:, 0], (8, 8), axis=(1, 2))
    moved = windows[np.arange(len(images)), rows, columns][:, None]
    gain = rng.uniform(0.9, 1.1, size=(len(images), 1, 1, 1))
    noise = rng.normal(0.0, 0.02, size=moved.shape)
    return (moved * gain + noise).astype(np.float32)


# --- the network: forward and backward


def init_weights(rng: np.random.Generator) -> Weights:
    """He-normal weights and zero biases; a convolution's weight is [taps * channels, filters]."""

    def normal(inputs: int, outputs: int, gain: float = 2.0) -> Array:
        return rng.normal(0.0, math.sqrt(gain / inputs), size=(inputs, outputs)).astype(np.float32)

    matrices = {
        "stem": normal(9, CHANNELS),
        "conv1": normal(9 * CHANNELS, CHANNELS),
        "conv2": normal(9 * CHANNELS, CHANNELS, gain=0.5),
        "hidden": normal(4 * CHANNELS, HIDDEN),
        "logits": normal(HIDDEN, CLASSES, gain=1.0),
    }
    biases = {f"{name}.bias": np.zeros(matrix.shape[1], np.float32) for name, matrix in matrices.items()}
    return {f"{name}.weight": matrix for name, matrix in matrices.items()} | biases


def patches(x: Array) -> Array:
    """[N,8,8,C] -> [N,8,8,9*C]: the 3x3 neighbourhood of every pixel, zeros outside the image."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return np.concatenate([padded[:, r : r + 8, s : s + 8] for r, s in TAPS], axis=3)


def scatter_patches(gradient: Array) -> Array:
    """The transpose of `patches`: [N,8,8,9*C] -> [N,8,8,C]."""
    parts = np.split(gradient, 9, axis=3)
    padded = np.zeros((len(gradient), 10, 10, parts[0].shape[3]), np.float32)
    for (r, s), part in zip(TAPS, parts, strict=True):
        padded[:, r : r + 8, s : s + 8] += part
    return padded[:, 1:9, 1:9]


def forward(w: Weights, images: Array) -> tuple[Array, Kept]:
    """Logits [N,10] and what the backward pass needs of the way there."""
    p0 = patches(images.transpose(0, 2, 3, 1))
    stem = np.maximum(p0 @ w["stem.weight"] + w["stem.bias"], 0)
    p1 = patches(stem)
    inner = np.maximum(p1 @ w["conv1.weight"] + w["conv1.bias"], 0)
    p2 = patches(inner)
    block = np.maximum(p2 @ w["conv2.weight"] + w["conv2.bias"] + stem, 0)
    quarters = block.reshape(-1, 2, 4, 2, 4, CHANNELS).transpose(0, 1, 3, 5, 2, 4).reshape(-1, 2, 2, CHANNELS, 16)
    peak = quarters.argmax(axis=4)
    pooled = np.take_along_axis(quarters, peak[..., None], axis=4)[..., 0]
    features = pooled.transpose(0, 3, 1, 2).reshape(len(images), -1)  # channels first, as ONNX flattens
    hidden = features @ w["hidden.weight"] + w["hidden.bias"]
    share = 0.5 * (1 + _erf(hidden / math.sqrt(2)))
    active = (hidden * share).astype(np.float32)
    logits = active @ w["logits.weight"] + w["logits.bias"]
    kept = {
        "p0": p0,
        "stem": stem,
        "p1": p1,
        "inner": inner,
        "p2": p2,
        "block": block,
        "peak": peak,
        "features": features,
        "hidden": hidden,
    }
    return logits, kept | {"share": share, "active": active}


def backward(w: Weights, kept: Kept, d_logits: Array) -> Weights:
    """The gradient of every weight for the gradient of the logits."""
    grads: Weights = {}

    def linear(name: str, inputs: Array, d_out: Array) -> Array:
        flat_in, flat_out = inputs.reshape(-1, inputs.shape[-1]), d_out.reshape(-1, d_out.shape[-1])
        grads[f"{name}.weight"], grads[f"{name}.bias"] = flat_in.T @ flat_out, flat_out.sum(axis=0)
        return d_out @ w[f"{name}.weight"].T

    d_active = linear("logits", kept["active"], d_logits)
    density = np.exp(-0.5 * kept["hidden"] ** 2) / math.sqrt(2 * math.pi)
    d_hidden = d_active * (kept["share"] + kept["hidden"] * density).astype(np.float32)
    d_pooled = linear("hidden", kept["features"], d_hidden).reshape(-1, CHANNELS, 2, 2).transpose(0, 2, 3, 1)
    d_quarters = np.zeros((*d_pooled.shape, 16), np.float32)
    np.put_along_axis(d_quarters, kept["peak"][..., None], d_pooled[..., None], axis=4)
    d_block = d_quarters.reshape(-1, 2, 2, CHANNELS, 4, 4).transpose(0, 1, 4, 2, 5, 3).reshape(kept["block"].shape)
    d_block = d_block * (kept["block"] > 0)
    d_inner = scatter_patches(linear("conv2", kept["p2"], d_block)) * (kept["inner"] > 0)
    d_stem = (scatter_patches(linear("conv1", kept["p1"], d_inner)) + d_block) * (kept["stem"] > 0)
    linear("stem", kept["p0"], d_stem)
    return grads


# --- training


def cross_entropy(logits: Array, labels: npt.NDArray[np.int64], smoothing: float = 0.05) -> tuple[float, Array]:
    """Mean cross entropy against smoothed labels, and its gradient by the logits."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    wanted = np.full_like(logits, smoothing / CLASSES)
    wanted[np.arange(len(labels)), labels] += 1 - smoothing
    return float(-(wanted * log_p).sum(axis=1).mean()), ((np.exp(log_p) - wanted) / len(labels)).astype(np.float32)


def train(
    images: Array, labels: npt.NDArray[np.int64], *, epochs: int, batch: int = 64, seed: int = 0
) -> tuple[Weights, list[float]]:
    """Weights after `epochs` of Adam with weight decay under a cosine rate, and the mean loss of each epoch."""
    rng = np.random.default_rng(seed)
    weights = init_weights(rng)
    mean = {name: np.zeros_like(value) for name, value in weights.items()}
    square = {name: np.zeros_like(value) for name, value in weights.items()}
    steps, step, losses = epochs * (len(images) // batch), 0, []
    for _ in range(epochs):
        order, total = rng.permutation(len(images)), 0.0
        for start in range(0, len(images) - batch + 1, batch):
            chosen = order[start : start + batch]
            logits, kept = forward(weights, augment(images[chosen], rng))
            loss, d_logits = cross_entropy(logits, labels[chosen])
            total, step = total + loss, step + 1
            rate = 2e-3 * min(1.0, 10 * step / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for name, gradient in backward(weights, kept, d_logits).items():
                mean[name] += 0.1 * (gradient - mean[name])
                square[name] += 0.01 * (gradient * gradient - square[name])
                scale = math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
                weights[name] -= np.float32(rate) * (np.float32(scale) * mean[name] / (np.sqrt(square[name]) + 1e-8))
                weights[name] *= np.float32(1 - 0.02 * rate)
        losses.append(total / (len(images) // batch))
    return weights, losses


def accuracy(weights: Weights, images: Array, labels: npt.NDArray[np.int64]) -> float:
    """The share of images whose largest logit is the label's."""
    return float((forward(weights, images)[0].argmax(axis=1) == labels).mean())


# --- ONNX


def to_onnx(weights: Weights) -> onnx.ModelProto:
    """The network as an ONNX model: opset 20, input `image` [batch,1,8,8], output `logits` [batch,10]."""
    stored: Weights = {}
    for name, value in weights.items():
        if name.split(".")[0] in ("stem", "conv1", "conv2") and name.endswith("weight"):
            value = value.reshape(3, 3, -1, CHANNELS).transpose(3, 2, 0, 1)
        stored[name] = np.ascontiguousarray(value)
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
    rows: list[tuple[str, str, list[str], dict[str, Any]]] = [
        ("stem/conv", "Conv", ["image", "stem.weight", "stem.bias"], dict(same)),
        ("stem/relu", "Relu", ["stem/conv"], {}),
        ("block/conv1", "Conv", ["stem/relu", "conv1.weight", "conv1.bias"], dict(same)),
        ("block/relu1", "Relu", ["block/conv1"], {}),
        ("block/conv2", "Conv", ["block/relu1", "conv2.weight", "conv2.bias"], dict(same)),
        ("block/add", "Add", ["block/conv2", "stem/relu"], {}),
        ("block/relu2", "Relu", ["block/add"], {}),
        ("pool", "MaxPool", ["block/relu2"], {"kernel_shape": [4, 4], "strides": [4, 4]}),
        ("flatten", "Flatten", ["pool"], {"axis": 1}),
        ("head/hidden", "MatMul", ["flatten", "hidden.weight"], {}),
        ("head/hidden_bias", "Add", ["head/hidden", "hidden.bias"], {}),
        ("head/gelu", "Gelu", ["head/hidden_bias"], {"approximate": "none"}),
        ("head/logits", "MatMul", ["head/gelu", "logits.weight"], {}),
        ("head/logits_bias", "Add", ["head/logits", "logits.bias"], {}),
    ]
    nodes = [helper.make_node(kind, inputs, [name], name=name, **attributes) for name, kind, inputs, attributes in rows]
    nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="examples/digits/train.py"
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digit classifier and write digits.onnx and heldout.npz.")
    parser.add_argument("--output", type=Path, default=HERE, help="folder for the two files")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="three epochs on 512 images: checks the trainer only")
    arguments = parser.parse_args()
    images, labels, held_images, held_labels = load_split()
    started = time.perf_counter()
    some, epochs = (512, 3) if arguments.quick else (len(images), arguments.epochs)
    weights, losses = train(images[:some], labels[:some], epochs=epochs, seed=arguments.seed)
    print(
        f"{epochs} epochs on {some} images in {time.perf_counter() - started:.0f} s, loss {losses[0]:.3f} -> {losses[-1]:.3f}"
    )
    print(f"held-out accuracy {100 * accuracy(weights, held_images, held_labels):.2f} % of {len(held_images)} images")
    arguments.output.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(weights), arguments.output / "digits.onnx")
    np.savez_compressed(arguments.output / "heldout.npz", images=held_images, labels=held_labels)
    print(f"wrote {arguments.output / 'digits.onnx'} and {arguments.output / 'heldout.npz'}")


if __name__ == "__main__":
    main()
