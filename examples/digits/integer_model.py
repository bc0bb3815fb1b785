"""The digit classifier's topology with small integer weights: every correct executor gives the same bits.

    python examples/digits/integer_model.py              # checks itself against float64, prints the ranges

A float sum depends on its order and on the type it is kept in, unless nothing is ever rounded. Here nothing is: images and weights are
small integers, so every value on the way is an integer that fp16 and tf32 (11 significant bits) hold exactly, whatever the order of the
sums. From the hidden layer on every value is a multiple of 16: there erf(x / sqrt 2) is 0 or +-1 in float32, so gelu(x) is max(x, 0).
The bounds hold for *every* image of 0s, 1s and 2s (interval arithmetic over the weights), not only for those tried. The weights are
sparse, but every channel, filter tap, feature and hidden unit is used by some filter, and the outputs depend on the input.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Floats = npt.NDArray[np.floating]

TRAINED = Path(__file__).resolve().parent / "digits.onnx"
LARGEST = 1024  # of any value before the hidden layer, and of any value / GRAIN from there on
GRAIN = 16
HEAD = ("head/hidden", "head/hidden_bias", "head/gelu", "head/logits", "logits")


def integer_images(n: int, seed: int) -> npt.NDArray[np.float32]:
    """`n` images [n,1,8,8] of 0s, 1s and 2s with spatial structure: blocks of a coarse field, a tenth of the pixels redrawn."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 3, size=(n, 1, 4, 4)).repeat(2, axis=2).repeat(2, axis=3)
    redrawn = rng.random(coarse.shape) < 0.1
    return np.where(redrawn, rng.integers(0, 3, size=coarse.shape), coarse).astype(np.float32)


def integer_model(batch: int | None = None, seed: int = 0) -> onnx.ModelProto:
    """The trained network's ONNX graph with seeded integer weights in place of the trained ones.

    `batch` fixes the batch dimension of input and output; None leaves it symbolic ("batch"), as in the trained model. Raises ValueError if
    the weights of this seed break a bound (the construction does not, for any seed).
    """
    model = onnx.load(TRAINED)
    weights = _integer_weights(np.random.default_rng(seed))
    for entry in model.graph.initializer:
        entry.CopyFrom(numpy_helper.from_array(weights[entry.name], entry.name))
    for value in (model.graph.input[0], model.graph.output[0]):
        if batch is not None:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    model.producer_name = "examples/digits/integer_model.py"
    for name, (low, high, grain) in worst_case(weights).items():
        if max(-low, high) > LARGEST * grain:
            raise ValueError(f"{name} can reach [{low:g}, {high:g}], which is not exact in fp16")
    onnx.checker.check_model(model, full_check=True)
    return model


