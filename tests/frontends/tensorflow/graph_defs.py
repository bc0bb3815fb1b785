"""One operator in a GraphDef made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.testing.tensorflow_files import NUMBERS, GraphDef

__all__ = ["NUMBERS", "GraphDef", "run_operator"]


def run_operator(op: str, inputs: list[Any], *, output: int = 0, fed: int = 1, **attributes: Any) -> Any:
    """One output of an operator in the interpreter; the first `fed` of its inputs are inputs of the network, the others constants."""
    made = GraphDef()
    arrays = {f"c{number}": np.asarray(value) for number, value in enumerate(inputs)}
    for number, (name, array) in enumerate(arrays.items()):
        if number < fed:
            made.placeholder(name, list(array.shape), array.dtype.name)
        else:
            made.const(name, array)
    made.node("y", op, *arrays, **attributes)
    name = f"y:{output}" if output else "y"
    module, weights = import_tensorflow(made.proto.SerializeToString(), outputs=[name])
    return stepwell.interpret(module, dict(list(arrays.items())[:fed]), weights=weights)[name]
