"""The digit classifier as TensorFlow's files: the same weights, the same layers.

    python examples/digits/as_tensorflow.py FOLDER   # writes digits.pb and the SavedModel digits_saved

TensorFlow spells GELU as x / 2 * (1 + erf(x / sqrt 2)), five operators that round one by one: the logits differ in their last places, every number before it is the
ONNX file's to the last bit, and the labels are the same.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path

import numpy as np
from reference import Floats, load_weights

from stepwell.testing.tensorflow_files import GraphDef, write_saved_model

HERE = Path(__file__).resolve().parent
INPUT = (-1, 1, 8, 8)
"""Any number of images."""
LAYERS = ("stem", "conv1", "conv2", "hidden", "logits")


def weights() -> dict[str, Floats]:
    """The trained weights as TensorFlow holds them: filters are [rows, columns, from, to]."""
    held = load_weights(HERE / "digits.onnx")
    turned = {name: np.asarray(held[f"{name}.weight"]) for name in LAYERS}
    filters = {f"{name}.weight": w.transpose(2, 3, 1, 0) if w.ndim == 4 else w for name, w in turned.items()}
    return filters | {f"{name}.bias": np.asarray(held[f"{name}.bias"]) for name in LAYERS}


class _Network:
    """Writes the layers into a graph or, with `part` ":output:0", into a function's body, where tensors are called so."""

    def __init__(self, made: GraphDef, part: str) -> None:
        self.made, self.part = made, part

    def _of(self, name: str) -> str:
        return f"{name}{self.part}"

    def node(self, name: str, op: str, *inputs: str, **attributes: object) -> str:
        """A node, and what its output is called."""
        return self._of(self.made.node(name, op, *inputs, **attributes))

    def number(self, name: str, value: object) -> str:
        """A constant."""
        return self._of(self.made.const(name, value))

    def convolution(self, name: str, x: str, weight: str, bias: str) -> str:
        """3 x 3 with a pixel of zeros around the image, and its bias."""
        strides = [1, 1, 1, 1]
        made = self.node(name, "Conv2D", x, weight, strides=strides, padding="SAME", data_format="NCHW")
        return self.node(f"{name}_bias", "BiasAdd", made, bias, data_format="NCHW")

    def layers(self, x: str, w: dict[str, str]) -> str:
        """The whole network: what the logits are called."""
        stem = self.node("stem/relu", "Relu", self.convolution("stem/conv", x, w["stem.weight"], w["stem.bias"]))
        inner = self.convolution("block/conv1", stem, w["conv1.weight"], w["conv1.bias"])
        inner = self.node("block/relu1", "Relu", inner)
        inner = self.convolution("block/conv2", inner, w["conv2.weight"], w["conv2.bias"])
        block = self.node("block/relu2", "Relu", self.node("block/add", "AddV2", inner, stem))
        window = [1, 1, 4, 4]
        pooled = self.node("pool", "MaxPool", block, ksize=window, strides=window, padding="VALID", data_format="NCHW")
        flat = self.node("flatten", "Reshape", pooled, self.number("flat", np.array([-1, 256], np.int32)))
        hidden = self.node("head/hidden", "MatMul", flat, w["hidden.weight"])
        hidden = self.node("head/hidden_bias", "BiasAdd", hidden, w["hidden.bias"])
        bent = self.node("head/scaled", "Mul", hidden, self.number("root", np.float32(sqrt(0.5))))
        bent = self.node("head/more", "AddV2", self.node("head/erf", "Erf", bent), self.number("one", np.float32(1)))
        half = self.node("head/half", "Mul", hidden, self.number("a_half", np.float32(0.5)))
        product = self.node("head/product", "MatMul", self.node("head/gelu", "Mul", half, bent), w["logits.weight"])
        return self.node("logits", "BiasAdd", product, w["logits.bias"])


def frozen() -> GraphDef:
    """The graph with its weights as constants."""
    made = GraphDef()
    made.placeholder("image", INPUT)
    _Network(made, "").layers("image", {name: made.const(name, array) for name, array in weights().items()})
    return made


def saved(folder: Path) -> Path:
    """The SavedModel as TensorFlow 2 writes one: a function of the image and of handles to the variables of its checkpoint."""
    held, made, body = weights(), GraphDef(), GraphDef()
    names = {name: name.replace(".", "_") for name in held}
    network = _Network(body, ":output:0")
    read = {name: network.node(f"{argument}/read", "ReadVariableOp", argument) for name, argument in names.items()}
    logits = network.layers("image", read)
    made.function("classify", ["image", *names.values()], {"logits": logits}, body)
    made.placeholder("serving_image", INPUT)
    handles = [made.node(name, "VarHandleOp", dtype=array.dtype, shared_name=name) for name, array in held.items()]
    made.call("classified", "StatefulPartitionedCall", "serving_image", *handles, f="classify")
    return write_saved_model(folder, made, {"image": ("serving_image:0", INPUT)}, {"logits": "classified:0"}, held)


def write(folder: Path) -> tuple[Path, Path]:
    """Write both; their paths."""
    return frozen().save(folder, "digits.pb"), saved(folder / "digits_saved")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder), sep="\n")