def _integer_weights(rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    """Weights by name: few entries of +-1 a filter (the hidden layer: +-16), biases of -1, 0, 1 (from the hidden layer on: -16, 0, 16)."""

    def bias(size: int, grain: int = 1) -> npt.NDArray[np.float32]:
        return (grain * rng.integers(-1, 2, size=size)).astype(np.float32)

    stem = _signed_rows(rng, 64, 9, plus=2, minus=1).reshape(64, 1, 3, 3)
    conv1 = _signed_rows(rng, 64, 576, plus=2, minus=2).reshape(64, 64, 3, 3)
    conv2 = _signed_rows(rng, 64, 576, plus=2, minus=2).reshape(64, 64, 3, 3)
    hidden = GRAIN * _signed_rows(rng, 64, 256, plus=2, minus=2).T
    logits = _signed_rows(rng, 10, 64, plus=4, minus=3).T
    return {
        "stem.weight": stem, "stem.bias": bias(64), "conv1.weight": conv1, "conv1.bias": bias(64),
        "conv2.weight": conv2, "conv2.bias": bias(64), "hidden.weight": np.ascontiguousarray(hidden), "hidden.bias": bias(64, GRAIN),
        "logits.weight": np.ascontiguousarray(logits), "logits.bias": bias(10, GRAIN),
    }  # fmt: skip


def _signed_rows(
    rng: np.random.Generator, rows: int, columns: int, *, plus: int, minus: int
) -> npt.NDArray[np.float32]:
    """[rows, columns] with `plus` entries +1 and `minus` entries -1 in each row, dealt like cards so that columns are used evenly."""
    matrix = np.zeros((rows, columns), np.float32)
    deck: list[int] = []
    for row in matrix:
        chosen: list[int] = []
        while len(chosen) < plus + minus:
            if not deck:
                deck = list(rng.permutation(columns))
            card = deck.pop()
            if card not in chosen:
                chosen.append(card)
        row[chosen[:plus]], row[chosen[plus:]] = 1, -1
    return matrix


def worst_case(weights: dict[str, npt.NDArray[np.float32]]) -> dict[str, tuple[float, float, int]]:
    """(least, largest, grain) that each layer's sum and every partial sum of it can reach, over all images of 0s, 1s and 2s.

    Interval arithmetic: every layer's inputs are at least 0 (pixels, padding, relu, gelu), so an upper bound per channel suffices.
    """

    def reach(name: str, high: Floats) -> tuple[Floats, Floats]:
        weight, bias = weights[f"{name}.weight"].astype(np.float64), weights[f"{name}.bias"].astype(np.float64)
        plus, minus = weight.clip(min=0), weight.clip(max=0)
        if weight.ndim == 4:
            plus, minus = plus.sum(axis=(2, 3)).T, minus.sum(axis=(2, 3)).T
        return high @ minus + bias.clip(max=0), high @ plus + bias.clip(min=0)

    stem = reach("stem", np.full(1, 2.0))
    conv1 = reach("conv1", stem[1])
    conv2 = reach("conv2", conv1[1])
    block = conv2[0], conv2[1] + stem[1]
    hidden = reach("hidden", block[1].repeat(4))
    logits = reach("logits", hidden[1])
    coarse = {"hidden": hidden, "logits": logits}
    fine = {"stem": stem, "conv1": conv1, "conv2": conv2, "block": block}
    return {name: (float(v[0].min()), float(v[1].max()), 1) for name, v in fine.items()} | {
        name: (float(v[0].min()), float(v[1].max()), GRAIN) for name, v in coarse.items()
    }


def intermediates(model: onnx.ModelProto, images: Floats) -> dict[str, Floats]:
    """Every node's output by name, by ONNX's reference evaluator in float64."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for entry in wide.graph.initializer:
        entry.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(entry).astype(np.float64), entry.name))
    names = [node.output[0] for node in wide.graph.node]
    del wide.graph.output[:]
    wide.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    wide.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    return dict(zip(names, ReferenceEvaluator(wide).run(None, {"image": images.astype(np.float64)}), strict=True))


def self_check(model: onnx.ModelProto, images: Floats) -> dict[str, tuple[float, float]]:
    """The range of every node's output in float64, after asserting that all are exact in fp16 and that the outputs depend on the input."""
    values = intermediates(model, images)
    for name, value in values.items():
        grain = GRAIN if name in HEAD else 1
        assert np.array_equal(value, np.round(value / grain) * grain), f"{name} is not a multiple of {grain}"
        assert np.abs(value).max() <= LARGEST * grain, f"{name} reaches {np.abs(value).max():g}"
        assert np.array_equal(value.astype(np.float16).astype(np.float64), value), f"{name} is rounded in fp16"
    logits, hidden = values["logits"], values["head/gelu"]
    assert (np.ptp(logits, axis=0) > 0).all(), "a logit is the same for all images"
    assert np.abs(logits[:1] - logits[1:]).max() >= 0.1 * np.abs(logits).max(), "the logits hardly depend on the image"
    assert (np.ptp(hidden, axis=0) > 0).mean() >= 0.5, "most hidden units are the same for all images"
    assert len(np.unique(logits.argmax(axis=1))) >= 3, "fewer than three classes are ever chosen"
    return {name: (float(value.min()), float(value.max())) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Check that the integer model is exact; optionally write it.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--output", type=Path, help="write the model here")
    arguments = parser.parse_args()
    model = integer_model(seed=arguments.seed)
    for name, (low, high) in self_check(model, integer_images(arguments.images, arguments.seed)).items():
        print(f"{name:18} [{low:g}, {high:g}]")
    if arguments.output is not None:
        onnx.save(model, arguments.output)


if __name__ == "__main__":
    main()
