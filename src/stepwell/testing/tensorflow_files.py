"""TensorFlow's files from their parts: frozen GraphDefs and SavedModels, as TensorFlow would write them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message

from stepwell.dialects.numpy_types import Array
from stepwell.frontends.tensorflow.bundle import MAGIC
from stepwell.frontends.tensorflow.schema import DTYPES, messages

NUMBERS: Mapping[str, int] = {dtype.name: number for number, dtype in DTYPES.items()}
"""NumPy's names of types -> DataType numbers."""
RESOURCE = 20
"""The DataType of a variable's handle."""


class GraphDef:
    """Collects nodes; `save` writes the binary file."""

    def __init__(self) -> None:
        self.proto = messages()["GraphDef"]()

    def node(self, name: str, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; attributes by Python's types, an element type as `np.dtype`, bytes as words."""
        node = self.proto.node.add(name=name, op=op, input=inputs)
        for key, value in attributes.items():
            _set(node.attr[key], value)
        return name

    def placeholder(self, name: str, shape: Sequence[int] | None = None, dtype: str = "float32") -> str:
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
        node.attr["dtype"].type = NUMBERS[held.dtype.name]
        tensor = node.attr["value"].tensor
        tensor.dtype, tensor.tensor_content = NUMBERS[held.dtype.name], held.tobytes()
        for extent in held.shape:
            tensor.tensor_shape.dim.add(size=extent)
        return name

    def function(self, name: str, arguments: Sequence[str], results: Mapping[str, str], body: GraphDef) -> None:
        """A function of the library; inputs in its body are called `argument` or `node:output:0`."""
        made = self.proto.library.function.add()
        made.signature.name = name
        for argument in arguments:
            made.signature.input_arg.add(name=argument)
        for result, source in results.items():
            made.signature.output_arg.add(name=result)
            made.ret[result] = source
        made.node_def.extend(body.proto.node)

    def call(self, name: str, op: str, *inputs: str, **functions: str | list[str]) -> str:
        """A node whose attributes are functions."""
        node = self.proto.node.add(name=name, op=op, input=inputs)
        for attribute, function in functions.items():
            if isinstance(function, str):
                node.attr[attribute].func.name = function
            for entry in function if isinstance(function, list) else ():
                node.attr[attribute].list.func.add(name=entry)
        return name

    def save(self, folder: Path, name: str = "graph.pb") -> Path:
        """Write it and return the path."""
        path = folder / name
        path.write_bytes(self.proto.SerializeToString())
        return path


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


def bundle_index(variables: Mapping[str, Array]) -> bytes:
    """The index of a tensor bundle of one data file, in which the variables stand one behind the other."""
    entries, offset = {b"": messages()["BundleHeaderProto"](num_shards=1).SerializeToString()}, 0
    for name, array in variables.items():
        entry = messages()["BundleEntryProto"](dtype=NUMBERS[array.dtype.name], offset=offset, size=array.nbytes)
        for extent in array.shape:
            entry.shape.dim.add(size=extent)
        entries[name.encode()], offset = entry.SerializeToString(), offset + array.nbytes
    return bundle_of(entries)


def bundle_of(entries: Mapping[bytes, bytes]) -> bytes:
    """An index of the given keys and values: a table of one block."""
    data = _block(entries)
    index = _block({b"~": _varint(0) + _varint(len(data))})
    footer = (b"\0\0" + _varint(len(data) + 5) + _varint(len(index))).ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    return data + bytes(5) + index + bytes(5) + footer


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + _varint(value >> 7)


def _block(entries: Mapping[bytes, bytes]) -> bytes:
    """Every key whole, one restart."""
    rows = [b"\0" + _varint(len(k)) + _varint(len(v)) + k + v for k, v in sorted(entries.items())]
    return b"".join(rows) + struct.pack("<II", 0, 1)


def write_saved_model(
    folder: Path,
    graph: GraphDef,
    inputs: Mapping[str, tuple[str, Sequence[int]]],
    outputs: Mapping[str, str],
    variables: Mapping[str, Array],
) -> Path:
    """A SavedModel with one signature, `serving_default`: f32 inputs by name with tensor and shape, outputs with tensor."""
    model = messages()["SavedModel"]()
    meta = model.meta_graphs.add()
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.CopyFrom(graph.proto)
    signature = meta.signature_def["serving_default"]
    for name, (tensor, shape) in inputs.items():
        info = signature.inputs[name]
        info.name, info.dtype = tensor, NUMBERS["float32"]
        for extent in shape:
            info.tensor_shape.dim.add(size=extent)
    for name, tensor in outputs.items():
        signature.outputs[name].name = tensor
    (folder / "variables").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    (folder / "variables" / "variables.index").write_bytes(bundle_index(variables))
    data = b"".join(np.ascontiguousarray(array).tobytes() for array in variables.values())
    (folder / "variables" / "variables.data-00000-of-00001").write_bytes(data)
    return folder
