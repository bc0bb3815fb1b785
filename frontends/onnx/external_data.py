"""Tensors whose numbers lie in files beside the model: each is read from its place there, inside of the model's folder, and only where the file holds all of it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from stepwell.runtime.errors import ModelError

_BITS = {
    getattr(onnx.TensorProto, name): bits
    for name, bits in (("INT4", 4), ("UINT4", 4), ("FLOAT4E2M1", 4), ("INT2", 2), ("UINT2", 2))
    if hasattr(onnx.TensorProto, name)
}
"""Bits of the elements that share a byte."""


def read_external_data(model: onnx.ModelProto, where: str, folder: Path | None) -> tuple[Path, ...]:
    """Put the bytes of tensors that lie outside into the model; the files that were read. ModelError with every tensor that cannot be read; without
    a folder there is nowhere to look."""
    outside = [tensor for tensor in _tensors(model.graph) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if not outside:
        return ()
    if folder is None:
        raise ModelError(
            f"{len(outside)} initialisers lie in other files, the first is {outside[0].name!r}",
            where=where,
            hint="import the model by its path, or load it with onnx.load, which reads them",
        )
    reasons: list[str] = []
    files = dict.fromkeys(path for tensor in outside if (path := _load(tensor, folder, reasons)))
    if reasons:
        raise ModelError("cannot read the external data", where=where, reasons=reasons)
    return tuple(files)


def _load(tensor: onnx.TensorProto, folder: Path, reasons: list[str]) -> Path | None:
    try:
        path, offset, length = _place(tensor, folder)
        with path.open("rb") as file:
            size = path.stat().st_size
            if offset + length > size:
                raise ValueError(f"{path.name!r} ends at byte {size}, before byte {offset + length}")
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except (OSError, ValueError) as error:
        reasons.append(f"tensor {tensor.name!r}: {getattr(error, 'strerror', None) or error}")
        return None
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return path


def _place(tensor: onnx.TensorProto, folder: Path) -> tuple[Path, int, int]:
    """File, offset and bytes; ValueErrors for a place outside of the folder and for numbers that do not fit the tensor."""
    said = {entry.key: entry.value for entry in tensor.external_data}
    offset, length = _number(said, "offset", 0), _byte_size(tensor)
    if _number(said, "length", length) != length:
        raise ValueError(f"it has {said['length']} bytes there, its type and shape need {length}")
    location = said.get("location", "")
    if not location or "\0" in location:
        raise ValueError("no file is named for it")
    path = folder / location
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{location!r} is not in the folder of the model")
    if not path.is_file():
        raise ValueError(f"there is no file {location!r} beside the model")
    return path, offset, length


def _number(said: dict[str, str], key: str, default: int) -> int:
    text = said.get(key) or str(default)
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError(f"its {key} {text[:40]!r} is no number of bytes")
    return int(text)


def _byte_size(tensor: onnx.TensorProto) -> int:
    """The bytes of a tensor of this type and shape."""
    if any(extent < 0 for extent in tensor.dims):
        raise ValueError(f"its shape {list(tensor.dims)} has a negative extent")
    try:
        bits = _BITS.get(tensor.data_type) or 8 * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        raise ValueError(f"its element type {tensor.data_type} is not known") from None
    return -(-prod(tensor.dims) * bits // 8)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initialisers and the tensors of attributes, those of bodies too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from chain.from_iterable(_of_attribute(attribute) for attribute in node.attribute)


def _of_attribute(attribute: Any) -> Iterator[onnx.TensorProto]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
        yield from _tensors(graph)
