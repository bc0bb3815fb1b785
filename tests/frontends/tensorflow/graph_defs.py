"""GraphDefs made by hand for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message

import stepwell
from stepwell.frontends.tensorflow import import_tensorflow
from stepwell.frontends.tensorflow.schema import DTYPES, messages

NUMBERS = {dtype.name: number for number, dtype in DTYPES.items()}


class GraphDef:
    """Collects nodes; `save` writes the binary file."""

    def __init__(self) -> None:
        self.proto = messages()["GraphDef"]()

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; attributes by Python's types, a dtype by its NumPy name with `np.dtype`."""
        node = self.proto.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            _set(node.attr[key], value)
        return name

    def placeholder(self, name: str, shape: list[int] | None = None, dtype: str = "float32") -> str:
        """A Placeholder; -1 for an unknown extent, no shape for an unknown rank."""
        node = self.proto.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = NUMBERS[dtype]
        node.attr["shape"].shape.unknown_rank = shape is None
        for extent in shape or ():
            node.attr["shape"].shape.dim.add(size=extent)
        return name

    def const(self, name: str, array: Any) -> str:
        """A Const with tensor_content."""
        held = np.asarray(array)
        node = self.proto.node.add(name=name, op="Const")
        tensor = node.attr["value"].tensor
        tensor.dtype, tensor.tensor_content = NUMBERS[held.dtype.name], held.tobytes()
        for extent in held.shape:
            tensor.tensor_shape.dim.add(size=extent)
        return name

    def save(self, folder: Path, name: str = "graph.pb") -> Path:
        """Write it and return the path."""
        path = folder / name
        path.write_bytes(self.proto.SerializeToString())
        return path


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


def _set(attribute: Message, value: Any) -> None:
    match value:
        case bool():
            attribute.b = value
        case int():
            attribute.i = value
        case float():
            attribute.f = value
        case str():
            attribute.s = value.encode()
        case np.dtype():
            attribute.type = NUMBERS[value.name]
        case list():
            attribute.list.i.extend(value)
