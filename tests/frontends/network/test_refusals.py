"""What is refused when it is added, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from xdsl.ir import Block

from stepwell import Network
from stepwell.dialects.graph import WeightOp
from stepwell.frontends.network import Tensor
from stepwell.passes import names_of
from stepwell.runtime.errors import ModelError

SHAPE = (2, 4, 6, 5)

REFUSED: dict[str, tuple[Callable[[Network, Tensor], Any], str]] = {
    "channels": (
        lambda n, x: n.add_convolution(x, 6, 3, np.ones((6, 3, 3, 3), np.float32)),
        r"convolution1 \(convolution\): weights have shape \[6, 3, 3, 3\], \[6, 4, 3, 3\] is needed; inputs: x: f32\[2, 4, 6, 5\]",
    ),
    "dtype": (lambda n, x: n.add_convolution(x, 6, 3, np.ones((6, 4, 3, 3))), r"give weights.astype\('float32'\)"),
    "groups": (lambda n, x: n.add_convolution(x, 6, 3, [0.0], groups=3), "divided by groups"),
    "window": (lambda n, x: n.add_convolution(x, 6, 9, np.ones((6, 4, 9, 9), np.float32)), "convolution1"),
    "strides": (lambda n, x: n.add_pooling(x, "max", 2, strides=[1, 2, 3]), "give one number, or 2"),
    "pool": (lambda n, x: n.add_pooling(x, "median", 2), "use one of MAX, AVERAGE"),
    "broadcast": (
        lambda n, x: n.add_elementwise("SUM", x, n.add_constant(np.ones((3, 8), np.float32))),
        "do not broadcast",
    ),
    "types": (lambda n, x: n.add_elementwise("SUM", x, n.add_constant(np.arange(5))), "add_cast one of them"),
    "logic": (lambda n, x: n.add_elementwise("AND", x, x), "elementwise1"),
    "no tensor": (lambda n, x: n.add_softmax(cast(Any, np.ones(SHAPE))), "ndarray is no tensor of the network"),
    "foreign": (lambda n, x: n.add_softmax(Network().add_input("x", (2, 2))), "of another network"),
    "taken": (lambda n, x: n.add_softmax(x, name="x"), "the name 'x' is taken"),
    "axis": (lambda n, x: n.add_softmax(x, 4), "axis 4 is outside of the 4 dims"),
    "alpha": (lambda n, x: n.add_activation(x, "RELU", alpha=1), "RELU has no alpha"),
    "clip": (lambda n, x: n.add_activation(x, "CLIP", alpha=1), "CLIP needs beta"),
    "matrix": (lambda n, x: n.add_matrix_multiply(x, x), "matrix_multiply1"),
    "slice": (lambda n, x: n.add_slice(x, [0, 0, 0, 0], [2, 4, 7, 5]), "slice1"),
    "reshape": (lambda n, x: n.add_shuffle(x, reshape=[0, 7, -1]), "no whole number"),
    "elements": (lambda n, x: n.add_shuffle(x, reshape=[2, 7]), "shuffle1"),
    "indices": (lambda n, x: n.add_gather(x, n.add_constant([4]), 1), "axis 1 has 4 elements"),
    "top k": (lambda n, x: n.add_top_k(x, "MAX", 9, 1), "k 9 must lie in"),
    "concat": (lambda n, x: n.add_concatenation([]), "nothing to concatenate"),
    "lstm": (lambda n, x: n.add_lstm(x, 4, [0.0], [0.0]), r"it is \[steps, batch, width\]"),
    "input": (lambda n, x: n.add_input("y", (-1, 3)), "negative extent"),
    "a word for a number": (lambda n, x: n.add_convolution(x, 6, cast(Any, "three"), [0.0]), "convolution1"),
    "a fraction": (lambda n, x: n.add_pooling(x, "max", cast(Any, 2.5)), "pooling1"),
    "half an integer": (
        lambda n, x: n.add_activation(n.add_cast(x, "i32"), "CLIP", alpha=0.5, beta=3),
        "0.5 is no i32",
    ),
    "a rounded mean": (lambda n, x: n.add_reduce(n.add_cast(x, "i32"), "AVG", 1), "an average of i32 is rounded"),
    "no integer's": (lambda n, x: n.add_activation(n.add_cast(x, "i8"), "ELU"), "ELU of i8 is rounded"),
    "too large": (lambda n, x: n.add_padding(n.add_cast(x, "i8"), [1], [1], value=300), "padding1"),
    "text": (lambda n, x: n.add_scale(x, "uniform", cast(Any, "one")), "scale1"),
    "coordinates": (lambda n, x: n.add_resize(x, [3, 3], coordinates="middle"), "resize1"),
    "lengths": (
        lambda n, x: n.add_rnn(n.add_reduce(x, "SUM", 1), 1, [0.0] * 5, [0.0], lengths=cast(Any, [2])),
        "add_constant makes one of an array",
    ),
    "element type": (lambda n, x: n.add_input("y", (1,), "complex64"), "dtype 'complex64' is unknown"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_layer_that_cannot_be_is_refused_when_it_is_added(what: str) -> None:
    network = Network("refused")
    x = network.add_input("x", SHAPE)
    add, message = REFUSED[what]
    with pytest.raises(ModelError, match=message):
        add(network, x)
    left = {name.partition(".")[0] for op in cast(Block, x.value.owner).ops for name in names_of(op)}
    assert left <= {layer.name for layer in network}
    after = network.add_unary(x, "abs", name="after")
    network.mark_output(after)
    module = network.module()
    assert [names_of(op) for op in module.walk() if op.name.startswith("graph.")] == [("after",)]


def test_a_refused_layer_takes_its_name_and_weights_along() -> None:
    network = Network("again")
    x = network.add_input("x", SHAPE)
    with pytest.raises(ModelError):
        network.add_convolution(x, 1, 9, np.ones((1, 4, 9, 9), np.float32))
    network.mark_output(network.add_convolution(x, 1, 1, np.ones((1, 4, 1, 1), np.float32)), "y")
    weights = [op.ref.source.data for op in network.module().walk() if isinstance(op, WeightOp)]
    assert weights == ["convolution1.weights"]
