"""The digit classifier through every door: ONNX, Caffe, TensorFlow (a frozen graph, a SavedModel), and the network API.

python examples/digits/doors.py        # a line for each
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import as_caffe
import as_network
import as_tensorflow
import numpy as np
from reference import Floats, classify, load_heldout, load_weights
from xdsl.dialects.builtin import ModuleOp

import stepwell

HERE = Path(__file__).resolve().parent
ONNX = HERE / "digits.onnx"


def modules(folder: Path, batch: int) -> Iterator[tuple[str, str, ModuleOp]]:
    """Door, files and module of each twin; the files are written into `folder`."""
    shapes = {"image": (batch, 1, 8, 8)}
    yield "ONNX", ONNX.name, stepwell.import_model(ONNX, shapes=shapes)
    network, weights = as_caffe.write(folder, batch)
    yield "Caffe", f"{network.name} + {weights.name}", stepwell.import_model(network, weights)
    frozen, saved = as_tensorflow.write(folder)
    for path, kind in ((frozen, "frozen graph"), (saved, "SavedModel")):
        module = stepwell.import_model(path, outputs=["logits"], shapes=shapes)
        yield "TensorFlow", f"{path.name}, a {kind}", module
    yield "network API", "as_network.py", stepwell.import_model(as_network.build(batch))


def labels_of(module: ModuleOp, images: Floats) -> np.ndarray:
    """The label of every image, by the interpreter of the graph level."""
    return np.asarray(stepwell.interpret(module, {"image": images})["logits"]).argmax(axis=1)


def show(images: Floats, reference: np.ndarray) -> bool:
    """A line for each door; True when all give every image the reference's label."""
    right = True
    with tempfile.TemporaryDirectory() as folder:
        for door, files, module in modules(Path(folder), len(images)):
            same = int((labels_of(module, images) == reference).sum())
            print(f"{door:12}{files:36}{same} of {len(reference)} labels equal the NumPy reference's")
            right &= same == len(reference)
    return right


if __name__ == "__main__":
    held_out, _ = load_heldout()
    sys.exit(0 if show(held_out, classify(load_weights(ONNX), held_out)) else 1)
